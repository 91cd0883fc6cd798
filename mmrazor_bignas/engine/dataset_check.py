"""A look at every image of a data set before a training: what cannot be used, and what a user would want to know."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmrazor_bignas.engine.datasets import check_labels
from mmrazor_bignas.engine.progress import track
from mmrazor_bignas.engine.signals import outlive_signals
from mmrazor_bignas.engine.unreadable import Unreadable, innermost, list_first, load_image
from mmrazor_bignas.errors import InputError

BATCH = 16
SCAN_OF_JPEG, END_OF_JPEG = b'\xff\xda', b'\xff\xd9'
SHOWN_CLASSES = 5
SHOWN_EQUAL = 4


@dataclass
class Look:
    """What one image is.

    Attributes:
        name: Its file, or its number where it has none.
        label: Its class.
        problem: Why it cannot be used; empty for a sound one, and for that alone the rest is there.
        size: Height and width.
        mode: Pillow's name of its kind of pixels (``RGB``, ``L``, ``CMYK``, ``I;16`` ...) and the file's format.
        digest: Of the decoded pixels.
    """

    name: str
    label: int
    problem: str = ''
    size: tuple[int, int] = (0, 0)
    mode: str = ''
    digest: bytes = b''


@dataclass
class Part:
    """A part of the data, all of it looked at.

    Attributes:
        name: ``'train'``, ``'val'`` or ``'test'``.
        sound: Images that can be used.
        problems: What cannot be used, a line each.
        notes: What else is worth a look, a line each.
    """

    name: str
    sound: list[Look]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        unusable = f'\n  unusable: {len(self.problems):,}{list_first(self.problems)}' if self.problems else ''
        return ''.join([f'{len(self.sound):,} sound images', *(f'\n  {note}' for note in self.notes), unusable])


class Looks(Dataset):
    """A look at each item of a data set.

    Args:
        dataset: A data set as mmengine has it.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        steps = getattr(getattr(innermost(dataset, 0)[0], 'pipeline', None), 'transforms', [])
        self.backend = next((step.imdecode_backend for step in steps if hasattr(step, 'imdecode_backend')), None)

    def __getitem__(self, index: int) -> Look:
        own, place = innermost(self.dataset, index)
        info = own.get_data_info(place)
        look = Look(str(info.get('img_path', f'image {index}')), int(info['gt_label']))
        image = load_image(self.dataset, index)
        if isinstance(image, Unreadable):
            return replace(look, problem=image.reason)
        if image is None:
            return replace(look, problem='the pipeline loads no image')
        kind = f'{image.dtype} with {image.shape[2] if image.ndim == 3 else 1} channels'
        mode, problem = _kind(look.name, self.backend) if 'img_path' in info else ('', '')
        digest = hashlib.blake2b(kind.encode() + str(image.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(image))
        return replace(look, problem=problem, size=image.shape[:2], mode=mode or kind, digest=digest.digest())

    def __len__(self) -> int:
        return len(self.dataset)


def check_part(name: str, dataset: Dataset, num_classes: int, workers: int = 0) -> Part:
    """Look at every image of a part.

    Args:
        name: Of the part; ``'train'`` must have images of every class.
        dataset: The data set, built.
        num_classes: Outputs of the classifier.
        workers: Processes that decode; 0 for this one.
    """
    loader = DataLoader(Looks(dataset), BATCH, num_workers=workers, collate_fn=list, worker_init_fn=outlive_signals)
    looks = [look for batch in track(loader, f'check {name}', len(loader)) for look in batch]
    for look in looks:
        if not look.problem and not 0 <= look.label < num_classes:
            look.problem = f'its label is {look.label}; the head has the classes 0 to {num_classes - 1}'
    part = Part(name, [look for look in looks if not look.problem])
    part.problems = [f'{look.name}: {look.problem}' for look in looks if look.problem]
    labels = np.array([look.label for look in part.sound], dtype=int)
    names = dataset.metainfo.get('classes') or range(num_classes)
    if part.sound:
        part.notes = list(_describe(part.sound, np.bincount(labels, minlength=num_classes), names))
    if name == 'train' and part.sound:
        try:
            check_labels(dataset, labels, num_classes)
        except InputError as error:
            part.problems.append(str(error))
    return part


def find_duplicates(parts: Sequence[Part]) -> tuple[list[list[str]], list[list[str]]]:
    """Groups of sound images of equal pixels, each with its part and class: of one part, and of several parts."""
    groups = defaultdict(list)
    for part in parts:
        for look in part.sound:
            groups[look.digest].append((part.name, look))
    within, across = [], []
    for group in groups.values():
        if len(group) > 1:
            several = len({part for part, _ in group}) > 1
            names = [f'{part} {look.name} (class {look.label})' for part, look in group]
            (across if several else within).append(names)
    return within, across


def equality(names: Sequence[str], most: int = SHOWN_EQUAL) -> str:
    """A line of a group of equal images, with the first few of them."""
    more = f' and {len(names) - most:,} more' if len(names) > most else ''
    return ' = '.join(names[:most]) + more


def _describe(sound: Sequence[Look], counts: np.ndarray, names: Sequence) -> Iterator[str]:
    for words, sizes in zip(('height', 'width'), np.array([look.size for look in sound]).T, strict=True):
        yield f'{words}: {_spread(sizes)} pixels (smallest / median / largest)'
    modes = Counter(look.mode for look in sound).most_common()
    yield f'kinds: {", ".join(f"{number:,} {mode}" for mode, number in modes)}'
    yield f'images per class: {_spread(counts)} (fewest / median / most)'
    if empty := [str(names[i]) if i < len(names) else str(i) for i in np.flatnonzero(counts == 0)]:
        more = f' and {len(empty) - SHOWN_CLASSES:,} more' if len(empty) > SHOWN_CLASSES else ''
        yield f'{len(empty):,} classes without an image: {", ".join(empty[:SHOWN_CLASSES])}{more}'


def _spread(numbers: np.ndarray) -> str:
    return f'{numbers.min():,} / {np.median(numbers):,.10g} / {numbers.max():,}'


def _kind(path: str, backend: str | None) -> tuple[str, str]:
    """A file's mode and format, and what is wrong with its pixels although it can be decoded."""
    try:
        content = Path(path).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            mode, kind = image.mode, image.format
    except (OSError, Image.DecompressionBombError):  # the loader's decoder knows more kinds of files
        return '', ''
    problem = ''
    # A download that stopped may leave zeros in the place of the rest, for which decoders put grey.
    if kind == 'JPEG' and content.rfind(END_OF_JPEG) < content.rfind(SCAN_OF_JPEG):
        problem = 'its end is missing, a part is grey'
    elif mode[0] in 'IF' and (backend == 'pillow' or (kind != 'PNG' and mode in ('I', 'F'))):
        problem = f'{backend} cuts its pixels ({mode}, of more than 8 bits) off at 255'
    return f'{mode} {kind}', problem
