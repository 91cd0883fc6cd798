import math
import pickle

import cv2
import mmcv
import numpy as np
import pytest
from mmcls.datasets import transforms
from mmcls.registry import TRANSFORMS
from mmengine.registry import init_default_scope
from PIL import Image

from mmrazor_bignas.datasets import RandomResizedCrop, ResizeEdge
from mmrazor_bignas.datasets.resizing import resize
from mmrazor_bignas.engine.randomness import kept_generators, seed_cpu
from mmrazor_bignas.errors import InputError

IMAGE = np.random.RandomState(0).randint(0, 256, (90, 120, 3), dtype=np.uint8)
STEPS = [lambda **words: RandomResizedCrop(32, **words), lambda **words: ResizeEdge(32, **words)]


@pytest.fixture(autouse=True)
def _width_first(monkeypatch):
    """Pillow as it was before 13, which resizes the height first where that is less work: clipping then differs."""
    in_one_go = Image.Image.resize

    def resize_width_first(self, size, resample):
        return in_one_go(in_one_go(self, (size[0], self.height), resample), size, resample)

    monkeypatch.setattr(Image.Image, 'resize', resize_width_first)


def assert_rounded(image: np.ndarray, expected: np.ndarray) -> None:
    """Rounding alone: next to none of the pixels differ, and to both sides."""
    assert (image.shape, image.dtype) == (expected.shape, np.uint8)
    assert image.flags.c_contiguous
    difference = image.astype(int) - expected
    # Rows and columns are rounded one after the other: two roundings may add up.
    assert abs(difference).max() <= 2
    assert (difference != 0).mean() < 0.03
    assert abs(difference.mean()) < 0.02


