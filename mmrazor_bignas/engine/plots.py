"""Figures without a screen."""

from __future__ import annotations

from pathlib import Path

from mmrazor_bignas.errors import InputError


def load_pyplot():
    """Matplotlib's pyplot, drawing to files.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise InputError('plots need matplotlib: pip install mmrazor_bignas[demo]') from error
    matplotlib.use('Agg')
    from matplotlib import pyplot

    return pyplot


def save_figure(figure, path: str | Path) -> None:
    """Write a figure and close it; the suffix says in which format.

    Raises:
        InputError: matplotlib cannot write such a file.
    """
    formats = figure.canvas.get_supported_filetypes()
    if Path(path).suffix.lstrip('.') not in formats:
        raise InputError(f'{path}: expected a name that ends in one of {sorted(formats)}')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    load_pyplot().close(figure)
