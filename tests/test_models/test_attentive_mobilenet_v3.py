import random
from dataclasses import replace

import pytest
import torch
from conftest import randomise
from torch.utils.flop_counter import FlopCounterMode

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import AttentiveMobileNetV3, extract_subnet
from mmrazor_bignas.models.attentive_mobilenet_v3 import resize
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import SearchSpace


def some(space: SearchSpace, count: int) -> list:
    rng = random.Random(0)
    return [space.smallest, space.largest, *(space.sample(rng) for _ in range(count))]


@pytest.fixture
def per_block_supernet(tiny_architecture, per_block_space):
    torch.manual_seed(0)
    tiny_architecture['backbone']['search_space'] = per_block_space
    supernet = MODELS.build(tiny_architecture)
    randomise(supernet)
    return supernet


def test_static_equals_supernet_where_blocks_choose_by_themselves(per_block_supernet, per_block_space):
    images = torch.randn(2, 3, 28, 28)
    per_block_supernet.eval()
    logits = {}
    with torch.no_grad():
        for subnet in some(per_block_space, 20):
            static = extract_subnet(per_block_supernet, subnet)
            logits[subnet] = static(images)
            assert torch.equal(logits[subnet], per_block_supernet(images, subnet=subnet)), subnet
    assert len({tuple(value.flatten().tolist()) for value in logits.values()}) == len(logits)


def test_estimate_equals_torchs_counter_where_blocks_choose_by_themselves(per_block_supernet, per_block_space):
    for subnet in some(per_block_space, 10):
        static = per_block_supernet.twin(subnet).eval()
        with FlopCounterMode(display=False) as counter:
            static(torch.randn(1, 3, subnet.resolution, subnet.resolution))
        assert counter.get_total_flops() == 2 * static.cost().flops
        assert sum(parameter.numel() for parameter in static.parameters()) == static.cost().params


def test_static_equals_supernet_bit_for_bit(tiny_supernet, tiny_space):
    images = torch.randn(2, 3, 28, 28)
    tiny_supernet.eval()
    with torch.no_grad():
        for subnet in tiny_space.enumerate():
            if subnet.resolution == 24:
                static = extract_subnet(tiny_supernet, subnet)
                assert torch.equal(static(images), tiny_supernet(images, subnet=subnet)), subnet


def test_estimate_equals_torchs_counter_and_numel(tiny_supernet, tiny_space):
    for subnet in some(tiny_space, 20):
        static = tiny_supernet.twin(subnet).eval()
        with FlopCounterMode(display=False) as counter:
            static(torch.randn(1, 3, subnet.resolution, subnet.resolution))
        cost = static.cost()
        assert counter.get_total_flops() == 2 * cost.flops  # torch counts a multiply-add as two
        assert sum(parameter.numel() for parameter in static.parameters()) == cost.params


def test_estimate_equals_torchs_counter_in_the_full_space(imagenet_space):
    from mmrazor_bignas.search_space import estimate, resolve

    subnet = imagenet_space.sample(random.Random(1))
    with torch.device('meta'):
        static = AttentiveMobileNetV3(imagenet_space, subnet)
        with FlopCounterMode(display=False) as counter:
            static.eval()(torch.empty(1, 3, subnet.resolution, subnet.resolution))
    assert counter.get_total_flops() == 2 * estimate(resolve(imagenet_space, subnet), num_classes=0).flops


def test_every_subnet_has_the_supernets_key_names(tiny_supernet, tiny_space):
    keys = tiny_supernet.state_dict().keys()
    for subnet in some(tiny_space, 20):
        assert tiny_supernet.twin(subnet).state_dict().keys() <= keys


