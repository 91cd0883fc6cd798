"""The backbone under a detector: feature maps of images of any size, frozen parts, weights of an exported subnet."""

from collections import OrderedDict

import pytest
import torch
from conftest import randomise
from mmcls.registry import MODELS as MMCLS_MODELS
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import FeaturePyramidNetwork

from mmrazor_bignas.engine.checkpoints import save_atomically, subnet_checkpoint
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.kernels import memory_format
from mmrazor_bignas.models import AttentiveMobileNetV3, extract_subnet

SIZES = [(32, 32), (37, 50), (64, 31)]


def build(space, subnet='max', **options) -> AttentiveMobileNetV3:
    """By the string of a config, as mmcls and mmdet build."""
    options = {'mutable_cfg': subnet, 'out_indices': (0, 1), **options}
    return MMCLS_MODELS.build({'type': 'mmrazor_bignas.AttentiveMobileNetV3', 'search_space': space, **options})


@pytest.fixture
def exported(tiny_supernet, tiny_space, tmp_path):
    """A static classifier and its file."""
    static = extract_subnet(tiny_supernet, tiny_space.largest)
    save_atomically(subnet_checkpoint(static, {}), tmp_path / 'subnet.pth')
    return static, str(tmp_path / 'subnet.pth')


def pretrained(file: str, prefix: str | None = 'backbone.') -> dict:
    return {'type': 'Pretrained', 'checkpoint': file, 'prefix': prefix}


def test_maps_are_the_classifiers_own(exported, tiny_space):
    static, file = exported
    backbone = build(tiny_space, init_cfg=pretrained(file)).eval().to(memory_format=memory_format())
    backbone.init_weights()
    seen = []
    for blocks in static.backbone.stages:
        blocks[-1].register_forward_hook(lambda module, args, output: seen.append(output))
    images = torch.randn(2, 3, tiny_space.largest.resolution, tiny_space.largest.resolution)
    with torch.no_grad():
        static(images)
        maps = backbone(images.contiguous(memory_format=memory_format()))
        (last,) = build(tiny_space, out_indices=[1], init_cfg=pretrained(file)).eval()(images)
    assert len(maps) == 2
    assert all(map(torch.equal, maps, seen))
    assert not torch.equal(last, maps[1])  # new weights
    assert [one.shape[1] for one in maps] == list(backbone.feature_channels)


