import random

import pytest
import torch
from conftest import randomise
from mmcls.evaluation import Accuracy
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope

from mmrazor_bignas.engine import FixedBatches, evaluation, extract_calibrated, measure
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
        dataset, world_size = batches.dataset, 1

        def __iter__(self):
            yield next(iter(batches))
            raise RuntimeError('out of memory')

    evaluator = Evaluator([Accuracy()])
    with pytest.raises(RuntimeError, match='out of memory'):
        measure(static, Broken([0]), evaluator)
    assert measure(static, batches, evaluator) == expected