def test_no_channel_of_the_supernet_is_idle(tiny_supernet, tiny_space):
    # Every row, column and kernel place of every tensor is used by some subnet: the envelope is no larger than needed.
    tiny_supernet.train()
    for name, parameter in tiny_supernet.named_parameters():
        if name.endswith('se.reduce.bias'):
            torch.nn.init.ones_(parameter)  # keeps every unit's ReLU open
    for subnet in some(tiny_space, 60):
        tiny_supernet(torch.randn(2, 3, 16, 16), subnet=subnet, drop=False).square().sum().backward()
    for name, parameter in tiny_supernet.named_parameters():
        used = parameter.grad != 0
        for dim in range(used.dim()):
            others = [other for other in range(used.dim()) if other != dim]
            assert (used.any(dim=others) if others else used).all(), (name, dim)


def test_a_traced_static_subnet_holds_no_slice(tiny_supernet, tiny_space):
    static = tiny_supernet.twin(tiny_space.sample(random.Random(3))).eval()
    graph = torch.jit.trace(static, torch.randn(1, 3, 28, 28)).inlined_graph
    kinds = {node.kind() for node in graph.nodes()}
    assert 'aten::_convolution' in kinds
    assert not kinds & {'aten::slice', 'aten::narrow', 'aten::select', 'aten::index'}


def test_forward_leaves_nothing_behind(tiny_supernet, tiny_space):
    images = torch.randn(2, 3, 32, 32)
    tiny_supernet.train()
    before = {name: dict(vars(module)) for name, module in tiny_supernet.named_modules()}
    state = {key: value.clone() for key, value in tiny_supernet.state_dict().items()}
    first = tiny_supernet(images, subnet=tiny_space.smallest, drop=False)
    tiny_supernet(images, subnet=tiny_space.largest)
    assert torch.equal(tiny_supernet(images, subnet=tiny_space.smallest, drop=False), first)
    assert all(torch.equal(value, state[key]) for key, value in tiny_supernet.state_dict().items())
    for name, module in tiny_supernet.named_modules():
        assert vars(module).keys() == before[name].keys()
        assert all(value is before[name][key] for key, value in vars(module).items()), name


def test_without_a_subnet_the_largest_runs(tiny_supernet, tiny_space):
    images = torch.randn(1, 3, 32, 32)
    tiny_supernet.eval()
    assert torch.equal(tiny_supernet(images), tiny_supernet(images, subnet=tiny_space.largest))


def test_a_static_network_runs_no_other_subnet(tiny_supernet, tiny_space):
    static = tiny_supernet.twin(tiny_space.smallest)
    with pytest.raises(InputError, match='one static subnet'):
        static(torch.randn(1, 3, 16, 16), subnet=tiny_space.largest)


def test_a_subnet_of_another_space_is_refused(tiny_rows, tiny_space):
    with pytest.raises(InputError, match=r'width\[0\] \(stem\) is 12.*\[8, 16\]'):
        AttentiveMobileNetV3(tiny_rows, replace(tiny_space.smallest, width=(12, *tiny_space.smallest.width[1:])))


def test_drop_path_rates_grow_over_the_last_stages(imagenet_space):
    with torch.device('meta'):
        rates = [
            block.drop_path_rate
            for stage in AttentiveMobileNetV3(imagenet_space, drop_path_rate=0.2).stages
            for block in stage
        ]
    assert rates == [0.0] * 27 + [pytest.approx(0.2 * i / 37) for i in range(27, 37)]


def test_last_gamma_of_every_block_starts_at_zero_and_no_other(tiny_rows):
    network = AttentiveMobileNetV3(tiny_rows)
    zero = [name for name, value in network.named_parameters() if not value.any() and name.endswith('weight')]
    assert zero == [f'stages.{i}.{j}.project.bn.weight' for i in range(2) for j in range(2)]


def test_resize_keeps_what_has_the_size():
    images = torch.randn(1, 3, 32, 32)
    assert resize(images, 32) is images
    expected = torch.nn.functional.interpolate(images, size=(20, 20), mode='bicubic', align_corners=False)
    assert torch.equal(resize(images, 20), expected)
