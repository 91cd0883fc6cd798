import pytest
import torch
from test_plan import STUDY

from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.study.collecting import count
from mmrazor_bignas.study.plan import Study

RUNS = {name: run for name, run in Study(STUDY).runs.items() if run.kind == 'baseline' and run.seed == 0}


@pytest.mark.parametrize('name', RUNS)
def test_a_baseline_is_scaled_to_its_budget(name):
    study, cost = Study(STUDY), count(RUNS[name])
    budget = study.budgets[RUNS[name].of.rsplit('_', 1)[1]]
    assert 0.99 * budget <= cost['flops'] <= 1.01 * budget
    assert cost['params'] > 0


@pytest.mark.parametrize('name', RUNS)
def test_a_baseline_computes_in_channels_last_as_a_supernet_does(name):
    backbone = MODELS.build(load_config(str(RUNS[name].config), RUNS[name].options).algorithm.backbone)
    features = backbone(torch.zeros(2, 3, 56, 56))[-1]
    assert features.shape[2:] == (2, 2)
    assert features.is_contiguous(memory_format=torch.channels_last)


def test_scaling_leaves_the_original_as_it_was():
    from mmcls.models import EfficientNet, MobileNetV3

    from mmrazor_bignas.study.baselines import ScaledEfficientNet, ScaledMobileNetV3

    for scaled, original in ((ScaledMobileNetV3, MobileNetV3()), (ScaledEfficientNet, EfficientNet('b0'))):
        shapes = [weight.shape for weight in scaled(width=1.0).parameters()]
        assert shapes == [weight.shape for weight in original.parameters()]
        half = sum(weight.numel() for weight in scaled(width=0.5).parameters())
        assert half < 0.4 * sum(map(torch.Size.numel, shapes))
