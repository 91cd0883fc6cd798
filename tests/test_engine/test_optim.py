"""The schedule of the published recipe."""

import copy

import parity
import pytest
import torch
from conftest import ROOT
from mmcls.structures import ClsDataSample
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_imagenet import BIGNAS, SUPERNET

from mmrazor_bignas.algorithms.bignas import add_gradient
from mmrazor_bignas.engine import BFloat16OptimWrapper, ExponentialDecayLR, Float16OptimWrapper, LinearWarmupLR
from mmrazor_bignas.engine import OptimWrapper as OurOptimWrapper
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import MODELS

BIGNAS_SUPERNET = f'{BIGNAS}/bignas_supernet_64xb64_in1k.py'
GOLDEN = dict(parity.META['lr_warmup_cosine_base0.8_max1000_warm50'])


def rates(schedule, lr, epochs, length):
    """The learning rate of every iteration under a config's schedule, for so many epochs of so many batches."""
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr))
    loop = type('Loop', (), {'max_epochs': epochs, 'dataloader': range(length)})()
    holder = type('Holder', (Runner,), {'train_loop': loop, '__init__': lambda self: None})()
    holder.optim_wrapper, holder._train_loop = wrapper, loop
    schedulers = holder.build_param_scheduler(schedule)
    return stepped(wrapper, schedulers, epochs * length)


def stepped(wrapper, schedulers, steps):
    found = []
    for _ in range(steps):
        found.append(wrapper.get_lr()['lr'][0])
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


def test_learning_rates_are_the_published_ones():
    cfg = load_config(ROOT / SUPERNET)
    schedule = copy.deepcopy(cfg.param_scheduler)
    assert [(s.type.rpartition('.')[2], s.end) for s in schedule] == [('LinearWarmupLR', 5), ('CosineAnnealingLR', 360)]
    schedule[1].update(T_max=100, end=100)
    found = rates(schedule, cfg.optim_wrapper.optimizer.lr, epochs=100, length=10)
    assert len(GOLDEN) == 11
    assert (GOLDEN[1000], len(found)) == (0, 1000)  # after the last iteration
    for iteration, rate in list(GOLDEN.items())[:-1]:
        assert found[iteration] == pytest.approx(rate, rel=1e-9)


def test_the_warm_up_starts_at_its_begin():
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    scheduler = LinearWarmupLR(wrapper, start_factor=0.5, begin=2, end=4, by_epoch=False)
    found = stepped(wrapper, [scheduler], 7)
    assert found == pytest.approx([1, 1, 0.5, 0.75, 1, 1, 1])


