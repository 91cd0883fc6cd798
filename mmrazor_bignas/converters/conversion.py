"""From a project's state dict to ours: a tensor is used, or dropped for a reason, or the conversion fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import SearchableImageClassifier

NEVER_RUNS = 'shortcut convolutions that no subnet runs'


@dataclass(frozen=True)
class Project:
    """How a project names the tensors of a supernet.

    Attributes:
        name: What messages call it.
        anchor: A key of every supernet of it, and of nothing else. What stands before it in a file is a wrapper.
        static_anchor: As ``anchor``, for a file of one static subnet.
        our_key: From a key without wrapper, and the largest depth of every stage, to our key; None if it has none.
        carries_nothing: Why a key is dropped, or None.
    """

    name: str
    anchor: str
    static_anchor: str | None
    our_key: Callable[[str, Sequence[int]], str | None]
    carries_nothing: Callable[[str], str | None]


@dataclass
class Conversion:
    """What became of every tensor.

    Attributes:
        state: Our state dict.
        wrapper: What stood before every key.
        dropped: Keys by the reason for which they were dropped.
    """

    wrapper: str
    state: dict[str, Tensor] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)

    def account(self) -> str:
        """Lines that say what became of the tensors; the counts add up to all of them."""
        numbers = sum(value.numel() for value in self.state.values())
        lines = [f'{len(self.state) + sum(map(len, self.dropped.values())):6,} tensors']
        lines += [f"{'':6} wrapper '{self.wrapper}' taken off every name"] if self.wrapper else []
        lines += [f'{len(self.state):6,} used, {numbers:,} numbers']
        lines += [f'{len(keys):6,} dropped: {reason}' for reason, keys in self.dropped.items()]
        return '\n'.join(lines)


def convert(
    state: Mapping[str, Tensor],
    project: Project,
    supernet: SearchableImageClassifier,
    source: str,
    others: Sequence[Project] = (),
) -> Conversion:
    """The state dict of ``supernet``, from a supernet's of another project.

    Args:
        state: The other's tensors by name.
        project: Whose they are.
        supernet: Ours, of the same search space and number of classes; only its keys and shapes are read.
        source: The file's name, for messages.
        others: Projects to recognise in an error.

    Raises:
        InputError: The file is of another project, of one subnet, or of another supernet: a tensor is unknown or
            missing or has another shape; all of them are listed.
    """
    conversion = Conversion(_wrapper(state, project, source, others))
    spec = supernet.backbone.spec
    depths = [len(stage) for stage in spec.stages]
    never_run = {
        f'backbone.stages.{i}.{j}.shortcut.weight'
        for i, stage in enumerate(spec.stages)
        for j, block in enumerate(stage)
        if block.shortcut is None
    }
    expected = supernet.state_dict()
    problems = []
    for key, value in state.items():
        name = key.removeprefix(conversion.wrapper)
        wrapped = key.startswith(conversion.wrapper)
        ours = project.our_key(name, depths) if wrapped else None
        if wrapped and (reason := project.carries_nothing(name)):
            conversion.dropped.setdefault(reason, []).append(key)
        elif ours in never_run:
            conversion.dropped.setdefault(NEVER_RUNS, []).append(key)
        elif ours not in expected:
            problems.append(f'unknown: {key} {tuple(value.shape)}')
        elif value.shape != expected[ours].shape:
            problems.append(f'shape:   {key} is {tuple(value.shape)}; expected {tuple(expected[ours].shape)}')
            conversion.state[ours] = value
        elif problem := _unusable(value, expected[ours]):
            problems.append(f'numbers: {key} {problem}')
            conversion.state[ours] = value
        else:
            conversion.state[ours] = value.to(expected[ours].dtype)
    missing = [key for key in expected if key not in conversion.state]
    problems += [f'missing: what is {key} here, {tuple(expected[key].shape)}' for key in missing]
    if problems:
        raise InputError(
            f'{source}: {_diagnosis(conversion.state, expected, project)}; {len(problems)} differences:\n  '
            + '\n  '.join(problems)
        )
    conversion.state = {key: conversion.state[key] for key in expected}
    return conversion


def _wrapper(state: Mapping[str, Tensor], project: Project, source: str, others: Sequence[Project]) -> str:
    wrappers = [key.removesuffix(project.anchor) for key in state if _ends_with(key, project.anchor)]
    if len(wrappers) == 1:
        return wrappers[0]
    what = f'{source}: no supernet of {project.name}'
    if len(wrappers) > 1:
        raise InputError(f'{what} alone: holds several networks, under the names {wrappers}; expected one')
    if any(_ends_with(key, 'backbone.stem.conv.weight') for key in state):
        raise InputError(f'{what}: a checkpoint of mmrazor_bignas, which needs no conversion')
    for other in others:
        if any(_ends_with(key, other.anchor) for key in state):
            raise InputError(f'{what}: its tensors are named as {other.name} does')
    if project.static_anchor and any(_ends_with(key, project.static_anchor) for key in state):
        raise InputError(f'{what}: one static subnet of {project.name}; expected the supernet, which has all weights')
    raise InputError(
        f'{what}: none of its {len(state)} tensors is {project.anchor!r}, with or without a wrapper before it; '
        f'found {list(state)[:3]} ...'
    )


def _unusable(value: Tensor, expected: Tensor) -> str | None:
    """Why a tensor of the right shape cannot be what is expected; None if it can."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return f'is {value.layout}, {value.dtype} on {value.device}; expected plain numbers'
    if value.is_complex() or value.dtype == torch.bool or value.is_floating_point() != expected.is_floating_point():
        return f'is {value.dtype}; expected {"floating point" if expected.is_floating_point() else "integers"}'
    if not torch.isfinite(value).all():
        return 'has values that are not finite'
    return None


def _ends_with(key: str, anchor: str) -> bool:
    return key == anchor or key.endswith(f'.{anchor}')


def _diagnosis(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], project: Project) -> str:
    """What the differences in shape look like."""
    if all(found[key].shape == expected[key].shape for key in found):
        return f'a supernet of {project.name} of this search space, but not whole'
    pairs = [(found[key].shape, expected[key].shape) for key in found if found[key].ndim == expected[key].ndim]
    smaller = [a for a, b in pairs if a != b and all(x <= y for x, y in zip(a, b, strict=True))]
    larger = [a for a, b in pairs if any(x > y for x, y in zip(a, b, strict=True))]
    if smaller and not larger:
        return f'one subnet of {project.name}, or a supernet of a smaller search space or fewer classes than the config'
    return f'a supernet of {project.name}, but of another search space or number of classes than the config'
