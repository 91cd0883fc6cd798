"""Measuring layers and subnets."""

from dataclasses import replace

import pytest
import torch
from conftest import TINY_CLASSES

from mmrazor_bignas.engine import latency as module
from mmrazor_bignas.engine.latency import (
    Settings,
    check_machine,
    machine_name,
    measure_subnets,
    measure_table,
    spearman,
)
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import SingleLayer
from mmrazor_bignas.search_space import Layer, distinct_layers, network_layers, resolve

CPU = Settings('cpu', 2, 1, 'float32')


@pytest.fixture
def quick(monkeypatch):
    """One pass of everything."""
    for name, value in (
        ('LAYER_ROUNDS', 1),
        ('SUBNET_ROUNDS', 1),
        ('SAMPLES', 1),
        ('WARM_UP', 1),
        ('SAMPLE_SECONDS', 0),
    ):
        monkeypatch.setattr(module, name, value)


def test_every_layer_runs_by_itself(tiny_space):
    for layer in distinct_layers(tiny_space, TINY_CLASSES):
        with torch.no_grad():
            SingleLayer(layer).eval()(torch.zeros(1, layer.in_channels, layer.side, layer.side))


def test_layers_in_a_row_are_the_network(tiny_space, tiny_supernet):
    """With its weights they compute what it computes."""
    subnet = tiny_space.largest
    network = tiny_supernet.twin(subnet).eval()
    backbone = network.backbone
    layers = [SingleLayer(layer).eval() for layer in network_layers(resolve(tiny_space, subnet), TINY_CLASSES)]
    stem, *blocks, head = layers
    stem.stem.load_state_dict(backbone.stem.state_dict())
    for single, block in zip(blocks, (block for stage in backbone.stages for block in stage), strict=True):
        single.block.load_state_dict(block.state_dict())
    head.expand.load_state_dict(backbone.head_expand.state_dict())
    head.mix.load_state_dict(backbone.head_mix.state_dict())
    head.fc.load_state_dict(network.head.fc.state_dict())
    images = torch.rand(2, 3, subnet.resolution, subnet.resolution, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = images
        for layer in layers:
            x = layer(x)
        torch.testing.assert_close(x, network(images))


def test_the_table_has_every_layer_and_says_what_it_was_measured_on(tiny_space, quick):
    threads = torch.get_num_threads()
    table = measure_table(tiny_space, TINY_CLASSES, CPU)
    assert torch.get_num_threads() == threads
    assert list(table.milliseconds) == [str(layer) for layer in distinct_layers(tiny_space, TINY_CLASSES)]
    assert all(value > 0 for value in table.milliseconds.values())
    assert Settings.of(table) == CPU
    assert table.measured_on['machine'] == machine_name('cpu') != ''
    table.check_space(tiny_space, TINY_CLASSES)
    check_machine(table, '')


def test_bfloat16_runs_in_bfloat16(tiny_space, quick, monkeypatch):
    seen = set()
    forward = SingleLayer.forward

    def spy(self, x):
        result = forward(self, x)
        seen.add(result.dtype)
        return result

    monkeypatch.setattr(SingleLayer, 'forward', spy)
    measure_table(tiny_space, TINY_CLASSES, replace(CPU, dtype='bfloat16'))
    assert torch.bfloat16 in seen


def test_more_work_takes_longer(tiny_supernet, tiny_space):
    """The largest of more resolutions than the tiny space has, against its smallest."""
    few, many = (
        replace(tiny_space.largest, resolution=side)
        for side in tiny_space.resolution[:: len(tiny_space.resolution) - 1]
    )
    found = measure_subnets(tiny_supernet, [few, many], Settings('cpu', 32, 1, 'float32'))
    assert found[few] < found[many]


@pytest.mark.parametrize(
    ('a', 'b', 'expected'),
    [([1, 2, 3], [10, 20, 30], 1), ([1, 2, 3], [3, 2, 1], -1), ([1, 2, 3, 4], [1, 2, 4, 3], 0.8)],
)
def test_spearman(a, b, expected):
    assert spearman(a, b) == pytest.approx(expected)


# Bad input


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'device': 'tpu'}, r"device is 'tpu'; expected one of \['cpu', 'cuda'\]"),
        ({'dtype': 'int8'}, r"dtype is 'int8'; expected one of \['float32', 'bfloat16'\]"),
        ({'batch_size': 0}, 'batch_size is 0; expected an integer of 1 or more'),
        ({'threads': 1.5}, 'threads is 1.5; expected an integer of 1 or more'),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(InputError, match=f'latency: {message}'):
        replace(CPU, **change)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu():
    with pytest.raises(InputError, match='device is cuda, but torch finds no GPU here'):
        replace(CPU, device='cuda')


def test_a_table_of_another_machine(tiny_space, quick):
    table = measure_table(tiny_space, TINY_CLASSES, CPU)
    table.measured_on['machine'] = 'Turing 1'
    with pytest.raises(InputError, match=r"was measured on 'Turing 1', this machine has .*; stay"):
        check_machine(table, 'stay')


def test_a_layer_has_the_channels_of_its_input(tiny_space):
    net = resolve(tiny_space, tiny_space.largest)
    assert Layer(net.stem, 32).in_channels == 3
    assert Layer(net.stages[0][0], 16).in_channels == net.stem.out_channels
