import gzip
from urllib.error import URLError

import numpy as np
import pytest
from fashion_files import write_fashion_files
from mmengine.registry import init_default_scope

from mmrazor_bignas.datasets import FashionMNIST, fashion_mnist
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import DATASETS


@pytest.fixture
def packed(tmp_path):
    """A folder as Debian's package has it, with few images."""
    folder = tmp_path / 'packed'
    write_fashion_files(folder, train=5, t10k=3)
    return folder


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Neither Debian's package nor a network."""

    def download(self):
        raise URLError('no network')

    monkeypatch.setattr(fashion_mnist, 'DEBIAN_FOLDER', tmp_path / 'not installed')
    monkeypatch.setattr(FashionMNIST, '_download', download)


def test_packed_files_of_the_folder_itself(packed, nowhere):
    init_default_scope('mmcls')
    for test_mode, number in ((False, 5), (True, 3)):
        data = DATASETS.build(
            {'type': 'mmrazor_bignas.FashionMNIST', 'data_prefix': str(packed), 'test_mode': test_mode}
        )
        assert len(data) == number
        assert data.get_gt_labels().tolist() == list(range(number))
    item = data[2]
    assert (item['img'].shape, item['img'].dtype) == ((28, 28, 3), np.uint8)
    assert (item['img'][..., 0] == item['img'][..., 2]).all()


def test_the_files_of_debian_s_package(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, 'DEBIAN_FOLDER', packed)
    data = FashionMNIST(data_prefix=str(tmp_path / 'data'), test_mode=True)
    assert len(data) == 3
    assert {path.name for path in (tmp_path / 'data').iterdir()} == {*fashion_mnist.FILES, '.lock'}


@pytest.mark.parametrize('broken', [False, True])
def test_files_that_are_nowhere_or_broken(packed, nowhere, tmp_path, broken):
    folder = packed if broken else tmp_path / 'data'
    if broken:
        path = packed / 'train-images-idx3-ubyte.gz'
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r'Fashion-MNIST: .*dataset-fashion-mnist.*set data_prefix'):
        FashionMNIST(data_prefix=str(folder), test_mode=False)


def test_a_user_s_own_files_come_before_debian_s(packed, tmp_path, monkeypatch):
    other = tmp_path / 'other'
    other.mkdir()
    for path in packed.iterdir():
        (other / path.name).write_bytes(gzip.compress(b'something else'))
    monkeypatch.setattr(fashion_mnist, 'DEBIAN_FOLDER', other)
    assert len(FashionMNIST(data_prefix=str(packed), test_mode=True)) == 3
    monkeypatch.setattr(fashion_mnist, 'DEBIAN_FOLDER', tmp_path / 'none')
    with pytest.raises(InputError, match='download is False'):
        FashionMNIST(data_prefix=str(tmp_path / 'empty'), test_mode=True, download=False)
