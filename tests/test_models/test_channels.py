"""Images of another number of channels than three: what a network costs, takes and refuses."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmrazor_bignas.engine import latency
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import CostTable, LatencyTable, SearchSpace, distinct_layers

CLASSES = 4


def classifier(architecture: dict, channels: int, subnet=None, means: int = 1):
    architecture['backbone']['in_channels'] = channels
    architecture['data_preprocessor'] = {'mean': [127.5] * means, 'std': [64.0] * means}
    return MODELS.build({**architecture, 'mutable_cfg': subnet})


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_costs_count_the_channels(tiny_architecture, tiny_space, channels):
    supernet = classifier(tiny_architecture, channels)
    space = supernet.search_space
    assert (space == tiny_space) == (channels == 3)
    assert SearchSpace.from_dict(space.to_dict()) == space == SearchSpace.of_backbone(tiny_architecture['backbone'])
    table = CostTable(space, CLASSES)
    for subnet in (space.smallest, space.largest):
        static = supernet.twin(subnet).eval()
        with FlopCounterMode(display=False) as counter:
            static(torch.randn(1, channels, subnet.resolution, subnet.resolution))
        assert counter.get_total_flops() == 2 * static.cost().flops
        assert sum(parameter.numel() for parameter in static.parameters()) == static.cost().params
        assert table(subnet) == static.cost() == supernet.cost(subnet)


def test_a_latency_table_is_of_its_channels(tiny_architecture, tiny_space, monkeypatch):
    monkeypatch.setattr(latency, 'SUBNET_ROUNDS', 1)
    supernet = classifier(tiny_architecture, 1)
    smallest, settings = tiny_space.smallest, latency.Settings('cpu', 1, 1, 'float32')
    assert latency.measure_subnets(supernet, [smallest], settings)[smallest] > 0
    layers = dict.fromkeys(map(str, distinct_layers(tiny_space, CLASSES)), 0.5)
    table = LatencyTable(layers, {}, tiny_space, CLASSES)
    with pytest.raises(InputError, match=r'images of 3 channels, 4 classes; here .* images of 1 channels, 4 classes'):
        table.check_space(supernet.search_space, CLASSES)
    with pytest.raises(InputError, match='has no "stem 1-'):
        CostTable(supernet.search_space, CLASSES, table)


@pytest.mark.parametrize('subnet', [None, 'min'])
def test_images_of_other_channels_are_refused(tiny_architecture, subnet):
    network = classifier(tiny_architecture, 1, subnet)
    assert network(torch.randn(2, 1, 16, 16)).shape == (2, CLASSES)
    with pytest.raises(InputError, match='the images have 3 channels, the network takes 1: load the images'):
        network(torch.randn(2, 3, 16, 16))


@pytest.mark.parametrize('as_list', [True, False])
def test_grey_images_are_not_repeated_without_a_word(tiny_architecture, as_list):
    """Three means would make three channels of one."""
    preprocessor = classifier(tiny_architecture, 3, means=3).data_preprocessor
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(InputError, match='the images have 1 channels, the network takes 3'):
        preprocessor({'inputs': list(images) if as_list else images})


def test_grey_images_have_one_mean(tiny_architecture):
    preprocessor = classifier(tiny_architecture, 1).data_preprocessor
    images = torch.full((2, 1, 8, 8), 255, dtype=torch.uint8)
    assert preprocessor({'inputs': images})['inputs'].unique().tolist() == [(255 - 127.5) / 64]
    with pytest.raises(InputError, match='data_preprocessor has 3 means, but the network takes images of 1 channels'):
        classifier(tiny_architecture, 1, means=3)
