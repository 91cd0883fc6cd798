"""The shell scripts: which words reach srun and torchrun, and what torchrun makes of them. See test_slurm.py, too."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from tiny_imagenet import SEARCH, SEARCH_OPTIONS, SUBNET, SUPERNET, TEST_OPTIONS, TRAIN_OPTIONS, run

SHELLS = ['sh', 'bash']
FAKE = '#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\n'


@pytest.fixture
def stand_in(tmp_path):
    """A folder with an srun and a python that print their words, one a line."""
    for name in ('srun', 'python'):
        (tmp_path / name).write_text(FAKE)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def shell(*words, cwd=ROOT, path=None, **env) -> subprocess.CompletedProcess:
    # What chose the interpreter of `make test` is none of the scripts' business.
    env = {**{key: value for key, value in os.environ.items() if key != 'PYTHON'}, **env}
    if path is not None:
        env['PATH'] = f'{path}:{os.environ["PATH"]}'
    return subprocess.run([*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def words_of(done: subprocess.CompletedProcess) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize('sh', SHELLS)
def test_the_three_commands_reach_the_tools(stand_in, sh):
    override = 'algorithm.mutable_cfg=my folder/[best].yaml'
    train = words_of(shell(sh, 'tools/slurm_train.sh', 'part', 'job', SUPERNET, 'work dir', path=stand_in))
    assert train[-5:] == ['-u', f'{ROOT}/tools/train.py', SUPERNET, 'work dir', '--launcher=slurm']
    words = [SEARCH, '--checkpoint', 'a.pth', '--work-dir', 'w']
    search = words_of(shell(sh, 'tools/slurm_train.sh', 'part', 'job', *words, path=stand_in))
    assert search[-7:] == [f'{ROOT}/tools/train.py', *words, '--launcher=slurm']
    words = [SUBNET, 'b.pth', '--work-dir', 'w', '--eval', 'accuracy', '--cfg-options', override]
    test = words_of(shell(sh, 'tools/slurm_test.sh', 'part', 'job', *words, path=stand_in))
    assert test[-10:] == [f'{ROOT}/tools/test.py', *words, '--launcher=slurm']
    for line in (train, search, test):
        assert line[:3] == ['-p', 'part', '--job-name=job']
        assert {'--gres=gpu:8', '--ntasks=8', '--ntasks-per-node=8', '--cpus-per-task=5'} <= set(line)


def test_the_environment_sets_the_size(stand_in, tmp_path):
    env = {'GPUS': '16', 'GPUS_PER_NODE': '4', 'CPUS_PER_TASK': '2', 'SRUN_ARGS': '--quotatype=auto --mem=0'}
    words = words_of(shell('sh', ROOT / 'tools/slurm_train.sh', 'p', 'j', 'c', path=stand_in, cwd=tmp_path, **env))
    sizes = {'--gres=gpu:4', '--ntasks=16', '--ntasks-per-node=4', '--cpus-per-task=2', '--quotatype=auto', '--mem=0'}
    assert sizes <= set(words)
    one = words_of(shell('sh', ROOT / 'tools/slurm_train.sh', 'p', 'j', 'c', path=stand_in, GPUS='1'))
    assert {'--gres=gpu:1', '--ntasks=1', '--ntasks-per-node=1'} <= set(one)


@pytest.mark.parametrize('sh', SHELLS)
@pytest.mark.parametrize(
    ('script', 'words'),
    [('slurm_train', ['p', 'j']), ('slurm_test', ['p', 'j', 'c']), ('dist_train', ['c']), ('dist_test', ['c', 'k'])],
)
def test_a_missing_word_shows_the_usage(sh, script, words):
    done = shell(sh, ROOT / f'tools/{script}.sh', *words)
    assert done.returncode == 2
    assert f'usage: sh tools/{script}.sh' in done.stderr


def test_a_missing_srun_is_said(tmp_path):
    (tmp_path / 'bin').mkdir()
    for name in ('sh', 'dirname'):
        (tmp_path / 'bin' / name).symlink_to(shutil.which(name))
    done = shell('sh', ROOT / 'tools/slurm_train.sh', 'p', 'j', 'c', PATH=str(tmp_path / 'bin'))
    assert done.returncode == 127
    assert 'srun was not found' in done.stderr


def test_dist_scripts_call_torchrun(stand_in):
    words = words_of(shell('sh', 'tools/dist_train.sh', SUPERNET, '2', '--work-dir', 'a b', path=stand_in, PORT='1234'))
    assert words[0] == f'{ROOT}/tools/dist_run.py'
    assert {'--nproc_per_node=2', '--master_port=1234', '--nnodes=1'} <= set(words)
    assert words[-6:] == [f'{ROOT}/tools/train.py', SUPERNET, '--work-dir', 'a b', '--launcher', 'pytorch']
    words = words_of(shell('sh', 'tools/dist_test.sh', SUBNET, 'a.pth', '2', path=stand_in))
    assert words[-5:] == [f'{ROOT}/tools/test.py', SUBNET, 'a.pth', '--launcher', 'pytorch']


def free_port() -> str:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return str(sock.getsockname()[1])


PYTHON = {'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}


@pytest.mark.slow
def test_two_processes_search_and_test_as_one(imagenet, trained, searched, tmp_path):
    """The history of two ranks is that of one, and so is the tested accuracy."""
    words = ['--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--cfg-options', *SEARCH_OPTIONS]
    done = shell('sh', ROOT / 'tools/dist_train.sh', SEARCH, 2, *words, cwd=imagenet, PORT=free_port(), **PYTHON)
    assert done.returncode == 0, done.stderr[-3000:]
    histories = [(folder / 'search_history.jsonl').read_text() for folder in (tmp_path, searched.work_dir)]
    assert histories[0] == histories[1]
    best = searched.work_dir / 'best_subnet'
    words = ['--work-dir', tmp_path, '--out', tmp_path / 'out.json', '--cfg-options', *TEST_OPTIONS]
    words += [f'algorithm.mutable_cfg={best}.yaml', 'test_dataloader.batch_size=5']
    accuracies = []
    for ranks in (1, 2):
        done = shell(
            'sh',
            ROOT / 'tools/dist_test.sh',
            SUBNET,
            f'{best}.pth',
            ranks,
            *words,
            cwd=imagenet,
            PORT=free_port(),
            **PYTHON,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        accuracies.append(json.loads((tmp_path / 'out.json').read_text())['accuracy/top1'])
    assert accuracies[0] == accuracies[1]


def test_an_error_of_two_processes_is_said_once(tmp_path):
    words = ['configs/demo/digits_supernet.py', 2, '--checkpoint', tmp_path / 'none.pth', '--work-dir', tmp_path]
    done = shell('sh', 'tools/dist_train.sh', *words, PORT=free_port(), **PYTHON)
    assert done.returncode == 1
    assert done.stderr.count('none.pth: no such checkpoint file') == 1
    assert 'Traceback' not in done.stderr


def test_a_port_in_use_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        done = shell('sh', 'tools/dist_train.sh', 'c', 2, PORT=str(taken.getsockname()[1]), **PYTHON)
    assert done.returncode == 1
    assert 'address already in use' in done.stderr
    assert 'set PORT to a free one' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_two_processes_train(imagenet, tmp_path):
    words = ['--work-dir', tmp_path, '--cfg-options', *TRAIN_OPTIONS]
    done = shell('sh', ROOT / 'tools/dist_train.sh', SUPERNET, 2, *words, cwd=imagenet, PORT=free_port(), **PYTHON)
    assert done.returncode == 0, done.stderr[-3000:]
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
    # One process goes on, and says what changes.
    words = [SUPERNET, tmp_path, '--resume', '--no-validate', '--cfg-options', *TRAIN_OPTIONS]
    done = run('tools/train.py', *words, 'train_cfg.max_epochs=2', cwd=imagenet)
    assert done.code == 0, done.err[-3000:]
    assert 'was saved by 2 process(es) x 10 images a step; this run has 1 x 10' in done.out
    meta = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['meta']
    assert meta['iter'] == 2 * meta['layout']['iters_per_epoch']


def test_submit_adds_resume_and_takes_the_words_as_they_are(tmp_path):
    (tmp_path / 'sbatch').write_text(FAKE)
    (tmp_path / 'sbatch').chmod(0o755)
    env = {'path': tmp_path, 'GPUS': '2', 'GRACE': '60', 'SBATCH_ARGS': '--time=10 --qos=x'}
    line = ['tools/slurm_train.sh', 'p', 'j', 'c', 'work dir', '--cfg-options', 'a=[1, 2]']
    words = words_of(shell('sh', 'tools/slurm_submit.sh', *line, **env))
    assert words[-9:] == [f'{ROOT}/tools/slurm_job.sh', str(ROOT), 'slurm_train.sh', *line[1:]]
    assert {'--requeue', '--signal=B:USR1@60', '--ntasks=2', '--time=10', '--qos=x', '--open-mode=append'} <= set(words)


@pytest.mark.parametrize('words', [[], ['slurm_train.sh', 'p', 'j'], ['slurm_test.sh', 'p', 'j', 'c'], ['x.sh'] * 5])
def test_submit_shows_its_usage(words):
    done = shell('sh', ROOT / 'tools/slurm_submit.sh', *words)
    assert done.returncode == 2
    assert 'usage: sh tools/slurm_submit.sh' in done.stderr


def test_submit_refuses_a_resume_of_the_users(tmp_path):
    done = shell('sh', ROOT / 'tools/slurm_submit.sh', 'slurm_train.sh', 'p', 'j', 'c', '--resume', 'epoch_3.pth')
    assert done.returncode == 2
    assert 'adds --resume itself' in done.stderr
