"""SearchSpace: the table of what can be chosen, one row per stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from random import Random

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space.subnet import BLOCK_ROWS, ROWS, SubnetSpec

RGB = 3  # channels of an image where nothing else is said


@dataclass(frozen=True)
class Gene:
    """One mutable: its place in a :class:`SubnetSpec` and the values it may take, ascending."""

    row: str
    index: int
    owner: str
    choices: tuple[int, ...]
    block: int | None = None  # of a stage whose blocks choose by themselves

    @property
    def name(self) -> str:
        """The gene as a user finds it in a YAML, e.g. ``width[3] (mb2)`` or ``kernel_size[2][1] (mb3)``."""
        if self.row == 'resolution':
            return self.row
        block = '' if self.block is None else f'[{self.block}]'
        return f'{self.row}[{self.index}]{block} ({self.owner})'

    def runs_in(self, subnet: SubnetSpec) -> bool:
        """Whether the gene says something of the subnet: not where it is of a block beyond the depth."""
        return self.block is None or self.block < subnet.depth[self.index]


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Args:
        name: How messages call the stage.
        width: Output channels to choose from.
        depth: Numbers of blocks to choose from; a smaller depth keeps the first blocks.
        kernel_size: Depthwise kernel sizes to choose from (odd).
        expand_ratio: Ratios of middle to input width to choose from.
        stride: Stride of the stage's first block, 1 or 2.
        se: Whether the blocks have squeeze-and-excite.
        per_block: Whether kernel size and expand ratio are chosen for every block (Once-for-All, arXiv:1908.09791,
            section 3) rather than once for the stage.
    """

    name: str
    width: tuple[int, ...]
    depth: tuple[int, ...]
    kernel_size: tuple[int, ...]
    expand_ratio: tuple[int, ...]
    stride: int = 1
    se: bool = False
    per_block: bool = False

    @property
    def has_expansion(self) -> bool:
        """Whether blocks begin with a 1x1 expansion: absent where the largest ratio is 1."""
        return max(self.expand_ratio) > 1


