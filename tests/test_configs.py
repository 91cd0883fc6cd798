"""Every config builds, opens with the command that runs it, and has no key that nothing reads."""

import re
import shlex

import numpy as np
import parity
import pytest
import torch
from conftest import ROOT
from mmcls.structures import ClsDataSample
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from tiny_imagenet import BIGNAS, SEARCH, SUBNET, SUPERNET

from mmrazor_bignas.datasets import FashionMNIST
from mmrazor_bignas.engine.runner import NASRunner, load_config
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import SearchSpace, estimate, resolve

CONFIGS = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs').rglob('*.py') if '_base_' not in p.parts)
YAMLS = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / 'configs').rglob('*.yaml'))


def test_the_configs_are_where_the_commands_expect_them():
    assert {SUPERNET, SEARCH, SUBNET} <= set(CONFIGS)
    assert len(CONFIGS) == 12 + 12 + 2
    assert len(YAMLS) == 7 + 1


@pytest.mark.parametrize('path', CONFIGS + YAMLS)
def test_the_first_line_is_the_command_that_runs_it(path):
    first = (ROOT / path).read_text().splitlines()[0]
    interpreter, tool, *words = shlex.split(re.sub(r'\$(\w+)', r'\1', first.removeprefix('# ')))
    assert first.startswith('# ')
    assert interpreter in ('sh', 'python')
    assert (ROOT / tool).is_file()
    assert path in words


@pytest.mark.parametrize('path', CONFIGS)
def test_every_component_accepts_its_keys(path, tmp_path, monkeypatch):
    """Unknown top-level keys are errors of load_config; below, constructors refuse what they do not know."""
    cfg = load_config(ROOT / path, work_dir=str(tmp_path))
    cfg.launcher = 'none'
    cfg.model = cfg.pop('algorithm')
    if 'test_cfg' in cfg:
        cfg.test_cfg.checkpoint = 'unused'
    if 'imagenet' in cfg.pretty_text:
        monkeypatch.setattr('mmrazor_bignas.engine.batches.build_dataset', fake_dataset)
        monkeypatch.setattr('mmrazor_bignas.engine.train_batches.build_dataset', fake_dataset)
    monkeypatch.setattr(FashionMNIST, 'load_data_list', fake_clothes)
    runner = NASRunner.from_cfg(cfg)
    built = 0
    for key in ('train', 'val', 'test'):
        if getattr(runner, f'_{key}_loop') is not None:
            assert getattr(runner, f'{key}_loop') is not None
            built += 1
    assert built == (2 if 'train_cfg' in cfg else 1)
    if 'train_cfg' in cfg:
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        assert len(runner.build_param_scheduler(runner.param_schedulers)) == 2


def fake_clothes(self):
    """As many images as one class of the real ones has, which the splits divide."""
    return [{'img': np.zeros((28, 28), np.uint8), 'gt_label': np.array(i % 10)} for i in range(6000)]


def fake_dataset(cfg):
    """The digits behind the config's own pipeline, after its data set's constructor was checked without files."""
    init_default_scope('mmcls')
    inner = cfg
    while 'dataset' in inner:
        assert set(inner) == {'type', 'part', 'parts', 'seed', 'dataset'}
        inner = inner['dataset']
    DATASETS.build({**inner, 'lazy_init': True})
    return DATASETS.build({'type': 'mmrazor_bignas.Digits', 'pipeline': []})


def test_the_recipe_of_the_supernet():
    cfg = load_config(ROOT / SUPERNET)
    assert cfg.train_cfg.max_epochs == 360
    assert cfg.train_dataloader.batch_size == 64
    assert cfg.auto_scale_lr.base_batch_size == 32 * 64
    assert cfg.optim_wrapper.optimizer.to_dict() == {
        'type': 'SGD',
        'lr': 0.8,
        'momentum': 0.9,
        'nesterov': True,
        'weight_decay': 1e-5,
        'fused': True,  # one kernel for all parameters
    }
    assert cfg.optim_wrapper.clip_grad.to_dict() == {'type': 'value', 'clip_value': 1.0}
    crop, flip, augment = cfg.train_dataloader.dataset.dataset.pipeline[1:4]
    assert (crop.type, crop.scale, crop.interpolation) == ('mmrazor_bignas.RandomResizedCrop', 224, 'bicubic')
    assert (flip.type, flip.prob) == ('RandomFlip', 0.5)
    assert (augment.type, augment.policies) == ('mmrazor_bignas.AutoAugment', 'v0')
    backbone, head = cfg.algorithm.architecture.backbone, cfg.algorithm.architecture.head
    assert (backbone.drop_path_rate, backbone.drop_path_stages, head.dropout) == (0.2, 2, 0.2)
    assert (head.loss.type, head.loss.label_smoothing) == ('mmrazor_bignas.LabelSmoothCrossEntropy', 0.1)


