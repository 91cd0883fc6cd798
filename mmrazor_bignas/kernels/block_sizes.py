"""How much of a tensor one program of each kernel takes: what a card's measurements are entered into.

``benchmarks/kernels.py`` tries others and prints the best of each. The figures here are estimates, not measured on a
GPU: they were chosen from the compiler's output (registers, width of loads) for compute capability 9.0.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from torch import Tensor


class Blocks(NamedTuple):
    """The work of one program.

    Attributes:
        rows: Pixels (of all images together) that it takes at a time.
        channels: Channels.
        warps: Of 32 threads each.
        programs: About as many run a whole tensor, each going over several ``rows``; 0 for one per ``rows``.
    """

    rows: int
    channels: int
    warps: int
    programs: int = 0


# By kernel and by bytes of a number: 2 for bfloat16 and float16, 4 for float32.
BLOCK_SIZES: dict[str, dict[int, Blocks]] = {
    'depthwise': {2: Blocks(64, 32, 4, 1056), 4: Blocks(64, 32, 4, 1056)},
    'depthwise_weight': {2: Blocks(32, 32, 4, 2112), 4: Blocks(32, 32, 4, 2112)},
    'norm_reduce': {2: Blocks(128, 32, 8, 264), 4: Blocks(128, 32, 8, 264)},
    'norm_apply': {2: Blocks(64, 32, 4, 1056), 4: Blocks(64, 32, 4, 1056)},
    'gate_reduce': {2: Blocks(64, 32, 4), 4: Blocks(64, 32, 4)},
    'gate_apply': {2: Blocks(64, 32, 4), 4: Blocks(64, 32, 4)},
}


class Tiles(NamedTuple):
    """How a tensor of rows and channels is dealt out.

    Attributes:
        rows: Rows that a program takes at a time.
        channels: Channels of a program.
        warps: Of a program.
        channel_blocks: Programs across the channels.
        splits: Programs along the rows.
        rows_per_split: Rows of each of them, a multiple of ``rows``; the last may have fewer.
    """

    rows: int
    channels: int
    warps: int
    channel_blocks: int
    splits: int
    rows_per_split: int

    @property
    def grid(self) -> tuple[int, int]:
        return self.channel_blocks, self.splits


def tiles(kernel: str, element_size: int, rows: int, channels: int) -> Tiles:
    """A function of sizes alone, so that a sum's order, and with it its last digits, are the same on every card."""
    return _tiles(BLOCK_SIZES[kernel][element_size], rows, channels)


def moment_tiles(out: Tensor) -> Tiles:
    """How a depthwise convolution's output (N, C, H, W) is dealt out, and so the moments that come with it."""
    size = min(out.element_size(), 4)  # float64, which the plain twin takes, as float32
    rows, channels = int(out.numel() // out.shape[1]), int(out.shape[1])  # torch.compile's may be symbols
    return tiles('depthwise', size, rows, channels)


@cache
def _tiles(blocks: Blocks, rows: int, channels: int) -> Tiles:
    channel_blocks = -(-channels // blocks.channels)
    steps = -(-rows // blocks.rows)
    splits = max(1, blocks.programs // channel_blocks) if blocks.programs else steps
    rows_per_split = -(-steps // splits) * blocks.rows
    return Tiles(blocks.rows, blocks.channels, blocks.warps, channel_blocks, -(-rows // rows_per_split), rows_per_split)


def alignment(channels: int) -> int:
    """What the number of channels is known to be divisible by; with 8, 16 bytes are loaded at once."""
    return 1 if channels % 8 else 8