class SearchSpace:
    """The choices of an AttentiveMobileNetV3 supernet (AttentiveNAS, arXiv:2011.09011, table 7).

    Every choice is a tuple of positive integers. Width is chosen once per stage; so are kernel size and expand ratio,
    but for stages with ``per_block``.

    Args:
        resolution: Input side lengths in pixels.
        stem: Widths of the stride-2 stem.
        stages: Rows of the table, each a mapping with the fields of :class:`Stage`.
        head: Widths of the feature-mixing 1x1 convolution before the classifier.
        in_channels: Of the images, for all subnets.

    Raises:
        InputError: A row is missing, unknown, empty or holds something else than positive integers.
    """

    def __init__(
        self,
        resolution: Sequence[int],
        stem: Sequence[int],
        stages: Sequence[Mapping | Stage],
        head: Sequence[int],
        in_channels: int = RGB,
    ) -> None:
        if type(in_channels) is not int or in_channels < 1:
            raise InputError(f"search space: in_channels is {in_channels!r}; expected the images' number of channels")
        self.in_channels = in_channels
        self.resolution = _choices('resolution', resolution)
        self.stem = _choices('stem', stem)
        self.head = _choices('head', head)
        if not isinstance(stages, (list, tuple)) or not stages:
            raise InputError(f'search space: stages is {stages!r}; expected a list of one row or more')
        self.stages = tuple(_stage(i, stage) for i, stage in enumerate(stages))

    @classmethod
    def from_dict(cls, rows: Mapping | SearchSpace) -> SearchSpace:
        """Build a space from the ``search_space`` table of a config; a SearchSpace is returned as it is."""
        if isinstance(rows, SearchSpace):
            return rows
        if not isinstance(rows, Mapping):
            raise InputError(f'search space: expected a table with resolution, stem, stages and head, found {rows!r}')
        expected = {'resolution', 'stem', 'stages', 'head'}
        if set(rows) - {'in_channels'} != expected:
            raise InputError(
                f'search space: expected exactly the keys {sorted(expected)}, '
                f'missing {sorted(expected - set(rows))}, unknown {sorted(set(rows) - expected)}'
            )
        return cls(**rows)

    @classmethod
    def of_backbone(cls, backbone: Mapping) -> SearchSpace:
        """The space of a backbone's config: its ``search_space``, for images of its ``in_channels``."""
        return cls.from_dict(backbone['search_space']).with_channels(backbone.get('in_channels'))

    def with_channels(self, in_channels: int | None) -> SearchSpace:
        """The same choices for images of so many channels; None keeps them."""
        if in_channels is None or in_channels == self.in_channels:
            return self
        return type(self)(self.resolution, self.stem, self.stages, self.head, in_channels)

    def to_dict(self) -> dict:
        """The table as plain lists and numbers; ``SearchSpace.from_dict`` reads it back."""
        return {
            'resolution': list(self.resolution),
            'stem': list(self.stem),
            'stages': [
                {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in vars(stage).items()
                    if key != 'per_block' or value  # histories from before it go on
                }
                for stage in self.stages
            ],
            'head': list(self.head),
            **({'in_channels': self.in_channels} if self.in_channels != RGB else {}),  # histories from before it go on
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.resolution, self.stem, self.stages, self.head, self.in_channels))

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """Every mutable, in the order of a :class:`SubnetSpec`'s rows; of every block that there may be."""
        widths = [('stem', self.stem), *((s.name, s.width) for s in self.stages), ('head', self.head)]
        genes = [Gene('resolution', 0, 'input', self.resolution)]
        genes += [Gene('width', i, owner, choices) for i, (owner, choices) in enumerate(widths)]
        genes += [Gene('depth', i, stage.name, stage.depth) for i, stage in enumerate(self.stages)]
        for row in BLOCK_ROWS:
            for i, stage in enumerate(self.stages):
                blocks = range(stage.depth[-1]) if stage.per_block else [None]
                genes += [Gene(row, i, stage.name, getattr(stage, row), block) for block in blocks]
        return tuple(genes)

    @property
    def size(self) -> int:
        """How many subnets the space holds."""
        widths = (self.stem, *(stage.width for stage in self.stages), self.head)
        return math.prod(map(len, (self.resolution, *widths))) * math.prod(map(_ways, self.stages))

    @property
    def smallest(self) -> SubnetSpec:
        """The subnet of every first choice."""
        return self.subnet([gene.choices[0] for gene in self.genes])

    @property
    def largest(self) -> SubnetSpec:
        """The subnet of every last choice."""
        return self.subnet([gene.choices[-1] for gene in self.genes])

    def subnet(self, values: Sequence[int]) -> SubnetSpec:
        """The subnet of one value per gene, in the order of :attr:`genes`.

        Values of blocks that do not run are dropped.
        """
        n = len(self.stages)
        rest = iter(values)
        resolution, width, depth = next(rest), tuple(islice(rest, n + 2)), tuple(islice(rest, n))
        kernel_size, expand_ratio = (
            tuple(
                tuple(islice(rest, stage.depth[-1]))[:blocks] if stage.per_block else next(rest)
                for stage, blocks in zip(self.stages, depth, strict=True)
            )
            for _ in BLOCK_ROWS
        )
        return SubnetSpec(resolution, width, depth, kernel_size, expand_ratio)

    def values(self, subnet: SubnetSpec) -> list[int]:
        """One value per gene, in the order of :attr:`genes`: the inverse of :meth:`subnet`.

        A block that does not run has its smallest choices.
        """
        values = [subnet.resolution, *subnet.width, *subnet.depth]
        for row in BLOCK_ROWS:
            for stage, entry in zip(self.stages, getattr(subnet, row), strict=True):
                if stage.per_block:
                    values += entry
                    values += getattr(stage, row)[:1] * (stage.depth[-1] - len(entry))
                else:
                    values.append(entry)
        return values

    def sample(self, rng: Random) -> SubnetSpec:
        """A subnet whose genes are drawn uniformly, so that all depths are equally likely."""
        return self.subnet([rng.choice(gene.choices) for gene in self.genes])

    def mutate(self, subnet: SubnetSpec, rng: Random, probability: float) -> SubnetSpec:
        """Redraw every gene with the given probability, from all its choices."""
        return self.subnet(
            [
                rng.choice(gene.choices) if rng.random() < probability else value
                for gene, value in zip(self.genes, self.values(subnet), strict=True)
            ]
        )

    def crossover(self, a: SubnetSpec, b: SubnetSpec, rng: Random) -> SubnetSpec:
        """Take every gene from one of two parents at random."""
        return self.subnet([rng.choice(pair) for pair in zip(self.values(a), self.values(b), strict=True)])

    def enumerate(self) -> Iterator[SubnetSpec]:
        """Every subnet of the space; meant for small spaces."""
        for values in product(*(gene.choices for gene in self.genes)):
            subnet = self.subnet(values)
            if tuple(self.values(subnet)) == values:  # else it differs from another in blocks that do not run
                yield subnet

    def validate(self, subnet: SubnetSpec, source: str = 'subnet') -> SubnetSpec:
        """Return the subnet if the space holds it.

        Args:
            subnet: The subnet to check.
            source: Where it came from (a file name), for the message.

        Raises:
            InputError: Names the first gene with a value outside the space and its choices.
        """
        for row in ROWS[1:]:
            wanted = len({gene.index for gene in self.genes if gene.row == row})
            given = len(getattr(subnet, row))
            if given != wanted:
                raise InputError(f'{source}: {row} has {given} values, this search space needs {wanted}')
        for gene in self.genes:
            value = subnet.resolution if gene.row == 'resolution' else getattr(subnet, gene.row)[gene.index]
            if gene.block is not None:
                depth = subnet.depth[gene.index]
                if not isinstance(value, tuple) or len(value) != depth:
                    raise InputError(
                        f'{source}: {gene.row}[{gene.index}] ({gene.owner}) is {_shown(value)}; expected a list of '
                        f'{depth}, one for every block, since depth[{gene.index}] is {depth}'
                    )
                if not gene.runs_in(subnet):
                    continue
                value = value[gene.block]
            if value not in gene.choices:
                raise InputError(
                    f'{source}: {gene.name} is {_shown(value)}, outside this search space; '
                    f'choose one of {list(gene.choices)}'
                )
        return subnet

    def __contains__(self, subnet: SubnetSpec) -> bool:
        try:
            self.validate(subnet)
        except InputError:
            return False
        return True

    def __repr__(self) -> str:
        return f'SearchSpace({len(self.stages)} stages, {self.size:,} subnets)'


