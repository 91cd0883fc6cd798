"""What many tests share: one tiny, enumerable search space and a classifier and algorithm on it."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():  # before Triton's functions are made: its interpreter runs them
    os.environ.setdefault('TRITON_INTERPRET', '1')

pytest_plugins = ['tiny_imagenet', 'deployed']
ROOT = Path(__file__).resolve().parents[1]

TINY_ROWS = {
    'resolution': [16, 24, 32],
    'stem': [8, 16],
    'stages': [
        {
            'name': 'mb1',
            'width': [8, 16],
            'depth': [1, 2],
            'kernel_size': [3, 5],
            'expand_ratio': [1],
            'stride': 1,
            'se': False,
        },
        {
            'name': 'mb2',
            'width': [16, 24],
            'depth': [1, 2],
            'kernel_size': [3, 5],
            'expand_ratio': [4, 6],
            'stride': 2,
            'se': True,
        },
    ],
    'head': [32, 40],
}
# Blocks that choose by themselves, without and with an expansion and at depths that leave one out, then a usual stage.
PER_BLOCK_ROWS = {
    'resolution': [16, 24],
    'stem': [8],
    'stages': [
        {
            'name': 'mb1',
            'width': [8, 16],
            'depth': [1, 3],
            'kernel_size': [3, 5],
            'expand_ratio': [1],
            'per_block': True,
        },
        {
            'name': 'mb2',
            'width': [24],
            'depth': [1, 2],
            'kernel_size': [3, 5],
            'expand_ratio': [4, 6],
            'stride': 2,
            'se': True,
            'per_block': True,
        },
        {'name': 'mb3', 'width': [24], 'depth': [1], 'kernel_size': [3, 5], 'expand_ratio': [2]},
    ],
    'head': [32],
}
TINY_CLASSES = 4


def pytest_configure(config) -> None:
    # Of Triton's interpreter.
    config.addinivalue_line('filterwarnings', 'ignore:Conversion of an array with ndim > 0:DeprecationWarning')


@pytest.fixture(autouse=True)
def _no_training_is_under_way():
    """What a step draws depends on mmengine's count of iterations, which outlives a training in this process."""
    if 'mmengine.logging' in sys.modules:
        from mmengine.logging import MessageHub

        MessageHub.get_current_instance().update_info('iter', 0)


@pytest.fixture
def device(monkeypatch) -> str:
    """Where kernels are tested: on a GPU, or by Triton's interpreter."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)  # of what they are compared with
    return 'cuda' if torch.cuda.is_available() else 'cpu'


@pytest.fixture
def use_way(monkeypatch):
    """A function that makes this process go one of the ways of its operations."""
    from mmrazor_bignas.kernels.way import forget_choice

    def use(way: str) -> None:
        monkeypatch.setenv('MMRAZOR_BIGNAS_KERNELS', way)
        forget_choice()

    yield use
    forget_choice()


@pytest.fixture
def fused(use_way, monkeypatch) -> None:
    """This process runs kernels, and none of them is replaced by its twin."""
    from mmrazor_bignas.kernels import batch_norm, channel_gate, depthwise, slicing
    from mmrazor_bignas.kernels.operation import Kernel

    use_way('fused')
    modules = batch_norm, channel_gate, depthwise, slicing
    kernels = [one for module in modules for one in vars(module).values() if isinstance(one, Kernel)]
    for kernel in kernels:
        monkeypatch.setattr(kernel, '_variants', {})  # each test proves them anew
    yield
    replaced = [(one.name, key) for one in kernels for key, run in one._variants.items() if run is one.twin]
    assert not replaced


@pytest.fixture
def tiny_rows() -> dict:
    """The tiny space's table, free to be changed."""
    return copy.deepcopy(TINY_ROWS)


@pytest.fixture(scope='session')
def tiny_space():
    from mmrazor_bignas.search_space import SearchSpace

    return SearchSpace.from_dict(copy.deepcopy(TINY_ROWS))


@pytest.fixture(scope='session')
def per_block_space():
    from mmrazor_bignas.search_space import SearchSpace

    return SearchSpace.from_dict(copy.deepcopy(PER_BLOCK_ROWS))


@pytest.fixture(scope='session', params=['tiny_space', 'per_block_space'])
def small_space(request):
    """Each of the enumerable spaces, for what holds in all."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope='session')
def imagenet_space():
    """The space of the three main configs."""
    from mmengine.config import Config

    from mmrazor_bignas.search_space import SearchSpace

    cfg = Config.fromfile(ROOT / 'configs/_base_/nas_backbones/attentive_mobilenet_v3_supernet.py')
    return SearchSpace.from_dict(cfg.algorithm.architecture.backbone.search_space)


@pytest.fixture
def tiny_architecture() -> dict:
    """Config of the tiny supernet's classifier."""
    return {
        'type': 'mmrazor_bignas.SearchableImageClassifier',
        'data_preprocessor': {'mean': [127.5] * 3, 'std': [64.0] * 3},
        'backbone': {
            'type': 'mmrazor_bignas.AttentiveMobileNetV3',
            'search_space': copy.deepcopy(TINY_ROWS),
            'drop_path_rate': 0.2,
        },
        'head': {
            'type': 'mmrazor_bignas.DynamicLinearClsHead',
            'num_classes': TINY_CLASSES,
            'dropout': 0.2,
            'loss': {'type': 'mmrazor_bignas.LabelSmoothCrossEntropy', 'label_smoothing': 0.1},
        },
    }


@pytest.fixture
def tiny_supernet(tiny_architecture):
    """A tiny supernet with random weights, none of them zero."""
    from mmrazor_bignas.registry import MODELS

    torch.manual_seed(0)
    supernet = MODELS.build(tiny_architecture)
    randomise(supernet)
    return supernet


@pytest.fixture
def tiny_algorithm(tiny_architecture):
    """BigNAS on the tiny supernet, with random weights."""
    from mmrazor_bignas.registry import MODELS

    torch.manual_seed(0)
    algorithm = MODELS.build(
        {
            'type': 'mmrazor_bignas.BigNAS',
            'architecture': tiny_architecture,
            'sampler': {'type': 'mmrazor_bignas.SandwichSampler', 'num_random': 2, 'seed': 0},
            'distillation': {'type': 'mmrazor_bignas.KLDistillation'},
        }
    )
    randomise(algorithm)
    return algorithm


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    if os.getuid() or subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]).returncode:
        pytest.skip('a tmpfs cannot be mounted here')
    yield disk
    subprocess.run(['umount', disk], check=True)


def randomise(module) -> None:
    """Batch normalisation as after some training: with gamma 0 and fresh statistics many mistakes would not show."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, std=0.1)
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 1.5)
