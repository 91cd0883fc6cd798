from types import SimpleNamespace

import pytest
import torch
from functorch.compile import make_boxed_func
from kernel_cases import assert_near, numbers
from torch._dynamo.backends.common import aot_autograd

from mmrazor_bignas.kernels import batch_norm_act, depthwise_conv2d, operation, squeeze_excite
from mmrazor_bignas.kernels.operation import TOLERANCES, Kernel, aligned

OURS = torch.ops.mmrazor_bignas
EPS = 1e-5


@pytest.fixture
def log(monkeypatch) -> list[str]:
    """What is logged."""
    lines = []
    monkeypatch.setattr(operation, 'print_log', lambda message, **_: lines.append(message))
    return lines


@pytest.fixture
def kernel_of(monkeypatch, use_way):
    """A function that makes a kernel of a function and its twin."""
    use_way('fused')

    def make(function, twin, in_place: bool = False) -> Kernel:
        modules = {'mmrazor_bignas.kernels.triton_code.module': SimpleNamespace(function=function)}
        monkeypatch.setattr(operation, 'import_module', modules.__getitem__)
        return Kernel('module.function', twin, in_place)

    return make


def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def raises(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError('two lines\nno such instruction')


def no_numbers(x: torch.Tensor) -> torch.Tensor:
    return x * float('nan')


def wrong_numbers(x: torch.Tensor) -> torch.Tensor:
    return x * 2.5


def wrong_shape(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return x * 2, x


WRONG = [
    (raises, 'RuntimeError: no such instruction'),
    (no_numbers, 'differs by nan'),
    (wrong_numbers, 'its result differs by'),
    (wrong_shape, 'ValueError'),
]


@pytest.mark.parametrize(('function', 'fault'), WRONG)
def test_what_does_not_do_is_replaced_by_the_twin(kernel_of, log, device, function, fault) -> None:
    kernel, x = kernel_of(function, twice), torch.ones(3, device=device)
    for _ in range(3):
        assert torch.equal(kernel('variant', x), x * 2)
    (line,) = log
    assert 'module.function' in line
    assert "(torch.float32, 'variant')" in line
    assert fault in line


@pytest.mark.parametrize('function', [raises, no_numbers, wrong_numbers])
def test_what_was_changed_in_place_is_put_right(kernel_of, log, device, function) -> None:
    def add(parts, addends):
        for part, addend in zip(parts, addends, strict=True):
            part.add_(addend)
        return parts

    def wrong_add(parts, addends):
        parts[0].fill_(100)
        parts[0].copy_(function(parts[0]))
        return parts

    kernel = kernel_of(wrong_add, add, in_place=True)
    parts = torch.ones(4, device=device), torch.full((2,), 5.0, device=device)
    for step in range(1, 3):
        assert kernel('variant', parts, (torch.ones_like(parts[0]), torch.ones_like(parts[1]))) is parts
        assert parts[0].tolist() == [1.0 + step] * 4
        assert parts[1].tolist() == [5.0 + step] * 2
    assert len(log) == 1


def test_what_is_right_is_used_from_then_on_and_the_twin_no_more(kernel_of, log, device) -> None:
    ran = []

    def twin(x):
        ran.append('twin')
        return x * 2

    def function(x):
        ran.append('function')
        return x * 2

    kernel = kernel_of(function, twin)
    for _ in range(3):
        kernel('a', torch.ones(3, device=device))
    assert ran == ['twin', 'function', 'function', 'function']
    kernel('b', torch.ones(3, device=device))
    kernel('a', torch.ones(3, device=device).bfloat16())
    assert ran[4:] == ['twin', 'function'] * 2
    assert log == []


@pytest.mark.parametrize('value', [0.0, float('inf'), float('nan')])
def test_zeros_and_overflows_are_no_proof(kernel_of, log, device, value) -> None:
    kernel = kernel_of(wrong_numbers, twice)
    for _ in range(2):
        kernel('variant', torch.full((3,), value, device=device))
    assert kernel._variants == {}
    assert torch.equal(kernel('variant', torch.ones(3, device=device)), torch.full((3,), 2.0, device=device))
    assert len(log) == 1


def test_memory_that_is_short_is_no_fault_of_a_kernel(kernel_of, log, device) -> None:
    def function(x):
        raise torch.OutOfMemoryError('all is taken')

    kernel = kernel_of(function, twice)
    with pytest.raises(torch.OutOfMemoryError):
        kernel('variant', torch.ones(3, device=device))
    assert (kernel._variants, log) == ({}, [])


@pytest.mark.parametrize('dtype', [torch.float64, torch.complex64])
def test_a_format_that_kernels_do_not_take_is_the_twin_s(kernel_of, log, device, dtype) -> None:
    assert dtype not in TOLERANCES
    kernel, x = kernel_of(raises, twice), torch.ones(3, dtype=dtype, device=device)
    assert torch.equal(kernel('variant', x), x * 2)
    assert log == []


@pytest.mark.parametrize('way', ['torch', 'nchw'])
def test_no_kernel_runs_where_another_way_was_asked_for(kernel_of, log, use_way, device, way) -> None:
    kernel, x = kernel_of(raises, twice), torch.ones(3, device=device)
    use_way(way)
    assert torch.equal(kernel('variant', x), x * 2)
    assert log == []


def depthwise_case(dtype: torch.dtype, device: str, stride: int = 1, size: int = 3) -> tuple:
    return numbers(2, 4, 5, 6).to(device, dtype), numbers(4, 1, size, size, seed=1).to(device, dtype), stride


def norm_case(dtype: torch.dtype, device: str, adds: bool = True, act: bool = True) -> tuple:
    shapes = (2, 4, 3, 5), (4,), (4,), (2, 4, 3, 5)
    x, weight, bias, added = (numbers(*shape, seed=seed).to(device, dtype) for seed, shape in enumerate(shapes))
    return x, weight + 1, bias, added if adds else None, None, EPS, act


def gate_case(dtype: torch.dtype, device: str) -> tuple:
    shapes = (2, 4, 3, 5), (3, 4, 1, 1), (3,), (4, 3, 1, 1), (4,)
    x, reduce, reduce_bias, *others = (numbers(*shape, seed=seed) for seed, shape in enumerate(shapes))
    return tuple(one.to(device, dtype) for one in (x, reduce, reduce_bias + 1, *others))


CASES = {
    'depthwise_conv2d': [(depthwise_case, {'stride': stride, 'size': size}) for stride in (1, 2) for size in (3, 5)],
    'batch_norm_act': [(norm_case, {'adds': adds, 'act': act}) for adds in (True, False) for act in (True, False)],
    'squeeze_excite': [(gate_case, {})],
}
EACH = [(name, *case) for name, cases in CASES.items() for case in cases]
FIRST = [(name, *cases[0]) for name, cases in CASES.items()]


def with_gradients(case: tuple) -> tuple:
    return tuple(one.requires_grad_() if isinstance(one, torch.Tensor) else one for one in case)


def output_and_gradients(function, case: tuple) -> tuple[torch.Tensor, ...]:
    case = with_gradients(tuple(one.detach() if isinstance(one, torch.Tensor) else one for one in case))
    out = first(function(*case))
    tensors = [one for one in case if isinstance(one, torch.Tensor)]
    return out, *torch.autograd.grad(out, tensors, numbers(*out.shape, seed=9).to(out.device, out.dtype))


def first(result) -> torch.Tensor:
    return result if isinstance(result, torch.Tensor) else result[0]


@pytest.mark.usefixtures('fused')
@pytest.mark.parametrize(('name', 'make', 'options'), FIRST)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_operations_are_as_torch_wants_them(device, name, make, options, dtype) -> None:
    case = make(dtype, device, **options)
    if dtype != torch.float32 and name == 'batch_norm_act':
        case = case[0], case[1].float(), case[2].float(), *case[3:]
    torch.library.opcheck(getattr(OURS, name).default, with_gradients(case), rtol=0.05, atol=0.05)


@pytest.mark.usefixtures('fused')
@pytest.mark.parametrize(('name', 'make', 'options'), EACH)
def test_gradients_are_those_of_the_function(device, name, make, options) -> None:
    case = with_gradients(make(torch.float64, device, **options))
    assert torch.autograd.gradcheck(lambda *args: first(getattr(OURS, name)(*args)), case)


@pytest.mark.usefixtures('fused')
@pytest.mark.parametrize(('name', 'make', 'options'), FIRST)
def test_autocast_rounds_features_and_no_gradient_of_a_weight(device, name, make, options) -> None:
    case = make(torch.float32, device, **options)
    if name == 'batch_norm_act':  # takes what it is given, as the convolution before it gives
        case = case[0].bfloat16(), *case[1:3], case[3].bfloat16(), *case[4:]
    expected = output_and_gradients(getattr(OURS, name), case)
    with torch.autocast(device, torch.bfloat16):
        out, *gradients = output_and_gradients(getattr(OURS, name), case)
    assert out.dtype == torch.bfloat16
    assert [one.dtype for one in gradients] == [one.dtype for one in case if isinstance(one, torch.Tensor)]
    assert_near((out, *gradients), expected, 0.02)


@pytest.mark.usefixtures('fused')
@pytest.mark.filterwarnings('ignore:Dynamo detected a call to a `functools.lru_cache`')
def test_a_compiled_network_has_the_operations_and_their_results(device) -> None:
    depthwise, norm, gate = (make(torch.float32, device, **options) for _, make, options in FIRST)
    weights = depthwise[1], *norm[1:3], *gate[1:]

    def network(x, kernel, weight, bias, *gate_weights):
        x = depthwise_conv2d(x, kernel, None, (1, 1), 1)
        x = batch_norm_act(x, weight, bias, x, EPS, True)[0]
        return squeeze_excite(x, *gate_weights)

    case = depthwise[0], *weights
    expected = output_and_gradients(network, case)
    torch.compiler.reset()  # what was compiled before, the other way
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph.graph)
        return make_boxed_func(graph.forward)

    compiled = torch.compile(network, fullgraph=True, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep))
    assert_near(output_and_gradients(compiled, case), expected, 1e-6)
    names = [str(node.target) for graph in graphs for node in graph.nodes]
    assert [name.split('.')[1] for name in names if name.startswith('mmrazor_bignas.')] == [
        'depthwise_conv2d',
        'batch_norm_act',
        'squeeze_excite',
        'squeeze_excite_backward',
        'batch_norm_act_backward',
        'depthwise_conv2d_input_gradient',
        'depthwise_conv2d_weight_gradient',
    ]


