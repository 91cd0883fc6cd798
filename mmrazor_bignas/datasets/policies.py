"""Published AutoAugment policies: tables, and what belongs to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The largest magnitude; :mod:`~mmrazor_bignas.datasets.auto_augment` says what a magnitude means.
RANGES = {'original': 9, 'v0': 10}
# What Pillow has for affine transforms.
INTERPOLATIONS = ('nearest', 'bilinear', 'bicubic')


@dataclass(frozen=True)
class Policy:
    """What to draw from.

    Attributes:
        table: Sub-policies of operations (name, probability, magnitude).
        ranges: What magnitudes mean, a key of :data:`RANGES`.
        magnitude_std: Standard deviation of gaussian noise on magnitudes.
        fill: RGB of pixels from outside of the image, None for black.
        interpolation: One of these is drawn for each geometric operation.
    """

    table: Sequence[Sequence[tuple[str, float, float]]]
    ranges: str
    magnitude_std: float
    fill: tuple[int, int, int] | None
    interpolation: tuple[str, ...]


POLICIES = {
    # Table 9 of "AutoAugment: Learning Augmentation Policies from Data", arXiv:1805.09501; the rest is torchvision's.
    'original': Policy(
        table=(
            (('Posterize', 0.4, 8), ('Rotate', 0.6, 9)),
            (('Solarize', 0.6, 5), ('AutoContrast', 0.6, 5)),
            (('Equalize', 0.8, 8), ('Equalize', 0.6, 3)),
            (('Posterize', 0.6, 7), ('Posterize', 0.6, 6)),
            (('Equalize', 0.4, 7), ('Solarize', 0.2, 4)),
            (('Equalize', 0.4, 4), ('Rotate', 0.8, 8)),
            (('Solarize', 0.6, 3), ('Equalize', 0.6, 7)),
            (('Posterize', 0.8, 5), ('Equalize', 1.0, 2)),
            (('Rotate', 0.2, 3), ('Solarize', 0.6, 8)),
            (('Equalize', 0.6, 8), ('Posterize', 0.4, 6)),
            (('Rotate', 0.8, 8), ('Color', 0.4, 0)),
            (('Rotate', 0.4, 9), ('Equalize', 0.6, 2)),
            (('Equalize', 0.0, 7), ('Equalize', 0.8, 8)),
            (('Invert', 0.6, 4), ('Equalize', 1.0, 8)),
            (('Color', 0.6, 4), ('Contrast', 1.0, 8)),
            (('Rotate', 0.8, 8), ('Color', 1.0, 2)),
            (('Color', 0.8, 8), ('Solarize', 0.8, 7)),
            (('Sharpness', 0.4, 7), ('Invert', 0.6, 8)),
            (('ShearX', 0.6, 5), ('Equalize', 1.0, 9)),
            (('Color', 0.4, 0), ('Equalize', 0.6, 3)),
            (('Equalize', 0.4, 7), ('Solarize', 0.2, 4)),
            (('Solarize', 0.6, 5), ('AutoContrast', 0.6, 5)),
            (('Invert', 0.6, 4), ('Equalize', 1.0, 8)),
            (('Color', 0.6, 4), ('Contrast', 1.0, 8)),
            (('Equalize', 0.8, 8), ('Equalize', 0.6, 3)),
        ),
        ranges='original',
        magnitude_std=0.0,
        fill=None,
        interpolation=('nearest',),
    ),
    # What AttentiveNAS (arXiv:2011.09011) trained with: the table of TensorFlow's EfficientNet, timm's ranges, noise on
    # magnitudes, the mean of ImageNet around the image. Here images move by whole pixels, there by fractions too.
    'v0': Policy(
        table=(
            (('Equalize', 0.8, 1), ('ShearY', 0.8, 4)),
            (('Color', 0.4, 9), ('Equalize', 0.6, 3)),
            (('Color', 0.4, 1), ('Rotate', 0.6, 8)),
            (('Solarize', 0.8, 3), ('Equalize', 0.4, 7)),
            (('Solarize', 0.4, 2), ('Solarize', 0.6, 2)),
            (('Color', 0.2, 0), ('Equalize', 0.8, 8)),
            (('Equalize', 0.4, 8), ('SolarizeAdd', 0.8, 3)),
            (('ShearX', 0.2, 9), ('Rotate', 0.6, 8)),
            (('Color', 0.6, 1), ('Equalize', 1.0, 2)),
            (('Invert', 0.4, 9), ('Rotate', 0.6, 0)),
            (('Equalize', 1.0, 9), ('ShearY', 0.6, 3)),
            (('Color', 0.4, 7), ('Equalize', 0.6, 0)),
            (('Posterize', 0.4, 6), ('AutoContrast', 0.4, 7)),
            (('Solarize', 0.6, 8), ('Color', 0.6, 9)),
            (('Solarize', 0.2, 4), ('Rotate', 0.8, 9)),
            (('Rotate', 1.0, 7), ('TranslateYRel', 0.8, 9)),
            (('ShearX', 0.0, 0), ('Solarize', 0.8, 4)),
            (('ShearY', 0.8, 0), ('Color', 0.6, 4)),
            (('Color', 1.0, 0), ('Rotate', 0.6, 2)),
            (('Equalize', 0.8, 4), ('Equalize', 0.0, 8)),
            (('Equalize', 1.0, 4), ('AutoContrast', 0.6, 2)),
            (('ShearY', 0.4, 7), ('SolarizeAdd', 0.6, 7)),
            (('Posterize', 0.8, 2), ('Solarize', 0.6, 10)),
            (('Solarize', 0.6, 8), ('Equalize', 0.6, 1)),
            (('Color', 0.8, 6), ('Rotate', 0.4, 5)),
        ),
        ranges='v0',
        magnitude_std=0.5,
        fill=(124, 116, 104),
        interpolation=INTERPOLATIONS,
    ),
}
