"""The train step: one optimizer step on the summed gradients of four passes, and nothing left behind."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from mmcls.structures import ClsDataSample
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from mmrazor_bignas.algorithms import SandwichSampler
from mmrazor_bignas.algorithms.bignas import compiled_runs, current_step
from mmrazor_bignas.engine import BFloat16OptimWrapper
from mmrazor_bignas.engine import OptimWrapper as WaitlessWrapper
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import MODELS

NAMES = ['largest', 'random1', 'random2', 'smallest']


def batch(size: int = 4, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        'inputs': torch.randint(0, 255, (size, 3, 32, 32), generator=generator, dtype=torch.uint8),
        'data_samples': [ClsDataSample().set_gt_label(i % 4) for i in range(size)],
    }


class CountingSGD(torch.optim.SGD):
    """Counts its steps and keeps the gradients of the last one."""

    def __init__(self, algorithm, lr: float = 0.1) -> None:
        super().__init__(algorithm.parameters(), lr=lr)
        self.steps, self.gradients = 0, None

    def step(self, closure=None):
        self.steps += 1
        self.gradients = [None if p.grad is None else p.grad.clone() for p in self.param_groups[0]['params']]
        return super().step(closure)


def no_drop(algorithm):
    algorithm.architecture.head.dropout = 0.0
    for module in algorithm.modules():
        if hasattr(module, 'drop_path_rate'):
            module.drop_path_rate = 0.0
    return algorithm.train()


def separate_passes(algorithm, data) -> list[torch.Tensor]:
    """The gradients of the four passes, each alone, added up."""
    data = algorithm.data_preprocessor(copy.deepcopy(data), training=True)
    subnets = algorithm.sampler(algorithm.search_space, current_step(), score=None)
    teacher = algorithm(data['inputs'], subnet=subnets['largest'], drop=False)
    total = [torch.zeros_like(parameter) for parameter in algorithm.parameters()]
    for name, subnet in subnets.items():
        logits = algorithm(data['inputs'], subnet=subnet, drop=False)
        if name == 'largest':
            loss = algorithm.architecture.head.loss_module(logits, torch.arange(len(logits)) % 4)
        else:
            loss = -(teacher.detach().softmax(1) * logits.log_softmax(1)).sum(1).mean()
        gradients = torch.autograd.grad(loss, list(algorithm.parameters()), allow_unused=True)
        for sum_, gradient in zip(total, gradients, strict=True):
            if gradient is not None:
                sum_ += gradient
    return total


def assert_gradients(optimizer, expected, scale: float = 1.0) -> None:
    for ours, theirs in zip(optimizer.gradients, expected, strict=True):
        ours = torch.zeros_like(theirs) if ours is None else ours
        torch.testing.assert_close(ours, theirs * scale, rtol=1e-4, atol=1e-6)


def test_one_optimizer_step_on_the_sum_of_four_passes(tiny_algorithm):
    algorithm = no_drop(tiny_algorithm)
    data, expected = batch(), separate_passes(algorithm, batch())
    optimizer = CountingSGD(algorithm)
    losses = algorithm.train_step(data, OptimWrapper(optimizer))
    assert optimizer.steps == 1
    assert_gradients(optimizer, expected)
    expected = ['loss', *(f'{name}/loss' for name in NAMES), *(f'{name}/top1' for name in NAMES), 'subnets']
    assert list(losses) == expected
    assert float(losses['loss']) == pytest.approx(sum(float(losses[f'{name}/loss']) for name in NAMES))


def test_a_step_tells_what_it_ran_and_how_many_labels_were_met(tiny_algorithm):
    algorithm, met = no_drop(tiny_algorithm), []

    def forward(images, subnet, drop):
        met.append(seen(algorithm(images, subnet=subnet, drop=drop)))
        return met[-1]

    def seen(logits):  # of 4 images with labels 0 to 3: one more is met by every subnet
        logits = logits - logits
        logits[:, 3] += 1.0
        logits[range(len(met)), range(len(met))] += 2.0
        return logits

    outputs = algorithm.train_step(batch(), OptimWrapper(CountingSGD(algorithm)), forward=forward)
    assert [float(outputs[f'{name}/top1']) for name in NAMES] == [25.0, 50.0, 75.0, 100.0]
    assert outputs['subnets'] == algorithm.sampler(algorithm.search_space, 0, score=None)


@pytest.mark.parametrize('clip', [{'type': 'value', 'clip_value': 0.1}, {'type': 'norm', 'max_norm': 0.1}])
def test_nothing_in_a_step_waits_for_a_number(tiny_algorithm, monkeypatch, clip):
    wrapper = WaitlessWrapper(CountingSGD(tiny_algorithm.train()), clip_grad=clip)

    def waits(self, *args):
        raise AssertionError('a GPU would be waited for')

    for name in ('item', 'tolist', '__float__', '__int__', '__bool__', 'numpy'):
        monkeypatch.setattr(torch.Tensor, name, waits)
    outputs = tiny_algorithm.train_step(batch(), wrapper)
    monkeypatch.undo()
    assert wrapper.grad_norm > 0.1
    assert float(outputs['loss']) > 0


def test_the_next_step_begins_with_no_gradient(tiny_algorithm):
    algorithm = no_drop(tiny_algorithm)
    optimizer = CountingSGD(algorithm, lr=0.0)
    wrapper = OptimWrapper(optimizer)
    algorithm.train_step(batch(), wrapper)
    first = optimizer.gradients
    algorithm.train_step(batch(), wrapper)
    for a, b in zip(first, optimizer.gradients, strict=True):
        assert (a is None and b is None) or torch.allclose(a, b, atol=1e-6)


def test_gradient_accumulation_counts_steps_not_subnets(tiny_algorithm):
    algorithm = no_drop(tiny_algorithm)
    expected = [a + b for a, b in zip(*(separate_passes(algorithm, batch(seed=i)) for i in range(2)), strict=True)]
    optimizer = CountingSGD(algorithm)
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    wrapper.initialize_count_status(algorithm, 0, 100)
    algorithm.train_step(batch(seed=0), wrapper)
    assert optimizer.steps == 0
    algorithm.train_step(batch(seed=1), wrapper)
    assert optimizer.steps == 1
    assert_gradients(optimizer, expected, scale=0.5)


def test_clipping_acts_on_the_sum(tiny_algorithm):
    algorithm = no_drop(tiny_algorithm)
    optimizer = CountingSGD(algorithm)
    expected = separate_passes(algorithm, batch())
    limit = 0.01
    assert max(float(gradient.abs().max()) for gradient in expected) > 2 * limit
    algorithm.train_step(batch(), OptimWrapper(optimizer, clip_grad={'type': 'value', 'clip_value': limit}))
    assert_gradients(optimizer, [gradient.clamp(-limit, limit) for gradient in expected])


def test_no_running_statistics_and_no_current_subnet_survive_a_step(tiny_algorithm):
    algorithm = tiny_algorithm.train()
    wrapper = OptimWrapper(CountingSGD(algorithm))
    buffers = {name: value.clone() for name, value in algorithm.named_buffers()}
    attributes = {name: dict(vars(module)) for name, module in algorithm.named_modules()}
    algorithm.train_step(batch(), wrapper)
    assert buffers
    assert all(torch.equal(value, buffers[name]) for name, value in algorithm.named_buffers())
    for name, module in algorithm.named_modules():
        if name.endswith('loss_module'):  # mmcls's, which notes the number of classes
            continue
        assert vars(module).keys() == attributes[name].keys()
        assert all(value is attributes[name][key] for key, value in vars(module).items()), name


def test_dropout_and_drop_path_for_the_largest_only(tiny_algorithm):
    seen = []

    def forward(images, subnet, drop):
        seen.append((subnet, drop))
        return tiny_algorithm(images, subnet=subnet, drop=drop)

    wrapper = OptimWrapper(CountingSGD(tiny_algorithm.train(), lr=0.0))
    losses = []
    for seed in range(2):
        torch.manual_seed(seed)
        losses.append(tiny_algorithm.train_step(batch(), wrapper, forward=forward))
    space = tiny_algorithm.search_space
    assert [drop for _, drop in seen[:4]] == [True, False, False, False]
    assert (seen[0][0], seen[3][0]) == (space.largest, space.smallest)
    # The largest's own loss is random, and with it the teacher; a student's pass is not.
    assert losses[0]['largest/loss'] != losses[1]['largest/loss']
    images = tiny_algorithm.data_preprocessor(batch())['inputs']
    a, b = (tiny_algorithm(images, subnet=space.smallest, drop=False) for _ in range(2))
    assert torch.equal(a, b)


def test_only_the_last_pass_exchanges_gradients(tiny_algorithm):
    """A distributed wrapper is asked to hold back in all passes but the last."""
    log = []

    class Wrapper(torch.nn.Module):
        def __init__(self, module) -> None:
            super().__init__()
            self.module = module
            self.held = False

        def no_sync(self):
            from contextlib import contextmanager

            @contextmanager
            def hold():
                self.held = True
                yield
                self.held = False

            return hold()

        def forward(self, images, subnet, drop):
            log.append(self.held)
            return self.module(images, subnet=subnet, drop=drop)

    wrapper = OptimWrapper(CountingSGD(tiny_algorithm.train()))
    tiny_algorithm.train_step(batch(), wrapper, forward=Wrapper(tiny_algorithm))
    assert log == [True, True, True, False]


def test_subnets_follow_the_runners_iteration(tiny_algorithm):
    seen = []

    def forward(images, subnet, drop):
        seen.append(subnet)
        return tiny_algorithm(images, subnet=subnet, drop=drop)

    wrapper = OptimWrapper(CountingSGD(tiny_algorithm.train()))
    hub = MessageHub.get_current_instance()
    try:
        for iteration in (5, 6):
            hub.update_info('iter', iteration)
            tiny_algorithm.train_step(batch(), wrapper, forward=forward)
    finally:
        hub.update_info('iter', 0)
    for start, iteration in ((0, 5), (4, 6)):
        expected = tiny_algorithm.sampler(tiny_algorithm.search_space, iteration, score=None)
        assert seen[start : start + 4] == list(expected.values())


def test_bfloat16_autocast_on_cpu(tiny_algorithm):
    algorithm = no_drop(tiny_algorithm)
    expected = separate_passes(algorithm, batch())
    dtypes = []

    def forward(images, subnet, drop):
        logits = algorithm(images, subnet=subnet, drop=drop)
        dtypes.append(logits.dtype)
        return logits

    forward.parameters = algorithm.parameters  # what the wrapper asks a model for
    optimizer = CountingSGD(algorithm)
    losses = algorithm.train_step(batch(), BFloat16OptimWrapper(optimizer), forward=forward)
    assert dtypes == [torch.bfloat16] * 4
    assert losses['loss'].dtype == torch.float32
    ours = torch.cat([gradient.flatten() for gradient in optimizer.gradients if gradient is not None])
    theirs = torch.cat([t.flatten() for t, g in zip(expected, optimizer.gradients, strict=True) if g is not None])
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.99


def test_training_lowers_the_loss_of_every_subnet(tiny_algorithm):
    algorithm = no_drop(tiny_algorithm)
    wrapper = OptimWrapper(torch.optim.SGD(algorithm.parameters(), lr=0.1, momentum=0.9))
    losses = [algorithm.train_step(batch(8), wrapper) for _ in range(30)]
    for name in NAMES:
        assert losses[-1][f'{name}/loss'] < 0.9 * losses[0][f'{name}/loss']


def test_images_are_resized_once_per_distinct_resolution_of_a_step(tiny_algorithm, monkeypatch):
    resizes, interpolate = [], torch.nn.functional.interpolate
    monkeypatch.setattr(
        torch.nn.functional, 'interpolate', lambda x, **options: resizes.append(options) or interpolate(x, **options)
    )
    space, shared = tiny_algorithm.search_space, 0
    wrapper = OptimWrapper(CountingSGD(tiny_algorithm))
    for step in range(4):
        MessageHub.get_current_instance().update_info('iter', step)
        resizes.clear()
        tiny_algorithm.train_step(batch(), wrapper)
        sides = [subnet.resolution for subnet in tiny_algorithm.sampler(space, step, score=None).values()]
        assert len(resizes) == len(set(sides) - {32})
        shared += len(sides) - len(set(sides))
    assert shared
    MessageHub.get_current_instance().update_info('iter', 0)


@pytest.mark.parametrize('sampler', ['Sandwich', 'BestUp', 'WorstUp', 'Uniform'])
@pytest.mark.parametrize('distillation', ['KLDistillation', 'AdaptiveAlphaDistillation', None])
def test_samplers_and_losses_combine_freely(sampler, distillation):
    options = {'algorithm.sampler.type': f'mmrazor_bignas.{sampler}Sampler'}
    if sampler in ('BestUp', 'WorstUp'):
        options.update({'algorithm.sampler.bin_flops': 0.25e6, 'algorithm.sampler.num_samples': 1000})
    options['algorithm.distillation'] = distillation and {'type': f'mmrazor_bignas.{distillation}'}
    init_default_scope('mmcls')
    algorithm = MODELS.build(load_config(ROOT / 'configs/demo/digits_supernet.py', options).algorithm).train()
    optimizer = CountingSGD(algorithm)
    outputs = algorithm.train_step(batch(), OptimWrapper(optimizer))
    assert len(outputs.pop('subnets')) == (2 if sampler == 'Uniform' else 4)
    assert all(torch.isfinite(value) for value in outputs.values())
    assert optimizer.steps == 1
    gradients = [gradient for gradient in optimizer.gradients if gradient is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_without_distillation_every_subnet_learns_the_labels(tiny_algorithm):
    algorithm = no_drop(tiny_algorithm)
    algorithm.distillation = None
    data = algorithm.data_preprocessor(batch(), training=True)
    subnets = algorithm.sampler(algorithm.search_space, 0, score=None)
    with torch.no_grad():
        expected = {
            name: algorithm.architecture.head.loss_of_logits(
                algorithm(data['inputs'], subnet=subnet), data['data_samples']
            )
            for name, subnet in subnets.items()
        }
    losses = algorithm.train_step(batch(), OptimWrapper(CountingSGD(algorithm)))
    for name, value in expected.items():
        torch.testing.assert_close(losses[f'{name}/loss'], value)


@pytest.mark.parametrize(('regularize', 'drops'), [('largest', [True, False, False, False]), ('all', [True] * 4)])
def test_where_dropout_and_drop_path_act(tiny_algorithm, regularize, drops):
    seen = []

    def forward(images, subnet, drop):
        seen.append(drop)
        return tiny_algorithm(images, subnet=subnet, drop=drop)

    tiny_algorithm.regularize = regularize
    tiny_algorithm.train_step(batch(), OptimWrapper(CountingSGD(tiny_algorithm.train())), forward=forward)
    assert seen == drops


def test_a_first_subnet_that_is_not_the_largest_has_no_dropout(tiny_algorithm):
    space = tiny_algorithm.search_space
    tiny_algorithm.sampler = lambda *_: {'first': space.smallest, 'second': space.largest}
    seen = []

    def forward(images, subnet, drop):
        seen.append(drop)
        return tiny_algorithm(images, subnet=subnet, drop=drop)

    tiny_algorithm.train_step(batch(), OptimWrapper(CountingSGD(tiny_algorithm.train())), forward=forward)
    assert seen == [False, True]


def test_a_step_for_each_subnet(tiny_algorithm):
    """Each subnet's own gradient, at the weights that the subnets before it left."""
    algorithm = no_drop(tiny_algorithm)
    reference = copy.deepcopy(algorithm)
    algorithm.step_each_subnet = True
    optimizer = CountingSGD(algorithm, lr=0.05)
    losses = algorithm.train_step(batch(), OptimWrapper(optimizer))
    assert optimizer.steps == 4

    sgd = torch.optim.SGD(reference.parameters(), lr=0.05)
    data = reference.data_preprocessor(batch(), training=True)
    teacher = None
    for name, subnet in reference.sampler(reference.search_space, 0, score=None).items():
        logits = reference(data['inputs'], subnet=subnet, drop=False)
        if teacher is None:
            loss, teacher = reference.architecture.head.loss_of_logits(logits, data['data_samples']), logits
        else:
            loss = reference.distillation(logits, teacher)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        torch.testing.assert_close(losses[f'{name}/loss'], loss.detach())
    for ours, theirs in zip(algorithm.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_step_for_each_subnet_refuses_gradient_accumulation(tiny_algorithm):
    tiny_algorithm.step_each_subnet = True
    with pytest.raises(InputError, match='accumulative_counts'):
        tiny_algorithm.train_step(batch(), OptimWrapper(CountingSGD(tiny_algorithm), accumulative_counts=2))


def test_an_unknown_place_of_regularisation(tiny_architecture):
    with pytest.raises(InputError, match="regularize is 'smallest'; expected one of"):
        MODELS.build(
            {
                'type': 'mmrazor_bignas.BigNAS',
                'architecture': tiny_architecture,
                'sampler': {'type': 'mmrazor_bignas.SandwichSampler'},
                'distillation': None,
                'regularize': 'smallest',
            }
        )


class AskingSampler(SandwichSampler):
    """Asks for the scores of its subnets, and keeps them."""

    def __call__(self, space, step, score):
        subnets = super().__call__(space, step, score)
        self.scores = score(list(subnets.values()))
        return subnets


def test_a_score_is_minus_the_cross_entropy_in_training_mode_without_dropout(tiny_algorithm):
    """Dropout would show, running statistics would, and label smoothing."""
    algorithm = tiny_algorithm.train()
    algorithm.sampler = AskingSampler()
    reference = copy.deepcopy(algorithm)
    algorithm.train_step(batch(), OptimWrapper(CountingSGD(algorithm)))
    data = reference.data_preprocessor(batch(), training=True)
    subnets = SandwichSampler()(reference.search_space, 0, score=None).values()
    for subnet, score in zip(subnets, algorithm.sampler.scores, strict=True):
        logits = reference.architecture(data['inputs'], subnet=subnet, drop=False)
        assert score == pytest.approx(-float(F.cross_entropy(logits, torch.arange(4)).detach()), rel=1e-5)


def test_scoring_leaves_no_trace(tiny_algorithm):
    """Gradients, losses and random draws are those of a step without it, images are resized no more often."""
    algorithm = tiny_algorithm.train()
    results, resizes, dtypes = [], [], []
    algorithm.architecture.register_forward_hook(lambda module, args, logits: dtypes.append(logits.dtype))
    resize = type(algorithm.architecture).resize
    for sampler in (SandwichSampler(), AskingSampler()):
        algorithm.sampler = sampler
        resized = []
        algorithm.architecture.resize = lambda images, subnet, resized=resized: (
            resized.append(subnet.resolution) or resize(algorithm.architecture, images, subnet)
        )
        optimizer = CountingSGD(algorithm, lr=0.0)
        torch.manual_seed(0)
        losses = algorithm.train_step(batch(), BFloat16OptimWrapper(optimizer))
        results.append((losses, optimizer.gradients))
        resizes.append(sorted(resized))
    del algorithm.architecture.resize
    assert dtypes == [torch.bfloat16] * (4 + 4 + 4)  # scores are computed in the format of the training
    (losses, gradients), (scored_losses, scored_gradients) = results
    assert losses == scored_losses
    for ours, theirs in zip(gradients, scored_gradients, strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)
    assert resizes[0] == resizes[1] == sorted(set(resizes[0]))


@pytest.mark.slow
def test_compiled_extremes_equal_eager_ones_and_nothing_is_compiled_after_the_first_step(tiny_algorithm):
    torch._dynamo.reset()
    eager = tiny_algorithm
    compiled = copy.deepcopy(eager)
    compiled._compiled = compiled_runs()
    graphs, steps = torch._dynamo.utils.counters['stats'], []
    wrappers = [OptimWrapper(CountingSGD(algorithm)) for algorithm in (eager, compiled)]
    for step in range(4):
        MessageHub.get_current_instance().update_info('iter', step)
        losses = []
        for algorithm, wrapper in zip((eager, compiled), wrappers, strict=True):
            torch.manual_seed(step)  # dropout is on
            losses.append(algorithm.train_step(batch(), wrapper))
        assert losses[0].pop('subnets') == losses[1].pop('subnets')
        for name, value in losses[0].items():
            torch.testing.assert_close(losses[1][name], value, rtol=1e-4, atol=1e-5, msg=name)
        steps.append(graphs['unique_graphs'])
    assert steps == [2] * 4  # the largest and the smallest
    for ours, theirs in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    MessageHub.get_current_instance().update_info('iter', 0)