def overridden(path: str, base: str = SUPERNET) -> dict[str, tuple]:
    """Where a recipe differs from the config that it overrides: dotted key -> (the base's value, the recipe's)."""

    def leaves(value, name=''):
        if isinstance(value, dict):
            return {key: leaf for k, v in value.items() for key, leaf in leaves(v, f'{name}.{k}').items()}
        return {name.removeprefix('.'): value}

    before, after = (leaves(load_config(ROOT / config).to_dict()) for config in (base, path))
    names = sorted((before.keys() | after.keys()) - {'work_dir'})
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


SAMPLER, DISTILLATION = 'algorithm.sampler', 'algorithm.distillation'


@pytest.mark.parametrize(
    ('recipe', 'changes'),
    [
        ('attentivenas_bestup_supernet_32xb64_in1k', {SAMPLER: ('BestUpSampler', 3, 25e6)}),
        ('attentivenas_worstup_supernet_32xb64_in1k', {SAMPLER: ('WorstUpSampler', 3, 25e6)}),
        ('alphanet_supernet_32xb64_in1k', {DISTILLATION: ('AdaptiveAlphaDistillation', -1.0, 1.0, 5.0)}),
    ],
)
def test_a_recipe_changes_one_component(recipe, changes):
    found = {name: after for name, (_, after) in overridden(f'{BIGNAS}/{recipe}.py').items()}
    ((component, (type_, *values)),) = changes.items()
    assert {name.rpartition('.')[0] for name in found} == {component}
    assert found.pop(f'{component}.type') == f'mmrazor_bignas.{type_}'
    assert sorted(found.values()) == sorted(values)


def test_the_recipe_of_bignas():
    recipe, search, subnet = (
        f'{BIGNAS}/bignas_{name}_in1k.py' for name in ('supernet_64xb64', 'search_8xb128', 'subnet_8xb256')
    )
    changed = {name.rpartition('.')[0] for name in overridden(recipe)}
    backbone = 'algorithm.architecture.backbone'
    space = f'{backbone}.search_space'
    assert changed == {backbone, space, 'optim_wrapper.optimizer', '', 'auto_scale_lr'}
    cfg = load_config(ROOT / recipe)
    assert (cfg.auto_scale_lr.base_batch_size, cfg.train_dataloader.batch_size) == (4096, 64)
    assert cfg.optim_wrapper.optimizer.to_dict() == {
        'type': 'RMSprop',
        'lr': 0.256,
        'alpha': 0.9,
        'momentum': 0.9,
        'eps': pytest.approx(0.0316, rel=1e-3),
        'weight_decay': 1e-5,
    }
    assert set(overridden(search, SEARCH)) >= {'val_cfg.strategy.type'}
    assert load_config(ROOT / search).val_cfg.strategy.type == 'mmrazor_bignas.CoarseToFine'
    spaces = [
        load_config(ROOT / path).algorithm.architecture.backbone.search_space for path in (recipe, search, subnet)
    ]
    assert spaces[0] == spaces[1] == spaces[2]
    space = SearchSpace.from_dict(spaces[0])
    assert space.resolution == (192, 224, 288, 320)
    rows = [(s.width[0], s.width[-1], s.depth[0], s.depth[-1], s.kernel_size, s.stride) for s in space.stages]
    assert rows == [
        (16, 24, 1, 2, (3,), 1),
        (24, 32, 2, 3, (3,), 2),
        (40, 48, 2, 3, (3, 5), 2),
        (80, 88, 2, 4, (3, 5), 2),
        (112, 128, 2, 6, (3, 5), 1),
        (192, 216, 2, 6, (3, 5), 2),
        (320, 352, 1, 2, (3, 5), 1),
    ]
    assert [stage.expand_ratio for stage in space.stages] == [(1,), *[(6,)] * 6]
    # The published family has 242 M to 1,040 M multiply-adds, its smallest beside the space's.
    assert [estimate(resolve(space, s), 1000).flops for s in (space.smallest, space.largest)] == [229212544, 1927533056]


RECIPES = [path for path in CONFIGS if 'supernet' in path and 'demo' not in path]


