"""Images in a folder per class, numbered alike in every part of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from mmcls.datasets import CustomDataset
from mmcls.datasets.custom import get_samples

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.folders import class_names
from mmrazor_bignas.registry import DATASETS

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')
SHOWN_FOLDERS = 5


@DATASETS.register_module()
class ClassFolders(CustomDataset):
    """Images in a folder per class, however deep in it; their class is its number among the sorted names, from 0.

    Args:
        data_root, data_prefix: The folder of the class folders, as in mmcls's CustomDataset.
        classes_from: Folders whose class folders are the classes: those of the training images. A class may have no
            images here. None: this part's own.
        extensions: Of image files; other files are passed over.
        **kwargs: Of mmcls's CustomDataset.

    Raises:
        InputError: A folder is missing or has no class folders, or there is one here that is no class.
    """

    def __init__(
        self, classes_from: Sequence[str] | None = None, extensions: Sequence[str] = EXTENSIONS, **kwargs
    ) -> None:
        self.classes_from = [classes_from] if isinstance(classes_from, str) else classes_from
        super().__init__(extensions=extensions, **kwargs)

    def _find_samples(self) -> list[tuple[str, int]]:
        folder = self.img_prefix
        here = class_names([folder])
        sources = list(self.classes_from or [folder])
        numbers = {name: number for number, name in enumerate(class_names(sources))}
        if unknown := [name for name in here if name not in numbers]:
            raise InputError(
                f'{folder}: has {_folders(unknown)} that {", ".join(sources)} lacks, where the classes come from; '
                'expected no other class folders than there'
            )
        self._metainfo['classes'] = tuple(numbers)
        samples, _ = get_samples(folder, {name: numbers[name] for name in here}, self.is_valid_file)
        if not samples:
            raise InputError(
                f'{folder}: no image in {_folders(here)}; expected files {", ".join(sorted(self.extensions))}'
            )
        return samples


def _folders(names: Sequence[str]) -> str:
    more = f' and {len(names) - SHOWN_FOLDERS} more' if len(names) > SHOWN_FOLDERS else ''
    return f'the class folder{"s" if len(names) > 1 else ""} {", ".join(names[:SHOWN_FOLDERS])}{more}'
