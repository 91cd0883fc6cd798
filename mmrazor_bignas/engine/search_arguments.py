"""What a search's config may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmrazor_bignas.errors import InputError


class Accepted(NamedTuple):
    """Types, a condition on a value of one of them, and both in words."""

    kinds: tuple[type, ...]
    condition: Callable[[Any], bool]
    words: str


SWITCH = Accepted((bool,), lambda value: True, 'True or False')
TEXT = Accepted((str,), lambda value: True, 'a text')
TABLE = Accepted((dict,), lambda value: True, 'a dict')
ARGUMENTS = {
    'strategy': Accepted((dict,), lambda cfg: isinstance(cfg.get('type'), str), 'a dict with the type of a strategy'),
    'generations': Accepted((int,), lambda number: number >= 1, 'an integer of 1 or more'),
    'score': TEXT,
    'calibrate_dataloader': TABLE,
    'seed': Accepted((int,), lambda number: True, 'an integer'),
    'amp': SWITCH,
    'max_hours': Accepted(
        (int, float, type(None)), lambda hours: hours is None or hours > 0, 'more than 0 hours, or None'
    ),
    'latency_table': Accepted((str, type(None)), lambda path: path != '', "a file's name, or None"),
    'latency_elsewhere': SWITCH,
    'export_pareto': SWITCH,
    'resume': SWITCH,
    'known': Accepted((list, tuple), lambda paths: all(isinstance(path, str) for path in paths), 'a list of histories'),
}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """See that the arguments of a search, by name, are what they should be.

    Raises:
        InputError: Names the first that is not, and what would be accepted.
    """
    for name, value in arguments.items():
        kinds, condition, words = ARGUMENTS[name]
        bool_for_number = isinstance(value, bool) and bool not in kinds
        if bool_for_number or not isinstance(value, kinds) or not condition(value):
            raise InputError(f'search: {name} is {value!r}; expected {words}')
