"""Samplers: order, purity, and what picked subnets are picked from."""

import random

import numpy as np
import pytest

from mmrazor_bignas.algorithms import BestUpSampler, FlopsPrior, SandwichSampler, UniformSampler, WorstUpSampler
from mmrazor_bignas.algorithms.flops_prior import TRIES, flops_prior, generator
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import CostTable

BIN = 0.5e6  # the tiny space has 0.06 to 3.7 million multiply-adds
ORDER = {
    SandwichSampler: ['largest', 'random1', 'random2', 'smallest'],
    BestUpSampler: ['largest', 'best1', 'best2', 'smallest'],
    WorstUpSampler: ['largest', 'worst1', 'worst2', 'smallest'],
    UniformSampler: ['random1', 'random2', 'random3', 'random4'],
}


def make(kind, **options):
    attentive = {'bin_flops': BIN, 'num_samples': 2000} if kind in (BestUpSampler, WorstUpSampler) else {}
    return kind(**attentive, **options)


class Scores:
    """Scores subnets by a function of them, and keeps what it was asked."""

    def __init__(self, of=hash) -> None:
        self.of, self.calls = of, []

    def __call__(self, subnets):
        self.calls.append(list(subnets))
        return [float(self.of(subnet)) for subnet in subnets]


@pytest.mark.parametrize('kind', ORDER)
def test_the_order_and_that_all_are_of_the_space(tiny_space, kind):
    for step in range(10):
        subnets = make(kind)(tiny_space, step, Scores())
        assert list(subnets) == ORDER[kind]
        assert subnets.get('largest', tiny_space.largest) == tiny_space.largest
        assert subnets.get('smallest', tiny_space.smallest) == tiny_space.smallest
        assert all(subnet in tiny_space for subnet in subnets.values())


@pytest.mark.parametrize('kind', ORDER)
def test_a_pure_function_of_seed_and_step(tiny_space, kind):
    first, second = make(kind, seed=3), make(kind, seed=3)
    steps = [first(tiny_space, step, Scores()) for step in range(20)]
    flops_prior.cache_clear()
    random.seed(99)
    np.random.seed(99)
    before = random.getstate(), np.random.get_state()[1].tolist()
    assert [second(tiny_space, step, Scores()) for step in reversed(range(20))] == steps[::-1]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert len({tuple(subnets.values()) for subnets in steps}) == 20
    assert make(kind, seed=4)(tiny_space, 0, Scores()) != steps[0]


@pytest.mark.parametrize(('kind', 'pick'), [(BestUpSampler, max), (WorstUpSampler, min)])
def test_the_best_and_the_worst_of_all_candidates_asked_for_at_once(tiny_space, kind, pick):
    for step in range(20):
        scores = Scores()
        picked = list(make(kind, num_random=3, num_candidates=4)(tiny_space, step, scores).values())[1:-1]
        (candidates,) = scores.calls
        assert len(candidates) == 12
        for i, subnet in enumerate(picked):
            assert subnet == pick(candidates[4 * i : 4 * i + 4], key=hash)


@pytest.mark.parametrize('kind', [SandwichSampler, UniformSampler])
def test_who_needs_no_scores_asks_for_none(tiny_space, kind):
    assert kind(num_random=3)(tiny_space, 0, score=None)


def test_the_best_by_one_score_is_the_worst_by_its_opposite(tiny_space):
    best = make(BestUpSampler)(tiny_space, 0, Scores())
    worst = make(WorstUpSampler)(tiny_space, 0, Scores())
    opposite = make(WorstUpSampler)(tiny_space, 0, Scores(lambda subnet: -hash(subnet)))
    assert list(best.values()) == list(opposite.values()) != list(worst.values())


def flops(space, subnets) -> np.ndarray:
    return CostTable(space, num_classes=0).many(np.array([space.values(subnet) for subnet in subnets]))[:, 0]


def test_bins_have_the_frequencies_of_the_whole_space(tiny_space):
    num_samples = 20_000
    found = flops_prior(tiny_space, BIN, num_samples, 0).frequencies()
    bins, counts = np.unique(flops(tiny_space, tiny_space.enumerate()) // BIN, return_counts=True)
    assert len(bins) >= 5
    assert set(found) <= set(bins.tolist())
    for number, count in zip(bins.tolist(), counts.tolist(), strict=True):
        share = count / tiny_space.size
        assert abs(found.get(number, 0) - share) < 5 * (share / num_samples) ** 0.5


def test_genes_have_their_frequencies_in_a_bin_and_candidates_lie_in_one(tiny_space):
    prior, rng = flops_prior(tiny_space, BIN, 20_000, 0), generator(0)
    drawn = [prior.candidates(rng, 5) for _ in range(500)]
    bins = (flops(tiny_space, [subnet for group in drawn for subnet in group]) // BIN).reshape(-1, 5)
    assert (bins == bins[:, :1]).all()  # with 101 tries none is missed here
    shares = {number: (bins[:, 0] == number).mean() for number in np.unique(bins)}
    for number, share in prior.frequencies().items():
        assert abs(shares.get(number, 0) - share) < 5 * (share / len(drawn)) ** 0.5
    # Small subnets keep their low resolution: a bin's genes are not the space's.
    small = [subnet.resolution for group, of in zip(drawn, bins, strict=True) if of[0] == 0 for subnet in group]
    assert np.mean(small) < 20


def test_candidates_that_no_try_hits_are_let_go(tiny_space, monkeypatch):
    prior = FlopsPrior(tiny_space, BIN, 2000, 0)
    asked = []
    monkeypatch.setattr(prior, 'bins', lambda values: asked.append(len(values)) or np.full(len(values), -1))
    group = prior.candidates(generator(0), 3)
    assert asked == [3 * TRIES]
    assert len(group) == 3
    assert all(subnet in tiny_space for subnet in group)


def test_one_bin_for_all_is_fine(tiny_space):
    sampler = BestUpSampler(bin_flops=25e6)
    assert list(flops_prior(tiny_space, 25e6, 100_000, 0).frequencies().values()) == [1.0]
    assert len(sampler(tiny_space, 0, Scores())) == 4


def test_the_prior_of_the_whole_space(imagenet_space):
    frequencies = flops_prior(imagenet_space, 25e6, 100_000, 0).frequencies()
    assert sum(frequencies.values()) == pytest.approx(1)
    # As uniform samples of the space were counted elsewhere.
    for limit, share in ((450e6, 0.10), (500e6, 0.19)):
        below = sum(frequency for number, frequency in frequencies.items() if (number + 1) * 25e6 <= limit)
        assert below == pytest.approx(share, abs=0.02)
    step = BestUpSampler()(imagenet_space, 0, Scores())
    assert all(subnet in imagenet_space for subnet in step.values())


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        (SandwichSampler, {'num_random': -1}),
        (UniformSampler, {'num_random': 0}),
        (BestUpSampler, {'num_random': 0}),
        (BestUpSampler, {'num_candidates': 1}),
        (WorstUpSampler, {'num_samples': 0}),
        (WorstUpSampler, {'bin_flops': 0}),
    ],
)
def test_numbers_out_of_range_are_refused(kind, options):
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f'{name} is {value}'):
        kind(**options)
