"""What the network is given is what mmcls's preprocessor gives it."""

import copy

import pytest
import torch
from mmcls.models import ClsDataPreprocessor as MMClsDataPreprocessor
from mmcls.structures import ClsDataSample

from mmrazor_bignas.models.classifier import ClsDataPreprocessor

OPTIONS = {'mean': [100.0] * 3, 'std': [50.0] * 3, 'num_classes': 4}


@pytest.mark.parametrize('labels', [[[0], [3], [1]], [[0, 2], [1], [3]], None])
@pytest.mark.parametrize('options', [{}, {'to_onehot': True}, {'to_rgb': True}])
def test_it_equals_that_of_mmcls(labels, options):
    if labels is None and 'to_onehot' in options:
        pytest.skip('needs labels')
    torch.manual_seed(0)
    samples = [ClsDataSample() for _ in range(3)]
    for sample, label in zip(samples, labels or (), strict=False):
        sample.set_gt_label(label)
    data = {'inputs': torch.randint(0, 255, (3, 3, 8, 8), dtype=torch.uint8), 'data_samples': samples}
    ours = ClsDataPreprocessor(**OPTIONS, **options)(copy.deepcopy(data), training=True)
    theirs = MMClsDataPreprocessor(**OPTIONS, **options)(copy.deepcopy(data), training=True)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    for one, other in zip(ours['data_samples'], theirs['data_samples'], strict=True):
        assert ('gt_label' in one) == (labels is not None)
        if labels:
            assert torch.equal(one.gt_label.label, other.gt_label.label)
            assert ('score' in one.gt_label) == ('to_onehot' in options)


def test_images_without_annotations():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert ClsDataPreprocessor(**OPTIONS)({'inputs': images})['inputs'].mean() == -2
