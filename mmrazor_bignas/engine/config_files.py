"""The package's own configs, by name."""

from __future__ import annotations

from pathlib import Path

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space.lookup import CONFIG_ROOT


def own_configs() -> list[Path]:
    """Paths of the configs that a command takes, which leaves out those for others to build on."""
    return [path for path in sorted(CONFIG_ROOT.rglob('*.py')) if '_base_' not in path.parts]


def find_config(path: str) -> str:
    """``path`` where there is such a file, else that of the package's config whose path ends so, if it is one.

    ``digits_search.py``, ``demo/digits_search.py`` and ``configs/demo/digits_search.py`` are the same.

    Raises:
        InputError: There is no such config, or the package has several.
    """
    if Path(path).is_file():
        return path
    words = Path(path).parts
    found = [str(own) for own in own_configs() if own.parts[-len(words) :] == words]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f'{path}: no such file, and the package has several of that name: {", ".join(found)}')
    raise InputError(f'{path}: no such config file, and the package has none of that name (bignas configs lists them)')
