"""The memory of the CPU's tensors."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let the process keep the memory of freed tensors for the next ones, rather than return it to the system.

    By default glibc maps every tensor above some size anew and unmaps it when it is freed; the system then clears its
    pages one by one, which takes as long as a convolutional network's forward pass itself.

    Returns:
        Whether it took effect: elsewhere than with glibc it does nothing.
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
