import pytest
import torch
from mmcls.models.losses import LabelSmoothLoss

from mmrazor_bignas.models import LabelSmoothCrossEntropy


@pytest.mark.parametrize('soft', [False, True])
def test_it_equals_that_of_mmcls(soft):
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 7), torch.tensor([0, 3, 6, 6, 1])
    if soft:
        with_itself = torch.eye(7)[labels]
        target = 0.7 * with_itself + 0.3 * with_itself.flip(0)
        expected = -(((0.9 * target + 0.1 / 7) * logits.log_softmax(1)).sum(1)).mean()
    else:
        target, theirs = labels, LabelSmoothLoss(0.1, num_classes=7, mode='original')
        expected = theirs(logits, labels, avg_factor=5)
    torch.testing.assert_close(LabelSmoothCrossEntropy(0.1)(logits, target, avg_factor=5), expected)
