"""Many processes: start, wrap, agree, stop."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import warnings
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
import torch.distributed as dist
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmrazor_bignas.errors import InputError, UserError
from mmrazor_bignas.registry import MODEL_WRAPPERS

RANKS = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}  # what launchers set
LAUNCHERS = ('none', *RANKS)
PORTS = range(20000, 32000)  # below those that Linux hands out by itself
NO_SYNC_BN = (
    'SyncBN is not supported, a subnet in training is normalised by the batch of its own process (statistics are '
    'calibrated afterwards, over all processes); remove sync_bn, and choose a batch_size of 16 or more per process'
)
T = TypeVar('T')


@MODEL_WRAPPERS.register_module()
class SandwichDistributedDataParallel(MMDistributedDataParallel):
    """DistributedDataParallel around an algorithm that runs itself several times a step, or around one network.

    Args:
        module: The algorithm.
        device_ids: mmengine's guess at this process's GPU; the one in use counts, and none for a model on the CPU.
        **kwargs: Of DistributedDataParallel.

    Raises:
        InputError: The algorithm has a SyncBatchNorm.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **kwargs) -> None:
        if synced := [name for name, part in module.named_modules() if isinstance(part, nn.SyncBatchNorm)]:
            raise InputError(f'{synced[0]} is a SyncBatchNorm: {NO_SYNC_BN}')
        on_gpu = next(module.parameters()).is_cuda
        super().__init__(
            module=module,
            device_ids=[torch.cuda.current_device()] if on_gpu else None,
            find_unused_parameters=True,  # no single subnet uses every parameter
            broadcast_buffers=False,  # a supernet's buffers never move
            gradient_as_bucket_view=True,  # gradients are exchanged where they lie
            **kwargs,
        )

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """The algorithm's train step, with this wrapper's forward; of a network alone, mmengine's."""
        if 'forward' in inspect.signature(self.module.train_step).parameters:
            return self.module.train_step(data, optim_wrapper, forward=self)
        return super().train_step(data, optim_wrapper)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def start_processes(launcher: str) -> dist.Store | None:
    """Join the process group that the launcher started; nccl with a GPU for every process of the node, gloo without.

    mmengine's own start needs a GPU and shares one port between all SLURM jobs of a node.

    Returns:
        What the processes share, for :func:`first_to_fail`; None for a single process.

    Raises:
        InputError: The launcher is unknown, or its environment variables are missing.
    """
    if launcher == 'none':
        return None
    if launcher not in LAUNCHERS:
        raise InputError(f'--launcher is {launcher!r}; expected one of {list(LAUNCHERS)}')
    if launcher == 'slurm':
        _export('slurm', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID')
        if 'MASTER_ADDR' not in os.environ:
            os.environ['MASTER_ADDR'] = _first_node(os.environ['SLURM_NODELIST'])
        os.environ.setdefault('MASTER_PORT', str(slurm_port(os.environ)))
    elif launcher == 'mpi':
        _export(
            'mpi',
            WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
            LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK',
        )
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
        os.environ.setdefault('MASTER_PORT', '29500')
    else:
        _export('pytorch', WORLD_SIZE='WORLD_SIZE', LOCAL_RANK='LOCAL_RANK')
    local_rank = int(os.environ['LOCAL_RANK'])
    backend = 'gloo'
    if torch.cuda.is_available():
        backend = 'nccl'
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    elif os.environ.get('SLURM_STEP_GPUS') and torch.version.cuda and os.environ['RANK'] == '0':
        warnings.warn(
            'SLURM gave this job GPUs, but torch finds none (a driver too old for CUDA '
            f'{torch.version.cuda}?): running on the CPU',
            stacklevel=1,
        )
    try:
        store, rank, world_size = next(dist.rendezvous('env://'))
    except dist.DistNetworkError as error:
        address = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
        raise InputError(
            f'the processes do not meet at {address}: {str(error).splitlines()[0]}; MASTER_ADDR and MASTER_PORT (PORT '
            'for tools/dist_*.sh) choose another place'
        ) from error
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    return store


def slurm_port(environ: Mapping[str, str]) -> int:
    """The port of a job: from the job's number, and the step's, so that two jobs on one node do not collide."""
    job, step = (int(environ.get(name, 0)) for name in ('SLURM_JOB_ID', 'SLURM_STEP_ID'))
    return PORTS[(job + 997 * step) % len(PORTS)]


def stop_processes() -> None:
    """Leave the process group; with gloo a process may otherwise abort at exit."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def on_first_rank(function: Callable[[], T]) -> T:
    """Call a function on the first rank alone; every rank gets its result, or its error.

    Raises:
        UserError: What the function raised, on every rank.
    """
    shared: list = [None, None]
    if get_rank() == 0:
        try:
            shared[0] = function()
        except UserError as error:
            shared[1] = error
    broadcast_object_list(shared)
    if shared[1] is not None:
        raise shared[1]
    return shared[0]


def first_to_fail(store: dist.Store) -> bool:
    """Whether no other rank has failed before; True for exactly one rank, which then shows its error.

    Raises:
        RuntimeError: The first rank, which holds the store, is gone.
    """
    return store.add('mmrazor_bignas/failures', 1) == 1


def lost_contact(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone."""
    backend_words = ('gloo', 'NCCL', 'Connection closed', 'Connection reset', 'Broken pipe')
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in backend_words)
    )


def _export(launcher: str, **names: str) -> None:
    for ours, theirs in {'RANK': RANKS[launcher], **names}.items():
        if theirs not in os.environ:
            raise InputError(f'--launcher {launcher}: {theirs} is not set; was the program started by {launcher}?')
        os.environ[ours] = os.environ[theirs]


def _first_node(node_list: str) -> str:
    if re.fullmatch(r'[\w.-]+', node_list):
        return node_list
    output = subprocess.run(['scontrol', 'show', 'hostnames', node_list], capture_output=True, text=True, check=True)
    return output.stdout.split()[0]
