import math
import pickle
import random
from collections import Counter
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from mmcls.registry import DATASETS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image, ImageOps
from torchvision.transforms import AutoAugment as TorchvisionAutoAugment
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

from mmrazor_bignas.datasets import AutoAugment
from mmrazor_bignas.datasets.auto_augment import OPERATIONS, POLICIES, RANGES
from mmrazor_bignas.errors import InputError

# AttentiveNAS, policy 'v0': a letter per operation, its probability in tenths, its magnitude.
V0 = """
E8 1 SY8 4  | C4 9 E6 3    | C4 1 R6 8  | S8 3 E4 7  | S4 2 S6 2  | C2 0 E8 8  | E4 8 SA8 3  | SX2 9 R6 8 | C6 1 E10 2 |
I4 9 R6 0   | E10 9 SY6 3  | C4 7 E6 0  | P4 6 A4 7  | S6 8 C6 9  | S2 4 R8 9  | R10 7 TY8 9 | SX0 0 S8 4 | SY8 0 C6 4 |
C10 0 R6 2  | E8 4 E0 8    | E10 4 A6 2 | SY4 7 SA6 7 | P8 2 S6 10 | S6 8 E6 1 | C8 6 R4 5
"""
LETTERS = {
    'E': 'Equalize',
    'SY': 'ShearY',
    'SX': 'ShearX',
    'C': 'Color',
    'R': 'Rotate',
    'S': 'Solarize',
    'SA': 'SolarizeAdd',
    'I': 'Invert',
    'P': 'Posterize',
    'A': 'AutoContrast',
    'TY': 'TranslateYRel',
}
PLAIN = ('AutoContrast', 'Equalize', 'Invert')
TORCHVISIONS = sorted(TorchvisionAutoAugment()._augmentation_space(10, (1, 1)))
RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)  # as mmcv has them


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """BGR, higher than wide, every channel another, with every level and with flat areas."""
    rng = np.random.RandomState(0)
    rows, columns = np.mgrid[:83, :59]
    waves = [127 + 110 * np.sin(rows / a + columns / b) for a, b in ((7, 11), (13, 5), (19, 23))]
    image = np.stack(waves, axis=2) + rng.randint(-12, 13, (83, 59, 3))
    image[10:20, 10:40] = 200, 60, 20
    image = np.clip(image, 0, 255)
    image[40:47, :37] = np.arange(259).reshape(7, 37, 1) % 256
    return image.astype(np.uint8)


def rgb(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., ::-1].copy())


