import pytest
import torch
from conftest import ROOT
from tiny_imagenet import SUBNET

import mmrazor_bignas
from mmrazor_bignas import get_subnet
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.search_space.lookup import NAMED_YAML

A0 = 'attentivenas-a0'


@pytest.mark.parametrize(
    'mutable_cfg', [A0, str(NAMED_YAML[A0]), SubnetSpec.from_yaml(NAMED_YAML[A0]).to_dict(), 'min']
)
def test_a_name_a_path_and_a_dict_are_the_same(mutable_cfg):
    model = get_subnet(mutable_cfg)
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_954_184
    assert not model.training


def test_images_in_logits_out():
    model = get_subnet('min', config=ROOT / 'configs/demo/digits_subnet.py')
    with torch.no_grad():
        assert model(torch.randn(3, 3, 28, 28)).shape == (3, 10)


def test_an_exported_checkpoint_is_loaded(searched, monkeypatch, imagenet):
    monkeypatch.chdir(imagenet)
    path = searched.work_dir / 'best_subnet.pth'
    config = imagenet / 'small.py'
    config.write_text(
        f"_base_ = ['{imagenet}/{SUBNET}']\n"
        'algorithm = dict(architecture=dict(\n'
        '    head=dict(num_classes=6), backbone=dict(search_space=dict(resolution=[32, 48, 64]))))\n'
    )
    model = get_subnet(searched.work_dir / 'best_subnet.yaml', checkpoint=path, config=config)
    state = torch.load(path, weights_only=True)['state_dict']
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    with pytest.raises(InputError, match='another subnet'):
        get_subnet('max', checkpoint=path, config=config)


def test_unknown_names_are_errors():
    with pytest.raises(InputError, match='neither a file nor one of'):
        get_subnet('a0')
    with pytest.raises(AttributeError, match='no attribute'):
        _ = mmrazor_bignas.get_supernet


def test_what_calibrate_may_be():
    with pytest.raises(InputError, match="calibrate is 'no'; expected True, False or None"):
        get_subnet('min', calibrate='no')
    with pytest.raises(InputError, match='calibrate=True needs a checkpoint'):
        get_subnet('min', calibrate=True)
