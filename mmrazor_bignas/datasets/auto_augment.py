"""AutoAugment with torchvision's pixels: the paper's policy, and the one that AttentiveNAS trained with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, wraps
from numbers import Integral, Real

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from mmrazor_bignas.datasets import pointwise
from mmrazor_bignas.datasets.images import image_of
from mmrazor_bignas.datasets.policies import INTERPOLATIONS, POLICIES, RANGES, Policy
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TRANSFORMS


@dataclass(frozen=True)
class Operation:
    """What runs, and on which value.

    Attributes:
        run: Function of planes, (3, height, width) uint8 in RGB; of a value, where there is one; of ``interpolation``
            and ``fill``, if geometric. Returns other planes.
        original: The value in the ranges of that name, of a magnitude as a fraction of the largest one.
        v0: The same for the ranges 'v0'.
        signed: Ranges in which the fraction gets a random sign.
        geometric: Moves pixels.
    """

    run: Callable[..., np.ndarray]
    original: Callable[[float], float] | None = None
    v0: Callable[[float], float] | None = None
    signed: tuple[str, ...] = ()
    geometric: bool = False


def _shear(image: Image.Image, across: float, down: float, **look) -> Image.Image:
    # As torchvision's AutoAugment does: slopes, not angles, from the upper left corner.
    degrees = [math.degrees(math.atan(slope)) for slope in (across, down)]
    return functional.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, center=[0, 0], **look)


def _translate(image: Image.Image, across: float, down: float, **look) -> Image.Image:
    # Whole pixels; what is one but for the rounding of floats is one.
    pixels = [int(round(across * image.width, 3)), int(round(down * image.height, 3))]
    return functional.affine(image, angle=0.0, translate=pixels, scale=1.0, shear=[0.0, 0.0], **look)


def _planes(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _on_planes(run: Callable[..., Image.Image]) -> Callable[..., np.ndarray]:
    @wraps(run)
    def run_on_planes(planes: np.ndarray, *value: float, **look) -> np.ndarray:
        image = Image.fromarray(cv2.merge(list(planes)))
        return _planes(np.asarray(run(image, *value, **look)))

    return run_on_planes


@cache
def _row(largest: float) -> list[float]:
    return torch.linspace(0, largest, RANGES['original'] + 1).tolist()


def _spaced(largest: float, t: float) -> float:
    # Equals ``largest * t``, rounded as by torchvision, for pixels that equal its: from a row of float32.
    row = _row(largest)
    return math.copysign(np.interp(abs(t) * RANGES['original'], range(len(row)), row), t)


def _geometric(run: Callable[..., Image.Image], original: float, v0: float) -> Operation:
    return Operation(
        _on_planes(run), lambda t: _spaced(original, t), lambda t: v0 * t, signed=('original', 'v0'), geometric=True
    )


def _enhancing(run: Callable[..., np.ndarray]) -> Operation:
    # A factor; 1 leaves the image as it is.
    return Operation(run, lambda t: 1 + _spaced(0.9, t), lambda t: 0.1 + 1.8 * t, signed=('original',))


OPERATIONS = {
    'ShearX': _geometric(lambda image, slope, **look: _shear(image, slope, 0, **look), 0.3, 0.3),
    'ShearY': _geometric(lambda image, slope, **look: _shear(image, 0, slope, **look), 0.3, 0.3),
    'TranslateX': _geometric(lambda image, part, **look: _translate(image, part, 0, **look), 150 / 331, 0.45),
    'TranslateY': _geometric(lambda image, part, **look: _translate(image, 0, part, **look), 150 / 331, 0.45),
    'Rotate': _geometric(functional.rotate, 30, 30),
    'Brightness': _enhancing(_on_planes(functional.adjust_brightness)),
    'Color': _enhancing(pointwise.adjust_saturation),
    'Contrast': _enhancing(_on_planes(functional.adjust_contrast)),
    'Sharpness': _enhancing(_on_planes(functional.adjust_sharpness)),
    'Posterize': Operation(pointwise.posterize, lambda t: 8 - round(4 * t), lambda t: int(4 * t) + 4),
    'Solarize': Operation(pointwise.solarize, lambda t: 255 - 255 * t, lambda t: int(256 * t)),
    'SolarizeAdd': Operation(pointwise.solarize_add, lambda t: int(110 * t), lambda t: int(110 * t)),
    'AutoContrast': Operation(pointwise.autocontrast),
    'Equalize': Operation(pointwise.equalize),
    'Invert': Operation(pointwise.invert),
}
# The names in 'v0' as it was published.
OPERATIONS |= {'TranslateXRel': OPERATIONS['TranslateX'], 'TranslateYRel': OPERATIONS['TranslateY']}


@TRANSFORMS.register_module()
class AutoAugment(BaseTransform):
    """Runs one sub-policy, drawn uniformly: each of its operations with its probability.

    Every draw is from numpy's global generator, as mmcv's transforms draw.

    Args:
        policies: ``'original'``, ``'v0'``, or sub-policies: lists of operations (name, probability, magnitude).
        ranges: What magnitudes mean: ``'original'``, 0 to 9, as in torchvision's AutoAugment, or ``'v0'``, 0 to 10, as
            in AttentiveNAS's training.
        magnitude_std: Standard deviation of gaussian noise on magnitudes, which stay in their range.
        fill: RGB of pixels from outside of the image; (0, 0, 0) is black.
        interpolation: Of geometric operations; several names: drawn for each.

    What is None is the named policy's own; for a list, that of ``'original'``.

    Raises:
        InputError: An argument cannot be used; sub-policies and operations are counted from 0.
    """

    def __init__(
        self,
        policies: str | Sequence[Sequence[tuple[str, float, float]]] = 'v0',
        ranges: str | None = None,
        magnitude_std: float | None = None,
        fill: Sequence[int] | None = None,
        interpolation: str | Sequence[str] | None = None,
    ) -> None:
        given = {'ranges': ranges, 'magnitude_std': magnitude_std, 'fill': fill, 'interpolation': interpolation}
        given = {key: value for key, value in given.items() if value is not None}
        if isinstance(policies, str):
            if policies not in POLICIES:
                raise _error(f'policies is {policies!r}', f'one of {list(POLICIES)}, or a list of sub-policies')
            policy = POLICIES[policies]
        else:
            policy = replace(POLICIES['original'], table=policies)
        self.policy = _checked(replace(policy, **given))
        self.policies = policies if isinstance(policies, str) else self.policy.table

    def transform(self, results: dict) -> dict:
        """Augment one image.

        Args:
            results: ``img``, (height, width, 3) uint8 in BGR.

        Returns:
            The same with another ``img`` of this kind.

        Raises:
            InputError: The image is of another kind.
        """
        planes = _planes(image_of(results, 'AutoAugment', in_colour=True)[..., ::-1])
        for name, probability, magnitude in _draw(self.policy.table):
            if np.random.random() < probability:
                planes = self._apply(OPERATIONS[name], planes, magnitude)
        results['img'] = cv2.merge(list(planes[::-1]))
        return results

    def _apply(self, operation: Operation, planes: np.ndarray, magnitude: float) -> np.ndarray:
        policy, value, look = self.policy, [], {}
        value_of = getattr(operation, policy.ranges)
        if value_of is not None:
            largest = RANGES[policy.ranges]
            if policy.magnitude_std:
                magnitude = min(max(np.random.normal(magnitude, policy.magnitude_std), 0), largest)
            sign = _draw((-1, 1)) if policy.ranges in operation.signed else 1
            value = [value_of(sign * magnitude / largest)]
        if operation.geometric:
            look = {'interpolation': InterpolationMode(_draw(policy.interpolation)), 'fill': policy.fill}
        return operation.run(planes, *value, **look)

    def __repr__(self) -> str:
        own = ('ranges', 'magnitude_std', 'fill', 'interpolation')
        words = [f'policies={self.policies!r}', *(f'{key}={getattr(self.policy, key)!r}' for key in own)]
        return f'{type(self).__name__}({", ".join(words)})'


def _draw(options: Sequence):
    return options[np.random.randint(len(options))]


def _checked(policy: Policy) -> Policy:
    """The policy in tuples.

    Raises:
        InputError: Something in it cannot be used.
    """
    if not isinstance(policy.ranges, str) or policy.ranges not in RANGES:
        raise _error(f'ranges is {policy.ranges!r}', f'one of {list(RANGES)}')
    if not _is_number(policy.magnitude_std, 0, math.inf):
        raise _error(f'magnitude_std is {policy.magnitude_std!r}', 'a number of 0 or more')
    fill = policy.fill
    if fill is not None:
        if not _is_list(fill, 3) or not all(_is_number(level, 0, 255, Integral) for level in fill):
            raise _error(f'fill is {fill!r}', 'red, green and blue as integers from 0 to 255')
        fill = tuple(map(int, fill))
    names = (policy.interpolation,) if isinstance(policy.interpolation, str) else policy.interpolation
    if not _is_list(names) or any(name not in INTERPOLATIONS for name in names):
        raise _error(f'interpolation is {policy.interpolation!r}', f'one or more of {list(INTERPOLATIONS)}')
    if not _is_list(policy.table):
        raise _error(f'policies is {policy.table!r}', f'one of {list(POLICIES)}, or a list of sub-policies')
    for i, operations in enumerate(policy.table):
        if not _is_list(operations):
            raise _error(f'sub-policy {i} is {operations!r}', 'a list of (operation, probability, magnitude)')
        for j, operation in enumerate(operations):
            _check_operation(operation, RANGES[policy.ranges], f'sub-policy {i}, operation {j}')
    table = tuple(tuple(map(tuple, operations)) for operations in policy.table)
    return replace(policy, table=table, fill=fill, interpolation=tuple(names))


def _check_operation(operation: object, largest: float, place: str) -> None:
    if not _is_list(operation, 3):
        raise _error(f'{place}: found {operation!r}', '(operation, probability, magnitude)')
    name, probability, magnitude = operation
    if not isinstance(name, str) or name not in OPERATIONS:
        raise _error(f'{place}: found {name!r}', f'one of {list(OPERATIONS)}')
    if not _is_number(probability, 0, 1):
        raise _error(f'{place}: probability is {probability!r}', 'a number from 0 to 1')
    if not _is_number(magnitude, 0, largest):
        raise _error(f'{place}: magnitude is {magnitude!r}', f'a number from 0 to {largest}')


def _is_list(value: object, length: int | None = None) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and length in (None, len(value))


def _is_number(value: object, smallest: float, largest: float, kind: type = Real) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return math.isfinite(value) and smallest <= value <= largest


def _error(found: str, accepted: str) -> InputError:
    return InputError(f'AutoAugment: {found}; expected {accepted}')
