"""LatencyTable: how long each layer of a space took on some machine."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import parse_json
from mmrazor_bignas.search_space.layers import Layer
from mmrazor_bignas.search_space.space import SearchSpace

FORMAT = 'mmrazor_bignas latency table 1'
# What a table says of its measurement, and must say to be compared with another.
MEASURED_ON = ('machine', 'device', 'batch_size', 'threads', 'dtype', 'torch')


class LatencyTable:
    """Milliseconds per layer, for one batch in one forward pass.

    Args:
        milliseconds: ``str(layer) -> ms``.
        measured_on: The machine (a processor's or GPU's name), ``device`` ('cpu' or 'cuda'), ``batch_size`` (images),
            ``threads``, ``dtype`` and ``torch``.
        space: The search space whose layers they are.
        num_classes: Outputs of the classifier.
        source: Where the table came from, for messages.
    """

    def __init__(
        self,
        milliseconds: Mapping[str, float],
        measured_on: Mapping,
        space: SearchSpace,
        num_classes: int,
        source: str = 'latency table',
    ) -> None:
        self.milliseconds, self.measured_on = dict(milliseconds), dict(measured_on)
        self.space, self.num_classes, self.source = space, num_classes, source

    def of(self, layer: Layer) -> float:
        """Milliseconds of a layer.

        Raises:
            InputError: It was not measured.
        """
        try:
            return self.milliseconds[str(layer)]
        except KeyError:
            raise InputError(
                f'{self.source}: has no "{layer}", so it is of another search space; measure this one with latency'
            ) from None

    def check_space(self, space: SearchSpace, num_classes: int) -> None:
        """See that the table is of this search space and classifier.

        Raises:
            InputError: It is of others.
        """
        if (self.space, self.num_classes) != (space, num_classes):
            theirs, here = (
                f'{one.size:,} subnets, images of {one.in_channels} channels, {classes} classes'
                for one, classes in ((self.space, self.num_classes), (space, num_classes))
            )
            raise InputError(
                f'{self.source}: is of another search space ({theirs}; here {here}); measure this one with bignas '
                'latency'
            )

    def to_json(self) -> str:
        """The table as text that :meth:`load` reads from a file."""
        content = {
            'format': FORMAT,
            'unit': 'milliseconds for one batch',
            'measured_on': self.measured_on,
            'num_classes': self.num_classes,
            'search_space': self.space.to_dict(),
            'layers': self.milliseconds,
        }
        return json.dumps(content, indent=1) + '\n'

    @classmethod
    def load(cls, path: str | Path) -> LatencyTable:
        """Read a table.

        Raises:
            InputError: The file is missing or no latency table, or a number in it is not positive.
        """
        if not Path(path).is_file():
            raise InputError(f'{path}: no such latency table; bignas latency makes one')
        try:
            content = parse_json(Path(path).read_bytes())
        except InputError as error:
            raise InputError(f'{path}: {error}, so no latency table') from error
        if not isinstance(content, dict) or content.get('format') != FORMAT:
            raise InputError(f'{path}: not a latency table; it has no "format": "{FORMAT}"')
        layers, measured_on = content.get('layers'), content.get('measured_on')
        complete = isinstance(measured_on, dict) and set(MEASURED_ON) <= set(measured_on)
        if not isinstance(layers, dict) or not complete:
            raise InputError(f'{path}: expected "layers", and "measured_on" with {list(MEASURED_ON)}')
        for layer, value in layers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise InputError(f'{path}: "{layer}" takes {value!r}; expected milliseconds above 0')
        try:
            space = SearchSpace.from_dict(content.get('search_space'))
        except InputError as error:
            raise InputError(f'{path}: {error}') from error
        return cls(layers, measured_on, space, content.get('num_classes'), source=str(path))
