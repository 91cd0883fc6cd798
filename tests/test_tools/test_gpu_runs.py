"""Whole trainings on a GPU: started by torchrun over NCCL, in every number format, stopped and resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]
CONFIG = 'configs/demo/digits_supernet.py'
SHORT = ['train_cfg.val_interval=9', 'default_hooks.checkpoint.interval=1', 'default_hooks.logger.interval=4']


def train(work_dir: Path, *words: str, options: tuple[str, ...] = (), launch: tuple[str, ...] = ()) -> str:
    command = [*(launch or (sys.executable, 'tools/train.py', CONFIG)), '--work-dir', str(work_dir), *words]
    modules = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    done = subprocess.run(
        [*command, '--cfg-options', *SHORT, *options],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': modules, 'PATH': programs},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def losses(work_dir: Path) -> list[float]:
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    return [row['loss'] for row in map(json.loads, log.read_text().splitlines()) if 'loss' in row]


def weights(work_dir: Path, epoch: int) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(work_dir / f'epoch_{epoch}.pth', weights_only=True, map_location='cpu')
    return {name: value for name, value in checkpoint['state_dict'].items() if value.is_floating_point()}


def test_one_process_over_nccl_learns_what_one_alone_does(tmp_path):
    options = ('train_cfg.max_epochs=1',)
    train(tmp_path / 'alone', options=options)
    train(tmp_path / 'nccl', options=options, launch=('sh', 'tools/dist_train.sh', CONFIG, '1'))
    assert losses(tmp_path / 'nccl') == pytest.approx(losses(tmp_path / 'alone'), rel=0.02)


@pytest.mark.parametrize('wrapper', ['BFloat16OptimWrapper', 'Float16OptimWrapper'])
def test_a_format_of_16_bits_learns_what_float32_does(tmp_path, wrapper):
    options = ('train_cfg.max_epochs=3',)
    train(tmp_path / 'float32', options=options)
    train(tmp_path / wrapper, options=(*options, f'optim_wrapper.type=mmrazor_bignas.{wrapper}'))
    assert losses(tmp_path / wrapper)[-1] == pytest.approx(losses(tmp_path / 'float32')[-1], rel=0.1)


def test_no_kernel_is_replaced_in_a_training(tmp_path):
    assert 'is not used' not in train(tmp_path, options=('train_cfg.max_epochs=1',))


def test_a_resumed_training_ends_where_an_undisturbed_one_does(tmp_path):
    """The share of weights that are the same to the last bit is printed: docs/slurm.md says what to expect."""
    train(tmp_path / 'whole', options=('train_cfg.max_epochs=2',))
    train(tmp_path / 'parts', options=('train_cfg.max_epochs=1',))
    train(tmp_path / 'parts', '--resume', options=('train_cfg.max_epochs=2',))
    whole, parts = weights(tmp_path / 'whole', 2), weights(tmp_path / 'parts', 2)
    same = [torch.equal(whole[name], parts[name]) for name in whole]
    print(f'{sum(same)} of {len(same)} tensors are the same to the last bit')
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0.05, atol=0.01)
