"""A training that begins with another one's checkpoint: other classes, other channels, a subnet alone."""

import logging
from pathlib import Path

import pytest
import torch
from conftest import ROOT, TINY_ROWS
from killed_runs import digits_config, train_here
from mmengine.hooks import Hook

from mmrazor_bignas.commands import train as tool
from mmrazor_bignas.engine.checkpoints import read_checkpoint
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models.state import in_head

NEW_HEAD = {'default_hooks.checkpoint.new_head': True}
CLASSES = 'algorithm.architecture.head.num_classes'
GREY = [{'type': 'RandomGrayscale', 'prob': 1.0}, {'type': 'PackClsInputs'}]
ALONE = f"""
_base_ = ['{ROOT}/configs/transfer/fashion_mnist_subnet.py']
_digits = dict(
    _delete_=True, type='mmrazor_bignas.StratifiedSplit', parts=dict(rest=0.94), part='train',
    dataset=dict(type='mmrazor_bignas.Digits', pipeline=[dict(type='PackClsInputs')]),
)
_space = dict(_delete_=True, **{TINY_ROWS!r})
algorithm = dict(architecture=dict(backbone=dict(search_space=_space), head=dict(num_classes=12)))
train_dataloader = dict(dataset=_digits)
train_cfg = dict(max_epochs=1)
custom_hooks = []
"""


class First(Hook):
    """The weights that a training begins with, and those of its end."""

    def before_train(self, runner):
        self.begin = {key: value.clone() for key, value in runner.model.state_dict().items()}

    def after_train(self, runner):
        self.end = runner.model.state_dict()


