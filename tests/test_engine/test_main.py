"""From errors of one or many processes to what the user sees."""

import pytest
import torch
from conftest import ROOT

from mmrazor_bignas.engine.distributed import SandwichDistributedDataParallel
from mmrazor_bignas.engine.main import is_first_process, message_of
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError, StorageError


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


def test_sync_bn_is_refused():
    with pytest.raises(InputError, match='has the key sync_bn: SyncBN is not supported'):
        load_config(str(ROOT / 'configs/demo/digits_supernet.py'), {'sync_bn': 'torch'})
    with pytest.raises(InputError, match='1 is a SyncBatchNorm: SyncBN is not supported'):
        SandwichDistributedDataParallel(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.SyncBatchNorm(1)))


@pytest.mark.parametrize('error', [OSError(), TimeoutError(), ConnectionResetError()])
def test_an_error_without_words_has_a_message(error):
    assert message_of(error) == type(error).__name__
