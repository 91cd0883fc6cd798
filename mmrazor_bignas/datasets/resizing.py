"""mmcls's transforms that resize, several times faster: Pillow's filter as torch has it for uint8.

The width is resized first, as Pillow did when the published networks were trained. Pillow 13 resizes the height first
where it shrinks more, and levels that the bicubic filter overshoots are clipped in between: some then differ by 20.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcls.datasets import transforms

from mmrazor_bignas.datasets.images import image_of
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import TRANSFORMS

INTERPOLATIONS = ('bilinear', 'bicubic')


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize as Pillow before 13 does, with the filter widened where the image shrinks, but for its weights' rounding.

    Args:
        image: (height, width, channels) or (height, width) uint8.
        size: New height and width in pixels.
        interpolation: One of :data:`INTERPOLATIONS`.

    Returns:
        (new height, new width, channels) or (new height, new width) uint8, contiguous.
    """
    if image.ndim == 2:
        return resize(image[..., None], size, interpolation)[..., 0]
    # Channels last, also in the strides of the batch of one: torch is fastest there.
    batch = torch.from_numpy(image)[None].permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(batch, size, mode=interpolation, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


@TRANSFORMS.register_module()
class RandomResizedCrop(transforms.RandomResizedCrop):
    """mmcls's with ``backend='pillow'``, before Pillow 13: the same draws and crops, pixels equal but for rounding.

    Args:
        scale: Height and width of the result in pixels, or one number for both.
        interpolation: ``'bilinear'`` or ``'bicubic'``.
        **kwargs: Of mmcls's: ``crop_ratio_range``, ``aspect_ratio_range``, ``max_attempts``.

    Raises:
        InputError: The interpolation is none of these.
    """

    def __init__(self, scale: int | tuple[int, int], interpolation: str = 'bicubic', **kwargs) -> None:
        _check_interpolation(interpolation, 'RandomResizedCrop')
        super().__init__(scale, interpolation=interpolation, backend='torch', **kwargs)

    def transform(self, results: dict) -> dict:
        """Crop and resize one image.

        Args:
            results: ``img``, (height, width, channels) or (height, width) uint8.

        Returns:
            The same with another ``img`` of this kind, and its ``img_shape``.

        Raises:
            InputError: The image is of another kind.
        """
        image = image_of(results, 'RandomResizedCrop')
        top, left, height, width = self.rand_crop_params(image)
        crop = image[top : top + height, left : left + width]
        results['img'] = resize(crop, self.scale, self.interpolation)
        results['img_shape'] = results['img'].shape
        return results


@TRANSFORMS.register_module()
class ResizeEdge(transforms.ResizeEdge):
    """mmcls's with ``backend='pillow'``, before Pillow 13: pixels equal but for rounding.

    Args:
        scale: Length of the edge in pixels, to which the other is proportional.
        edge: ``'short'``, ``'long'``, ``'width'`` or ``'height'``.
        interpolation: ``'bilinear'`` or ``'bicubic'``.

    Raises:
        InputError: The interpolation is none of these.
    """

    def __init__(self, scale: int, edge: str = 'short', interpolation: str = 'bicubic') -> None:
        _check_interpolation(interpolation, 'ResizeEdge')
        super().__init__(scale, edge=edge, interpolation=interpolation)
        self.backend = 'torch'

    def transform(self, results: dict) -> dict:
        """Resize one image.

        Args:
            results: ``img``, (height, width, channels) or (height, width) uint8.

        Returns:
            The same with another ``img`` of this kind, its ``img_shape`` and ``scale``, and the ``scale_factor``.

        Raises:
            InputError: The image is of another kind.
        """
        image_of(results, 'ResizeEdge')
        return super().transform(results)

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        new_width, new_height = results['scale']
        results['img'] = resize(results['img'], (new_height, new_width), self.interpolation)
        results['img_shape'] = (new_height, new_width)
        results['scale_factor'] = (new_width / width, new_height / height)


def _check_interpolation(interpolation: str, step: str) -> None:
    if interpolation not in INTERPOLATIONS:
        raise InputError(f'{step}: interpolation is {interpolation!r}; expected one of {list(INTERPOLATIONS)}')
