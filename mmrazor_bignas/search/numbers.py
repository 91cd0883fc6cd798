"""Checks of the numbers that strategies take."""

from __future__ import annotations

from mmrazor_bignas.errors import InputError


def check_count(owner: str, name: str, value: int) -> None:
    """Raises InputError where a value is no integer of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f'{owner}: {name} is {value!r}; expected an integer of 1 or more')


def check_share(owner: str, name: str, value: float) -> None:
    """Raises InputError where a value is no number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InputError(f'{owner}: {name} is {value!r}; expected 0 to 1')
