"""Runs that are killed at random moments, mid-epoch and mid-write, and gone on with, end as undisturbed ones."""

import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from killed_runs import digits_config
from tiny_imagenet import error_of, run

SEEDS = range(10)


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'ranks'), [('train', 1), ('train', 2), ('search', 1), ('search', 2)])
def test_killed_runs_end_as_undisturbed_ones(tmp_path, kind, ranks):
    seeds = SEEDS if (kind, ranks) != ('train', 2) else SEEDS[:3]
    done = subprocess.run(
        [sys.executable, ROOT / 'tests/killed_runs.py', kind, str(ranks), tmp_path / 'runs', *map(str, seeds)],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': f'{ROOT}:{ROOT}/tests'},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    print(done.stdout)
    assert [result['seed'] for result in results] == list(seeds)
    assert all(result['same'] for result in results), results
    assert sum(len(result['killed']) for result in results) >= len(seeds)
    # Beginning anew each time would end the same, too.
    assert sum(result['resumed'] for result in results) >= len(seeds) / 2


@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two_epochs')
    words = [digits_config(folder), folder, '--cfg-options', 'train_cfg.max_epochs=2']
    words.append('default_hooks.checkpoint.max_keep_ckpts=2')
    done = run('tools/train.py', *words)
    assert done.code == 0, done.err[-3000:]
    return folder


def go_on(folder, *options) -> str:
    words = ['--cfg-options', *options] if options else []
    done = run('tools/train.py', folder / 'train0.py', folder, '--resume', *words)
    assert done.code == 0, done.out[-2000:] + done.err[-3000:]
    return done.out


@pytest.fixture
def copied(two_epochs, tmp_path):
    import shutil

    return shutil.copytree(two_epochs, tmp_path / 'copy')


def test_a_cut_off_checkpoint_is_passed_over(copied):
    newest = copied / 'epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:-1000])
    output = go_on(copied)
    assert 'epoch_2.pth: unreadable or cut off' in output
    assert f'going on with {copied}/epoch_1.pth' in output
    assert 'resumed epoch: 1' in output
    # Nothing is thrown away.
    assert (copied / 'earlier.1/epoch_2.pth').exists()
    assert torch.load(copied / 'epoch_3.pth', weights_only=True)['meta']['epoch'] == 3


def test_a_full_disk_stops_the_training_and_keeps_its_checkpoint(two_epochs, small_disk):
    done = run('tools/train.py', two_epochs / 'train0.py', small_disk / 'out')
    assert 'out/epoch_2.pth: could not be written: No space left on device' in error_of(done)
    # Only one is kept; it goes when the next is there.
    assert torch.load(small_disk / 'out/epoch_1.pth', weights_only=True)['meta']['epoch'] == 1


def test_another_batch_size_goes_on_and_says_what_changes(copied):
    """As another number of processes does."""
    output = go_on(copied, 'train_dataloader.batch_size=4')
    assert 'was saved by 1 process(es) x 8 images a step; this run has 1 x 4' in output
    ours = torch.load(copied / 'epoch_3.pth', weights_only=True)
    steps = ours['meta']['layout']['iters_per_epoch']
    assert ours['meta']['iter'] == 3 * steps
    # The schedule ends where it would have ended.
    assert ours['param_schedulers'][1]['last_step'] == 3 * steps
    assert len(ours['message_hub']['log_scalars']['train/loss']['values']) > 2 * steps - 2


def test_a_new_training_moves_an_earlier_one_aside(copied):
    done = run('tools/train.py', copied / 'train0.py', copied, '--cfg-options', 'train_cfg.max_epochs=1')
    assert done.code == 0, done.err[-3000:]
    assert 'moved checkpoints that are not of this training' in done.out
    assert sorted(path.name for path in (copied / 'earlier.1').iterdir()) == ['epoch_1.pth', 'epoch_2.pth']
    assert (copied / 'epoch_1.pth').exists()