def test_exponential_decay_with_a_constant_ending_after_a_warm_up():
    """BigNAS's own: x 0.97 every 2.4 epochs, held at 5 %; here 10 steps an epoch, so a stair has 24."""
    cfg = load_config(ROOT / BIGNAS_SUPERNET)
    assert cfg.optim_wrapper.optimizer.lr == 0.256
    found = rates(cfg.param_scheduler, 0.256, epochs=300, length=10)
    for step, rate in enumerate(found):
        warm_up = min(1.0, 0.001 + 0.999 * step / 50)
        assert rate == pytest.approx(0.256 * warm_up * max(0.97 ** (step // 24), 0.05), rel=1e-9)
    assert found[-1] == pytest.approx(0.0128)
    assert found[98 * 24] > found[-1] * 1.001  # the end is reached in stair 99


def test_exponential_decay_resumes():
    def build():
        wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
        return wrapper, ExponentialDecayLR(wrapper, gamma=0.5, period=1.5, floor=0.1, by_epoch=False)

    wrapper, scheduler = build()
    whole = stepped(wrapper, [scheduler], 9)
    assert whole == pytest.approx([1, 1, 0.5, 0.25, 0.25, 0.125, 0.1, 0.1, 0.1])
    wrapper, scheduler = build()
    stepped(wrapper, [scheduler], 4)
    resumed, resumed_scheduler = build()
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    resumed_scheduler.load_state_dict(scheduler.state_dict())
    assert stepped(resumed, [resumed_scheduler], 5) == whole[4:]


@pytest.mark.parametrize('bad', [{'gamma': 0.0}, {'gamma': 1.5}, {'period': 0}, {'floor': 1.0}, {'floor': -0.1}])
def test_a_decay_out_of_range_is_refused(bad):
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    ((name, value),) = bad.items()
    with pytest.raises(InputError, match=f'{name} {value}' if name != 'gamma' else f'gamma is {value}'):
        ExponentialDecayLR(wrapper, **{'gamma': 0.97, 'period': 2.4, 'floor': 0.05, **bad})


def test_parameters_of_the_same_settings_share_a_group(tiny_algorithm):
    cfg = load_config(ROOT / SUPERNET).optim_wrapper
    algorithm = tiny_algorithm
    built = {
        name: build_optim_wrapper(algorithm, {**copy.deepcopy(cfg), 'constructor': name})
        for name in ('DefaultOptimWrapperConstructor', cfg.constructor)
    }
    settings = []
    for wrapper in built.values():
        groups = wrapper.optimizer.param_groups
        settings.append({id(p): (g['lr'], g['weight_decay']) for g in groups for p in g['params']})
    assert settings[0] == settings[1]
    assert len(settings[0]) == len(list(algorithm.parameters()))
    assert len(built[cfg.constructor].optimizer.param_groups) == 2  # with weight decay and without


def test_a_fused_step_takes_weights_whose_first_gradient_comes_late():
    """As a shortcut convolution's may; equal to the SGD that is not fused, which can do so by itself."""
    cfg = load_config(ROOT / SUPERNET).optim_wrapper
    assert cfg.optimizer.fused
    models = [torch.nn.ParameterList(torch.nn.Parameter(torch.ones(3)) for _ in range(3)) for _ in range(2)]
    wrappers = [
        build_optim_wrapper(model, {**copy.deepcopy(cfg), 'optimizer': {**cfg.optimizer, 'fused': fused}})
        for model, fused in zip(models, (True, False), strict=True)
    ]
    for with_gradient in ([0], [0, 1], [1], [0, 1]):
        for model, wrapper in zip(models, wrappers, strict=True):
            wrapper.update_params(sum((i + 1) * model[i].square().sum() for i in with_gradient))
    for ours, theirs in zip(*models, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not wrappers[0].optimizer.state[models[0][2]]  # never had one


@pytest.mark.parametrize('options', [{'sampler.seed': 4}, {'sampler.type': 'mmrazor_bignas.UniformSampler'}])
def test_subnets_may_be_of_weights_that_no_step_before_had(options):
    cfg = load_config(ROOT / 'configs/demo/digits_supernet.py', {f'algorithm.{k}': v for k, v in options.items()})
    init_default_scope('mmcls')
    algorithm = MODELS.build(cfg.algorithm).train()
    wrapper = build_optim_wrapper(algorithm, cfg.optim_wrapper)
    images = torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8)
    with_momentum = []
    for step in range(3):
        MessageHub.get_current_instance().update_info('iter', step)
        samples = [ClsDataSample().set_gt_label(label) for label in range(4)]
        algorithm.train_step({'inputs': images, 'data_samples': samples}, wrapper)
        with_momentum.append(len(wrapper.optimizer.state))
    assert with_momentum[0] < with_momentum[-1]


@pytest.fixture
def half():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    model = torch.nn.Linear(2, 2, bias=False)
    model.weight = weight
    return model, Float16OptimWrapper(torch.optim.SGD([weight], lr=1.0), init_scale=1024.0, clip_grad=dict(CLIP))


CLIP = dict(type='value', clip_value=0.5)


def test_float16_scales_the_summed_gradients_of_a_step(half):
    model, wrapper = half
    with wrapper.optim_context(model):
        first = model(torch.full((1, 2), 2.0**-20))
    assert first.dtype == torch.float16
    add_gradient(wrapper, first.float().sum())
    assert model.weight.grad.max() == 1024 * 2.0**-20
    with wrapper.optim_context(model):
        second = model(torch.full((1, 2), 2.0))
    wrapper.update_params(second.float().sum())
    assert torch.equal(model.weight, torch.full((2, 2), 0.5))  # unscaled, then clipped
    assert model.weight.grad is None


def test_float16_leaves_out_a_step_that_overflows_and_resumes_with_its_scale(half):
    model, wrapper = half
    wrapper.update_params(model(torch.full((1, 2), float('inf'))).sum())
    assert torch.equal(model.weight, torch.ones(2, 2))
    assert wrapper.loss_scaler.get_scale() == 512
    other = Float16OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
    other.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    assert other.loss_scaler.get_scale() == 512
    without = {key: value for key, value in wrapper.state_dict().items() if key != 'loss_scaler'}
    other.load_state_dict(without)  # of a training in another format


WRAPPERS = [OurOptimWrapper, BFloat16OptimWrapper, Float16OptimWrapper]
CLIPS = [None, dict(CLIP), {'type': 'norm', 'max_norm': 0.5}]


@pytest.mark.parametrize('clip', CLIPS)
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_the_norm_is_of_the_summed_gradients_as_they_were_before_scaling_and_clipping(wrapper, clip, monkeypatch):
    monkeypatch.setattr(MessageHub, 'update_scalar', None)  # mmengine's own way to tell it, which waits for a GPU
    weights = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))]
    wrapper = wrapper(torch.optim.SGD(weights, lr=1.0), clip_grad=clip and dict(clip))
    add_gradient(wrapper, weights[0].sum())
    wrapper.update_params(weights[0].sum() + weights[1].sum())
    assert wrapper.grad_norm.item() == 3.0  # of 2, 2 and 1; the third has no gradient
    step = {None: 2.0, 'value': 0.5, 'norm': 1 / 3}[clip and clip['type']]
    torch.testing.assert_close(weights[0].detach(), torch.full((2,), 1 - step))


@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_no_norm_where_gradients_are_only_accumulated(wrapper):
    weight = torch.nn.Parameter(torch.ones(1))
    wrapper = wrapper(torch.optim.SGD([weight], lr=0.0), accumulative_counts=2)
    norms = []
    for _ in range(4):
        wrapper.update_params(weight.sum())
        norms.append(wrapper.grad_norm and wrapper.grad_norm.item())
    assert norms == [None, 1.0, None, 1.0]


def test_the_norm_of_an_overflow_is_no_number(half):
    model, wrapper = half
    wrapper.update_params(model(torch.full((1, 2), float('inf'))).sum())
    assert wrapper.skips_overflows
    assert not torch.isfinite(wrapper.grad_norm)