@pytest.mark.usefixtures('fused')
@pytest.mark.parametrize(('name', 'make', 'options'), FIRST)
def test_features_of_another_layout_or_address_are_taken(device, name, make, options) -> None:
    x, *others = make(torch.float32, device, **options)
    x = x.contiguous(memory_format=torch.channels_last)
    function = getattr(OURS, name)
    expected = output_and_gradients(function, (x, *others))
    for other in (x.contiguous(), torch.cat([x, x], 1)[:, :4], at_an_odd_address(x)):
        assert_near(output_and_gradients(function, (other, *others)), expected, 1e-6)


def at_an_odd_address(x: torch.Tensor) -> torch.Tensor:
    """The same features in channels_last, beginning at no multiple of 16 bytes."""
    x = x.permute(0, 2, 3, 1)
    moved = x.new_empty(x.numel() + 1)[1:].view(x.shape).copy_(x).permute(0, 3, 1, 2)
    assert moved.data_ptr() % 16
    return moved


def test_only_features_that_kernels_cannot_take_are_copied(device) -> None:
    x = numbers(2, 4, 5, 6).to(device).contiguous(memory_format=torch.channels_last)
    assert aligned(x) is x
    for other in (x.contiguous(), at_an_odd_address(x)):
        assert torch.equal(aligned(other), x)
        assert aligned(other).stride() == x.stride()
        assert aligned(other).data_ptr() % 16 == 0
