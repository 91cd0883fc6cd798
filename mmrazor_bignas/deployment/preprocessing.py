"""What happens to an image before the network: read from a config, kept in files as plain values, and done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mmcls.datasets import transforms as mmcls_transforms
from mmcls.registry import TRANSFORMS
from mmcv import transforms as mmcv_transforms
from mmengine.config import Config

from mmrazor_bignas.datasets import ResizeEdge
from mmrazor_bignas.engine.datasets import innermost_config
from mmrazor_bignas.errors import InputError

LOAD, PACK = {'type': 'LoadImageFromFile'}, {'type': 'PackClsInputs'}
INTERPOLATIONS = ('bilinear', 'bicubic')
BACKENDS = ('cv2', 'pillow', 'torch')  # pillow and torch widen the filter where the image shrinks, cv2 does not
KNOWN = 'LoadImageFromFile, Resize, ResizeEdge, CenterCrop and PackClsInputs'


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to what the network takes.

    Attributes:
        steps: What gives the image its size, each a dict of plain values: ``resize``, ``resize_edge``, ``center_crop``.
        size: Height and width in pixels after them.
        channels: Order in which the network takes the colours, ``'RGB'`` or ``'BGR'``.
        mean: Of the pixels, subtracted; one number per colour in that order, in levels of 0 to 255.
        std: What is divided by after that.
    """

    steps: tuple[dict[str, Any], ...]
    size: tuple[int, int]
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them."""
        return {**asdict(self), **{key: list(getattr(self, key)) for key in ('steps', 'size', 'mean', 'std')}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The reverse of :meth:`to_dict`.

        Raises:
            InputError: The values are none of a preprocessing.
        """
        try:
            found = cls(
                steps=tuple(dict(step) for step in values['steps']),
                size=tuple(values['size']),
                channels=values['channels'],
                mean=tuple(map(float, values['mean'])),
                std=tuple(map(float, values['std'])),
            )
            found.pipeline()
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f'the preprocessing cannot be read: {type(error).__name__}: {error}') from error
        return found

    def pipeline(self) -> list[dict[str, Any]]:
        """The config of mmcls's transforms, from a file's name to a uint8 image (3, height, width) in BGR."""
        return [LOAD, *map(_transform_of, self.steps), PACK]

    def data_preprocessor(self) -> dict[str, Any]:
        """The config of the classifier's preprocessor."""
        return {'mean': list(self.mean), 'std': list(self.std), 'to_rgb': self.channels == 'RGB'}


def preprocessing_of(cfg: Config, image_size: Sequence[int] | None = None) -> Preprocessing:
    """What a config does to the images that it tests on.

    Args:
        cfg: A config with ``test_dataloader``, or with ``val_dataloader`` in its place.
        image_size: Height and width of a test image, where the steps themselves leave it open.

    Raises:
        InputError: There is a step that cannot be described, or nothing says how large images are.
    """
    _, loader = test_loader(cfg)
    steps = tuple(filter(None, map(_describe, innermost_config(loader['dataset']).get('pipeline', ()))))
    size = fixed_size(steps) or image_size
    if size is None:
        raise InputError('the test pipeline fixes no size of images; add Resize or CenterCrop')
    settings = dict(cfg.algorithm.architecture.get('data_preprocessor') or {})
    if settings.get('pad_size_divisor', 1) != 1:
        raise InputError(
            f'data_preprocessor.pad_size_divisor is {settings["pad_size_divisor"]}; only 1 can be exported'
        )
    return Preprocessing(
        steps=steps,
        size=tuple(size),
        channels='RGB' if settings.get('to_rgb') else 'BGR',
        mean=tuple(map(float, settings.get('mean') or [0] * 3)),
        std=tuple(map(float, settings.get('std') or [1] * 3)),
    )


def test_loader(cfg: Config) -> tuple[str, dict]:
    """The data loader of the images that a config tests on, and its key.

    Raises:
        InputError: The config has none.
    """
    for key in ('test_dataloader', 'val_dataloader'):
        if cfg.get(key):
            return key, cfg[key]
    raise InputError('the config has no test_dataloader or val_dataloader, which say how images are prepared')


def fixed_size(steps: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Height and width that every image has after the steps; None where they depend on the image."""
    size, at_least = None, 0
    for step in steps:
        if step['step'] == 'resize':
            size = step['height'], step['width']
        elif step['step'] == 'resize_edge':
            size, at_least = None, step['length'] if step['edge'] == 'short' else 0
        else:
            wanted = step['height'], step['width']
            if size is not None:
                size = min(size[0], wanted[0]), min(size[1], wanted[1])
            elif max(wanted) <= at_least:
                size = wanted
    return size


def _describe(cfg: Mapping[str, Any]) -> dict[str, Any] | None:
    """A step of a pipeline in plain values; None for one that changes no pixel."""
    step = TRANSFORMS.build(dict(cfg))
    name = cfg['type'] if isinstance(cfg['type'], str) else cfg['type'].__name__
    if isinstance(step, mmcv_transforms.LoadImageFromFile):
        if step.color_type != 'color' or step.imdecode_backend != 'cv2' or step.to_float32:
            raise InputError(f'{name}: only color_type="color" and imdecode_backend="cv2" can be exported: {dict(cfg)}')
        return None
    if isinstance(step, mmcls_transforms.PackClsInputs):
        return None
    if type(step) is mmcv_transforms.Resize:
        if step.scale is None or step.keep_ratio:
            raise InputError(f'{name}: only scale=(width, height) without keep_ratio can be exported: {dict(cfg)}')
        width, height = step.scale
        return {'step': 'resize', 'height': height, 'width': width, **_filter(step, name)}
    if type(step) in (mmcls_transforms.ResizeEdge, ResizeEdge):
        return {'step': 'resize_edge', 'edge': step.edge, 'length': step.scale, **_filter(step, name)}
    if type(step) is mmcv_transforms.CenterCrop:
        if step.auto_pad:
            raise InputError(f'{name}: auto_pad cannot be exported; resize the image to the size of the crop or more')
        width, height = step.crop_size
        return {'step': 'center_crop', 'height': height, 'width': width}
    raise InputError(f'the test pipeline has the step {name}, which cannot be exported; expected only {KNOWN}')


def _filter(step: object, name: str) -> dict[str, str]:
    if step.interpolation not in INTERPOLATIONS:
        raise InputError(
            f'{name}: interpolation {step.interpolation!r} cannot be exported; expected one of {list(INTERPOLATIONS)}'
        )
    return {'interpolation': step.interpolation, 'backend': step.backend}


def _transform_of(step: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`_describe`."""
    kind = step['step']
    if kind == 'center_crop':
        return {'type': 'CenterCrop', 'crop_size': (step['width'], step['height'])}
    if step['interpolation'] not in INTERPOLATIONS or step['backend'] not in BACKENDS:
        raise ValueError(f'{dict(step)}')
    options = {'interpolation': step['interpolation']}
    if kind == 'resize' and step['backend'] != 'torch':
        return {'type': 'Resize', 'scale': (step['width'], step['height']), 'backend': step['backend'], **options}
    if kind == 'resize_edge':
        options |= {'scale': step['length'], 'edge': step['edge']}
        if step['backend'] == 'torch':
            return {'type': 'mmrazor_bignas.ResizeEdge', **options}
        return {'type': 'ResizeEdge', 'backend': step['backend'], **options}
    raise ValueError(f'{dict(step)}')
