"""scikit-learn's digits: 1,797 real images that come with a package, for a first run without a download."""

from __future__ import annotations

import numpy as np
from mmcls.datasets import BaseDataset

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import DATASETS


@DATASETS.register_module()
class Digits(BaseDataset):
    """Handwritten digits, 8 x 8 grey levels (UCI Optical Recognition of Handwritten Digits, its test part).

    Every item has ``img``, (8, 8, 3) uint8, before the pipeline.

    Args:
        pipeline: Transforms; no loading is needed.
        **kwargs: Of mmengine's BaseDataset.

    Raises:
        InputError: scikit-learn is not installed.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(self, pipeline: list[dict] | tuple = (), **kwargs) -> None:
        super().__init__(ann_file='', pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise InputError('the digits are part of scikit-learn: pip install mmrazor_bignas[demo]') from error
        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)
        return [
            {'img': np.repeat(image[..., None], 3, axis=2), 'gt_label': int(label), 'img_shape': image.shape}
            for image, label in zip(images, digits.target, strict=True)
        ]
