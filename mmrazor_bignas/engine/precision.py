"""The number format of forward passes."""

from __future__ import annotations

import torch
from torch import nn


def autocast(model: nn.Module, amp: bool = True, dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    """Autocast on the model's device; float32 where ``amp`` is False.

    bfloat16 has float32's range, so no loss scaling is needed.
    """
    return torch.autocast(next(model.parameters()).device.type, dtype=dtype, enabled=amp)
