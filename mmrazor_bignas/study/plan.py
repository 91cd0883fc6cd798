"""The runs of a study: what each needs, does and leaves, from one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random

import yaml

from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec
from mmrazor_bignas.search_space.cost_table import CostTable

KEYS = ('name', 'seeds', 'budgets', 'random', 'search', 'evaluate', 'alone', 'supernets', 'baselines')
RANDOM_FROM = 0.9  # of a budget
MOST_DRAWS = 100_000


@dataclass(frozen=True)
class Run:
    """One training and what is evaluated of it.

    Attributes:
        name: Its name; its work dir and its record have it.
        kind: ``'supernet'``, ``'alone'`` or ``'baseline'``.
        config: The training's config.
        of: What is trained: a recipe, a subnet's name, or a baseline's name and budget.
        seed: Of everything drawn.
        options: Overrides of the config's keys.
        needs: Names of runs whose records it reads.
    """

    name: str
    kind: str
    config: Path
    of: str
    seed: int
    options: Mapping[str, object] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs of the training."""
        return load_config(str(self.config)).train_cfg.max_epochs

    @property
    def digest(self) -> str:
        """SHA-256 of all keys of the config, and of the overrides."""
        text = load_config(str(self.config), {**self.options, 'randomness.seed': self.seed}).pretty_text
        return sha256(text.encode()).hexdigest()


class Study:
    """A study's YAML file.

    Args:
        path: The file; configs are named relative to it.

    Raises:
        InputError: The file is missing or no YAML, a key is missing or unknown, or a config is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            content = yaml.safe_load(self.path.read_text(encoding='utf-8'))
        except OSError as error:
            raise InputError(f'{path}: cannot read the study: {error.strerror}') from error
        except (yaml.YAMLError, ValueError) as error:
            raise InputError(f'{path}: not a YAML file: {" ".join(str(error).split())}') from error
        if not isinstance(content, Mapping) or set(content) != set(KEYS):
            raise InputError(f'{path}: expected a mapping with exactly the keys {list(KEYS)}')
        self.name: str = content['name']
        self.seeds: list[int] = content['seeds']
        self.budgets: dict[str, float] = content['budgets']
        self.random: dict[str, int] = content['random']
        self.search, self.evaluate, self.alone = (self._config(content[key]) for key in ('search', 'evaluate', 'alone'))
        self.supernets = {name: self._config(config) for name, config in content['supernets'].items()}
        self.baselines: dict[str, dict] = content['baselines']
        cfg = load_config(str(self.evaluate))
        # In a supernet too the largest subnet alone is regularised (arXiv:2003.11142, section 3.1).
        self.regularisation = {
            'algorithm.architecture.head.dropout': cfg.algorithm.architecture.head.dropout,
            'algorithm.architecture.backbone.drop_path_rate': cfg.algorithm.architecture.backbone.drop_path_rate,
        }
        self.num_classes: int = cfg.algorithm.architecture.head.num_classes
        self.space = SearchSpace.from_dict(cfg.algorithm.architecture.backbone.search_space.to_dict())

    def _config(self, name: str) -> Path:
        path = self.path.parent / name
        if not path.is_file():
            raise InputError(f'{self.path}: names {name}, but {path} does not exist')
        return path

    @property
    def recipe(self) -> str:
        """The supernet that the others are compared with."""
        return next(iter(self.supernets))

    @property
    def first(self) -> str:
        """The run whose supernet is searched."""
        return run_name(self.recipe, self.seeds[0])

    @property
    def searched(self) -> list[str]:
        """Names of the subnets that are found by search, one for each budget."""
        return [f'searched_{budget}' for budget in self.budgets]

    def fixed_subnets(self) -> dict[str, SubnetSpec]:
        """Smallest, largest and random subnets; a function of the file alone.

        Raises:
            InputError: A budget is met by too few subnets.
        """
        cost, rng = CostTable(self.space, self.num_classes), Random(self.random['seed'])
        subnets = {'min': self.space.smallest, 'max': self.space.largest}
        for budget, flops in self.budgets.items():
            drawn = (self.space.sample(rng) for _ in range(MOST_DRAWS))
            close = (subnet for subnet in drawn if RANDOM_FROM * flops <= cost(subnet).flops <= flops)
            for i in range(self.random['per_budget']):
                subnet = next(close, None)
                if subnet is None:
                    raise InputError(
                        f'{self.path}: among {MOST_DRAWS:,} random subnets too few have {RANDOM_FROM:.0%} to 100 % of '
                        f'the budget {budget}, {flops:,} FLOPs'
                    )
                subnets[f'random_{budget}_{i + 1}'] = subnet
        return subnets

    @property
    def subnets(self) -> list[str]:
        """Names of all subnets that are compared."""
        return [*self.fixed_subnets(), *self.searched]

    def runs(self) -> dict[str, Run]:
        """All runs in the order in which they are begun, by name."""
        first, runs = self.first, []
        for seed in self.seeds:
            for recipe, config in self.supernets.items():
                name = run_name(recipe, seed)
                options = {'algorithm.sampler.seed': seed}
                runs.append(Run(name, 'supernet', config, recipe, seed, options, () if name == first else (first,)))
            for subnet in self.subnets:
                needs = (first,) if subnet in self.searched else ()
                options = self.regularisation if subnet == 'max' else {}
                runs.append(Run(run_name(subnet, seed), 'alone', self.alone, subnet, seed, options, needs))
            for baseline, how in self.baselines.items():
                for budget in self.budgets:
                    of = f'{baseline}_{budget}'
                    config = self._config(how['config'])
                    runs.append(Run(run_name(of, seed), 'baseline', config, of, seed, how[budget]))
        return {run.name: run for run in runs}


def run_name(of: str, seed: int) -> str:
    """The name of a run."""
    return f'{of}-seed{seed}'
