import math
import random

import parity
import pytest
import torch
from torch import nn

from mmrazor_bignas.engine import calibrate_batch_norm
from mmrazor_bignas.models import extract_subnet


@pytest.fixture
def static(tiny_supernet, tiny_space):
    return extract_subnet(tiny_supernet, tiny_space.sample(random.Random(0)))


def statistics(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers() if 'running' in name}


def batches(*sizes: int) -> parity.Batches:
    return parity.Batches([torch.randint(0, 255, (size, 3, 28, 28), dtype=torch.uint8) for size in sizes])


def test_equals_torchs_cumulative_average(static):
    data = batches(4, 4, 4)
    calibrate_batch_norm(static, data)
    ours = statistics(static)
    for norm in (module for module in static.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in data:
            static(static.data_preprocessor({'inputs': batch['inputs']})['inputs'])
    for name, value in statistics(static).items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-6)


def test_a_stacked_batch_is_its_list_of_images(static):
    data = batches(4, 4)
    calibrate_batch_norm(static, data)
    stacked = statistics(static)
    calibrate_batch_norm(static, parity.Batches([list(batch['inputs']) for batch in data]))
    assert all(torch.equal(value, stacked[name]) for name, value in statistics(static).items())


def test_batches_weigh_as_much_as_they_have_images(static):
    data = batches(5, 3)
    parts = []
    for batch in data:
        calibrate_batch_norm(static, parity.Batches([batch['inputs']]))
        parts.append(statistics(static))
    first = 'backbone.stem.bn.running_mean'  # later layers see what earlier ones made of the batch alone, as here
    calibrate_batch_norm(static, data)
    torch.testing.assert_close(statistics(static)[first], 0.625 * parts[0][first] + 0.375 * parts[1][first])


@pytest.mark.parametrize('before', [1.5, math.inf, math.nan])
def test_what_was_before_does_not_matter_and_modes_are_put_back(static, before):
    """Statistics that are no numbers, as of a training that diverged, neither; nor how many batches were counted."""
    data = batches(4, 3)
    calibrate_batch_norm(static, data)
    first = {name: value.clone() for name, value in static.state_dict().items()}
    for name, value in static.named_buffers():
        if 'running' in name:
            value.fill_(before)
    calibrate_batch_norm(static.train(), data)
    assert all(torch.equal(value, first[name]) for name, value in static.state_dict().items())
    assert not any(module.training for module in static.modules())
    assert {m.momentum for m in static.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}


def test_dropout_and_drop_path_stay_off(tiny_supernet, tiny_space):
    static = extract_subnet(tiny_supernet, tiny_space.largest)
    assert static.head.dropout > 0
    assert any(block.drop_path_rate > 0 for stage in static.backbone.stages for block in stage)
    data = batches(4, 4)
    calibrate_batch_norm(static, data)
    first = statistics(static)
    torch.manual_seed(123)
    calibrate_batch_norm(static, data)
    assert all(torch.equal(value, first[name]) for name, value in statistics(static).items())


def test_parameters_do_not_move(static):
    before = {name: value.clone() for name, value in static.named_parameters()}
    calibrate_batch_norm(static, batches(4))
    assert all(torch.equal(value, before[name]) for name, value in static.named_parameters())
