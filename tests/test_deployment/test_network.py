"""The network as a file holds it: the right colours and numbers go into it, whatever the file takes."""

import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, randomise

from mmrazor_bignas.deployment.card import make_card
from mmrazor_bignas.deployment.network import DeployedNetwork, architecture_of, as_input
from mmrazor_bignas.deployment.preprocessing import Preprocessing
from mmrazor_bignas.engine.checkpoints import subnet_checkpoint
from mmrazor_bignas.registry import MODELS

sys.path.insert(0, str(ROOT / 'examples'))
predict_onnx = pytest.importorskip('predict_onnx')

MEAN, STD = (120.0, 110.0, 70.0), (50.0, 60.0, 70.0)


@pytest.fixture(params=['RGB', 'BGR'])
def preprocessing(request) -> Preprocessing:
    return Preprocessing((), (16, 16), request.param, MEAN, STD)


@pytest.fixture
def static(tiny_architecture, preprocessing):
    torch.manual_seed(0)
    settings = {'mean': MEAN, 'std': STD, 'to_rgb': preprocessing.channels == 'RGB'}
    model = MODELS.build({**tiny_architecture, 'data_preprocessor': settings, 'mutable_cfg': 'min'})
    randomise(model)
    return model.eval()


@pytest.fixture
def images() -> torch.Tensor:
    """(N, 3, H, W) in BGR, whose colours differ."""
    images = torch.randint(0, 100, (3, 3, 16, 16), dtype=torch.uint8)
    return images + torch.tensor([0, 70, 150], dtype=torch.uint8).view(1, 3, 1, 1)


@pytest.mark.parametrize('inside', [False, True])
@torch.no_grad()
def test_a_file_gets_what_the_network_gets(static, preprocessing, images, inside):
    card = make_card(subnet_checkpoint(static, {})['meta'], preprocessing, with_preprocessing=inside)
    inputs = as_input(images, card)
    assert inputs.shape == ((3, 16, 16, 3) if inside else (3, 3, 16, 16))
    assert inputs.dtype == (torch.uint8 if inside else torch.float32)
    expected = static(static.data_preprocessor({'inputs': images})['inputs'])
    assert (static(static.data_preprocessor({'inputs': images.flip(1)})['inputs']) - expected).abs().max() > 1e-3
    torch.testing.assert_close(DeployedNetwork(static, card)(inputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('inside', [False, True])
def test_the_script_without_our_libraries_makes_the_same_input(static, preprocessing, images, inside):
    card = make_card(subnet_checkpoint(static, {})['meta'], preprocessing, with_preprocessing=inside)
    in_rgb = images[0].flip(0).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(predict_onnx.as_input(in_rgb, card), as_input(images[:1], card).numpy(), rtol=1e-6)


def test_a_card_is_enough_to_build_the_network(static, preprocessing, images):
    checkpoint = subnet_checkpoint(static, {})
    again = MODELS.build(architecture_of(make_card(checkpoint['meta'], preprocessing)))
    again.load_state_dict(checkpoint['state_dict'])
    for one in (static, again.eval()):
        one.inputs = one.data_preprocessor({'inputs': images})['inputs']
    torch.testing.assert_close(again.inputs, static.inputs)
    torch.testing.assert_close(again(again.inputs), static(static.inputs))


def test_the_network_itself_stays_as_it_is(static, preprocessing):
    card = make_card(subnet_checkpoint(static, {})['meta'], preprocessing)
    network = DeployedNetwork(static, card)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in static.parameters())
