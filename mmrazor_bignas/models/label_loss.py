"""The loss between logits and labels."""

from __future__ import annotations

from torch import Tensor, nn

from mmrazor_bignas.registry import MODELS


@MODELS.register_module()
class LabelSmoothCrossEntropy(nn.CrossEntropyLoss):
    """Cross entropy with label smoothing (arXiv:1512.00567, section 7).

    torch's, and equal to mmcls's LabelSmoothLoss in its mode 'original', which waits for a GPU in an assertion.

    Args:
        label_smoothing: Share of the target that is spread over all classes.
    """

    def __init__(self, label_smoothing: float = 0.1) -> None:
        super().__init__(label_smoothing=label_smoothing)

    def forward(self, logits: Tensor, target: Tensor, avg_factor: float | None = None) -> Tensor:
        """The mean over a batch.

        Args:
            logits: (N, classes).
            target: (N,) labels, or (N, classes) shares of them.
            avg_factor: N: mmcls's heads say it.
        """
        return super().forward(logits, target)
