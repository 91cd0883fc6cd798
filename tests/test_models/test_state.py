"""State dicts of other networks: what fits, what is made to fit, what is said."""

import pytest
import torch

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models.state import check_state, with_new_head, with_stem_of
from mmrazor_bignas.registry import MODELS


def network(architecture: dict, channels: int = 3, classes: int = 4, subnet='max'):
    """A static classifier of the tiny space with new weights."""
    changed = {
        'backbone': {**architecture['backbone'], 'in_channels': channels},
        'head': {**architecture['head'], 'num_classes': classes},
        'data_preprocessor': {'mean': [127.5], 'std': [64.0]},
    }
    return MODELS.build({**architecture, **changed, 'mutable_cfg': subnet}).eval()


@pytest.mark.parametrize('channels', [1, 3, 6])
@torch.no_grad()
def test_a_stem_of_other_channels_does_the_same_to_equal_channels(tiny_architecture, channels):
    for theirs in (1, 3, 6):
        if channels not in (1, theirs) and channels % theirs:
            continue  # some of the channels count more than others
        source, ours = network(tiny_architecture, theirs), network(tiny_architecture, channels)
        state, note = with_stem_of(ours, source.state_dict(), 'a.pth')
        ours.load_state_dict(state)
        grey = torch.randn(2, 1, 32, 32)
        expected = source.backbone(grey.repeat(1, theirs, 1, 1))[0]
        torch.testing.assert_close(ours.backbone(grey.repeat(1, channels, 1, 1))[0], expected, atol=1e-5, rtol=1e-5)
        assert (note is None) == (theirs == channels)
        if note:
            assert note.startswith(f"a.pth: its stem takes images of {theirs} channels, this network's {channels}")


def test_repeated_channels_keep_their_order(tiny_architecture):
    source, ours = network(tiny_architecture, 3), network(tiny_architecture, 4)
    state, _ = with_stem_of(ours, source.state_dict(), 'a.pth')
    before, after = source.backbone.stem.conv.weight, state['backbone.stem.conv.weight']
    assert after.equal(0.75 * before[:, [0, 1, 2, 0]])


def test_a_stem_of_another_width_is_left_to_the_check(tiny_architecture):
    source, ours = network(tiny_architecture, 3), network(tiny_architecture, 1, subnet='min')
    state, note = with_stem_of(ours, source.state_dict(), 'a.pth')
    assert note is None
    with pytest.raises(InputError, match='keys differ'):
        check_state(ours, state, 'a.pth')


def test_a_new_head_is_the_models_own(tiny_architecture):
    source, ours = network(tiny_architecture), network(tiny_architecture, classes=7)
    state, note = with_new_head(ours, source.state_dict(), 'a.pth')
    check_state(ours, state, 'a.pth')
    assert state['head.fc.weight'].equal(ours.head.fc.weight)
    assert all(value.equal(source.state_dict()[key]) for key, value in state.items() if not key.startswith('head.'))
    assert note == 'a.pth: not loaded, since the head is new: head.fc.weight (4, 40), head.fc.bias (4,)'


@pytest.mark.parametrize('classes', [3, 7])
def test_another_number_of_classes_is_told_of_the_option(tiny_architecture, classes):
    source, ours = network(tiny_architecture), network(tiny_architecture, classes=classes)
    message = rf'its head has 4 classes, the one here {classes}. tools/train.py CONFIG --checkpoint a.pth --new-head'
    with pytest.raises(InputError, match=message):
        check_state(ours, source.state_dict(), 'a.pth')


def test_kinds_are_told_apart(tiny_architecture, tiny_algorithm):
    static = network(tiny_architecture)
    with pytest.raises(InputError, match=r"it is a supernet's, out of which tools/export_subnet.py cuts a subnet"):
        check_state(static, tiny_algorithm.state_dict(), 'a.pth')
    with pytest.raises(InputError, match="it is one subnet's, a supernet begins with a supernet's"):
        check_state(tiny_algorithm, static.state_dict(), 'a.pth')
