"""Many processes: start, wrap, stop."""

from __future__ import annotations

import os
import re
import subprocess

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import MODEL_WRAPPERS

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


@MODEL_WRAPPERS.register_module()
class SandwichDistributedDataParallel(MMDistributedDataParallel):
    """DistributedDataParallel around an algorithm that runs itself several times a step.

    Args:
        module: The algorithm.
        device_ids: The GPU of this process; ignored for a model on the CPU.
        **kwargs: Of DistributedDataParallel.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **kwargs) -> None:
        on_gpu = next(module.parameters()).is_cuda
        super().__init__(
            module=module,
            device_ids=device_ids if on_gpu else None,
            find_unused_parameters=True,  # no single subnet uses every parameter
            broadcast_buffers=False,  # a supernet's buffers never move
            **kwargs,
        )

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """The algorithm's train step, with this wrapper's forward."""
        return self.module.train_step(data, optim_wrapper, forward=self)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def start_processes(launcher: str) -> None:
    """Join the process group that the launcher started; nccl with a GPU for every process of the node, gloo without.

    mmengine's own start needs a GPU and shares one port between all SLURM jobs of a node.

    Raises:
        InputError: The launcher is unknown, or its environment variables are missing.
    """
    if launcher == 'none':
        return
    if launcher not in LAUNCHERS:
        raise InputError(f'--launcher is {launcher!r}; expected one of {list(LAUNCHERS)}')
    if launcher == 'slurm':
        _export('slurm', RANK='SLURM_PROCID', WORLD_SIZE='SLURM_NTASKS', LOCAL_RANK='SLURM_LOCALID')
        os.environ.setdefault('MASTER_ADDR', _first_node(os.environ['SLURM_NODELIST']))
        # From the job's number: two jobs on one node do not collide.
        os.environ.setdefault('MASTER_PORT', str(20000 + int(os.environ['SLURM_JOB_ID']) % 20000))
    elif launcher == 'mpi':
        _export(
            'mpi',
            RANK='OMPI_COMM_WORLD_RANK',
            WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
            LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK',
        )
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
        os.environ.setdefault('MASTER_PORT', '29500')
    else:
        _export('pytorch', RANK='RANK', WORLD_SIZE='WORLD_SIZE', LOCAL_RANK='LOCAL_RANK')
    local_rank = int(os.environ['LOCAL_RANK'])
    backend = 'gloo'
    if torch.cuda.is_available():
        backend = 'nccl'
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    dist.init_process_group(backend)


def stop_processes() -> None:
    """Leave the process group; with gloo a process may otherwise abort at exit."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _export(launcher: str, **names: str) -> None:
    for ours, theirs in names.items():
        if theirs not in os.environ:
            raise InputError(f'--launcher {launcher}: {theirs} is not set; was the program started by {launcher}?')
        os.environ[ours] = os.environ[theirs]


def _first_node(node_list: str) -> str:
    if re.fullmatch(r'[\w.-]+', node_list):
        return node_list
    output = subprocess.run(['scontrol', 'show', 'hostnames', node_list], capture_output=True, text=True, check=True)
    return output.stdout.split()[0]
