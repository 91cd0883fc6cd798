"""The number format of forward passes."""

from __future__ import annotations

import torch
from torch import nn


def products_as_convolutions() -> None:
    """Let float32 matrix products on a GPU take TF32 where float32 convolutions do, as torch lets them by default.

    Pointwise convolutions are matrix products there. NVIDIA_TF32_OVERRIDE=0 turns TF32 off for both.
    """
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32


def autocast(model: nn.Module, amp: bool = True, dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    """Autocast on the model's device; float32 where ``amp`` is False.

    bfloat16 has float32's range, so no loss scaling is needed.
    """
    return torch.autocast(next(model.parameters()).device.type, dtype=dtype, enabled=amp)
