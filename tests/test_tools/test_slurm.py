"""On a real SLURM: the three commands on one task, two tasks and two nodes, faults, requeue and preemption.

Two nodes on one machine will do; the partitions are called debug, low and high, and high preempts low by requeue.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT
from killed_runs import digits_config, same
from tiny_imagenet import SEARCH, SEARCH_OPTIONS, SUBNET, SUPERNET, TEST_OPTIONS, TRAIN_OPTIONS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which('sinfo') is None, reason='no SLURM here: sinfo was not found'),
    pytest.mark.xdist_group('slurm'),
]

ONE = {'GPUS': '1'}
ONE_NODE = {'GPUS': '2'}
TWO_NODES = {'GPUS': '2', 'GPUS_PER_NODE': '1', 'SRUN_ARGS': '--nodes=2'}
# Three steps at this rate move the weights; at ten times the rate they amplify rounding errors, too.
FAST = ['optim_wrapper.optimizer.lr=0.01', 'param_scheduler.0.start_factor=1.0']


def shell(line: str, cwd=ROOT, timeout: int = 300, **env) -> subprocess.CompletedProcess:
    env = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'CPUS_PER_TASK': '1', **env}
    return subprocess.run(['sh', '-c', line], cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)


def succeed(line: str, **kwargs) -> str:
    done = shell(line, **kwargs)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def quoted(options: list[str]) -> str:
    return ' '.join(f"'{option}'" for option in options)


@pytest.fixture(scope='module')
def checkout(imagenet, tmp_path_factory):
    """A repository root with data/imagenet."""
    root = tmp_path_factory.mktemp('checkout')
    (root / 'data').symlink_to(imagenet / 'data')
    for name in ('configs', 'tools', 'mmrazor_bignas'):
        (root / name).symlink_to(ROOT / name)
    return root


def three_commands(checkout, name: str, options: dict[str, list[str]], **env) -> dict:
    """Run them verbatim; what is added makes the runs small. What they left."""
    env |= {'PARTITION': 'debug', 'JOB_NAME': name, 'cwd': checkout}
    env |= {'STEP1_CKPT': f'{name}/one/epoch_1.pth', 'STEP2_CKPT': f'{name}/two/best_subnet.pth'}
    env |= {'STEP2_SUBNET_YAML': f'{name}/two/best_subnet.yaml'}
    train = succeed(
        f'sh tools/slurm_train.sh $PARTITION $JOB_NAME {SUPERNET} $WORK_DIR --no-validate --cfg-options '
        + quoted(options['train']),
        WORK_DIR=f'{name}/one',
        **env,
    )
    succeed(
        f'sh tools/slurm_train.sh $PARTITION $JOB_NAME {SEARCH} --checkpoint $STEP1_CKPT --work-dir $WORK_DIR '
        f'--cfg-options {quoted(options["search"])}',
        WORK_DIR=f'{name}/two',
        **{**env, **options.get('search_env', {})},
    )
    test = succeed(
        f'sh tools/slurm_test.sh $PARTITION $JOB_NAME {SUBNET} $STEP2_CKPT --work-dir $WORK_DIR --eval accuracy '
        f'--out {name}/test.json --cfg-options algorithm.mutable_cfg=$STEP2_SUBNET_YAML {quoted(options["test"])}',
        WORK_DIR=f'{name}/three',
        **env,
    )
    assert 'found an exported subnet' in test
    return {
        'train': train,
        'weights': torch.load(checkout / f'{name}/one/epoch_1.pth', weights_only=True)['state_dict'],
        'history': (checkout / f'{name}/two/search_history.jsonl').read_text().splitlines(),
        'accuracy': json.loads((checkout / f'{name}/test.json').read_text())['accuracy/top1'],
    }


@pytest.fixture(scope='module')
def one_task(checkout):
    options = {'train': [*TRAIN_OPTIONS, *FAST], 'search': SEARCH_OPTIONS, 'test': TEST_OPTIONS}
    return three_commands(checkout, 'one_task', options, **ONE)


def test_one_task_does_what_one_process_does(checkout, one_task):
    words = f'{SUPERNET} alone --no-validate --cfg-options {quoted([*TRAIN_OPTIONS, *FAST])}'
    succeed(f'$PYTHON tools/train.py {words}', cwd=checkout)
    weights = torch.load(checkout / 'alone/epoch_1.pth', weights_only=True)['state_dict']
    assert same(one_task['weights'], weights)


@pytest.fixture(scope='module')
def two_ranks_in_one_process(checkout):
    """The weights after three steps on two ranks, computed without them."""
    words = f'2 3 {SUPERNET} reference.pth {quoted([*TRAIN_OPTIONS, *FAST])}'
    env = {'PYTHONPATH': str(ROOT), 'cwd': checkout}
    succeed(f'$PYTHON {ROOT}/tests/reference_of_ranks.py {words}', **env)
    return torch.load(checkout / 'reference.pth', weights_only=True)


def assert_trained_as(weights: dict, reference: dict, other: dict) -> None:
    """As the reference to 1e-5, and not as the other."""
    for name, value in reference.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f'{n}: {text}')
    assert any((other[name] - value).abs().max() > 1e-3 for name, value in reference.items())


@pytest.mark.parametrize('size', [ONE_NODE, TWO_NODES], ids=['one_node', 'two_nodes'])
def test_two_tasks_give_the_results_of_one_process(checkout, one_task, two_ranks_in_one_process, size, request):
    name = request.node.callspec.id
    options = {'train': [*TRAIN_OPTIONS, *FAST, 'train_dataloader.batch_size=5']}
    # The search and the test of the supernet that one task has trained.
    options |= {'search': SEARCH_OPTIONS, 'test': TEST_OPTIONS}
    options['search_env'] = {'STEP1_CKPT': 'one_task/one/epoch_1.pth'}
    left = three_commands(checkout, name, options, **size)
    assert_trained_as(left['weights'], two_ranks_in_one_process, one_task['weights'])
    assert left['history'] == one_task['history']
    assert left['accuracy'] == one_task['accuracy']


def test_torchrun_gives_the_results_of_one_process(checkout, one_task, two_ranks_in_one_process):
    """Its search and test are compared in test_shell.py."""
    words = f'{SUPERNET} 2 --work-dir torchrun --no-validate --cfg-options'
    options = quoted([*TRAIN_OPTIONS, *FAST, 'train_dataloader.batch_size=5'])
    succeed(f'sh tools/dist_train.sh {words} {options}', cwd=checkout, PORT='29511')
    weights = torch.load(checkout / 'torchrun/epoch_1.pth', weights_only=True)['state_dict']
    assert_trained_as(weights, two_ranks_in_one_process, one_task['weights'])


def test_two_jobs_at_once_on_one_node_do_not_collide(tmp_path):
    config = digits_config(tmp_path, epochs=2)
    line = f'sh tools/slurm_train.sh debug twin {config} {tmp_path}'
    both = f'{line}/a & first=$!; {line}/b & second=$!; wait $first && wait $second'
    succeed(both, SRUN_ARGS='--nodelist=node1', **ONE_NODE)
    first, second = (torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True) for name in 'ab')
    assert same(first['state_dict'], second['state_dict'])


FAULT = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmrazor_bignas.errors import UserError


@HOOKS.register_module()
class Fault(Hook):
    def __init__(self, rank, kind):
        self.rank, self.kind = rank, kind

    def after_train_iter(self, runner, **kwargs):
        if runner.iter == 5 and self.rank in (runner.rank, 'all'):
            print('FAULT', flush=True)
            if self.kind == 'killed':
                os.kill(os.getpid(), signal.SIGKILL)
            raise (UserError if self.kind == 'user' else ValueError)('the reactor is on fire')
"""


