import random

import pytest
import torch

from mmrazor_bignas.models import extract_subnet, fold_batch_norm


@pytest.fixture
def statics(tiny_supernet, tiny_space):
    """Extracted subnets whose statistics are spread over two orders of magnitude."""
    rng = random.Random(0)
    torch.manual_seed(1)
    found = []
    for subnet in [tiny_space.smallest, tiny_space.largest, *(tiny_space.sample(rng) for _ in range(6))]:
        static = extract_subnet(tiny_supernet, subnet)
        for module in static.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(-1, 1).mul_(2.3).exp_()
        found.append(static)
    return found


@torch.no_grad()
def test_folded_outputs_agree_up_to_rounding(statics):
    images = torch.randn(32, 3, 28, 28)
    for static in statics:
        expected, found = static(images), fold_batch_norm(static)(images)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert torch.equal(found.argmax(1), expected.argmax(1))


def test_folding_leaves_no_batch_norm_and_the_network_as_it_is(statics):
    for static in statics:
        before = {key: value.clone() for key, value in static.state_dict().items()}
        modules = list(static.modules())
        folded = fold_batch_norm(static)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
        assert type(folded) is type(static)
        assert not folded.training
        after = static.state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(value, before[key]) for key, value in after.items())
        assert all(a is b for a, b in zip(static.modules(), modules, strict=True))
        assert static.subnet == folded.subnet


def test_folding_copies_no_more_than_it_changes(statics):
    static = statics[1]
    folded = fold_batch_norm(static)
    assert folded.head.fc.weight is static.head.fc.weight
    assert folded.backbone.stem.conv.weight is not static.backbone.stem.conv.weight
