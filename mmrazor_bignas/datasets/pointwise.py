"""Operations of AutoAugment that move no pixels, with Pillow's results, on planes: (3, height, width) uint8 in RGB."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch

LEVELS = np.arange(256, dtype=np.uint8)


def invert(planes: np.ndarray) -> np.ndarray:
    """The negative."""
    return ~planes


def posterize(planes: np.ndarray, bits: int) -> np.ndarray:
    """Keep the highest bits, 1 to 8."""
    return planes & np.uint8(256 - 2 ** (8 - bits))


def solarize(planes: np.ndarray, threshold: float) -> np.ndarray:
    """Invert levels from a threshold on."""
    return planes ^ (np.uint8(255) * (planes >= threshold))


def solarize_add(planes: np.ndarray, amount: int) -> np.ndarray:
    """Add to levels below 128 an amount of at most 128."""
    return planes + np.uint8(amount) * (planes < 128)


def adjust_saturation(planes: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the grey image: 0 is grey, 1 the image as it is, more is more colourful."""
    red, green, blue = planes.astype(np.float32)
    # Whole numbers below 2 ** 24: exact in float32.
    grey = np.floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536)
    return np.clip(grey + np.float32(factor) * (planes - grey), 0, 255).astype(np.uint8)


def autocontrast(planes: np.ndarray) -> np.ndarray:
    """Stretch the levels of each plane to 0 to 255."""
    return _map_levels(planes, _stretched)


def equalize(planes: np.ndarray) -> np.ndarray:
    """Spread the levels of each plane evenly."""
    return _map_levels(planes, _equalized)


def _map_levels(planes: np.ndarray, table_of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    counts = [torch.bincount(torch.from_numpy(plane).flatten(), minlength=256).numpy() for plane in planes]
    return np.stack([cv2.LUT(plane, table_of(count)) for plane, count in zip(planes, counts, strict=True)])


def _stretched(counts: np.ndarray) -> np.ndarray:
    low, high = np.flatnonzero(counts)[[0, -1]].tolist()
    if low == high:
        return LEVELS
    scale = 255 / (high - low)
    return np.clip(LEVELS * scale - low * scale, 0, 255).astype(np.uint8)


def _equalized(counts: np.ndarray) -> np.ndarray:
    # The pixels of the highest level are left out of what is divided.
    step = (counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
    if step == 0:
        return LEVELS
    below = np.cumsum(counts) - counts
    return np.minimum((step // 2 + below) // step, 255).astype(np.uint8)