@pytest.mark.parametrize(
    ('rank', 'kind'),
    [(0, 'user'), (1, 'user'), ("'all'", 'user'), (1, 'bug'), (0, 'bug'), (1, 'killed'), (0, 'killed')],
)
def test_a_rank_that_dies_takes_the_job_down_and_says_why_once(tmp_path, rank, kind):
    (tmp_path / 'fault.py').write_text(FAULT)
    extra = (
        "custom_imports = dict(imports=['mmrazor_bignas.registry', 'fault'], allow_failed_imports=False)\n"
        f"custom_hooks = [dict(type='mmengine.Fault', rank={rank}, kind={kind!r})]\n"
    )
    config = digits_config(tmp_path, epochs=500, extra=extra)
    env = {'PYTHONPATH': str(tmp_path), 'SRUN_ARGS': '--nodes=2', 'GPUS_PER_NODE': '1', 'GPUS': '2'}
    began = time.monotonic()
    done = shell(f'sh tools/slurm_train.sh debug fault {config} {tmp_path}/out --no-validate', timeout=120, **env)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert 'FAULT' in output, output[-3000:]
    if kind == 'killed':
        assert 'Killed' in output
    else:
        assert len(re.findall(r'Error: the reactor|error: the reactor', output)) == 1, output[-4000:]
    assert output.count('Traceback') == (kind == 'bug'), output[-4000:]
    assert 'terminate called' not in output
    assert time.monotonic() - began < 100  # 500 epochs take minutes


