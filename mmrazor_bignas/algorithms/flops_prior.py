"""How the FLOPs of a space's subnets are distributed, and subnets drawn by it."""

from __future__ import annotations

from functools import lru_cache
from random import Random

import numpy as np

from mmrazor_bignas.search_space import CostTable, SearchSpace, SubnetSpec

TRIES = 101  # for a subnet of a bin, as in AttentiveNAS's code


class FlopsPrior:
    """FLOPs of random subnets in bins, each with the frequencies of every gene's choices in it.

    AttentiveNAS (arXiv:2011.09011, section 3.2) reads them from a table. Here the table is a sample of the space:
    drawing one of its rows draws a bin by its frequency, drawing every gene from another row of a bin draws the gene
    by its frequency in the bin.

    Args:
        space: The search space.
        bin_flops: Width of a bin in multiply-adds; the classifier's are left out.
        num_samples: Size of the sample.
        seed: Seed of the sample.
    """

    def __init__(self, space: SearchSpace, bin_flops: float, num_samples: int, seed: int) -> None:
        rng = generator(seed, 'prior')
        self.space, self.bin_flops = space, bin_flops
        self._costs = CostTable(space, num_classes=0)
        sample = np.stack([rng.choice(gene.choices, num_samples) for gene in space.genes], axis=1)
        self._bins = self.bins(sample)
        self._rows = {number: sample[self._bins == number] for number in np.unique(self._bins).tolist()}

    def bins(self, values: np.ndarray) -> np.ndarray:
        """The bins (N,) of subnets (N, genes), whose rows are as :meth:`SearchSpace.values` gives them."""
        return (self._costs.many(values)[:, 0] // self.bin_flops).astype(np.int64)

    def frequencies(self) -> dict[int, float]:
        """Each bin's share of the space."""
        return {number: len(rows) / len(self._bins) for number, rows in self._rows.items()}

    def candidates(self, rng: np.random.Generator, count: int) -> list[SubnetSpec]:
        """Subnets of one bin, drawn by its frequency; the last of :data:`TRIES` draws where none is of the bin."""
        number = int(rng.choice(self._bins))
        rows, genes = self._rows[number], np.arange(len(self.space.genes))
        values = rows[rng.integers(len(rows), size=(count, TRIES, len(genes))), genes]
        hits = (self.bins(values.reshape(-1, len(genes))) == number).reshape(count, TRIES)
        first = np.where(hits.any(axis=1), hits.argmax(axis=1), TRIES - 1)
        return [self.space.subnet(tries[i].tolist()) for tries, i in zip(values, first, strict=True)]


@lru_cache(maxsize=4)
def flops_prior(space: SearchSpace, bin_flops: float, num_samples: int, seed: int) -> FlopsPrior:
    """The prior of a space, estimated at its first use (a quarter of a second for the ImageNet space)."""
    return FlopsPrior(space, bin_flops, num_samples, seed)


def generator(*place: object) -> np.random.Generator:
    """A generator whose draws are a function of where they happen."""
    return np.random.default_rng(Random('/'.join(map(str, place))).getrandbits(64))