@pytest.fixture(scope='module', autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.runner.collect_env', dict)  # takes seconds
        yield


@pytest.fixture(scope='module')
def train(tmp_path_factory):
    """Trains a tiny supernet on the digits, with EMAHook, or a subnet with the config to copy; weights of both ends."""
    folder = tmp_path_factory.mktemp('transfer')
    supernet, alone = digits_config(folder, epochs=1), folder / 'alone.py'
    alone.write_text(ALONE)

    def run(work_dir: Path, is_alone: bool = False, resume: Path | None = None, **options) -> First:
        first = First()
        options['train_dataloader.batch_size'] = 50  # two steps
        train_here(alone if is_alone else supernet, work_dir, [first], resume, validate=False, **options)
        return first

    return run


@pytest.fixture(scope='module')
def source(train, tmp_path_factory):
    """The checkpoint of a supernet for 10 classes and images of 3 channels."""
    work_dir = tmp_path_factory.mktemp('source')
    train(work_dir)
    return work_dir / 'epoch_1.pth'


def log_of(work_dir: Path) -> str:
    return ''.join(path.read_text() for path in work_dir.rglob('*.log'))


def test_a_supernet_begins_with_all_but_the_head(train, source, tmp_path):
    frozen = {'algorithm.architecture.backbone.frozen_stages': 1}
    ends = train(tmp_path, load_from=str(source), **NEW_HEAD, **frozen, **{CLASSES: 12})
    loaded = read_checkpoint(source)['state_dict']
    same = {key for key, value in ends.begin.items() if value.shape == loaded[key].shape and value.equal(loaded[key])}
    assert ends.begin.keys() - same == {'architecture.head.fc.weight', 'architecture.head.fc.bias'}
    assert not ends.end['architecture.head.fc.weight'].equal(ends.begin['architecture.head.fc.weight'])
    moved = {key for key, value in ends.end.items() if not value.equal(ends.begin[key])}
    assert any(key.startswith('architecture.backbone.stages.1') for key in moved)
    assert not any(key.startswith(('architecture.backbone.stem', 'architecture.backbone.stages.0')) for key in moved)
    (line,) = [line for line in log_of(tmp_path).splitlines() if 'not loaded' in line]
    assert line.endswith(
        f'{source}: not loaded, since the head is new: architecture.head.fc.weight (10, 40), '
        'architecture.head.fc.bias (10,)'
    )
    assert 'do not match' not in log_of(tmp_path)  # mmengine's account of it


def test_other_classes_need_the_option(train, source, tmp_path):
    with pytest.raises(InputError, match=f'has 10 classes, the one here 12.*--checkpoint {source} --new-head'):
        train(tmp_path, load_from=str(source), **{CLASSES: 12})


def test_a_training_that_goes_on_keeps_its_head(train, source, tmp_path):
    ends = train(tmp_path, resume=source, **NEW_HEAD, **{'train_cfg.max_epochs': 2})
    loaded = read_checkpoint(source)['ema_state_dict']  # EMAHook has put what was trained there
    assert all(value.equal(loaded[f'module.{key}']) for key, value in ends.begin.items())


def test_a_supernet_for_grey_images_begins_with_one_for_colours(train, source, tmp_path):
    options = {
        'algorithm.architecture.backbone.in_channels': 1,
        'algorithm.architecture.data_preprocessor': {'mean': [77.5], 'std': [96.0]},
        'train_dataloader.dataset.dataset.pipeline': GREY,
    }
    ends = train(tmp_path, load_from=str(source), **options)
    stem, key = read_checkpoint(source)['state_dict'], 'architecture.backbone.stem.conv.weight'
    assert ends.begin[key].equal(stem[key].sum(1, keepdim=True))
    assert f"{source}: its stem takes images of 3 channels, this network's 1: its weights were summed" in log_of(
        tmp_path
    )
    assert read_checkpoint(tmp_path / 'epoch_1.pth')['meta']['search_space']['in_channels'] == 1


def test_other_classes_names_are_said(train, source, tmp_path, monkeypatch):
    monkeypatch.setattr('mmrazor_bignas.datasets.digits.Digits.METAINFO', {'classes': ('zero', *'123456789')})
    train(tmp_path, load_from=str(source))
    assert "class 0 is '0', in the data set it is 'zero'; unless both mean the same, add --new-head" in log_of(tmp_path)


@pytest.fixture(scope='module')
def subnet(source, tmp_path_factory):
    """An exported subnet: the supernet's smallest."""
    from mmrazor_bignas.engine.checkpoints import save_atomically, subnet_checkpoint
    from mmrazor_bignas.models import Subnet, inherit_weights

    cfg = torch.load(source, weights_only=True)
    architecture = {
        'type': 'mmrazor_bignas.SearchableImageClassifier',
        'backbone': {'type': 'mmrazor_bignas.AttentiveMobileNetV3', 'search_space': TINY_ROWS},
        'head': {'type': 'mmrazor_bignas.DynamicLinearClsHead', 'num_classes': 10},
    }
    static = Subnet(architecture, 'min')
    inherit_weights(static, {k.removeprefix('architecture.'): v for k, v in cfg['state_dict'].items()})
    path = tmp_path_factory.mktemp('subnet') / 'best_subnet.pth'
    save_atomically(subnet_checkpoint(static, {}), path)
    return path


def test_a_subnet_is_trained_on(train, subnet, tmp_path):
    options = {'algorithm.mutable_cfg': 'min', 'load_from': str(subnet), **NEW_HEAD}
    ends = train(tmp_path, is_alone=True, **options)
    loaded = read_checkpoint(subnet)['state_dict']
    assert all(value.equal(loaded[key]) for key, value in ends.begin.items() if not in_head(key))
    assert not ends.end['backbone.stem.conv.weight'].equal(ends.begin['backbone.stem.conv.weight'])
    checkpoint = read_checkpoint(tmp_path / 'epoch_1.pth')
    assert checkpoint['meta']['subnet'] == read_checkpoint(subnet)['meta']['subnet']
    # The head learns three times as fast as the rest, whose normalisation and biases do not decay.
    groups = checkpoint['optimizer']['param_groups']
    rates = {(round(group['initial_lr'], 6), group['weight_decay']) for group in groups}
    assert rates == {(0.1, 1e-4), (0.1, 0.0), (0.3, 1e-4)}


def test_frozen_stages_stay_in_a_training(train, subnet, tmp_path, caplog):
    frozen = {'algorithm.architecture.backbone.frozen_stages': 1, 'algorithm.architecture.backbone.norm_eval': True}
    with caplog.at_level(logging.INFO):
        ends = train(tmp_path, True, **{'algorithm.mutable_cfg': 'min', 'load_from': str(subnet), **NEW_HEAD, **frozen})
    changed = {key for key, value in ends.end.items() if not value.equal(ends.begin[key])}
    assert {key.split('.')[0] for key in changed} == {'backbone', 'head'}
    assert not any(key.startswith(('backbone.stem', 'backbone.stages.0')) for key in changed)
    assert not any('running' in key for key in changed)
    log = log_of(tmp_path)
    assert 'weight tensors are frozen' in log
    assert 'is skipped since' not in log


def test_another_subnet_is_refused(train, subnet, tmp_path):
    with pytest.raises(InputError, match=r'holds another subnet than algorithm.mutable_cfg says'):
        train(tmp_path, True, **{'algorithm.mutable_cfg': 'max', 'load_from': str(subnet), **NEW_HEAD})


def test_a_supernets_checkpoint_is_no_subnets(train, source, tmp_path):
    with pytest.raises(InputError, match=r'tools/export_subnet.py cuts a subnet'):
        train(tmp_path, True, **{'load_from': str(source), **NEW_HEAD})


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['configs/demo/digits_supernet.py'], '--new-head needs --checkpoint FILE'),
        (['configs/demo/digits_search.py', '--checkpoint', 'a.pth'], '--new-head is for training'),
    ],
)
def test_the_option_needs_a_training_and_a_checkpoint(words, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        tool.main(tool.build_parser().parse_args([str(ROOT / words[0]), *words[1:], '--new-head']))