@pytest.mark.parametrize('path', RECIPES)
def test_every_recipe_makes_a_step(path):
    """With the optimizer and the space of the config, but for its resolutions."""
    low = [32, 40, 56, 64]
    options = {'algorithm.architecture.backbone.search_space.resolution': low, 'algorithm.sampler.num_random': 1}
    if 'attentivenas' in path:
        options['algorithm.sampler.num_samples'] = 1000
    cfg = load_config(ROOT / path, options)
    init_default_scope('mmcls')
    algorithm = MODELS.build(cfg.algorithm).train()
    last = algorithm.architecture.backbone.stages[0][0].project.bn.weight
    assert not last.any()  # the blocks are identities at first
    wrapper = build_optim_wrapper(algorithm, cfg.optim_wrapper)
    images = torch.randint(0, 255, (2, 3, 48, 48), dtype=torch.uint8)
    samples = [ClsDataSample().set_gt_label(label) for label in range(2)]
    outputs = algorithm.train_step({'inputs': images, 'data_samples': samples}, wrapper)
    assert len(outputs.pop('subnets')) == 3
    assert all(torch.isfinite(value) for value in outputs.values())
    assert last.any()


def test_search_and_subnet_settings():
    search, subnet = load_config(ROOT / SEARCH), load_config(ROOT / SUBNET)
    assert (search.val_cfg.generations, search.val_cfg.strategy.population) == (20, 100)
    assert search.val_cfg.constraints.flops == (0, 700e6)
    assert search.val_dataloader.batch_size == 128
    assert subnet.test_dataloader.batch_size == 256


@pytest.mark.parametrize('path', [SUPERNET, SEARCH, SUBNET])
def test_calibration_is_that_of_the_published_results(path):
    cfg = load_config(ROOT / path)
    loop = cfg.get('test_cfg') or cfg.val_cfg
    assert loop.calibrate_sample_num == 16384
    assert loop.calibrate_dataloader.batch_size == 256
    assert loop.calibrate_dataloader.collate_fn == {'type': 'default_collate'}
    train = load_config(ROOT / SUPERNET).train_dataloader.dataset
    assert loop.calibrate_dataloader.dataset == train  # the training images, augmented


def test_the_search_never_sees_the_test_images():
    """Neither as scores nor for calibration."""
    for path in (SEARCH, SUPERNET, 'configs/demo/digits_search.py'):
        cfg = load_config(ROOT / path)
        scored, calibrated = cfg.val_dataloader.dataset, cfg.val_cfg.calibrate_dataloader.dataset
        assert (scored.part, calibrated.part) == ('search', 'train')
        assert scored.parts == calibrated.parts
        assert scored.seed == calibrated.seed
    assert load_config(ROOT / SUBNET).test_dataloader.dataset.ann_file == 'meta/val.txt'
    assert load_config(ROOT / 'configs/demo/digits_subnet.py').test_dataloader.dataset.part == 'test'


def test_weight_decay_spares_normalisation_and_biases(tiny_algorithm):
    cfg = load_config(ROOT / SUPERNET)
    wrapper = Runner.build_optim_wrapper(type('Holder', (), {'model': tiny_algorithm})(), cfg.optim_wrapper)
    groups = {id(p): group['weight_decay'] for group in wrapper.param_groups for p in group['params']}
    decayed = {name for name, p in tiny_algorithm.named_parameters() if groups[id(p)] > 0}
    expected = {n for n, _ in tiny_algorithm.named_parameters() if '.bn.' not in n and not n.endswith('bias')}
    assert decayed == expected


def test_what_decays_in_the_whole_supernet():
    """AttentiveNAS counts 198 tensors that decay and 271 that do not; 30 of the former are shortcuts that never run."""
    cfg = load_config(ROOT / SUPERNET)
    init_default_scope('mmcls')
    algorithm = MODELS.build(cfg.algorithm)
    wrapper = Runner.build_optim_wrapper(type('Holder', (), {'model': algorithm})(), cfg.optim_wrapper)
    ours = {id(parameter) for parameter in algorithm.parameters()}  # mmengine adds a number that nothing uses
    decays = [g['weight_decay'] for g in wrapper.param_groups for p in g['params'] if id(p) in ours]
    official = [key for key, _, _ in parity.keys('attentivenas') if not re.search('running|tracked', key)]
    official_decays = [not re.search(r'\.bn\.|bias$', key) for key in official]
    assert (official_decays.count(True), official_decays.count(False)) == (198, 271)
    never_run = 37 - sum('shortcut' in name for name, _ in algorithm.named_parameters())
    assert never_run == 30
    assert (decays.count(1e-5), decays.count(0.0)) == (198 - never_run, 271)


def test_base_files_are_all_used():
    used = set()
    for path in CONFIGS:
        text = (ROOT / path).read_text()
        used |= {((ROOT / path).parent / base).resolve() for base in re.findall(r"'(\S+_base_\S+\.py)'", text)}
    assert used == set((ROOT / 'configs/_base_').rglob('*.py'))
