"""What the transforms take."""

from __future__ import annotations

import numpy as np

from mmrazor_bignas.errors import InputError


def image_of(results: dict, step: str) -> np.ndarray:
    """``img`` of a pipeline's results, (height, width, 3) uint8 in BGR.

    Raises:
        InputError: The image is of another kind; names the step that needs it.
    """
    image = results.get('img')
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(
            f'{step}: img is {found}; expected a uint8 array (height, width, 3) in BGR: place it after the loading'
        )
    return image
