"""Distillation losses: from the logits of student and teacher to one number, in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmrazor_bignas.registry import MODELS


@MODELS.register_module()
class KLDistillation(nn.Module):
    """In-place distillation of BigNAS (arXiv:2003.11142, section 3.1): -sum p log q, mean over the batch.

    It differs from the Kullback-Leibler divergence by the teacher's entropy, which has no gradient.
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Logits (N, classes) of both -> scalar. The teacher gets no gradient."""
        target = teacher.detach().float().softmax(1)
        return -(target * student.float().log_softmax(1)).sum(1).mean()


@MODELS.register_module()
class AdaptiveAlphaDistillation(nn.Module):
    """Adaptive alpha divergence of AlphaNet (arXiv:2102.07954, section 4): per sample, the larger of two divergences.

    The value is a carrier of the gradient, -sum q rho log q with q and rho constant, not the divergence itself.

    Args:
        alpha_min: The alpha that punishes a student over-estimating the teacher's uncertainty.
        alpha_max: The alpha that punishes one under-estimating it.
        clip: Upper bound of the importance weights.
    """

    def __init__(self, alpha_min: float = -1.0, alpha_max: float = 1.0, clip: float = 5.0) -> None:
        super().__init__()
        self.alpha_min, self.alpha_max, self.clip = alpha_min, alpha_max, clip

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Logits (N, classes) of both -> scalar. The teacher gets no gradient."""
        low, low_carrier = alpha_divergence(student, teacher, self.alpha_min, self.clip)
        high, high_carrier = alpha_divergence(student, teacher, self.alpha_max, self.clip)
        return torch.where(low > high, low_carrier, high_carrier).mean()


def alpha_divergence(student: Tensor, teacher: Tensor, alpha: float, clip: float) -> tuple[Tensor, Tensor]:
    """The alpha divergence of teacher p from student q and the carrier of its gradient, per sample.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes), taken as constant.
        alpha: 1 is the Kullback-Leibler divergence of p from q (not clipped), 0 that of q from p.
        clip: Upper bound of the importance weights (p / q) ** alpha.

    Returns:
        Divergences (N,) without gradient, and carriers (N,) whose gradient is the divergence's with clipped weights.
    """
    log_q = student.float().log_softmax(1)
    q = log_q.detach().exp()
    p = teacher.detach().float().softmax(1)
    ratio = p / q
    if abs(alpha) < 1e-3:
        log_ratio = ratio.clamp(0, clip).log()
        f, f0, rho = -log_ratio, 0.0, log_ratio - 1.0
    elif abs(alpha - 1.0) < 1e-3:
        f, f0, rho = ratio * ratio.log(), 0.0, ratio
    else:
        weights = ratio.pow(alpha).clamp(0, clip)
        f0 = 1.0 / (alpha * (alpha - 1.0))
        f, rho = weights * f0, weights / alpha + f0
    return (q * (f - f0)).sum(1), -(q * rho * log_q).sum(1)
