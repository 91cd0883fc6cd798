"""Mixup and CutMix: labels are shared as the pixels are, and every recipe's losses take the shares."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_CLASSES, randomise
from mmcls.structures import ClsDataSample
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from mmrazor_bignas.engine.randomness import seed_generators
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import MODELS

AUGMENTS = {'Mixup': {'type': 'Mixup', 'alpha': 1.0}, 'CutMix': {'type': 'CutMix', 'alpha': 1.0}}
UP = {'bin_flops': 0.5e6, 'num_samples': 500}
# Sampler and distillation loss.
RECIPES = {
    'sandwich': ({'type': 'SandwichSampler'}, 'KLDistillation'),
    'alphanet': ({'type': 'SandwichSampler'}, 'AdaptiveAlphaDistillation'),
    'bestup': ({'type': 'BestUpSampler', **UP}, 'KLDistillation'),
    'worstup': ({'type': 'WorstUpSampler', **UP}, 'KLDistillation'),
    'labels alone': ({'type': 'SandwichSampler'}, None),
}
SEED = 31  # of draws that give every image more of another than it keeps


@pytest.fixture
def make(tiny_architecture):
    """A function that makes the algorithm of a recipe, with batch augmentations."""
    init_default_scope('mmcls')

    def build(recipe: str = 'sandwich', **batch_augments):
        (sampler, loss), scope = RECIPES[recipe], 'mmrazor_bignas'
        preprocessor = {'mean': [0.0] * 3, 'std': [1.0] * 3, 'batch_augments': batch_augments}
        algorithm = MODELS.build(
            {
                'type': f'{scope}.BigNAS',
                'architecture': {**tiny_architecture, 'data_preprocessor': preprocessor},
                'sampler': {**sampler, 'type': f'{scope}.{sampler["type"]}'},
                'distillation': loss and {'type': f'{scope}.{loss}'},
            }
        )
        randomise(algorithm)
        return algorithm.train()

    torch.manual_seed(0)
    return build


def batch() -> dict:
    """An image of every class: the first is 0, each other is 1 in a channel of its own."""
    images = torch.cat([torch.zeros(1, 3), torch.eye(3)])[..., None, None].expand(4, 3, 32, 32).contiguous()
    return {'inputs': images, 'data_samples': [ClsDataSample().set_gt_label(i) for i in range(TINY_CLASSES)]}


def shares_of(images: torch.Tensor) -> torch.Tensor:
    """How much of each mixed image is of which class, from its pixels."""
    others = images.mean((2, 3))
    return torch.cat([1 - others.sum(1, keepdim=True), others], 1)


def mixed_cross_entropy(logits: torch.Tensor, shares: torch.Tensor, smoothing: float) -> torch.Tensor:
    """The cross entropies of all labels, weighted by their shares."""
    losses = [
        F.cross_entropy(logits, torch.full((len(logits),), label), reduction='none', label_smoothing=smoothing)
        for label in range(TINY_CLASSES)
    ]
    return (shares * torch.stack(losses, 1)).sum(1).mean()


@pytest.mark.parametrize('augment', AUGMENTS)
@pytest.mark.parametrize('recipe', RECIPES)
def test_a_step_s_losses_and_accuracies_are_of_the_shares(make, recipe, augment):
    algorithm, mixed, logits = make(recipe, augments=AUGMENTS[augment]), [], []
    algorithm.data_preprocessor.register_forward_hook(lambda *words: mixed.append(words[-1]['inputs'].clone()))

    def forward(images, subnet, drop):  # often right about the larger share
        logits.append(algorithm(images, subnet=subnet, drop=drop) + 2 * shares_of(mixed[0]))
        return logits[-1]

    seed_generators(SEED)
    outputs = algorithm.train_step(batch(), OptimWrapper(torch.optim.SGD(algorithm.parameters(), 0.1)), forward)
    shares = shares_of(mixed[0])
    assert (shares.amax(1) < 0.95).all()
    assert (shares.argmax(1) != torch.arange(4)).all()
    assert len(logits) == len(outputs['subnets']) == 4
    for name, ours in zip(outputs['subnets'], logits, strict=True):
        if name == 'largest' or algorithm.distillation is None:
            expected = mixed_cross_entropy(ours, shares, smoothing=0.1)
        else:
            expected = algorithm.distillation(ours, logits[0])
        torch.testing.assert_close(outputs[f'{name}/loss'], expected.detach())
        right = ours.argmax(1) == shares.argmax(1)
        assert float(outputs[f'{name}/top1']) == 100 * right.float().mean()


@pytest.mark.parametrize('augment', AUGMENTS)
def test_scores_are_of_the_shares(make, augment):
    algorithm = make(augments=AUGMENTS[augment])
    seed_generators(SEED)
    data = algorithm.data_preprocessor(batch(), training=True)
    subnet, images = algorithm.search_space.smallest, data['inputs']
    logits = algorithm(images, subnet=subnet, drop=False)
    (score,) = algorithm.scores([subnet], lambda _: images, data['data_samples'])
    expected = -mixed_cross_entropy(logits, shares_of(images), smoothing=0.0)
    assert score == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize('augment', AUGMENTS)
def test_images_are_mixed_in_training_alone_by_draws_of_the_step(make, augment):
    preprocessor, mixed = make(augments=AUGMENTS[augment]).data_preprocessor, []
    assert torch.equal(preprocessor(batch(), training=False)['inputs'], batch()['inputs'])
    for step in (SEED, SEED, SEED + 1):
        seed_generators(step)
        mixed.append(preprocessor(batch(), training=True)['inputs'])
    assert torch.equal(mixed[0], mixed[1])
    assert not torch.equal(mixed[0], mixed[2])


def test_a_twin_mixes_as_often(make):
    """mmcls adds to the list of probabilities that it is given."""
    given = {'augments': list(AUGMENTS.values()), 'probs': [0.5, 0.3]}
    algorithm = make(**copy.deepcopy(given))
    static = algorithm.architecture.twin(algorithm.search_space.smallest)
    assert static.data_preprocessor.batch_augments.probs == pytest.approx([0.5, 0.3, 0.2])
    assert algorithm.architecture._config['data_preprocessor']['batch_augments'] == given


@pytest.mark.parametrize(
    ('batch_augments', 'message'),
    [
        ({'augments': {'type': 'Mixup', 'alpha': 1}}, r'alpha of batch_augments is not a float above 0, such as 1.0'),
        ({'augments': {'type': 'CutMix', 'alpha': -0.2}}, r'alpha of batch_augments is not a float above 0'),
        ({'augments': AUGMENTS['Mixup'], 'probs': [0.5, 0.5]}, 'must have same lengths. Got 1 vs 2'),
        ({'augments': list(AUGMENTS.values()), 'probs': [0.8, 0.3]}, 'total probability of batch augments exceeds 1'),
    ],
)
def test_what_cannot_be_mixed(make, batch_augments, message):
    with pytest.raises(InputError, match=f"data_preprocessor: .*{message}.*; found .*'augments': "):
        make(**batch_augments)
