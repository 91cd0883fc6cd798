"""From a config file to a mmengine Runner."""

from __future__ import annotations

import argparse
import copy
import inspect
import traceback
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from mmengine.config import Config
from mmengine.fileio import JsonHandler, YamlHandler, register_handler
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from torch import nn

from mmrazor_bignas.engine.cfg_options import CfgOptions
from mmrazor_bignas.engine.checkpoint_hook import CheckpointHook
from mmrazor_bignas.engine.checkpoints import read_local_files
from mmrazor_bignas.engine.class_folders import NUM_CLASSES, fit_class_folders
from mmrazor_bignas.engine.config_files import find_config
from mmrazor_bignas.engine.distributed import LAUNCHERS, NO_SYNC_BN
from mmrazor_bignas.engine.hooks import LossHook
from mmrazor_bignas.engine.storage import full_disk_named, probe
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import parse_json, parse_yaml

# What mmengine's Runner reads from a config, with algorithm in the place of model.
CONFIG_KEYS = (set(inspect.signature(Runner.__init__).parameters) - {'self', 'model', 'data_preprocessor', 'cfg'}) | {
    'algorithm',
    'custom_imports',
    'model_wrapper_cfg',
    'activation_checkpointing',
    'compile',
}


MMENGINES = inspect.getsourcefile(Config)  # what reads a config and its bases

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

FROZEN = 'is skipped since its requires_grad=False'  # of every frozen parameter


@register_handler(['yaml', 'yml'])
class SafeYaml(YamlHandler):
    """What reads a config in YAML: mmengine's takes a loader that runs code, and loses a key that is given twice."""

    def load_from_fileobj(self, file, **kwargs):
        return parse_yaml(file.read(), 'YAML')


@register_handler('json')
class StrictJson(JsonHandler):
    """What reads a config in JSON: mmengine's loses a key that is given twice."""

    def load_from_fileobj(self, file):
        return parse_json(file.read())


class NASRunner(Runner):
    """mmengine's Runner with readable logs, a training loop that resumes anywhere, and a config that our tools read."""

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(lambda record: not record.getMessage().startswith(NOISE) and FROZEN not in record.getMessage())
        return logger

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """mmengine's, where a loop over epochs is :class:`~mmrazor_bignas.engine.train_loop.TrainLoop`.

        Raises:
            InputError: The config asks for a loop over iterations.
        """
        if isinstance(loop, Mapping) and 'type' not in loop:
            loop = dict(loop)
            if not loop.pop('by_epoch', True):
                raise InputError('train_cfg.by_epoch is False; training here goes by epochs: set max_epochs')
            loop['type'] = 'mmrazor_bignas.TrainLoop'
        return super().build_train_loop(loop)

    def call_hook(self, fn_name: str, **kwargs) -> None:
        """mmengine's; what is loaded is checked before any hook, such as EMAHook, takes it."""
        if fn_name == 'after_load_checkpoint':
            for hook in self.hooks:
                if isinstance(hook, CheckpointHook):
                    hook.fit_and_check(self, **kwargs)
        super().call_hook(fn_name, **kwargs)

    def save_checkpoint(self, *args, **kwargs) -> None:
        """mmengine's, of a training whose losses are known to be finite numbers."""
        for hook in self.hooks:
            if isinstance(hook, LossHook):
                hook.fetch(self)
        super().save_checkpoint(*args, **kwargs)

    def train(self) -> nn.Module:
        with full_disk_named(self.work_dir):
            return super().train()

    def val(self) -> dict:
        with full_disk_named(self.work_dir):
            return super().val()

    def tools_config(self) -> Config:
        """The config in the form that the tools read."""
        cfg = copy.deepcopy(self.cfg)
        cfg.algorithm = cfg.pop('model')
        return cfg

    def dump_config(self) -> None:
        """Write the config into the work dir, unless that is where the user's own lies."""
        copy_of_it = Path(self.work_dir) / Path(self.cfg.filename).name
        if self.rank == 0 and copy_of_it.resolve() != Path(self.cfg.filename).resolve():
            self.tools_config().dump(str(copy_of_it))


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """The option that every tool with a config has."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        default={},
        metavar='KEY=VALUE',
        help='override keys of the config, e.g. train_cfg.max_epochs=1 algorithm.mutable_cfg=FILE '
        '"algorithm.sampler={\'num_random\': 3}"',
    )


def add_allow_pickle(parser: argparse.ArgumentParser) -> None:
    """The option of every tool that reads a checkpoint of somebody else's."""
    parser.add_argument(
        '--allow-pickle',
        action=AllowPickle,
        metavar='FILE',
        help='read this checkpoint although it holds pickled objects, which can run code: only if you trust its source',
    )


