import numpy as np
from sklearn.datasets import load_digits

from mmrazor_bignas.datasets import Digits


def test_the_images_are_scikit_learns():
    dataset, digits = Digits(), load_digits()
    assert len(dataset) == 1797
    assert list(dataset.get_gt_labels()) == list(digits.target)
    image = dataset[7]['img']
    assert image.dtype == np.uint8
    assert (image == np.round(digits.images[7] * 255 / 16)[..., None]).all()
