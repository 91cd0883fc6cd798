"""From what a user writes for a subnet - a name, a YAML path, a dict - to the SubnetSpec, checked against its space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space.space import SearchSpace
from mmrazor_bignas.search_space.subnet import SubnetSpec

_PACKAGE = Path(__file__).resolve().parents[1]
# Installed, the configs lie inside the package, where OpenMMLab's mim looks for them; in a checkout beside it.
_ROOTS = (_PACKAGE / '.mim/configs', _PACKAGE.parent / 'configs')
CONFIG_ROOT = next((root for root in _ROOTS if root.is_dir()), _ROOTS[0]).resolve()
NAMED_YAML = {f'attentivenas-a{i}': CONFIG_ROOT / 'nas/mmcls/bignas' / f'ATTENTIVE_SUBNET_A{i}.yaml' for i in range(7)}
EXTREMES = ('min', 'max')


def find_subnet(mutable_cfg: SubnetSpec | Mapping | str | Path, space: SearchSpace) -> SubnetSpec:
    """The subnet that ``mutable_cfg`` means.

    Args:
        mutable_cfg: A SubnetSpec, a dict of its five rows, ``'min'`` or ``'max'`` (the smallest and largest subnet of
            ``space``), a published name such as ``'attentivenas-a0'``, or the path of a YAML file.
        space: The search space that must hold it.

    Raises:
        InputError: The name or file is unknown, or the subnet is not of this space.
    """
    if isinstance(mutable_cfg, SubnetSpec):
        return space.validate(mutable_cfg)
    if isinstance(mutable_cfg, Mapping):
        return space.validate(SubnetSpec.from_dict(mutable_cfg))
    if mutable_cfg in EXTREMES:
        return space.smallest if mutable_cfg == 'min' else space.largest
    if not isinstance(mutable_cfg, (str, Path)):
        raise InputError(
            f'mutable_cfg is {mutable_cfg!r}; expected a YAML path, a dict, or one of {[*EXTREMES, *NAMED_YAML]}'
        )
    path = NAMED_YAML.get(str(mutable_cfg), Path(mutable_cfg))
    if not path.exists() and not path.suffix:
        raise InputError(f'mutable_cfg {mutable_cfg!r} is neither a file nor one of {[*EXTREMES, *NAMED_YAML]}')
    return space.validate(SubnetSpec.from_yaml(path), source=str(mutable_cfg))
