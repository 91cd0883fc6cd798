"""The network against an independent implementation's outputs, to 1e-4 relative."""

from dataclasses import replace

import parity
import pytest
import torch

from mmrazor_bignas.converters import ATTENTIVENAS
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import ROWS, SearchSpace, SubnetSpec

META, OUTPUTS = parity.META, parity.OUTPUTS
SUBNETS = [SubnetSpec.from_dict({row: rows[row] for row in ROWS}) for rows in META['subnets']]
RESOLUTIONS = META['supernet']['resolutions']
EVAL_SEED, NATIVE_SEED = 100, 100  # of the stored inputs; native ones add the resolution
TRAIN_SEEDS = {64: 7, 56: 8}


@pytest.fixture
def supernet():
    model = MODELS.build(parity.ARCHITECTURE)
    parity.load(model)
    return model


def test_costs(supernet):
    for subnet, rows in zip(SUBNETS, META['subnets'], strict=True):
        for side in RESOLUTIONS:
            assert supernet.cost(replace(subnet, resolution=side)).flops == round(rows['flops'][str(side)]['analytic'])


@pytest.mark.parametrize('index', range(len(SUBNETS)))
def test_eval_logits(supernet, index):
    supernet.eval()
    with torch.no_grad():
        for side in RESOLUTIONS:
            subnet = replace(SUBNETS[index], resolution=side)
            logits = supernet(parity.images(2, 64, EVAL_SEED), subnet=subnet)
            assert parity.relative_error(logits, OUTPUTS[f'rand_sub{index}_r{side}_from64']) < parity.RTOL
            if f'rand_sub{index}_r{side}_native' in OUTPUTS:  # odd feature maps at 48 and 56
                logits = supernet(parity.images(2, side, NATIVE_SEED + side), subnet=subnet)
                assert parity.relative_error(logits, OUTPUTS[f'rand_sub{index}_r{side}_native']) < parity.RTOL


@pytest.mark.parametrize('index', range(len(SUBNETS)))
def test_eval_logits_with_initial_batch_norm(index):
    model = MODELS.build(parity.ARCHITECTURE)
    parity.load(model, only=lambda key: '.bn.' not in key)
    model.eval()
    with torch.no_grad():
        for side in RESOLUTIONS:
            subnet = replace(SUBNETS[index], resolution=side)
            logits = model(parity.images(2, 64, EVAL_SEED), subnet=subnet)
            assert parity.relative_error(logits, OUTPUTS[f'bninit_zerogamma_sub{index}_r{side}_from64']) < parity.RTOL


@pytest.mark.parametrize('index', range(len(SUBNETS)))
def test_train_logits(supernet, index):
    supernet.train()
    with torch.no_grad():
        for side, seed in TRAIN_SEEDS.items():
            subnet = replace(SUBNETS[index], resolution=side)
            logits = supernet(parity.images(4, side, seed), subnet=subnet, drop=False)
            assert parity.relative_error(logits, OUTPUTS[f'train_sub{index}_r{side}']) < parity.RTOL


@pytest.mark.parametrize(('loss', 'distillation'), [('kl', 'KLDistillation'), ('alpha', 'AdaptiveAlphaDistillation')])
def test_sandwich_step(loss, distillation):
    """Losses, every parameter's gradient norm and four whole gradients after the reference's sandwich step."""
    from mmcls.structures import ClsDataSample
    from mmengine.optim import OptimWrapper

    reference = META[f'sandwich_{loss}']
    algorithm = MODELS.build(
        {
            'type': 'mmrazor_bignas.BigNAS',
            'architecture': parity.ARCHITECTURE,
            'sampler': {'type': 'mmrazor_bignas.SandwichSampler'},
            'distillation': {'type': f'mmrazor_bignas.{distillation}'},
        }
    )
    parity.load(algorithm.architecture)
    algorithm.sampler = lambda space, step, score: {str(i): SUBNETS[i] for i in reference['order']}
    algorithm.train()
    wrapper = OptimWrapper(torch.optim.SGD(algorithm.parameters(), lr=0.0))
    wrapper.zero_grad = lambda: None  # keep the gradients for a look
    samples = [ClsDataSample().set_gt_label(label) for label in reference['target']]
    losses = algorithm.train_step({'inputs': parity.images(4, 64, 7), 'data_samples': samples}, wrapper)

    for index, value in zip(reference['order'], reference['losses'], strict=True):
        assert float(losses[f'{index}/loss']) == pytest.approx(value, rel=parity.RTOL)
    depths = [max(stage.depth) for stage in algorithm.search_space.stages]
    gradients = {name: parameter.grad for name, parameter in algorithm.architecture.named_parameters()}
    compared = 0
    for key, norm in reference['grad_norms'].items():
        gradient = gradients.get(ATTENTIVENAS.our_key(key, depths))
        if norm is None:
            assert gradient is None
        else:
            assert float(gradient.norm()) == pytest.approx(norm, rel=parity.RTOL, abs=1e-6)
            compared += 1
    assert compared > 140
    for key in (key for key in OUTPUTS if key.startswith(f'grad_{loss}_')):
        gradient = gradients[ATTENTIVENAS.our_key(key.removeprefix(f'grad_{loss}_'), depths)]
        assert parity.relative_error(gradient, OUTPUTS[key]) < parity.RTOL


def test_calibrated_statistics_and_logits(supernet):
    from mmrazor_bignas.engine import calibrate_batch_norm
    from mmrazor_bignas.models import extract_subnet

    static = extract_subnet(supernet, SUBNETS[3])
    calibrate_batch_norm(static, parity.Batches([parity.images(4, 64, 900 + i) for i in range(3)]))
    statistics = {'first': static.backbone.stem.bn, 'final': static.backbone.head_expand.bn}
    for name, norm in statistics.items():
        assert parity.relative_error(norm.running_mean, OUTPUTS[f'calib_sub3_{name}_bn_mean']) < parity.RTOL
        assert parity.relative_error(norm.running_var, OUTPUTS[f'calib_sub3_{name}_bn_var']) < parity.RTOL
    with torch.no_grad():
        logits = static(parity.images(2, 64, EVAL_SEED))
    assert parity.relative_error(logits, OUTPUTS['calib_sub3_from64']) < parity.RTOL


def test_the_space_of_the_reference_is_read_whole():
    space = SearchSpace.from_dict(parity.space_rows(META))
    assert space.smallest == SUBNETS[0]
    assert space.largest == SUBNETS[1]
    assert all(subnet in space for subnet in SUBNETS)