def _ways(stage: Stage) -> int:
    """How many ways there are to choose depth, kernel sizes and expand ratios of a stage."""
    of_block = len(stage.kernel_size) * len(stage.expand_ratio)
    return sum(of_block ** (depth if stage.per_block else 1) for depth in stage.depth)


def _shown(value: int | tuple[int, ...]) -> int | list[int]:
    return list(value) if isinstance(value, tuple) else value


def _choices(name: str, values: int | Sequence[int]) -> tuple[int, ...]:
    row = (values,) if isinstance(values, int) else values
    if not isinstance(row, (list, tuple)) or not row or any(type(v) is not int or v < 1 for v in row):
        raise InputError(f'search space: {name} is {values!r}; expected one or more positive integers')
    if list(row) != sorted(set(row)):
        raise InputError(f'search space: {name} is {values!r}; expected distinct values in ascending order')
    return tuple(row)


def _stage(index: int, row: Mapping | Stage) -> Stage:
    if isinstance(row, Stage):
        row = vars(row)
    if not isinstance(row, Mapping):
        raise InputError(f'search space: stage {index + 1} is {row!r}; expected a row with width, depth, ...')
    name = row.get('name', f'stage{index + 1}')
    known = Stage.__dataclass_fields__.keys()
    unknown = set(row) - set(known)
    missing = {'width', 'depth', 'kernel_size', 'expand_ratio'} - set(row)
    if unknown or missing:
        raise InputError(
            f'search space: {name} has unknown keys {sorted(unknown)}, misses {sorted(missing)}; known: {sorted(known)}'
        )
    stride, flags = row.get('stride', 1), {key: row.get(key, False) for key in ('se', 'per_block')}
    for key, flag in flags.items():
        if type(flag) is not bool:
            raise InputError(f'search space: {name}.{key} is {flag!r}; expected True or False')
    if type(stride) is not int or stride not in (1, 2):
        raise InputError(f'search space: {name}.stride is {stride}; expected 1 or 2')
    mutables = {key: _choices(f'{name}.{key}', row[key]) for key in ('width', 'depth', 'kernel_size', 'expand_ratio')}
    if any(k % 2 == 0 for k in mutables['kernel_size']):
        raise InputError(f'search space: {name}.kernel_size is {list(mutables["kernel_size"])}; expected odd sizes')
    if 1 in mutables['expand_ratio'] and len(mutables['expand_ratio']) > 1:
        raise InputError(
            f'search space: {name}.expand_ratio is {list(mutables["expand_ratio"])}; 1 means blocks without an '
            'expansion and cannot be mixed with larger ratios'
        )
    return Stage(name=name, stride=stride, **flags, **mutables)
