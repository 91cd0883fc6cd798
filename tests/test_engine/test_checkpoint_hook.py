"""The checkpoint hook: its options, and what a short training leaves."""

import errno
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from killed_runs import digits_config, left_by, same, train_here
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

import mmrazor_bignas
from mmrazor_bignas.engine import CheckpointHook
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.engine.signals import Stopped
from mmrazor_bignas.errors import InputError, StorageError


@pytest.mark.parametrize('option', [{'filename_tmpl': 'e{}.pth'}, {'out_dir': '/elsewhere'}])
def test_names_and_places_are_fixed(option):
    with pytest.raises(InputError, match=f"'{next(iter(option))}'.* cannot be set"):
        CheckpointHook(**option)


def test_the_rest_is_mmengines():
    hook = CheckpointHook(interval=3, by_epoch=False, max_keep_ckpts=4, save_best='min/accuracy/top1', rule='greater')
    assert (hook.interval, hook.by_epoch, hook.max_keep_ckpts) == (3, False, 4)
    assert hook.filename_tmpl == 'iter_{}.pth'


@pytest.fixture(scope='module')
def train(tmp_path_factory):
    """Trains a tiny supernet in this process; with what it is given."""
    folder = tmp_path_factory.mktemp('hook')
    config = digits_config(folder)

    def run(work_dir: Path, hooks: Sequence[Hook] = (), resume: Path | None = None, **options) -> Runner:
        options = {'default_hooks.checkpoint.max_keep_ckpts': 2, **options}
        return train_here(config, work_dir, hooks, resume, validate=False, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.runner.collect_env', dict)  # takes seconds
        yield run


class Watch(Hook):
    """What lies in the work dir before each save."""

    def __init__(self) -> None:
        self.before_saves = []

    def before_save_checkpoint(self, runner, checkpoint):
        self.before_saves.append(names(runner.work_dir))


class Signal(Hook):
    """A signal in the middle of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def names(folder) -> list[str]:
    return sorted(path.name for path in Path(folder).glob('*.pth'))


@pytest.fixture(scope='module')
def trained(train, tmp_path_factory):
    """Runner and watch of an undisturbed training of three epochs."""
    watch = Watch()
    return train(tmp_path_factory.mktemp('trained'), [watch]), watch


def test_the_newest_stay_and_the_old_go_after_the_new_one_has_come(trained):
    runner, watch = trained
    assert watch.before_saves == [[], ['epoch_1.pth'], ['epoch_1.pth', 'epoch_2.pth']]
    assert names(runner.work_dir) == ['epoch_2.pth', 'epoch_3.pth']
    assert Path(runner.work_dir, 'last_checkpoint').read_text() == str(Path(runner.work_dir, 'epoch_3.pth'))


def test_checkpoints_are_plain_and_say_what_they_are_of(trained, tiny_space):
    runner, _ = trained
    length = len(runner.train_dataloader)
    for epoch in (2, 3):
        checkpoint = torch.load(Path(runner.work_dir, f'epoch_{epoch}.pth'), weights_only=True)
        meta = checkpoint['meta']
        assert (meta['epoch'], meta['iter']) == (epoch, epoch * length)
        assert meta['layout'] == {'iters_per_epoch': length, 'world_size': 1, 'batch_size': 8}
        assert meta['search_space'] == tiny_space.to_dict()
        assert meta['mmrazor_bignas_version'] == mmrazor_bignas.__version__
        assert len(checkpoint['message_hub']['log_scalars']['train/loss']['values']) == epoch * length


def test_the_config_inside_is_one_for_the_tools(trained, tmp_path):
    meta = torch.load(Path(trained[0].work_dir, 'epoch_3.pth'), weights_only=True)['meta']
    cfg = Config.fromstring(meta['cfg'], file_format='.py')
    assert cfg.algorithm.type == 'mmrazor_bignas.BigNAS'
    assert 'model' not in cfg
    (tmp_path / 'again.py').write_text(meta['cfg'])
    assert load_config(str(tmp_path / 'again.py')).algorithm == cfg.algorithm


def test_a_failing_save_keeps_all_earlier_checkpoints(train, trained, tmp_path, monkeypatch):
    folder = tmp_path / 'work'
    shutil.copytree(trained[0].work_dir, folder)
    kept = {name: (folder / name).read_bytes() for name in names(folder)}
    replace = os.replace

    def full(source, target):
        if str(target).endswith('.pth'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', full)
    options = {'train_cfg.max_epochs': 4, 'default_hooks.checkpoint.max_keep_ckpts': 1}
    with pytest.raises(StorageError, match=r'epoch_4\.pth: could not be written: No space left'):
        train(folder, resume=folder / 'epoch_3.pth', **options)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == kept
    assert not list(folder.glob('.*'))
    assert (folder / 'last_checkpoint').read_text().endswith('epoch_3.pth')


@pytest.mark.parametrize('step', [4, 12])  # in the first epoch, and its last one of 13
def test_a_signal_saves_the_step_and_the_rest_is_as_if_undisturbed(train, trained, tmp_path, step):
    with pytest.raises(Stopped, match=f'saved {tmp_path}/iter_{step + 1}.pth') as stop:
        train(tmp_path, [Signal(step)])
    assert stop.value.signum == signal.SIGTERM
    assert names(tmp_path) == [f'iter_{step + 1}.pth']
    resumed = train(tmp_path, resume=tmp_path / f'iter_{step + 1}.pth')
    assert isinstance(resumed.message_hub.log_scalars['train/loss'], HistoryBuffer)
    assert names(tmp_path) == ['epoch_2.pth', 'epoch_3.pth']
    assert same(left_by('train', tmp_path), left_by('train', Path(trained[0].work_dir)))


def test_what_is_saved_is_not_saved_again(trained, monkeypatch):
    runner, _ = trained
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    monkeypatch.setattr(runner, 'save_checkpoint', lambda *_, **__: pytest.fail('saved again'))
    assert hook.save_now(runner) == str(Path(runner.work_dir, 'epoch_3.pth'))