def in_pillow(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    return mmcv.imresize(image, size[::-1], interpolation=interpolation, backend='pillow')


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('size', [(90, 120), (224, 224), (40, 31), (90, 31), (17, 240), (7, 5)])
def test_resize_is_pillows(size, interpolation):
    smooth = cv2.GaussianBlur(IMAGE, (0, 0), 2)
    edges = np.kron(np.random.RandomState(1).choice([0, 255], (9, 12, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    for image in (IMAGE, smooth, edges):
        assert_rounded(resize(image, size, interpolation), in_pillow(image, size, interpolation))


def test_a_filter_without_antialiasing_is_far_from_it():
    """So that the bounds mean something."""
    plain = cv2.resize(IMAGE, (31, 40), interpolation=cv2.INTER_CUBIC)
    assert abs(plain.astype(int) - in_pillow(IMAGE, (40, 31), 'bicubic')).mean() > 10


@pytest.mark.parametrize('size', [(224, 224), (31, 47), (90, 7)])
def test_flat_images_stay_flat(size):
    for level in (0, 1, 93, 254, 255):
        assert (resize(np.full((90, 120, 3), level, np.uint8), size, 'bicubic') == level).all()


def test_resize_of_views():
    for view in (IMAGE[10:70, 20:95], IMAGE[:, 7:8], IMAGE[3:4], IMAGE[5:6, 5:6]):
        before = view.copy()
        assert_rounded(resize(view, (48, 48), 'bicubic'), in_pillow(view.copy(), (48, 48), 'bicubic'))
        assert (view == before).all()


@pytest.mark.parametrize('shape', [(90, 120), (120, 90), (500, 30), (10, 300), (1, 1), (1, 9)])
@pytest.mark.parametrize('words', [{}, {'crop_ratio_range': (0.5, 0.6), 'aspect_ratio_range': (1, 1.5)}])
def test_crops_are_mmclss(shape, words):
    """From the same draws, after which the same are left; where no crop fits, too."""
    image = np.random.RandomState(2).randint(0, 256, (*shape, 3), dtype=np.uint8)
    ours = RandomResizedCrop((48, 56), **words)
    theirs = transforms.RandomResizedCrop((48, 56), backend='pillow', interpolation='bicubic', **words)
    for seed in range(20):
        made, rest = [], []
        for transform in (ours, theirs):
            with kept_generators():
                seed_cpu(seed)
                made.append(transform({'img': image, 'gt_label': 3}))
                rest.append(np.random.random())
        assert rest[0] == rest[1]
        assert_rounded(made[0].pop('img'), made[1].pop('img'))
        assert made[0] == made[1] == {'gt_label': 3, 'img_shape': (48, 56, 3)}


def test_the_whole_of_an_image_may_be_cropped():
    crop = RandomResizedCrop((90, 120), crop_ratio_range=(1, 1), aspect_ratio_range=(4 / 3, 4 / 3))
    assert math.isclose(120 / 90, 4 / 3)
    assert (crop({'img': IMAGE})['img'] == IMAGE).all()


@pytest.mark.parametrize('edge', ['short', 'long', 'width', 'height'])
@pytest.mark.parametrize('shape', [(90, 120), (120, 90), (77, 77)])
def test_edges_are_mmclss(shape, edge):
    image = np.random.RandomState(3).randint(0, 256, (*shape, 3), dtype=np.uint8)
    made = ResizeEdge(64, edge)({'img': image})
    expected = transforms.ResizeEdge(64, edge, backend='pillow', interpolation='bicubic')({'img': image})
    assert_rounded(made.pop('img'), expected.pop('img'))
    assert made == expected


def test_configs_build_them():
    init_default_scope('mmcls')
    crop = TRANSFORMS.build({'type': 'mmrazor_bignas.RandomResizedCrop', 'scale': [32, 40]})
    assert crop({'img': IMAGE})['img'].shape == (32, 40, 3)
    edge = TRANSFORMS.build({'type': 'mmrazor_bignas.ResizeEdge', 'scale': 30, 'interpolation': 'bilinear'})
    assert edge({'img': IMAGE})['img'].shape == (30, 40, 3)
    for name in ('RandomResizedCrop', 'ResizeEdge'):
        assert TRANSFORMS.get(name).__module__.startswith('mmcls.')


@pytest.mark.parametrize('make', STEPS)
def test_they_travel_to_workers(make):
    transform = make()
    copy = pickle.loads(pickle.dumps(transform))
    with kept_generators():
        seed_cpu(0)
        expected = transform({'img': IMAGE})['img']
    with kept_generators():
        seed_cpu(0)
        assert (copy({'img': IMAGE})['img'] == expected).all()
    assert 'interpolation=bicubic' in repr(copy)


@pytest.mark.parametrize('make', STEPS)
@pytest.mark.parametrize('interpolation', ['nearest', 'lanczos', None])
def test_an_unknown_interpolation(make, interpolation):
    with pytest.raises(InputError, match=r"interpolation is .*; expected one of \['bilinear', 'bicubic'\]"):
        make(interpolation=interpolation)


@pytest.mark.parametrize('make', STEPS)
@pytest.mark.parametrize('image', [IMAGE[0, 0], IMAGE[None], IMAGE[..., 0].astype(np.float32), None])
def test_images_of_another_kind(make, image):
    with pytest.raises(InputError, match=r'(RandomResizedCrop|ResizeEdge): img is .*; expected a uint8 array'):
        make()({'img': image})
    with pytest.raises(InputError, match='img is NoneType'):
        make()({'img_path': 'a.jpg'})


@pytest.mark.parametrize('step', STEPS)
@pytest.mark.parametrize('grey', [IMAGE[..., 0], IMAGE[..., :1]])
def test_grey_images_are_resized_as_one_channel_of_many(step, grey):
    with kept_generators():
        seed_cpu(0)
        expected = step()({'img': IMAGE[..., [0, 0, 0]]})['img'][..., 0]
        seed_cpu(0)
        found = step()({'img': grey})['img']
    assert found.shape == expected.shape + grey.shape[2:]
    assert (found.reshape(expected.shape) == expected).all()
