"""The head's labels."""

import torch
from mmcls.structures import ClsDataSample


def test_labels_and_soft_labels(tiny_supernet):
    hard = [ClsDataSample().set_gt_label(label) for label in (2, 0)]
    soft = [ClsDataSample().set_gt_score(torch.tensor(score)) for score in ([0.1, 0.2, 0.7, 0.0], [0.6, 0.4, 0.0, 0.0])]
    for samples in (hard, soft):
        assert tiny_supernet.head.labels_of(samples).tolist() == [2, 0]
