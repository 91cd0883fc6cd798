"""From image files to classes, by an exported file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcls.registry import TRANSFORMS
from mmengine.dataset import Compose
from mmengine.device import get_device
from torch.utils.data import Dataset

from mmrazor_bignas.datasets.images import image_of
from mmrazor_bignas.deployment.card import check_card, class_names, from_texts, make_card
from mmrazor_bignas.deployment.formats import Run, open_session, run_of_checkpoint, run_of_session
from mmrazor_bignas.deployment.network import as_input
from mmrazor_bignas.deployment.preprocessing import Preprocessing, preprocessing_of
from mmrazor_bignas.engine.batches import SeededDataset
from mmrazor_bignas.engine.checkpoints import read_checkpoint
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.engine.unreadable import Unreadable
from mmrazor_bignas.errors import InputError

TOP, BATCH_SIZE = 5, 64
Image = str | Path | np.ndarray
# A file in a zip archive of torch's that says of which kind it is.
OTHER_ARCHIVES = {
    'constants.pkl': 'TorchScript',
    'archive_format': 'torch.export',
    'serialized_exported_program.json': 'torch.export',  # of torch before 2.7
}


class Predictor:
    """Classes of images, by a file of ``bignas export``.

    Its preprocessing is the config's test pipeline, by the same transforms.

    Args:
        model: An exported checkpoint (``.pth``), on a GPU where there is one, or an ONNX file, on the CPU.
        config: Path of the config of a subnet's checkpoint that does not say how its images are prepared, as a search
            leaves them.

    Attributes:
        card: What the file says of itself: ``subnet``, ``flops``, ``metrics``, ``preprocessing`` ...
        classes: A name for every class.

    Raises:
        InputError: The file is missing, of another project or version, or no such file.
    """

    def __init__(self, model: str | Path, config: str | Path | None = None) -> None:
        self.card, self._run = open_model(Path(model), config)
        self.classes = class_names(self.card)
        self._pipeline = Preprocessing.from_dict(self.card['preprocessing']).pipeline()

    def __call__(self, images: Image | Sequence[Image], top: int = TOP, batch_size: int = BATCH_SIZE) -> list[dict]:
        """The likeliest classes of images.

        Args:
            images: Files, or arrays (height, width, 3) of uint8 in RGB; one or several.
            top: How many classes of each.
            batch_size: Images at a time.

        Returns:
            Per image a dict: ``image`` (the file, or the number of an array) and ``top``, a list of dicts of ``class``,
            ``label`` and ``probability``, the likeliest first. For a file that cannot be read, ``image`` and ``error``.
        """
        return list(self.stream([images] if isinstance(images, Image) else images, top, batch_size))

    @torch.no_grad()
    def stream(self, images: Sequence[Image], top: int = TOP, batch_size: int = BATCH_SIZE) -> Iterator[dict[str, Any]]:
        """:meth:`__call__`, batch by batch.

        Raises:
            InputError: A number is none, or an array no image.
        """
        for name, value in (('top', top), ('batch_size', batch_size)):
            if type(value) is not int or value < 1:
                raise InputError(f'{name} is {value!r}; expected 1 or more')
        items = SeededDataset(_Images(images, self._pipeline), seed=0, unreadable='leave out')
        for start in range(0, len(images), batch_size):
            numbers = range(start, min(start + batch_size, len(images)))
            read = {number: items[number] for number in numbers}
            problems = {number: self._problem(item) for number, item in read.items()}
            usable = [number for number in numbers if not problems[number]]
            tops = {}
            if usable:
                scores = self._run(as_input(torch.stack([read[number]['inputs'] for number in usable]), self.card))
                if self.card['output']['kind'] == 'logits':
                    scores = scores.softmax(1)
                tops = dict(zip(usable, (self._likeliest(row, top) for row in scores), strict=True))
            for number in numbers:
                name = number if isinstance(images[number], np.ndarray) else str(images[number])
                yield {'image': name, **({'top': tops[number]} if number in tops else {'error': problems[number]})}

    def _likeliest(self, row: torch.Tensor, top: int) -> list[dict[str, Any]]:
        values, labels = row.topk(min(top, len(row)))
        return [
            {'class': self.classes[label], 'label': label, 'probability': value}
            for value, label in zip(values.tolist(), labels.tolist(), strict=True)
        ]

    def _problem(self, item: dict | Unreadable) -> str:
        """Why an image cannot be used; nothing for one that can."""
        if isinstance(item, Unreadable):
            return item.reason
        size, expected = list(item['inputs'].shape[-2:]), self.card['input']['size']
        if size == expected:
            return ''
        words = (' x '.join(map(str, one)) for one in (size, expected))
        return '{} pixels after the preprocessing; expected {}'.format(*words)


class _Images(Dataset):
    """Images as mmengine's data sets have them, so that errors have the same words."""

    def __init__(self, images: Sequence[Image], pipeline: list[dict]) -> None:
        self.images = images
        self.pipeline = Compose([TRANSFORMS.build(step) for step in pipeline])

    def get_data_info(self, index: int) -> dict[str, Any]:
        image = self.images[index]
        if isinstance(image, np.ndarray):
            image = image_of({'img': image}, f'image {index}')[..., ::-1]
            return {'img': np.ascontiguousarray(image), 'img_shape': image.shape[:2], 'ori_shape': image.shape[:2]}
        return {'img_path': str(image)}

    def __getitem__(self, index: int) -> dict[str, Any]:
        results = self.get_data_info(index)
        for step in self.pipeline.transforms['img' in results :]:
            results = step(results)
        return results

    def __len__(self) -> int:
        return len(self.images)


def open_model(path: Path, config: str | Path | None = None) -> tuple[Mapping[str, Any], Run]:
    """The card of an exported file, and what the file computes.

    Raises:
        InputError: See :class:`Predictor`.
    """
    if not path.is_file():
        raise InputError(f'{path}: {"is a folder, not a" if path.is_dir() else "no such"} file')
    if not _is_of_torch(path):
        session = open_session(path)
        card = from_texts(session.get_modelmeta().custom_metadata_map, str(path))
        check_card(card, str(path))
        return card, run_of_session(session)
    content = read_checkpoint(path)
    card = content['meta']
    if config is not None and 'preprocessing' not in card:
        card = make_card(card, preprocessing_of(load_config(str(config))))
    check_card(card, str(path))
    return card, run_of_checkpoint(content['state_dict'], card, str(path), get_device())


def _is_of_torch(path: Path) -> bool:
    """Whether a file is a checkpoint; else it may be ONNX.

    Raises:
        InputError: It is another archive of torch's.
    """
    if not zipfile.is_zipfile(path):
        with path.open('rb') as file:
            return file.read(1) in (b'\x80', b'P')  # of a pickle; of an archive that is cut off
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name for name in archive.namelist()}
    for name, kind in OTHER_ARCHIVES.items():
        if name in names:
            raise InputError(f'{path}: a file of {kind}; expected an exported checkpoint (.pth) or an ONNX file')
    return True
