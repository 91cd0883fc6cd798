"""From errors of one or many processes to what the user sees."""

import os

import pytest
import torch
import torch.distributed as dist
from conftest import ROOT

from mmrazor_bignas.engine.distributed import (
    SandwichDistributedDataParallel,
    first_to_fail,
    lost_contact,
    on_first_rank,
    slurm_port,
)
from mmrazor_bignas.engine.main import is_first_process, message_of
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError, StorageError, UserError


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (InputError('a: wrong'), 'a: wrong'),
        (StorageError('b: full'), 'b: full'),
        (FileNotFoundError(2, 'No such file', 'c'), "[Errno 2] No such file: 'c'"),
        (OSError('trace of a worker\n  ...\nValueError: last line'), 'ValueError: last line'),
        (TypeError("got an unexpected keyword argument 'x'"), 'the config does not fit:'),
        (KeyError('Foo is not in the hook registry'), 'the config does not fit:'),
        (KeyError('x'), None),
        (RuntimeError('bug'), None),
    ],
)
def test_messages(error, message):
    found = message_of(error)
    assert found is None if message is None else found.startswith(message)


@pytest.mark.parametrize(
    ('words', 'environ', 'first'),
    [
        (['train.py'], {'RANK': '3'}, True),
        (['train.py', '--launcher=slurm'], {'SLURM_PROCID': '0'}, True),
        (['train.py', '--launcher=slurm'], {'SLURM_PROCID': '1'}, False),
        (['train.py', '--launcher', 'pytorch'], {'RANK': '1', 'SLURM_PROCID': '0'}, False),
        (['train.py', '--launcher', 'pytorch'], {}, True),
        (['train.py', '--launcher=mpi'], {'OMPI_COMM_WORLD_RANK': '2', 'RANK': '0'}, False),
        (['train.py', '--launcher', 'none'], {'RANK': '1', 'SLURM_PROCID': '1'}, True),
    ],
)
def test_the_first_process_is_known_before_anything_is_parsed(words, environ, first):
    assert is_first_process(words, environ) == first


def test_one_rank_alone_is_the_first_to_fail():
    store = dist.HashStore()
    assert [first_to_fail(store) for _ in range(4)] == [True, False, False, False]


def test_two_processes_at_the_same_time_have_one_first_to_fail():
    server = dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            code = 2
            try:
                client = dist.TCPStore('127.0.0.1', server.port, is_master=False, wait_for_workers=False)
                code = 1 if first_to_fail(client) else 0
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert sorted(codes) == [0, 0, 0, 1]
    assert not first_to_fail(server)


def test_lost_contact_is_told_from_faults():
    assert lost_contact(dist.DistBackendError('NCCL communicator was aborted'))
    assert lost_contact(RuntimeError('[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1'))
    assert not lost_contact(RuntimeError('CUDA out of memory'))
    assert not lost_contact(ValueError('gloo'))


def test_jobs_and_steps_have_ports_of_their_own():
    ports = [
        slurm_port({'SLURM_JOB_ID': str(job), 'SLURM_STEP_ID': str(step)}) for job in range(9) for step in range(9)
    ]
    assert len(set(ports)) == 81
    assert all(1024 < slurm_port({'SLURM_JOB_ID': str(job)}) < 32768 for job in (1, 54321, 2**31))


def test_sync_bn_is_refused():
    with pytest.raises(InputError, match='has the key sync_bn: SyncBN is not supported'):
        load_config(str(ROOT / 'configs/demo/digits_supernet.py'), {'sync_bn': 'torch'})
    with pytest.raises(InputError, match='1 is a SyncBatchNorm: SyncBN is not supported'):
        SandwichDistributedDataParallel(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.SyncBatchNorm(1)))


def test_one_process_is_the_first_rank():
    assert on_first_rank(lambda: 5) == 5

    def fail():
        raise UserError('no')

    with pytest.raises(UserError, match='no'):
        on_first_rank(fail)


@pytest.mark.parametrize('error', [OSError(), TimeoutError(), ConnectionResetError()])
def test_an_error_without_words_has_a_message(error):
    assert message_of(error) == type(error).__name__
