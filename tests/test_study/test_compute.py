import pytest
from test_plan import STUDY

from mmrazor_bignas.study.compute import training_flops
from mmrazor_bignas.study.plan import Study


def test_ablations_cost_what_the_recipe_costs():
    study = Study(STUDY)
    flops = {name: training_flops(config, study.space) for name, config in study.supernets.items()}
    recipe = flops.pop(study.recipe)
    for name, value in flops.items():
        assert value / recipe == pytest.approx(1, abs=0.15), name
    assert flops['step_each_subnet'] == recipe
    assert flops['bestup'] != recipe
