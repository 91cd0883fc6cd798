import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import functional as F

from mmrazor_bignas.datasets import pointwise


def added(image: Image.Image, amount: int) -> Image.Image:
    return image.point([level + amount if level < 128 else level for level in range(256)] * 3)


# What Pillow runs, and the values that an operation gets.
OPERATIONS = {
    'invert': (ImageOps.invert, [()]),
    'autocontrast': (ImageOps.autocontrast, [()]),
    'equalize': (ImageOps.equalize, [()]),
    'posterize': (F.posterize, [(bits,) for bits in range(1, 9)]),
    'solarize': (F.solarize, [(0,), (1,), (127.5,), (128,), (254.99,), (255,), (256,)]),
    'solarize_add': (added, [(0,), (1,), (55,), (110,), (128,)]),
    'adjust_saturation': (F.adjust_saturation, [(0,), (0.1,), (0.55,), (1,), (1.0001,), (1.5,), (1.9,)]),
}


def pictures() -> dict[str, np.ndarray]:
    rng = np.random.RandomState(0)
    smooth = 128 + 120 * np.sin(np.mgrid[:61, :83].sum(0)[..., None] / [17, 23, 9])
    every = np.arange(256).repeat(3).reshape(16, 16, 3)
    return {
        'noise': rng.randint(0, 256, (90, 70, 3)),
        'narrow': rng.randint(97, 140, (40, 50, 3)),
        'smooth': smooth,
        'every level': every,
        'a few pixels': rng.randint(0, 256, (3, 5, 3)),
        'one pixel': np.array([[[3, 200, 77]]]),
        'one row': rng.randint(0, 256, (1, 300, 3)),
        'one column': rng.randint(0, 256, (300, 1, 3)),
        'one level': np.full((20, 20, 3), 93),
        'two levels': rng.choice([20, 21], (40, 40, 3)),
        'nearly one level': np.where(rng.rand(30, 30, 3) < 0.7, 255, rng.randint(0, 256, (30, 30, 3))),
        'one plane flat': rng.randint(0, 256, (30, 30, 3)) * [1, 0, 1],
    }


@pytest.fixture(params=pictures())
def picture(request) -> np.ndarray:
    return pictures()[request.param].astype(np.uint8)


def same(name: str, image: np.ndarray, *value: float) -> None:
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    before = planes.copy()
    made = getattr(pointwise, name)(planes, *value)
    expected = np.asarray(OPERATIONS[name][0](Image.fromarray(image), *value))
    assert (made.shape, made.dtype) == (planes.shape, np.uint8)
    assert (made.transpose(1, 2, 0) == expected).all(), value
    assert (planes == before).all()


@pytest.mark.parametrize('name', OPERATIONS)
def test_the_pixels_are_pillows(name, picture):
    for value in OPERATIONS[name][1]:
        same(name, picture, *value)


@pytest.mark.parametrize('name', ['solarize', 'solarize_add', 'adjust_saturation'])
def test_the_pixels_are_pillows_for_any_value(name):
    rng = np.random.RandomState(1)
    draw = {
        'solarize': lambda: rng.uniform(0, 256),
        'solarize_add': lambda: rng.randint(129),
        'adjust_saturation': lambda: rng.uniform(0, 2),
    }[name]
    image = rng.randint(0, 256, (64, 64, 3), dtype=np.uint8)
    for _ in range(50):
        same(name, image, draw())


def test_grey_is_pillows_for_every_sum_of_colours():
    """A factor of 0 leaves the grey image; 2 ** 18 colours, evenly spaced with the extremes."""
    levels = np.linspace(0, 255, 64).astype(np.uint8)
    same('adjust_saturation', np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(512, 512, 3), 0)
