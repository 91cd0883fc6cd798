"""From a config file to a mmengine Runner, and from a tool's ``main`` to an exit code."""

from __future__ import annotations

import argparse
import copy
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmrazor_bignas.engine.datasets import build_dataset
from mmrazor_bignas.engine.distributed import LAUNCHERS, start_processes, stop_processes
from mmrazor_bignas.errors import InputError, UserError

# What mmengine's Runner reads from a config, with algorithm in the place of model.
CONFIG_KEYS = (set(inspect.signature(Runner.__init__).parameters) - {'self', 'model', 'data_preprocessor', 'cfg'}) | {
    'algorithm',
    'custom_imports',
    'model_wrapper_cfg',
    'activation_checkpointing',
    'compile',
}


# Lines of mmengine's that say nothing to a user: one per parameter or hook, its own future, untrue here.
NOISE = (
    'paramwise_options',
    'Exp name',
    'Hooks will be executed',
    'Distributed training is not used, all Sync',
    '"FileClient" will be',
    '"HardDiskBackend" is',
    # Running statistics of a supernet do not move.
    'Gradient accumulative may slightly decrease',
)


class NASRunner(Runner):
    """mmengine's Runner with readable logs, and with errors for data sets that name the file."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(lambda record: not record.getMessage().startswith(NOISE))
        return logger

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        if isinstance(dataloader, dict) and isinstance(dataloader['dataset'], dict):
            pinned = {'pin_memory': torch.cuda.is_available()}
            dataloader = {**pinned, **dataloader, 'dataset': build_dataset(dataloader['dataset'])}
        loader = Runner.build_dataloader(dataloader, seed=seed, diff_rank_seed=diff_rank_seed)
        if len(loader) == 0:
            raise InputError(
                f'train_dataloader: batch_size is {dataloader["batch_size"]}, but this process has '
                f'{len(loader.sampler)} images, and drop_last leaves no batch; choose a smaller batch_size'
            )
        return loader

    def dump_config(self) -> None:
        """Write the config into the work dir in the form that the tools read."""
        if self.rank == 0:
            cfg = copy.deepcopy(self.cfg)
            cfg.algorithm = cfg.pop('model')
            cfg.dump(str(Path(self.work_dir) / Path(self.cfg.filename).name))


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """The option that every tool with a config has."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override keys of the config, e.g. train_cfg.max_epochs=1 algorithm.mutable_cfg=FILE',
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that train.py and test.py share."""
    add_cfg_options(parser)
    parser.add_argument('--work-dir', help='where logs and results go; default: work_dirs/<name of the config>')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='what started the processes')
    # torch.distributed.launch passes the one or the other spelling, by version.
    parser.add_argument('--local_rank', '--local-rank', type=int, help='set by torch.distributed.launch')


def load_config(path: str, options: Mapping = MappingProxyType({}), work_dir: str | None = None) -> Config:
    """Read a config and override keys.

    Keys that begin with an underscore are pieces for other configs and end here.

    Raises:
        InputError: The file is missing, unreadable, no config, or has no ``algorithm``; an override does not fit; a
            top-level key is unknown.
    """
    if not Path(path).is_file():
        raise InputError(f'{path}: no such config file')
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is a program: it may raise anything
        raise InputError(f'{path}: cannot be read as a config: {type(error).__name__}: {error}') from error
    for key in [key for key in cfg if key.startswith('_')]:
        cfg.pop(key)
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise InputError(f'--cfg-options: {error}') from error
    if 'algorithm' not in cfg:
        raise InputError(f'{path}: has no key "algorithm", which says what is trained, searched or tested')
    if unknown := sorted(set(cfg) - CONFIG_KEYS):
        raise InputError(f'{path}: nothing reads the key {unknown[0]!r}; known keys: {sorted(CONFIG_KEYS)}')
    for keys in (('architecture', 'backbone', 'search_space'), ('architecture', 'head', 'num_classes')):
        part = cfg.algorithm
        for key in keys:
            part = part.get(key) if isinstance(part, Mapping) else None
        if part is None:
            raise InputError(f'{path}: has no key "algorithm.{".".join(keys)}"')
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    return cfg


def build_runner(cfg: Config, launcher: str = 'none') -> NASRunner:
    """The Runner of a config; its ``algorithm`` is the Runner's ``model``.

    Raises:
        InputError: The work dir cannot be written.
    """
    try:
        os.makedirs(cfg.work_dir, exist_ok=True)
        probe = Path(cfg.work_dir) / f'.writable-{os.getpid()}'
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f'--work-dir {cfg.work_dir}: cannot be written: {error.strerror}') from error
    cfg.launcher = launcher
    cfg.model = cfg.pop('algorithm')
    return NASRunner.from_cfg(cfg)


def run_tool(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse, join the other processes and run; what the user can mend becomes a message and exit code 1."""
    args = parser.parse_args()
    if getattr(args, 'local_rank', None) is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    try:
        start_processes(getattr(args, 'launcher', 'none'))
        main(args)
    except UserError as error:
        sys.exit(f'{parser.prog}: error: {error}')
    except OSError as error:  # of a data loader's worker, the last line says what it was
        sys.exit(f'{parser.prog}: error: {str(error).strip().splitlines()[-1]}')
    except (TypeError, KeyError) as error:
        # What Python and mmengine say of a component's unknown key and of an unknown component.
        if not any(words in str(error) for words in ('unexpected keyword argument', 'required', 'registry')):
            raise
        sys.exit(f'{parser.prog}: error: the config does not fit: {" ".join(str(error).split())}')
    finally:
        stop_processes()
