"""The train step: one optimizer step on the summed gradients of four passes, and nothing left behind."""

import copy

import pytest
import torch
from mmcls.structures import ClsDataSample
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper

from mmrazor_bignas.algorithms.bignas import compiled_runs, current_step
from mmrazor_bignas.engine import BFloat16OptimWrapper

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
    assert list(losses) == ['loss', *(f'{name}/loss' for name in NAMES)]
    assert float(losses['loss']) == pytest.approx(sum(float(losses[f'{name}/loss']) for name in NAMES))


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
        for name, value in losses[0].items():
            torch.testing.assert_close(losses[1][name], value, rtol=1e-4, atol=1e-5, msg=name)
        steps.append(graphs['unique_graphs'])
    assert steps == [2] * 4  # the largest and the smallest
    for ours, theirs in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    MessageHub.get_current_instance().update_info('iter', 0)
