"""What the transforms take."""

from __future__ import annotations

import numpy as np

from mmrazor_bignas.errors import InputError


def image_of(results: dict, step: str, in_colour: bool = False) -> np.ndarray:
    """``img`` of a pipeline's results, (height, width, channels) or (height, width) uint8.

    Args:
        results: Of the pipeline.
        step: The step that needs it.
        in_colour: Whether it must be (height, width, 3), in BGR.

    Raises:
        InputError: The image is of another kind; names the step.
    """
    image = results.get('img')
    is_image = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3)
    if not is_image or (in_colour and image.shape[2:] != (3,)):
        found = f'{image.dtype} {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
        shape = '(height, width, 3) in BGR' if in_colour else '(height, width, channels) or (height, width)'
        raise InputError(f'{step}: img is {found}; expected a uint8 array {shape}: place it after the loading')
    return image
