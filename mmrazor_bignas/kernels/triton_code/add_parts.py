"""Additions to many parts of larger tensors at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmrazor_bignas.kernels.triton_code.launch import launch

BLOCK = 2048
COLUMNS = 14  # of the table below
FORMATS = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


@triton.jit
def offset(strides, x, y, z, w):
    """Of an element at (x, y, z, w), from the beginning of a tensor of such strides."""
    outer = x * tl.load(strides).to(tl.int32) + y * tl.load(strides + 1).to(tl.int32)
    return outer + z * tl.load(strides + 2).to(tl.int32) + w * tl.load(strides + 3).to(tl.int32)


@triton.jit(do_not_specialize_on_alignment=['table', 'owners', 'starts'])
def add_blocks(
    table, owners, starts, COLUMNS: tl.constexpr, PART: tl.constexpr, ADDEND: tl.constexpr, BLOCK: tl.constexpr
):
    """Add one block of one part.

    A row of the table: addresses of part and addend, number of elements, the three inner sizes, four strides of the
    part and four of the addend.
    """
    row = table + tl.load(owners + tl.program_id(0)).to(tl.int64) * COLUMNS
    part = tl.load(row).to(tl.pointer_type(PART))
    addend = tl.load(row + 1).to(tl.pointer_type(ADDEND))
    # Only addresses are long; numbers within a part are not.
    count, second = tl.load(row + 2).to(tl.int32), tl.load(row + 3).to(tl.int32)
    third, fourth = tl.load(row + 4).to(tl.int32), tl.load(row + 5).to(tl.int32)
    at = tl.load(starts + tl.program_id(0)).to(tl.int32) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    w = at % fourth
    z = at // fourth % third
    y = at // (fourth * third) % second
    x = at // (fourth * third * second)
    to = part + offset(row + 6, x, y, z, w)
    of = addend + offset(row + 10, x, y, z, w)
    total = tl.load(to, mask=inside, other=0).to(tl.float32) + tl.load(of, mask=inside, other=0).to(tl.float32)
    tl.store(to, total.to(PART), mask=inside)


def add(parts: Sequence[Tensor], addends: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Add each tensor to its part, in place; both of the same shape, at most 4 dimensions, any strides.

    A part's elements, and those that it spans, are fewer than 2 ** 31.
    """
    pairs = list(zip(parts, addends, strict=True))
    for formats in dict.fromkeys((part.dtype, addend.dtype) for part, addend in pairs):
        rows, counts = [], []
        for part, addend in pairs:
            if (part.dtype, addend.dtype) == formats:
                none = [1] * (4 - part.ndim)
                rows += [
                    part.data_ptr(), addend.data_ptr(), part.numel(), *(none + list(part.shape))[1:],
                    *none, *part.stride(), *none, *addend.stride(),
                ]  # fmt: skip
                counts.append(triton.cdiv(part.numel(), BLOCK))
        blocks = torch.tensor(counts)
        owners = torch.arange(len(counts)).repeat_interleave(blocks)
        starts = torch.arange(len(owners)) - (blocks.cumsum(0) - blocks)[owners]
        # One copy to the GPU, which nobody waits for.
        together = torch.cat([torch.tensor(rows), owners, starts])
        if parts[0].is_cuda:
            together = together.pin_memory().to(parts[0].device, non_blocking=True)
        table, owners, starts = together.split([len(rows), len(owners), len(starts)])
        launch(
            add_blocks, (len(owners),), (table, owners, starts), (), 4,
            COLUMNS=COLUMNS, PART=FORMATS[formats[0]], ADDEND=FORMATS[formats[1]], BLOCK=BLOCK,
        )  # fmt: skip
    return tuple(parts)
