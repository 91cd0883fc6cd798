import pickle
import random

import pytest
import torch
from conftest import randomise
from mmcls.evaluation import Accuracy, SingleLabelMetric
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

from mmrazor_bignas.engine import FixedBatches, calibrate_batch_norm, evaluation, extract_calibrated, measure
from mmrazor_bignas.engine.evaluation import with_predictions
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import fold_batch_norm

PIPELINE = [{'type': 'Resize', 'scale': (24, 24)}, {'type': 'PackClsInputs'}]
DATASET = {'type': 'mmrazor_bignas.Digits', 'indices': 150, 'pipeline': PIPELINE}


@pytest.fixture
def parts(tiny_architecture):
    from mmrazor_bignas.registry import MODELS

    init_default_scope('mmcls')
    torch.manual_seed(0)
    tiny_architecture['head']['num_classes'] = 10
    supernet = MODELS.build(tiny_architecture)
    return supernet, FixedBatches(DATASET, 32, num_images=64), FixedBatches(DATASET, 40)


def test_accuracy_is_counted_over_every_image_once(parts, tiny_space):
    supernet, calibration, batches = parts
    static = extract_calibrated(supernet, tiny_space.largest, calibration)
    metrics = measure(static, batches, Evaluator([Accuracy(topk=(1, 5))]))
    right = total = 0
    with torch.no_grad():
        for batch in batches:
            predicted = static(static.data_preprocessor(batch)['inputs']).argmax(1)
            labels = torch.cat([sample.gt_label.label for sample in batch['data_samples']])
            right, total = right + int((predicted == labels).sum()), total + len(labels)
    assert total == 150
    assert metrics['accuracy/top1'] == pytest.approx(100 * right / total, abs=1e-4)
    assert set(metrics) == {'accuracy/top1', 'accuracy/top5'}


def test_autocast_changes_logits_by_rounding_alone(parts, tiny_space):
    supernet, calibration, batches = parts
    found = {}
    for amp in (False, True):
        static = extract_calibrated(supernet, tiny_space.largest, calibration, amp)
        logits = []
        static.head.fc.register_forward_hook(lambda module, inputs, output, logits=logits: logits.append(output))
        measure(static, batches, Evaluator([Accuracy()]), amp)
        found[amp] = torch.cat(logits)
    assert (found[False].dtype, found[True].dtype) == (torch.float32, torch.bfloat16)
    assert 0 < (found[True].float() - found[False]).abs().max() < 0.05 * found[False].abs().max()


def test_measure_folds_in_float32_and_changes_no_metric_and_no_weight(parts, tiny_space, monkeypatch):
    supernet, calibration, batches = parts
    randomise(supernet)
    evaluator = Evaluator([Accuracy(topk=(1, 5))])
    folded = []
    for subnet in (tiny_space.smallest, tiny_space.sample(random.Random(0))):
        static = extract_calibrated(supernet, subnet, calibration)
        state = {key: value.clone() for key, value in static.state_dict().items()}
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, 'fold_batch_norm', lambda model: folded.append(model) or fold_batch_norm(model))
            found = measure(static, batches, evaluator)
            measure(static, batches, evaluator, amp=True)
            patch.setattr(evaluation, 'fold_batch_norm', lambda model: model)
            assert measure(static, batches, evaluator) == found
        assert folded == [static]  # not under autocast
        folded.clear()
        assert list(static.state_dict()) == list(state)
        assert all(torch.equal(value, state[key]) for key, value in static.state_dict().items())


def test_a_score_is_a_function_of_checkpoint_and_subnet(parts, tiny_space):
    supernet, calibration, batches = parts
    state = {key: value.clone() for key, value in supernet.state_dict().items()}
    evaluator = Evaluator([Accuracy()])
    subnets = [tiny_space.sample(random.Random(i)) for i in range(3)]

    def logits(subnet):
        static = extract_calibrated(supernet, subnet, calibration)
        measure(static, batches, evaluator)
        with torch.no_grad():
            return static(torch.ones(2, 3, 24, 24))

    first = [logits(subnet) for subnet in subnets]
    second = [logits(subnet) for subnet in reversed(subnets)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(value, state[key]) for key, value in supernet.state_dict().items())


def test_a_failed_measurement_leaves_nothing_to_the_next(parts, tiny_space):
    supernet, calibration, batches = parts
    static = extract_calibrated(supernet, tiny_space.largest, calibration)
    expected = measure(static, batches, Evaluator([Accuracy()]))

    class Broken(list):
        dataset, world_size, skip_unreadable = batches.dataset, 1, False

        def __iter__(self):
            yield next(iter(batches))
            raise RuntimeError('out of memory')

    evaluator = Evaluator([Accuracy()])
    with pytest.raises(RuntimeError, match='out of memory'):
        measure(static, Broken([0]), evaluator)
    assert measure(static, batches, evaluator) == expected


class Seen(BaseMetric):
    """Notes what it is given, and after how many forward passes."""

    default_prefix = 'seen'

    def __init__(self, passes=()):
        super().__init__()
        self.passes, self.batches = passes, []

    def process(self, data_batch, data_samples):
        self.batches.append((len(self.passes), data_batch, data_samples))
        self.results += data_samples

    def compute_metrics(self, results):
        return {'images': len(results)}


class Some(list):
    """Batches that are given."""

    dataset, world_size, skip_unreadable = None, 1, False


