"""What the tests of kernels share: numbers, small blocks, a small training, and how near two results are."""

import importlib

import pytest
import torch
from conftest import TINY_CLASSES, TINY_ROWS, randomise
from mmcls.structures import ClsDataSample
from mmengine.logging import MessageHub
from torch.utils._python_dispatch import TorchDispatchMode

from mmrazor_bignas.kernels import block_sizes
from mmrazor_bignas.kernels.block_sizes import Blocks
from mmrazor_bignas.registry import MODELS

# Of a format: what one rounding and sums in float32 may change, relative to a result's norm.
NEAR = {torch.float32: 2e-6, torch.bfloat16: 4e-3, torch.float16: 5e-4}
DTYPES = list(NEAR)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def features(*shape: int, dtype: torch.dtype, device: str, seed: int = 0) -> torch.Tensor:
    return numbers(*shape, seed=seed).to(device, dtype).contiguous(memory_format=torch.channels_last)


def triton_code(module: str):
    """Imported late: Triton need not be there, and conftest chooses its interpreter first."""
    pytest.importorskip('triton')
    return importlib.import_module(f'mmrazor_bignas.kernels.triton_code.{module}')


def many_splits(monkeypatch) -> None:
    """Blocks so small that a tiny tensor has several in each direction, some of them not full."""
    for name, by_size in block_sizes.BLOCK_SIZES.items():
        blocks = Blocks(16, 16, 2, 8 if by_size[4].programs else 0)
        monkeypatch.setitem(block_sizes.BLOCK_SIZES, name, {2: blocks, 4: blocks})


def assert_near(ours, theirs, tolerance: float) -> None:
    """Results, one or several, differ by no more than ``tolerance``, relative to the norm of each."""
    if isinstance(ours, torch.Tensor):
        ours, theirs = (ours,), (theirs,)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        assert one.shape == other.shape
        one, other = one.detach().double().cpu(), other.detach().double().cpu()
        error, norm = float((one - other).norm()), float(other.norm())
        assert error <= tolerance * norm, f'result {index} differs by {error:.3g} where the norm is {norm:.3g}'


def assert_same_twice(run) -> None:
    for one, other in zip(run(), run(), strict=True):
        assert torch.equal(one, other)


class Operations(TorchDispatchMode):
    """Within, the operations that torch runs are noted.

    Attributes:
        all: Their names, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []

    @property
    def ours(self) -> list[str]:
        return [name.split('::')[1].split('.')[0] for name in self.all if name.startswith('mmrazor_bignas::')]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.all.append(func.name())
        return func(*args, **(kwargs or {}))


def small_algorithm(device: str = 'cpu'):
    """BigNAS on the tiny space with even smaller images, without any dropping, with random weights."""
    torch.manual_seed(0)
    algorithm = MODELS.build(
        {
            'type': 'mmrazor_bignas.BigNAS',
            'architecture': {
                'type': 'mmrazor_bignas.SearchableImageClassifier',
                'data_preprocessor': {'mean': [127.5] * 3, 'std': [64.0] * 3},
                'backbone': {
                    'type': 'mmrazor_bignas.AttentiveMobileNetV3',
                    'search_space': {**TINY_ROWS, 'resolution': [6, 9, 10]},
                },
                'head': {
                    'type': 'mmrazor_bignas.DynamicLinearClsHead',
                    'num_classes': TINY_CLASSES,
                    'loss': {'type': 'mmrazor_bignas.LabelSmoothCrossEntropy', 'label_smoothing': 0.1},
                },
            },
            'sampler': {'type': 'mmrazor_bignas.SandwichSampler', 'num_random': 1, 'seed': 0},
            'distillation': {'type': 'mmrazor_bignas.KLDistillation'},
        }
    )
    randomise(algorithm)
    return algorithm.to(device).train()


def train_step(algorithm, wrapper, step: int = 0, batch_size: int = 2) -> dict:
    """One step on a batch of its own, with random subnets of its own."""
    MessageHub.get_current_instance().update_info('iter', step)
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(0, 255, (batch_size, 3, 10, 10), generator=generator, dtype=torch.uint8)
    samples = [ClsDataSample().set_gt_label(i % TINY_CLASSES) for i in range(batch_size)]
    return algorithm.train_step({'inputs': images, 'data_samples': samples}, wrapper)


def losses_and_gradients(device: str, wrapper: type) -> tuple[dict[str, float], list[torch.Tensor | None]]:
    """Of one step of a small training."""
    algorithm = small_algorithm(device)
    optimizer, gradients = torch.optim.SGD(algorithm.parameters(), lr=0.0), []
    optimizer.register_step_pre_hook(
        lambda *_: gradients.extend(param.grad for param in optimizer.param_groups[0]['params'])
    )
    losses = train_step(algorithm, wrapper(optimizer))
    return {name: float(loss) for name, loss in losses.items() if name.endswith('loss')}, gradients


def assert_same_step(ours, theirs, of_losses: float, of_gradients: float) -> None:
    """Gradients may differ relative to the largest: some are 0 but for rounding, as a bias' before a normalisation."""
    assert ours[0] == pytest.approx(theirs[0], rel=of_losses)
    assert [one is None for one in ours[1]] == [one is None for one in theirs[1]]
    pairs = [(one.double(), other.double()) for one, other in zip(ours[1], theirs[1], strict=True) if one is not None]
    largest = max(float(other.norm()) for _, other in pairs)
    assert len(pairs) > 20
    assert all(float((one - other).norm()) <= of_gradients * largest for one, other in pairs)
