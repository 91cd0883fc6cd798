"""Reading checkpoints: without pickle, unless the user names the file."""

import pytest
import torch

from mmrazor_bignas.engine.checkpoints import read_checkpoint
from mmrazor_bignas.errors import InputError


class Foreign:
    """An object that pickle brings along."""


@pytest.fixture
def pickled(tmp_path):
    torch.save({'state_dict': {'w': torch.ones(2)}, 'meta': {'object': Foreign()}}, tmp_path / 'foreign.pth')
    return tmp_path / 'foreign.pth'


def test_pickled_objects_are_refused_and_the_way_out_is_named(pickled):
    with pytest.raises(InputError, match=f'holds pickled objects .* --allow-pickle {pickled}'):
        read_checkpoint(pickled)


def test_the_named_file_alone_is_unpickled(pickled, tmp_path):
    other = tmp_path / 'other.pth'
    other.write_bytes(pickled.read_bytes())
    (tmp_path / 'link').symlink_to(tmp_path)
    assert isinstance(read_checkpoint(pickled, pickled=tmp_path / 'link/foreign.pth')['meta']['object'], Foreign)
    with pytest.raises(InputError, match='holds pickled objects'):
        read_checkpoint(other, pickled=pickled)


def test_the_head_is_enough_for_the_meta(tmp_path):
    torch.save({'state_dict': {'w': torch.ones(1000)}, 'meta': {'iter': 3}}, tmp_path / 'a.pth')
    assert read_checkpoint(tmp_path / 'a.pth', head_only=True)['meta'] == {'iter': 3}


@pytest.mark.parametrize('head_only', [False, True])
def test_a_file_cut_anywhere_is_said_to_be_cut(tmp_path, head_only):
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'w': torch.ones(50)}, 'meta': {'iter': 3}}, path)
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=str(path)):
            read_checkpoint(path, head_only=head_only)


def test_a_trusted_file_may_have_its_head_read(pickled):
    assert isinstance(read_checkpoint(pickled, head_only=True, pickled=pickled)['meta']['object'], Foreign)
    with pytest.raises(InputError, match='holds pickled objects'):
        read_checkpoint(pickled, head_only=True)


@pytest.mark.parametrize('content', [b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M', b'\x80\x02e'])
def test_any_other_file_is_no_checkpoint(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(InputError):
        read_checkpoint(tmp_path / 'a.pth')


def test_the_old_format_of_torch_can_have_its_head_read(tmp_path):
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / 'a.pth', head_only=True) == read_checkpoint(tmp_path / 'a.pth')