@pytest.mark.parametrize('size', SIZES)
def test_any_size_without_a_resize(tiny_space, size):
    backbone = build(tiny_space).eval()
    randomise(backbone)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        maps = backbone(images)
        assert backbone.feature_strides == (2, 4)
        for found, stride in zip(maps, backbone.feature_strides, strict=True):
            assert found.shape[-2:] == tuple(-(-side // stride) for side in size)
        # The same across and down: with all kernels transposed, a transposed image has transposed maps.
        for weight in backbone.parameters():
            if weight.ndim == 4:
                weight.copy_(weight.transpose(2, 3).clone())
        for found, expected in zip(backbone(images.transpose(2, 3)), maps, strict=True):
            torch.testing.assert_close(found.transpose(2, 3), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('out_indices', [(0,), (0, 1)])
def test_cost_at_any_size_is_torchs_count(tiny_space, size, out_indices):
    backbone = build(tiny_space, out_indices=out_indices).eval()
    with FlopCounterMode(display=False) as counter:
        backbone(torch.randn(1, 3, *size))
    cost = backbone.cost(size)
    assert counter.get_total_flops() == 2 * cost.flops
    assert sum(parameter.numel() for parameter in backbone.parameters()) == cost.params


def test_a_feature_pyramid_trains_every_parameter(tiny_space):
    backbone = build(tiny_space).train()
    randomise(backbone)
    pyramid = FeaturePyramidNetwork(backbone.feature_channels, 8)
    maps = OrderedDict(enumerate(backbone(torch.randn(2, 3, 45, 70))))
    levels = pyramid(maps)
    assert [tuple(level.shape) for level in levels.values()] == [(2, 8, 23, 35), (2, 8, 12, 18)]
    sum(level.square().sum() for level in levels.values()).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_published_subnets_need_no_search_space():
    backbone = AttentiveMobileNetV3(mutable_cfg='attentivenas-a0', out_indices=(1, 2, 4, 6))
    assert (backbone.feature_channels, backbone.feature_strides) == ((24, 32, 112, 216), (4, 8, 16, 32))


def test_a_search_space_may_be_that_of_a_config():
    backbone = build('configs/demo/digits_supernet.py', out_indices=(3,))
    assert (backbone.feature_channels, backbone.feature_strides) == ((48,), (8,))


def test_what_is_frozen_stays(tiny_space):
    backbone = build(tiny_space, frozen_stages=1)
    randomise(backbone)
    backbone.train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD([one for one in backbone.parameters() if one.requires_grad], lr=0.1)
    sum(one.square().sum() for one in backbone(torch.randn(2, 3, 32, 32))).backward()
    optimizer.step()
    changed = {key.rsplit('.', 2)[0] for key, value in backbone.state_dict().items() if not value.equal(before[key])}
    assert changed
    assert all(key.startswith('stages.1') for key in changed)


def test_running_statistics_stay_with_norm_eval(tiny_space):
    for norm_eval in (True, False):
        backbone = build(tiny_space, norm_eval=norm_eval).train()
        backbone(torch.randn(2, 3, 32, 32))
        assert bool(backbone.stem.bn.running_mean.any()) != norm_eval
        assert backbone.stem.bn.weight.requires_grad


def test_a_supernets_frozen_stages_are_normalised_by_the_batch(tiny_architecture, tiny_space):
    from mmrazor_bignas.registry import MODELS

    tiny_architecture['backbone'] |= {'frozen_stages': 1}
    supernet = MODELS.build(tiny_architecture).train()
    assert supernet.backbone.stem.bn.training
    supernet(torch.randn(2, 3, 32, 32), subnet=tiny_space.smallest).sum().backward()
    frozen = {name for name, parameter in supernet.named_parameters() if parameter.grad is None}
    assert {'backbone.stem.conv.weight', 'backbone.stages.0.0.depthwise.bn.weight'} <= frozen
    assert 'backbone.stages.1.0.project.conv.weight' not in frozen


# Weights of an exported subnet


def test_what_is_beyond_the_last_map_is_left_out(exported, tiny_space):
    static, file = exported
    backbone = build(tiny_space, out_indices=(0,), init_cfg=pretrained(file))
    backbone.init_weights()
    own, theirs = backbone.state_dict(), static.backbone.state_dict()
    assert len(backbone.stages) == 1
    assert not hasattr(backbone, 'head_mix')
    assert own.keys() < theirs.keys()
    assert all(value.equal(theirs[key]) for key, value in own.items())


@pytest.mark.parametrize('prefix', [None, 'neck.'])
def test_a_wrong_prefix_is_told_the_right_one(exported, tiny_space, prefix):
    backbone = build(tiny_space, init_cfg=pretrained(exported[1], prefix))
    with pytest.raises(InputError, match=r"has no stem.conv.weight under prefix=.*; expected prefix='backbone.'"):
        backbone.init_weights()


def test_another_subnets_weights_are_refused(exported, tiny_space):
    with pytest.raises(InputError, match=r'subnet.pth: not a checkpoint of this network.*\d+ of \d+ keys differ'):
        build(tiny_space, 'min', init_cfg=pretrained(exported[1])).init_weights()


# Bad options


@pytest.mark.parametrize('indices', [(0, 2), (1, 0), (0, 0), (-1,), (), 1, ('0',)])
def test_out_indices_are_stages(tiny_space, indices):
    with pytest.raises(InputError, match=r'backbone.out_indices is .*; expected stages of 0 to 1, ascending'):
        build(tiny_space, out_indices=indices)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'mutable_cfg': None}, 'out_indices needs mutable_cfg'),
        ({'frozen_stages': 3}, r'frozen_stages is 3; expected -1 \(none\), 0 \(the stem\) or up to 2'),
        ({'search_space': 'nowhere.py'}, "search_space is 'nowhere.py'; expected a table, or the file of a config"),
        ({'in_channels': 0}, "in_channels is 0; expected the images' number of channels"),
    ],
)
def test_options_are_checked(tiny_space, options, message):
    with pytest.raises(InputError, match=message):
        build(options.pop('search_space', tiny_space), **options)


def test_a_supernet_has_no_statistics_to_keep(tiny_space):
    supernet = AttentiveMobileNetV3(tiny_space, norm_eval=True)
    with pytest.raises(InputError, match='norm_eval is True; expected False'):
        supernet.train()


def test_a_classifier_has_no_maps(tiny_architecture):
    from mmrazor_bignas.registry import MODELS

    tiny_architecture['backbone'] |= {'out_indices': (0,)}
    with pytest.raises(InputError, match='out_indices is for feature maps under a detector'):
        MODELS.build({**tiny_architecture, 'mutable_cfg': 'min'})
