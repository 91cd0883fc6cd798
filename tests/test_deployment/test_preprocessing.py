"""The preprocessing of a config: described in plain values, and the same pixels from these."""

import json
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT
from mmcls.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose
from tiny_imagenet import SUBNET

from mmrazor_bignas.deployment.preprocessing import Preprocessing, fixed_size, preprocessing_of
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError

sys.path.insert(0, str(ROOT / 'examples'))
predict_onnx = pytest.importorskip('predict_onnx')

LOAD, PACK = {'type': 'LoadImageFromFile'}, {'type': 'PackClsInputs'}
CROP = {'type': 'CenterCrop', 'crop_size': (41, 30)}
PIPELINES = [
    [{'type': 'Resize', 'scale': (40, 28)}],
    [{'type': 'Resize', 'scale': 100, 'interpolation': 'bicubic'}],
    [{'type': 'Resize', 'scale': (40, 28), 'backend': 'pillow', 'interpolation': 'bicubic'}],
    [{'type': 'ResizeEdge', 'scale': 48}, CROP],
    [{'type': 'ResizeEdge', 'scale': 48, 'edge': 'long', 'interpolation': 'bicubic'}, CROP],
    [{'type': 'ResizeEdge', 'scale': 47, 'edge': 'height', 'backend': 'pillow'}, CROP],
    [{'type': 'mmrazor_bignas.ResizeEdge', 'scale': 48}, CROP],
    [{'type': 'mmrazor_bignas.ResizeEdge', 'scale': 150, 'edge': 'width'}, CROP],
    [CROP],
]


def config_of(pipeline: list, **preprocessor) -> Config:
    dataset = {'type': 'Split', 'dataset': {'type': 'Images', 'pipeline': [LOAD, *pipeline, PACK]}}
    architecture = {'data_preprocessor': preprocessor or None}
    return Config({'test_dataloader': {'dataset': dataset}, 'algorithm': {'architecture': architecture}})


@pytest.fixture(scope='module', params=[(61, 90), (90, 61), (64, 64)])
def picture(request, tmp_path_factory) -> str:
    """A PNG file with detail of all sizes."""
    rng = np.random.RandomState(0)
    colours = cv2.resize(rng.randint(0, 255, (5, 7, 3), dtype=np.uint8), request.param[::-1]).astype(int)
    path = str(tmp_path_factory.mktemp('picture') / 'a.png')
    assert cv2.imwrite(path, (colours + rng.randint(-40, 40, colours.shape)).clip(0, 255).astype(np.uint8))
    return path


def pixels(pipeline: list, path: str) -> np.ndarray:
    return Compose([TRANSFORMS.build(step) for step in pipeline])({'img_path': path})['inputs'].numpy()


@pytest.mark.parametrize('pipeline', PIPELINES)
def test_a_description_gives_the_same_pixels(pipeline, picture):
    described = json.loads(json.dumps(preprocessing_of(config_of(pipeline), (1, 1)).to_dict()))
    again = Preprocessing.from_dict(described)
    assert again == preprocessing_of(config_of(pipeline), (1, 1))
    np.testing.assert_array_equal(pixels(again.pipeline(), picture), pixels([LOAD, *pipeline, PACK], picture))


@pytest.mark.parametrize('pipeline', PIPELINES)
def test_the_script_without_our_libraries_gives_them_but_for_rounding(pipeline, picture):
    steps = preprocessing_of(config_of(pipeline), (1, 1)).to_dict()['steps']
    found = predict_onnx.prepare(predict_onnx.load(picture), steps)[..., ::-1].transpose(2, 0, 1)
    expected = pixels([LOAD, *pipeline, PACK], picture)
    assert found.shape == expected.shape
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= 1
    assert apart.mean() < 0.2


def test_the_configs():
    found = preprocessing_of(load_config(str(ROOT / SUBNET)))
    assert found.to_dict() == {
        'steps': [
            {'step': 'resize_edge', 'edge': 'short', 'length': 256, 'interpolation': 'bicubic', 'backend': 'torch'},
            {'step': 'center_crop', 'height': 224, 'width': 224},
        ],
        'size': [224, 224],
        'channels': 'RGB',
        'mean': [123.675, 116.28, 103.53],
        'std': [58.395, 57.12, 57.375],
    }
    assert preprocessing_of(load_config(str(ROOT / 'configs/demo/digits_search.py'))).channels == 'BGR'


def test_without_a_preprocessor_levels_stay_as_they_are():
    found = preprocessing_of(config_of([]), (8, 9))
    assert (found.size, found.mean, found.std) == ((8, 9), (0, 0, 0), (1, 1, 1))


RESIZE = {'step': 'resize', 'height': 20, 'width': 30}
EDGE = {'step': 'resize_edge', 'edge': 'short', 'length': 24}


def crop(height: int, width: int) -> dict:
    return {'step': 'center_crop', 'height': height, 'width': width}


@pytest.mark.parametrize(
    ('steps', 'size'),
    [
        ([], None),
        ([RESIZE], (20, 30)),
        ([RESIZE, crop(25, 10)], (20, 10)),
        ([EDGE], None),
        ([EDGE, crop(24, 20)], (24, 20)),
        ([EDGE, crop(25, 20)], None),
        ([{**EDGE, 'edge': 'long'}, crop(20, 20)], None),
        ([RESIZE, EDGE], None),
        ([crop(8, 8)], None),
    ],
)
def test_the_size_that_every_image_has(steps, size):
    assert fixed_size(steps) == size


@pytest.mark.parametrize(
    ('pipeline', 'preprocessor', 'message'),
    [
        ([{'type': 'RandomFlip', 'prob': 0.5}], {}, 'has the step RandomFlip, which cannot be exported; expected only'),
        ([{'type': 'Resize', 'scale': (9, 9), 'keep_ratio': True}], {}, 'Resize: only scale=.* without keep_ratio'),
        ([{'type': 'Resize', 'scale_factor': 2.0}], {}, 'Resize: only scale='),
        ([{'type': 'Resize', 'scale': 9, 'interpolation': 'area'}], {}, "Resize: interpolation 'area' cannot be"),
        ([{**CROP, 'auto_pad': True}], {}, 'CenterCrop: auto_pad cannot be exported'),
        ([{**LOAD, 'color_type': 'grayscale'}], {}, 'LoadImageFromFile: only color_type="color"'),
        ([], {}, 'fixes no size of images; add Resize or CenterCrop'),
        ([CROP], {}, 'fixes no size of images'),
        (PIPELINES[0], {'pad_size_divisor': 32}, 'pad_size_divisor is 32; only 1 can be exported'),
    ],
)
def test_what_cannot_be_described(pipeline, preprocessor, message):
    with pytest.raises(InputError, match=message):
        preprocessing_of(config_of(pipeline, **preprocessor))


@pytest.mark.parametrize(
    'change',
    [{'steps': [{'step': 'rotate'}]}, {'mean': None}, {'size': 3}, {'steps': [{**RESIZE, 'interpolation': 'area'}]}],
)
def test_a_description_that_is_none(change):
    values = {'steps': [], 'size': [3, 3], 'channels': 'RGB', 'mean': [0] * 3, 'std': [1] * 3}
    assert Preprocessing.from_dict(values).size == (3, 3)
    with pytest.raises(InputError, match='the preprocessing cannot be read'):
        Preprocessing.from_dict({**values, **change})