class AllowPickle(argparse.Action):
    """Lets one file be unpickled, from the command line on."""

    def __call__(self, parser, namespace, value, option_string=None) -> None:
        if not Path(value).is_file():
            parser.error(f'--allow-pickle {value}: no such file')
        read_local_files(pickled=value)
        setattr(namespace, self.dest, value)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that training, search and test share."""
    add_cfg_options(parser)
    add_allow_pickle(parser)
    parser.add_argument('--work-dir', help='where logs and results go; default: work_dirs/<name of the config>')
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='what started the processes')
    # torch.distributed.launch passes the one or the other spelling, by version.
    parser.add_argument('--local_rank', '--local-rank', type=int, help='set by torch.distributed.launch')


def add_tensorboard(cfg: Config) -> None:
    """Let a config's run write its log for TensorBoard, too.

    Raises:
        InputError: tensorboard is not installed.
    """
    if find_spec('tensorboard') is None:
        raise InputError('--tensorboard needs tensorboard: pip install mmrazor_bignas[tensorboard]')
    visualizer = cfg.get('visualizer') or {'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]}
    backends = [*visualizer['vis_backends'], {'type': 'TensorboardVisBackend'}]
    cfg.visualizer = {**visualizer, 'vis_backends': backends}


def load_config(path: str, options: Mapping = MappingProxyType({}), work_dir: str | None = None) -> Config:
    """Read a config, of the user or of the package (:func:`~mmrazor_bignas.engine.config_files.find_config`).

    Keys that begin with an underscore are pieces for other configs and end here. Classes are those of the training
    images' folders, where these say them (:mod:`~mmrazor_bignas.engine.class_folders`).

    Raises:
        InputError: The file is missing, unreadable, no config, or has no ``algorithm``; an override does not fit; a
            top-level key is unknown, or asks for SyncBN; there are more or fewer class folders than ``num_classes``.
    """
    path = find_config(path)
    try:
        cfg = Config.fromfile(path)
    except (Exception, SystemExit) as error:  # a config is a program: it may raise anything
        raise InputError(f'{path}: cannot be read as a config: {_problem(error, path)}') from error
    for key in [key for key in cfg if key.startswith('_')]:
        cfg.pop(key)
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, IndexError, AssertionError) as error:
            raise InputError(f'--cfg-options {key}: {error}') from error
        except AttributeError as error:  # of mmengine, which takes whatever stands there for a dict
            raise InputError(
                f'--cfg-options {key}: one element of a list is overridden by a dict, whose keys are texts; or give '
                'the whole list'
            ) from error
    if 'algorithm' not in cfg:
        raise InputError(f'{path}: has no key "algorithm", which says what is trained, searched or tested')
    if not isinstance(cfg.algorithm, Mapping):
        raise InputError(f'{path}: algorithm is {cfg.algorithm!r}; expected a dict')
    if cfg.pop('sync_bn', None):
        raise InputError(f'{path}: has the key sync_bn: {NO_SYNC_BN}')
    if unknown := sorted(set(cfg) - CONFIG_KEYS):
        raise InputError(f'{path}: nothing reads the key {unknown[0]!r}; known keys: {sorted(CONFIG_KEYS)}')
    fit_class_folders(cfg, path)
    ours = str(cfg.algorithm.get('type', 'mmrazor_bignas')).startswith('mmrazor_bignas')
    for keys in (('architecture', 'backbone', 'search_space'), ('architecture', 'head', 'num_classes')) if ours else ():
        part = cfg.algorithm
        for key in keys:
            part = part.get(key) if isinstance(part, Mapping) else None
        if part is None:
            key = f'algorithm.{".".join(keys)}'
            hint = ', and no training images in a folder per class are there to count it' if key == NUM_CLASSES else ''
            raise InputError(f'{path}: has no key "{key}"{hint}')
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    if not isinstance(cfg.work_dir, str):
        raise InputError(f"{path}: work_dir is {cfg.work_dir!r}; expected a folder's name")
    return cfg


def _problem(error: BaseException, path: str) -> str:
    """What went wrong when a config was read, on one line, and in which of its bases."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    read = [frame.f_locals.get('filename') for frame in frames if frame.f_code.co_filename == MMENGINES]
    files = [name for name in read if name and Path(name).is_file()]  # and no temporary copy of mmengine's
    file = files[-1] if files else path
    if isinstance(error, SyntaxError):
        error.filename = file  # mmengine does not tell the parser
    kind = '' if isinstance(error, InputError) else f'{type(error).__name__}: '
    base = '' if Path(file).samefile(path) else f'{file}: '
    return f'{base}{kind}{" ".join(str(error).split())}'


def build_runner(cfg: Config, launcher: str = 'none') -> NASRunner:
    """The Runner of a config; its ``algorithm`` is the Runner's ``model``.

    Raises:
        InputError: The work dir cannot be written.
    """
    probe(cfg.work_dir, f'--work-dir {cfg.work_dir}')
    cfg.launcher = launcher
    cfg.model = cfg.pop('algorithm')
    with full_disk_named(cfg.work_dir):
        return NASRunner.from_cfg(cfg)