def submit(words: str, log, **env) -> str:
    """Submit a batch job; its number."""
    env = {'SBATCH_ARGS': f'--output={log}', **env}
    return re.search(r'Submitted batch job (\d+)', succeed(f'sh tools/slurm_submit.sh {words}', **env))[1]


def wait_until(what, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, 'waited too long'
        time.sleep(0.3)


def in_epoch(epoch: int, log) -> bool:
    return log.exists() and re.search(rf'Epoch\(train\) +\[{epoch}\]', log.read_text()) is not None


def state_of(job: str) -> str:
    return re.search(r'JobState=(\w+)', succeed(f'scontrol show job {job}'))[1]


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """Two tasks on two nodes, never interrupted."""
    folder = tmp_path_factory.mktemp('undisturbed')
    config = digits_config(folder, epochs=30)
    succeed(f'sh tools/slurm_train.sh low calm {config} {folder}/out --no-validate', **TWO_NODES)
    return config, torch.load(folder / 'out/epoch_30.pth', weights_only=True)


@pytest.mark.parametrize('how', ['requeue', 'preemption'])
def test_a_job_that_loses_its_nodes_comes_back_and_ends_the_same(undisturbed, tmp_path, how):
    config, expected = undisturbed
    log = tmp_path / 'log.txt'
    job = submit(f'slurm_train.sh low {how} {config} {tmp_path}/out --no-validate', log, **TWO_NODES)
    wait_until(lambda: in_epoch(4, log))
    if how == 'requeue':
        succeed(f'scontrol requeue {job}')
    else:
        succeed('srun -p high --nodes=2 --ntasks-per-node=1 --gres=gpu:8 true')
    wait_until(lambda: state_of(job) == 'COMPLETED')
    # Validation is left out: a job that loses its nodes there has saved before, and says nothing of it.
    output = log.read_text()
    assert output.count('restarts so far') == 2, output
    assert re.search(r'stopped by SIG(TERM|USR1); saved \S+/iter_\d+\.pth', output), output
    assert 'resumed epoch' in output
    ours = torch.load(tmp_path / 'out/epoch_30.pth', weights_only=True)
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert same(ours[part], expected[part]), part


def test_a_cancelled_job_stays_cancelled(undisturbed, tmp_path):
    log = tmp_path / 'log.txt'
    job = submit(f'slurm_train.sh low cancelled {undisturbed[0]} {tmp_path}/out --no-validate', log, **ONE)
    wait_until(lambda: in_epoch(2, log))
    succeed(f'scancel {job}')
    wait_until(lambda: succeed(f'squeue -h -j {job} -o %T').strip() == '')
    time.sleep(10)  # a requeued job would wait for its start
    assert state_of(job) == 'CANCELLED'
    assert 'saved' in log.read_text()
