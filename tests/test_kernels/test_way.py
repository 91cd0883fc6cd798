from types import SimpleNamespace

import pytest
import torch
from kernel_cases import numbers

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.kernels import chosen_way, depthwise_conv2d, is_fused, memory_format, way


@pytest.fixture
def machine(monkeypatch, use_way):
    """A function that describes the machine and the wish; and what is logged, as its attribute ``lines``."""

    def describe(
        wish: str = '', gpu: bool = True, capability=(9, 0), triton: bool = True, interpreted: bool = False
    ) -> None:
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpu)
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: capability)
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'Old GPU')
        monkeypatch.setattr(way, 'find_spec', lambda name: object() if triton else None)
        monkeypatch.setattr(way, 'INTERPRETED', interpreted)
        use_way(wish)

    describe.lines = []
    monkeypatch.setattr(way, 'print_log', lambda message, **_: describe.lines.append(message))
    return describe


@pytest.mark.parametrize(
    ('facts', 'expected'),
    [
        ({}, 'fused'),
        ({'wish': 'fused'}, 'fused'),
        ({'wish': 'torch'}, 'torch'),
        ({'wish': 'nchw'}, 'nchw'),
        ({'capability': (8, 0)}, 'fused'),
        ({'gpu': False}, 'torch'),
        ({'gpu': False, 'wish': 'fused'}, 'torch'),
        ({'gpu': False, 'wish': 'nchw'}, 'nchw'),
        ({'gpu': False, 'interpreted': True}, 'torch'),
        ({'gpu': False, 'interpreted': True, 'wish': 'fused'}, 'fused'),
        ({'wish': 'torch', 'triton': False}, 'torch'),
    ],
)
def test_the_way_is_what_the_variable_says_else_the_fastest_that_works(machine, facts, expected) -> None:
    machine(**facts)
    assert chosen_way() == expected
    assert machine.lines == []


@pytest.mark.parametrize('wish', ['', 'fused'])
@pytest.mark.parametrize(
    ('facts', 'reason'),
    [
        ({'capability': (7, 5)}, 'Old GPU has compute capability 7.5, below 8.0'),
        ({'triton': False}, 'Triton is not installed'),
    ],
)
def test_a_gpu_that_cannot_run_kernels_goes_the_contiguous_way_and_says_why(machine, facts, reason, wish) -> None:
    machine(wish=wish, **facts)
    assert [chosen_way() for _ in range(2)] == ['nchw'] * 2
    (line,) = machine.lines
    assert line.startswith(reason)
    assert 'MMRAZOR_BIGNAS_KERNELS=nchw' in line


@pytest.mark.parametrize('gpu', [True, False])
def test_an_unknown_way_is_an_error_that_names_the_variable_and_the_ways(machine, gpu) -> None:
    machine(wish='fast', gpu=gpu)
    with pytest.raises(InputError) as error:
        chosen_way()
    assert "MMRAZOR_BIGNAS_KERNELS is 'fast'" in str(error.value)
    assert all(name in str(error.value) for name in ('fused', 'torch', 'nchw'))


def test_the_layout_follows_the_way(machine) -> None:
    for wish, layout in (('fused', 'channels_last'), ('torch', 'channels_last'), ('nchw', 'contiguous_format')):
        machine(wish=wish)
        assert memory_format() == getattr(torch, layout)


def test_only_what_has_a_gradient_is_fused(machine) -> None:
    x = torch.ones(1)
    machine(wish='fused', gpu=False, interpreted=True)
    assert is_fused(x)
    with torch.no_grad():
        assert not is_fused(x)
    machine(wish='torch', gpu=False, interpreted=True)
    assert not is_fused(x)
    machine(wish='fused')  # a GPU, but these features are not on it
    assert not is_fused(x)


def test_a_compiled_network_asks_for_the_way_without_a_break(monkeypatch, use_way, device) -> None:
    if device == 'cpu':  # what Triton and the card can do is asked, as with a GPU
        card = SimpleNamespace(is_available=lambda: True, get_device_capability=lambda: (9, 0))
        monkeypatch.setattr(way, 'torch', SimpleNamespace(**{**vars(torch), 'cuda': card}))
    use_way('')
    chosen_way()  # as a network does when it is built
    torch.compiler.reset()

    def run(x, weight):
        return depthwise_conv2d(x, weight, None, (1, 1), 1)

    x, weight = numbers(1, 4, 3, 3).to(device).requires_grad_(), numbers(4, 1, 3, 3, seed=1).to(device)
    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x, weight), run(x, weight))