def plainly(static, batches, evaluator) -> dict[str, float]:
    """The metrics as mmengine's loops find them: batch by batch, by the network's own data samples."""
    with torch.no_grad():
        for batch in batches:
            evaluator.process(data_samples=fold_batch_norm(static).test_step(batch), data_batch=batch)
    return evaluator.evaluate(batches.num_images)


def test_predictions_are_those_of_the_networks_mode(parts, tiny_space):
    supernet, calibration, batches = parts
    static = extract_calibrated(supernet, tiny_space.largest, calibration)
    batch = next(iter(batches))
    with torch.no_grad():
        scores = static(static.data_preprocessor({'inputs': batch['inputs']})['inputs']).softmax(1)
        ours = with_predictions(batch['data_samples'], scores)
        theirs = [sample.to_dict() for sample in static.test_step(batch)]
    for one, other in zip(ours, theirs, strict=True):
        for key, part in (('pred_label', 'score'), ('pred_label', 'label'), ('gt_label', 'label')):
            assert torch.equal(one[key].pop(part), other[key].pop(part))
    assert ours == theirs


def test_metrics_are_those_that_mmengine_finds(parts, tiny_space):
    supernet, calibration, batches = parts
    randomise(supernet)
    static = extract_calibrated(supernet, tiny_space.smallest, calibration)

    def evaluator():
        return Evaluator([Accuracy(topk=(1, 5)), SingleLabelMetric(items=('precision', 'recall'))])

    assert measure(static, batches, evaluator()) == plainly(static, batches, evaluator())


@pytest.mark.parametrize('number', [0, 1, 4])
def test_a_batch_is_evaluated_while_the_next_is_under_way(parts, tiny_space, number):
    supernet, calibration, batches = parts
    static = extract_calibrated(supernet, tiny_space.largest, calibration)
    passes = []
    static.head.fc.register_forward_hook(lambda *_: passes.append(1))
    metric, given = Seen(passes), Some(list(batches)[:number])
    sizes = [len(batch['inputs']) for batch in given]
    assert measure(static, given, Evaluator([metric])) == {'seen/images': sum(sizes)}
    assert [done for done, *_ in metric.batches] == [min(i + 2, number) for i in range(number)]
    assert all(seen is batch for (_, seen, _), batch in zip(metric.batches, given, strict=True))
    assert [len(samples) for *_, samples in metric.batches] == sizes


def test_kept_data_samples_stay_as_they_are(parts, tiny_space):
    supernet, calibration, batches = parts
    before = [sample.to_dict() for batch in batches for sample in batch['data_samples']]
    extracted = extract_calibrated(supernet, tiny_space.largest, calibration)
    measure(extracted, batches, Evaluator([Accuracy()]))
    assert [sample.to_dict() for batch in batches for sample in batch['data_samples']] == before


def test_ranks_exchange_an_images_score_without_its_batch(parts):
    *_, batches = parts
    first, *_ = with_predictions(next(iter(batches))['data_samples'], torch.rand(40, 1000))
    assert len(pickle.dumps(first['pred_label']['score'])) < 2 * 4 * 1000


def test_errors_of_the_evaluator_surface(parts, tiny_space):
    supernet, calibration, batches = parts
    static = extract_calibrated(supernet, tiny_space.largest, calibration)

    class Broken(Seen):
        def process(self, data_batch, data_samples):
            raise RuntimeError('no such label')

    with pytest.raises(RuntimeError, match='no such label'):
        measure(static, batches, Evaluator([Broken()]))
    with pytest.raises(InputError, match='evaluator: Top-11'):
        measure(static, batches, Evaluator([Accuracy(topk=(11,))]))


class NoValue(TorchDispatchMode):
    """Within, no tensor may be asked for its value: on a GPU that waits for all that is under way."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.name() not in ('aten::_local_scalar_dense', 'aten::nonzero'), 'a tensor is asked for its value'
        return func(*args, **(kwargs or {}))


def test_nothing_asks_for_a_value(parts, tiny_space):
    supernet, calibration, batches = parts
    static = extract_calibrated(supernet, tiny_space.largest, calibration)
    given = Some(batches)
    with NoValue():
        calibrate_batch_norm(static, calibration)
        with torch.no_grad():
            assert sum(len(scores()) for scores, _ in evaluation._scores(static, given, amp=False)) == 150
        with pytest.raises(AssertionError, match='asked for its value'):
            torch.ones(1).item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('amp', [False, True])
def test_nothing_waits_for_a_gpu(parts, tiny_space, amp):
    supernet, calibration, batches = parts
    static = extract_calibrated(supernet.cuda(), tiny_space.largest, calibration, amp)
    expected = measure(static, batches, Evaluator([Accuracy()]), amp)
    torch.cuda.set_sync_debug_mode('error')
    try:
        calibrate_batch_norm(static, calibration, amp)
        found = measure(static, batches, Evaluator([Accuracy()]), amp)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert found == expected
    assert found == pytest.approx(plainly_on_gpu(static, batches, amp))


def plainly_on_gpu(static, batches, amp) -> dict[str, float]:
    evaluator = Evaluator([Accuracy()])
    with torch.no_grad(), torch.autocast('cuda', torch.bfloat16, enabled=amp):
        for batch in batches:
            evaluator.process(data_samples=static.test_step(batch), data_batch=batch)
    return evaluator.evaluate(batches.num_images)