def bgr(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[..., ::-1]


def flat(*colour: int, size: tuple[int, int] = (20, 20)) -> np.ndarray:
    return np.full((*size, 3), colour, np.uint8)


def augment(transform: AutoAugment, image: np.ndarray, seed: int) -> np.ndarray:
    np.random.seed(seed)
    return transform({'img': image.copy()})['img']


def outcomes(transform: AutoAugment, image: np.ndarray, draws: int = 12) -> set[bytes]:
    return {augment(transform, image, seed).tobytes() for seed in range(draws)}


def images(*augmented: Image.Image) -> set[bytes]:
    return {bgr(image).tobytes() for image in augmented}


# The policies


def test_the_original_table_is_torchvisions():
    published = TorchvisionAutoAugment(AutoAugmentPolicy.IMAGENET).policies
    table = POLICIES['original'].table
    assert len(table) == 25
    assert [[name for name, _, _ in sub] for sub in table] == [[name for name, _, _ in sub] for sub in published]
    for ours, theirs in zip(table, published, strict=True):
        for (name, probability, magnitude), (_, their_probability, their_magnitude) in zip(ours, theirs, strict=True):
            assert probability == their_probability
            # torchvision leaves out the magnitudes of the paper that mean nothing.
            assert (their_magnitude is None) == (name in PLAIN)
            assert their_magnitude in (magnitude, None)


def test_the_v0_table_is_the_published_one():
    published = []
    for sub_policy in V0.split('|'):
        words = sub_policy.split()
        operations = []
        for code, magnitude in zip(words[::2], words[1::2], strict=True):
            letters = code.rstrip('0123456789')
            operations.append((LETTERS[letters], int(code.removeprefix(letters)) / 10, int(magnitude)))
        published.append(tuple(operations))
    assert POLICIES['v0'].table == tuple(published)
    assert len(published) == 25


def test_a_named_policy_brings_what_belongs_to_it():
    v0, original = AutoAugment().policy, AutoAugment('original').policy
    assert v0 == POLICIES['v0']
    assert (v0.ranges, v0.magnitude_std, v0.fill) == ('v0', 0.5, (124, 116, 104))
    assert v0.interpolation == ('nearest', 'bilinear', 'bicubic')
    assert original == POLICIES['original']
    assert (original.ranges, original.magnitude_std, original.fill) == ('original', 0, None)
    assert original.interpolation == ('nearest',)


def test_a_list_has_the_settings_of_the_original():
    policy = AutoAugment([[['Rotate', 1, 3.5]]]).policy
    assert policy.table == ((('Rotate', 1, 3.5),),)
    own = ('ranges', 'magnitude_std', 'fill', 'interpolation')
    assert [getattr(policy, key) for key in own] == [getattr(POLICIES['original'], key) for key in own]


@pytest.mark.parametrize('policies', ['v0', 'original', [[('Invert', 0.5, 0)]]])
def test_what_is_given_overrides(policies):
    given = {'ranges': 'v0', 'magnitude_std': 0, 'fill': (1, 2, 3), 'interpolation': ('bilinear', 'nearest')}
    policy = AutoAugment(policies, **given).policy
    assert {key: getattr(policy, key) for key in given} == given
    assert AutoAugment(policies, interpolation='bicubic').policy.interpolation == ('bicubic',)
    assert AutoAugment(policies, fill=[0, 0, 0]).policy.fill == (0, 0, 0)


# The operations, to the pixel


def test_every_operation_is_tested():
    aliases = {'TranslateXRel', 'TranslateYRel'}
    assert set(OPERATIONS) == {*TORCHVISIONS, *aliases, 'SolarizeAdd'}
    assert RANGES == {'original': 9, 'v0': 10}


@pytest.mark.parametrize('name', TORCHVISIONS)
def test_original_operations_are_torchvisions(name, image):
    magnitudes, signed = TorchvisionAutoAugment()._augmentation_space(10, image.shape[:2])[name]
    fill, mode = [10, 200, 30], InterpolationMode.BILINEAR
    for magnitude in range(10):
        value = float(magnitudes[magnitude]) if magnitudes.ndim else 0.0
        values = (value, -value) if signed else (value,)
        expected = images(*(_apply_op(rgb(image), name, value, mode, fill) for value in values))
        transform = AutoAugment([[(name, 1, magnitude)]], fill=tuple(fill), interpolation='bilinear')
        assert outcomes(transform, image) == expected, (name, magnitude)


@pytest.mark.parametrize('side', [224, 331, 993, 1655])
def test_translations_are_whole_pixels_as_torchvisions(side):
    """Of multiples of 331, they would be one short if they were not rounded."""
    image = np.arange(side, dtype=np.uint16).repeat(3).reshape(1, side, 3).astype(np.uint8)
    magnitudes, _ = TorchvisionAutoAugment()._augmentation_space(10, (1, side))['TranslateX']
    for magnitude in range(10):
        values = (float(magnitudes[magnitude]), -float(magnitudes[magnitude]))
        nearest = InterpolationMode.NEAREST
        expected = images(*(_apply_op(rgb(image), 'TranslateX', value, nearest, None) for value in values))
        assert outcomes(AutoAugment([[('TranslateX', 1, magnitude)]]), image) == expected


def v0_images(name: str, level: float, image: Image.Image, look: dict) -> set[bytes]:
    """What AttentiveNAS makes of a magnitude, in whole pixels: its formulas, and torchvision for the pixels."""
    height, width = image.height, image.width
    straight = {'angle': 0.0, 'scale': 1.0}

    def sheared(x: float, y: float) -> Image.Image:
        angles = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
        return F.affine(image, translate=[0, 0], shear=angles, center=[0, 0], **straight, **look)

    def moved(x: float, y: float) -> Image.Image:
        return F.affine(image, translate=[int(x), int(y)], shear=[0.0, 0.0], **straight, **look)

    def added(amount: int) -> Image.Image:
        pixels = np.asarray(image).astype(int)
        return Image.fromarray(np.where(pixels < 128, np.minimum(pixels + amount, 255), pixels).astype(np.uint8))

    signs = (1, -1)
    factor = level / 10 * 1.8 + 0.1
    made = {
        'ShearX': lambda: [sheared(sign * level / 10 * 0.3, 0) for sign in signs],
        'ShearY': lambda: [sheared(0, sign * level / 10 * 0.3) for sign in signs],
        'TranslateX': lambda: [moved(sign * level / 10 * 0.45 * width, 0) for sign in signs],
        'TranslateY': lambda: [moved(0, sign * level / 10 * 0.45 * height) for sign in signs],
        'Rotate': lambda: [F.rotate(image, sign * level / 10 * 30, **look) for sign in signs],
        'Brightness': lambda: [F.adjust_brightness(image, factor)],
        'Color': lambda: [F.adjust_saturation(image, factor)],
        'Contrast': lambda: [F.adjust_contrast(image, factor)],
        'Sharpness': lambda: [F.adjust_sharpness(image, factor)],
        'Posterize': lambda: [F.posterize(image, int(level / 10 * 4) + 4)],
        'Solarize': lambda: [F.solarize(image, int(level / 10 * 256))],
        'SolarizeAdd': lambda: [added(int(level / 10 * 110))],
        'AutoContrast': lambda: [ImageOps.autocontrast(image)],
        'Equalize': lambda: [ImageOps.equalize(image)],
        'Invert': lambda: [ImageOps.invert(image)],
    }
    return images(*made[name.removesuffix('Rel')]())


@pytest.mark.parametrize('name', OPERATIONS)
def test_v0_operations_are_the_published_ones(name, image):
    fill = (10, 200, 30)
    for magnitude in (*range(11), 2.5, 9.9):
        expected = v0_images(name, magnitude, rgb(image), {'fill': fill, 'interpolation': InterpolationMode.BICUBIC})
        settings = {'ranges': 'v0', 'magnitude_std': 0, 'fill': fill, 'interpolation': 'bicubic'}
        transform = AutoAugment([[(name, 1, magnitude)]], **settings)
        assert outcomes(transform, image) == expected, (name, magnitude)


@pytest.mark.parametrize('ranges', RANGES)
def test_solarize_add_brightens_the_dark_alone(ranges):
    image = np.array([[[0, 50, 127], [128, 200, 255], [90, 91, 92]]], np.uint8)
    transform = AutoAugment([[('SolarizeAdd', 1, RANGES[ranges])]], ranges=ranges)
    assert augment(transform, image, 0).tolist() == [[[110, 160, 237], [128, 200, 255], [200, 201, 202]]]


def test_magnitudes_between_the_published_ones():
    image = flat(100, 100, 100)
    half = AutoAugment([[('Solarize', 1, 4.5)]])  # at 127.5
    assert augment(half, flat(127, 127, 127), 0).max() == 127
    assert augment(half, flat(128, 128, 128), 0).max() == 127
    assert augment(AutoAugment([[('Brightness', 1, 0.5)]]), image, 0).max() in (94, 95, 104, 105)


def test_operations_run_in_order(image):
    both = AutoAugment([[('Posterize', 1, 9), ('Invert', 1, 0)]])
    expected = F.invert(F.posterize(rgb(image), 4))
    assert outcomes(both, image) == images(expected)
    assert images(expected) != images(F.posterize(F.invert(rgb(image)), 4))


# Colours


def test_colours_are_those_of_a_bgr_image():
    """Grey is made of blue in another proportion than of red: 0.114 and 0.299."""
    grey = AutoAugment([[('Color', 1, 0)]], ranges='v0')
    for colour, weight in ((RED, 0.299), (GREEN, 0.587), (BLUE, 0.114)):
        found = augment(grey, flat(*colour), 0)[0, 0]
        expected = 0.1 * np.array(colour) + 0.9 * 255 * weight
        assert abs(found - expected).max() < 1.5, (colour, found, expected)


def test_the_fill_colour_is_rgb():
    for policies, fill in (('v0', (124, 116, 104)), ('original', (0, 0, 0))):
        settings = POLICIES[policies]
        rotate = AutoAugment([[('Rotate', 1, 9)]], ranges=settings.ranges, fill=settings.fill)
        corners = {tuple(augment(rotate, flat(255, 255, 255), seed)[0, 0].tolist()) for seed in range(5)}
        assert corners == {fill[::-1]}


def test_an_image_that_nothing_is_applied_to_stays_as_it_is(image):
    out = augment(AutoAugment([[('Invert', 0, 0)]]), image, 0)
    assert (out == image).all()


@pytest.mark.parametrize('policies', POLICIES)
def test_the_result_is_an_image_of_the_same_kind(policies, image):
    transform = AutoAugment(policies)
    views = (image, image[:, ::-1], image[::2, ::3], image[:1, :1])
    for view in views:
        for seed in range(20):
            before = view.copy()
            np.random.seed(seed)
            results = transform({'img': view, 'gt_label': 3})
            out = results['img']
            assert (out.shape, out.dtype, results['gt_label']) == (view.shape, np.uint8, 3)
            assert out.flags.c_contiguous
            assert out.flags.writeable
            assert (view == before).all()  # may be the data set's own


def test_the_input_of_a_flip_is_read_as_it_is(image):
    invert = AutoAugment([[('Invert', 1, 0)]])
    assert (augment(invert, image, 0)[:, ::-1] == invert({'img': image[:, ::-1]})['img']).all()


# Draws


def noisy_levels(magnitude: float, draws: int = 2000, **settings) -> np.ndarray:
    """Magnitudes with noise, read from the brightness that they give."""
    transform = AutoAugment([[('Brightness', 1, magnitude)]], ranges='v0', **settings)
    np.random.seed(0)
    pixels = np.array([transform({'img': flat(130, 130, 130, size=(1, 1))})['img'][0, 0, 0] for _ in range(draws)])
    return (pixels / 130 - 0.1) / 0.18


@pytest.mark.parametrize('std', [0.5, 1.0])
def test_noise_is_gaussian(std):
    levels = noisy_levels(5, magnitude_std=std)
    assert abs(levels.mean() - 5) < 0.06
    assert abs(levels.std() - std) < 0.04
    assert abs((abs(levels - 5) < std).mean() - 0.683) < 0.04


def test_noise_stays_within_the_magnitudes():
    for magnitude in (0, 10):
        levels = noisy_levels(magnitude, magnitude_std=0.5)
        # Half of the draws are outside, and clamped; a level is one of 23 per unit.
        assert levels.min() > magnitude - 2.5
        assert levels.max() < magnitude + 2.5
        assert (levels > -0.05).all()
        assert (levels < 10.05).all()
        assert 0.45 < (abs(levels - magnitude) < 0.05).mean() < 0.6


def test_noise_on_the_original_ranges_ends_at_9():
    transform = AutoAugment([[('Solarize', 1, 9)]], magnitude_std=3.0)
    values = {augment(transform, flat(0, 0, 0, size=(1, 1)), seed).max() for seed in range(30)}
    assert values == {0, 255}  # from threshold 0 all is inverted; a larger magnitude would have it below


def test_no_noise_without_a_deviation():
    assert len(set(noisy_levels(5, 50, magnitude_std=0))) == 1
    assert len(set(noisy_levels(5, 50))) == 1
    assert AutoAugment('v0').policy.magnitude_std == 0.5


@pytest.mark.parametrize(('ranges', 'dims'), [('original', True), ('v0', False)])
def test_signs(ranges, dims):
    """Both signs are drawn, equally often; of a factor in the ranges 'v0', none."""
    brightness = AutoAugment([[('Brightness', 1, 9)]], ranges=ranges)
    darker = np.mean([augment(brightness, flat(100, 100, 100), seed).max() < 100 for seed in range(400)])
    assert abs(darker - 0.5) < 0.1 if dims else darker == 0
    translate = AutoAugment([[('TranslateX', 1, 9)]], ranges=ranges)
    left = np.mean([augment(translate, flat(255, 255, 255), seed)[0, 0, 0] == 0 for seed in range(400)])
    assert abs(left - 0.5) < 0.1


@pytest.mark.parametrize(('probability', 'low', 'high'), [(0, 0, 0), (0.0, 0, 0), (0.3, 0.25, 0.35), (1, 1, 1)])
def test_probabilities(probability, low, high):
    transform = AutoAugment([[('Invert', probability, 0)]])
    np.random.seed(0)
    rate = np.mean([transform({'img': flat(0, 0, 0, size=(1, 1))})['img'].max() for _ in range(1500)]) / 255
    assert low <= rate <= high


def test_operations_are_applied_independently():
    transform = AutoAugment([[('Invert', 0.5, 0), ('Posterize', 0.5, 9)]])
    np.random.seed(0)
    counts = Counter(transform({'img': flat(3, 3, 3, size=(1, 1))})['img'].max().item() for _ in range(2000))
    assert set(counts) == {3, 252, 0, 240}
    assert max(abs(count / 2000 - 0.25) for count in counts.values()) < 0.04


def test_sub_policies_are_drawn_uniformly():
    """25 of them, told apart by what they add to black."""
    policies = [[('SolarizeAdd', 1, i * 0.4)] for i in range(25)]
    transform = AutoAugment(policies, ranges='v0')
    np.random.seed(0)
    counts = Counter(transform({'img': flat(0, 0, 0, size=(1, 1))})['img'].max().item() for _ in range(5000))
    assert set(counts) == {int(i * 0.4 / 10 * 110) for i in range(25)}
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < 52  # 24 degrees of freedom: one in a thousand is larger


@pytest.mark.parametrize('policies', POLICIES)
def test_the_seed_of_numpy_decides_and_nothing_else(policies, image):
    transform = AutoAugment(policies)
    first = [augment(transform, image, seed).tobytes() for seed in range(30)]
    random.seed(1)
    torch.manual_seed(1)
    states = random.getstate(), torch.get_rng_state()
    again = [augment(AutoAugment(policies), image, seed).tobytes() for seed in range(30)]
    assert first == again
    assert len(set(first)) > 10
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


@pytest.mark.parametrize('names', [('nearest',), ('bilinear',), ('nearest', 'bicubic'), POLICIES['v0'].interpolation])
def test_interpolation_is_drawn_from_what_is_given(names, image):
    transform = AutoAugment([[('Rotate', 1, 10)]], ranges='v0', interpolation=names)
    modes = [InterpolationMode(name) for name in names]
    expected = images(*(F.rotate(rgb(image), angle, mode) for angle, mode in product((30, -30), modes)))
    assert len(expected) == 2 * len(names)
    assert outcomes(transform, image, draws=60) == expected


def test_interpolation_is_drawn_for_each_operation(image):
    names = ('nearest', 'bicubic')
    transform = AutoAugment([[('ShearX', 1, 0), ('Rotate', 1, 10)]], ranges='v0', interpolation=names)
    assert len(outcomes(transform, image, draws=40)) == 4  # a shear by 0 changes nothing: 2 angles, 2 modes
    transform = AutoAugment([[('Rotate', 1, 10), ('Rotate', 1, 10)]], ranges='v0', interpolation=names)
    assert len(outcomes(transform, image, draws=200)) == 16


def test_fill_is_seen(image):
    made = [outcomes(AutoAugment([[('Rotate', 1, 9)]], fill=fill), image) for fill in (None, (0, 0, 0), (9, 8, 7))]
    assert made[0] == made[1]
    assert not made[0] & made[2]


# Configs


def test_it_builds_in_a_pipeline_of_mmcls(tmp_path, image):
    init_default_scope('mmcls')
    for label in ('a', 'b'):
        (tmp_path / label).mkdir()
        assert cv2.imwrite(str(tmp_path / label / '0.png'), image)
    config = Config.fromstring(
        f"""
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomFlip', prob=1.0, direction='horizontal'),
    dict(type='mmrazor_bignas.AutoAugment', policies=[[('Invert', 1.0, 0)], [('Invert', 1, 9), ('Color', 0, 1.5)]]),
    dict(type='PackClsInputs'),
]
dataset = dict(type='CustomDataset', data_prefix={str(tmp_path)!r}, pipeline=pipeline)
""",
        '.py',
    )
    item = DATASETS.build(config.dataset)[1]
    assert (item['inputs'].numpy() == 255 - image[:, ::-1].transpose(2, 0, 1)).all()
    assert item['data_samples'].gt_label.label == 1


def test_the_name_of_mmcls_stays_mmclss():
    assert TRANSFORMS.get('AutoAugment').__module__.startswith('mmcls.')


@pytest.mark.parametrize('policies', ['v0', 'original', [[('Rotate', 0.5, 2.5)], [('Invert', 1, 0), ('Color', 0, 9)]]])
def test_it_prints_as_what_makes_it(policies):
    transform = AutoAugment(policies, magnitude_std=0.25)
    assert eval(repr(transform)).policy == transform.policy
    assert len(repr(transform)) < 200


def test_it_travels_to_workers(image):
    transform = AutoAugment()
    copy = pickle.loads(pickle.dumps(transform))
    assert all((augment(copy, image, seed) == augment(transform, image, seed)).all() for seed in range(5))


# What a user can get wrong

GOOD = ('Rotate', 0.5, 3)


@pytest.mark.parametrize(
    ('words', 'messages'),
    [
        ({'policies': 'v1'}, ["policies is 'v1'; expected one of ['original', 'v0'], or a list of sub-policies"]),
        ({'policies': []}, ['policies is []; expected one of']),
        ({'policies': None}, ['policies is None; expected one of']),
        ({'policies': {'type': 'v0'}}, ["policies is {'type': 'v0'}; expected"]),
        ({'policies': [[GOOD], []]}, ['sub-policy 1 is []; expected a list of (operation, probability, magnitude)']),
        ({'policies': [GOOD]}, ["sub-policy 0, operation 0: found 'Rotate'; expected (operation, prob"]),
        ({'policies': [[GOOD], 'Rotate']}, ["sub-policy 1 is 'Rotate'; expected a list"]),
        ({'policies': [[GOOD], [GOOD, GOOD[:2]]]}, ["sub-policy 1, operation 1: found ('Rotate', 0.5); expected (op"]),
        ({'policies': [[(*GOOD, 1)]]}, ["operation 0: found ('Rotate', 0.5, 3, 1); expected"]),
        ({'policies': [[{'type': 'Rotate'}]]}, ["operation 0: found {'type': 'Rotate'}; expected"]),
        ({'policies': [[GOOD], [GOOD, ('Twist', 1, 3)]]}, ["operation 1: found 'Twist'; expected one of", *OPERATIONS]),
        ({'policies': [[(3, 1, 3)]]}, ['operation 0: found 3; expected one of']),
        ({'policies': [[(['Rotate'], 1, 3)]]}, ["found ['Rotate']; expected one of"]),
        ({'policies': [[('Rotate', 1.1, 3)]]}, ['operation 0: probability is 1.1; expected a number from 0 to 1']),
        ({'policies': [[('Rotate', -0.1, 3)]]}, ['probability is -0.1']),
        ({'policies': [[('Rotate', '1', 3)]]}, ["probability is '1'"]),
        ({'policies': [[('Rotate', math.nan, 3)]]}, ['probability is nan']),
        ({'policies': [[('Rotate', True, 3)]]}, ['probability is True']),
        ({'policies': [[('Rotate', 1, 9.1)]]}, ['operation 0: magnitude is 9.1; expected a number from 0 to 9']),
        ({'policies': [[('Rotate', 1, 10.5)]], 'ranges': 'v0'}, ['magnitude is 10.5; expected a number from 0 to 10']),
        ({'policies': [[('Equalize', 1, None)]]}, ['magnitude is None; expected']),
        ({'policies': [[('Rotate', 1, -1)]]}, ['magnitude is -1']),
        ({'policies': [[('Rotate', 1, '3')]]}, ["magnitude is '3'"]),
        ({'policies': [[('Rotate', 1, False)]]}, ['magnitude is False']),
        ({'policies': 'v0', 'ranges': 'original'}, ['sub-policy 22, operation 1: magnitude is 10; expected', '0 to 9']),
        ({'ranges': 'v1'}, ["ranges is 'v1'; expected one of ['original', 'v0']"]),
        ({'ranges': ['v0']}, ["ranges is ['v0']; expected"]),
        ({'magnitude_std': -0.5}, ['magnitude_std is -0.5; expected a number of 0 or more']),
        ({'magnitude_std': '0.5'}, ["magnitude_std is '0.5'"]),
        ({'magnitude_std': math.inf}, ['magnitude_std is inf']),
        (
            {'fill': 128},
            ['fill is 128; expected red, green and blue as integers from 0 to 255'],
        ),
        ({'fill': (1, 2)}, ['fill is (1, 2)']),
        ({'fill': (0, 0, 256)}, ['fill is (0, 0, 256)']),
        ({'fill': (0, -1, 0)}, ['fill is (0, -1, 0)']),
        ({'fill': (0.5, 0, 0)}, ['fill is (0.5, 0, 0)']),
        ({'fill': 'red'}, ["fill is 'red'"]),
        ({'interpolation': 'area'}, ["interpolation is 'area'; expected one or more of ['nearest', 'bil"]),
        ({'interpolation': ('nearest', 'lanczos')}, ["interpolation is ('nearest', 'lanczos')"]),
        ({'interpolation': ()}, ['interpolation is ()']),
        ({'interpolation': 3}, ['interpolation is 3']),
        ({'interpolation': [2]}, ['interpolation is [2]']),
    ],
)
def test_bad_arguments(words, messages):
    with pytest.raises(InputError) as error:
        AutoAugment(**words)
    assert str(error.value).startswith('AutoAugment: ')
    for message in messages:
        assert message in str(error.value)


def test_a_bad_config_is_an_input_error_still():
    init_default_scope('mmcls')
    with pytest.raises(InputError, match="policies is 'v1'"):
        TRANSFORMS.build({'type': 'mmrazor_bignas.AutoAugment', 'policies': 'v1'})


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((4, 5), np.uint8), r'img is uint8 \(4, 5\); expected a uint8 array \(height, width, 3\) in BGR'),
        (np.zeros((4, 5, 1), np.uint8), r'img is uint8 \(4, 5, 1\)'),
        (np.zeros((4, 5, 4), np.uint8), r'img is uint8 \(4, 5, 4\)'),
        (np.zeros((4, 5, 3), np.float32), r'img is float32 \(4, 5, 3\)'),
        (torch.zeros((4, 5, 3), dtype=torch.uint8), 'img is Tensor'),
        (None, 'img is NoneType'),
    ],
)
def test_images_of_another_kind(image, message):
    with pytest.raises(InputError, match=message):
        AutoAugment()({'img': image})


def test_a_pipeline_that_did_not_load():
    with pytest.raises(InputError, match=r'img is NoneType.*place it after the loading'):
        AutoAugment()({'img_path': 'a.jpg'})
