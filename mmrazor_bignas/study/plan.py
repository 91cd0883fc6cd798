"""The runs of a study: what each needs, does and leaves, from one YAML file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from random import Random

from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.reading import read_yaml
from mmrazor_bignas.search_space import SearchSpace, SubnetSpec
from mmrazor_bignas.search_space.cost_table import CostTable

KEYS = (
    'name',
    'about',
    'seeds',
    'more_seeds',
    'budgets',
    'random',
    'search',
    'evaluate',
    'alone',
    'supernets',
    'baselines',
    'about_baselines',
)
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
        digest: SHA-256 of all that the results depend on but the code: configs, overrides, subnets.
        options: Overrides of the config's keys.
        needs: Names of runs whose records it reads.
    """

    name: str
    kind: str
    config: Path
    of: str
    seed: int
    digest: str
    options: Mapping[str, object] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs of the training."""
        return load_config(str(self.config)).train_cfg.max_epochs


class Study:
    """A study's YAML file.

    Args:
        path: The file; configs are named relative to it.

    Raises:
        InputError: The file is missing or no YAML, a key is missing or unknown, or a config is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        content = read_yaml(path, 'study')
        if not isinstance(content, Mapping) or set(content) != set(KEYS):
            raise InputError(f'{path}: expected a mapping with exactly the keys {list(KEYS)}')
        check(content, str(path))
        self.name: str = content['name']
        self.about: str = content['about']
        self.seeds: list[int] = content['seeds']
        self.more_seeds: list[int] = content['more_seeds']  # of the recipe and of the subnets alone
        self.budgets: dict[str, float] = content['budgets']
        self.random: dict[str, int] = content['random']
        self.search, self.evaluate, self.alone = (self._config(content[key]) for key in ('search', 'evaluate', 'alone'))
        self.supernets = {name: self._config(config) for name, config in content['supernets'].items()}
        self.baselines: dict[str, dict] = content['baselines']
        self.about_baselines: str = content['about_baselines']
        cfg = load_config(str(self.evaluate))
        # In a supernet too the largest subnet alone is regularised (arXiv:2003.11142, section 3.1).
        self.regularisation = {
            f'algorithm.architecture.{part}.{key}': cfg.algorithm.architecture[part][key]
            for part, key in (('head', 'dropout'), ('backbone', 'drop_path_rate'))
            if key in cfg.algorithm.architecture[part]
        }
        self.num_classes: int = cfg.algorithm.architecture.head.num_classes
        self.space = SearchSpace.of_backbone(cfg.algorithm.architecture.backbone.to_dict())

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
    def all_seeds(self) -> list[int]:
        """Seeds of the recipe and of the subnets alone."""
        return [*self.seeds, *self.more_seeds]

    @property
    def first(self) -> str:
        """The run whose supernet is searched."""
        return run_name(self.recipe, self.seeds[0])

    @property
    def searched(self) -> list[str]:
        """Names of the subnets that are found by search, one for each budget."""
        return [f'searched_{budget}' for budget in self.budgets]

    @cached_property
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
        return [*self.fixed_subnets, *self.searched]

    @cached_property
    def runs(self) -> dict[str, Run]:
        """All runs in the order in which they are begun, by name."""
        first, fixed = self.first, {name: subnet.to_dict() for name, subnet in self.fixed_subnets.items()}
        runs = []

        def add(of: str, seed: int, kind: str, config: Path, options: Mapping, needs: bool, *more: object) -> None:
            name, options = run_name(of, seed), {**options, 'randomness.seed': seed}
            digest = digest_of(load_config(str(config), options).to_dict(), *more)
            needs_first = (first,) if needs and name != first else ()
            runs.append(Run(name, kind, config, of, seed, digest, options, needs_first))

        evaluated = load_config(str(self.evaluate)).to_dict()
        searched = (load_config(str(self.search)).to_dict(), self.budgets)
        for seed in self.all_seeds:
            whole = seed in self.seeds
            for recipe, config in self.supernets.items() if whole else [(self.recipe, self.supernets[self.recipe])]:
                add(
                    recipe, seed, 'supernet', config, {'algorithm.sampler.seed': seed}, True, evaluated, fixed, searched
                )
            for subnet in self.subnets:
                options = self.regularisation if subnet == 'max' else {}
                known = fixed.get(subnet, searched)  # what a search finds is in the record
                add(subnet, seed, 'alone', self.alone, options, subnet in self.searched, evaluated, known)
            for baseline, how in self.baselines.items() if whole else ():
                for budget in self.budgets:
                    add(f'{baseline}_{budget}', seed, 'baseline', self._config(how['config']), how[budget], False)
        return {run.name: run for run in runs}


def digest_of(*parts: object) -> str:
    """SHA-256 of texts and of what JSON can write."""
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def check(content: Mapping, path: str) -> None:
    """What a study's file says has the right form.

    Raises:
        InputError: Names the key, and what was expected.
    """
    for key, least in (('seeds', 1), ('more_seeds', 0)):
        seeds = content[key]
        if not isinstance(seeds, list) or len(seeds) < least or any(type(seed) is not int for seed in seeds):
            raise InputError(f'{path}: {key} is {seeds!r}; expected a list of integers, {least} or more')
    seeds = content['seeds'] + content['more_seeds']
    if len(set(seeds)) < len(seeds):
        raise InputError(f'{path}: seeds and more_seeds are {seeds} together; expected each once')
    for key in ('name', 'about', 'search', 'evaluate', 'alone', 'about_baselines'):
        if not isinstance(content[key], str):
            raise InputError(f'{path}: {key} is {content[key]!r}; expected a text')
    budgets, random = content['budgets'], content['random']
    if not isinstance(budgets, Mapping) or any(
        type(flops) not in (int, float) or flops <= 0 for flops in budgets.values()
    ):
        raise InputError(f'{path}: budgets is {budgets!r}; expected names with numbers of FLOPs')
    if (
        not isinstance(random, Mapping)
        or set(random) != {'per_budget', 'seed'}
        or any(type(number) is not int or number < 0 for number in random.values())
    ):
        raise InputError(f'{path}: random is {random!r}; expected per_budget and seed, integers of 0 or more')
    supernets, baselines = content['supernets'], content['baselines']
    if not isinstance(supernets, Mapping) or not supernets or not all(isinstance(it, str) for it in supernets.values()):
        raise InputError(f'{path}: supernets is {supernets!r}; expected names with configs, the recipe first')
    if not isinstance(baselines, Mapping):
        raise InputError(f'{path}: baselines is {baselines!r}; expected names with configs and overrides, or {{}}')
    for name, how in baselines.items():
        if (
            not isinstance(how, Mapping)
            or set(how) != {'config', *budgets}
            or not isinstance(how['config'], str)
            or not all(isinstance(how[budget], Mapping) for budget in budgets)
        ):
            raise InputError(
                f'{path}: baselines.{name} has {how!r}; expected config, and overrides for {list(budgets)}'
            )


def run_name(of: str, seed: int) -> str:
    """The name of a run."""
    return f'{of}-seed{seed}'
