"""What a finished run found, read from its work dir."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from torch.utils.flop_counter import FlopCounterMode

from mmrazor_bignas.engine.learning_curve import read_training_log
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search import read_history
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.study.plan import Run, Study

SCORE = 'accuracy/top1'
SIDE = 28  # pixels of the images that a baseline sees


def collect(study: Study, run: Run, work_dir: Path) -> dict:
    """The results of a run: accuracies in per cent, FLOPs (multiply-adds) and params."""
    if run.kind == 'supernet':
        found = {'shared': _read(work_dir / 'shared.json')}
        if run.of == study.recipe:
            found['uncalibrated'] = _read(work_dir / 'uncalibrated.json')
        if run.name == study.first:
            searched = {name: SubnetSpec.from_yaml(path) for name, path in _searches(study, work_dir).items()}
            found['subnets'] = {name: subnet.to_dict() for name, subnet in searched.items()}
            found['candidates'] = {
                name: len(read_history(path.with_name('search_history.jsonl')))
                for name, path in _searches(study, work_dir).items()
            }
        return found
    score = read_training_log(work_dir).val[-1][SCORE]
    if run.kind == 'alone':
        (found,) = _read(work_dir / 'alone.json').values()
        subnet = SubnetSpec.from_yaml(work_dir.parent / 'subnets' / f'{run.of}.yaml')
        return {**found, 'with_running_statistics': score, 'subnet': subnet.to_dict()}
    return {SCORE: score, **count(run)}


def found_subnets(study: Study, run: Run, work_dir: Path) -> dict[str, str]:
    """YAML texts of the subnets that a run has found by search so far, by name."""
    if run.name != study.first:
        return {}
    return {name: path.read_text() for name, path in _searches(study, work_dir).items() if path.exists()}


def count(run: Run) -> dict[str, int]:
    """FLOPs (multiply-adds) and params of a baseline, which has no search space to look them up in."""
    cfg = load_config(str(run.config), run.options)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.algorithm).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, SIDE, SIDE), mode='tensor')
    return {'flops': counter.get_total_flops() // 2, 'params': sum(weight.numel() for weight in model.parameters())}


def _searches(study: Study, work_dir: Path) -> dict[str, Path]:
    return {f'searched_{budget}': work_dir / f'search_{budget}' / 'best_subnet.yaml' for budget in study.budgets}


def _read(path: Path) -> Mapping:
    return json.loads(path.read_text())
