"""The sdist, and the wheel made from it, install and work without a checkout: commands, configs, what mim looks for."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow
SOURCES = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml')
FOLDERS = ('configs', 'tools', 'mmrazor_bignas')


def done(*words, cwd: Path, code: int = 0, **env: str) -> str:
    """What a command prints that must end with ``code``."""
    environ = {**os.environ, **env}
    result = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=environ, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == code, result.stdout[-2000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Built from the sdist, as a package index would do it; nothing is left in the checkout."""
    root = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        shutil.copy(ROOT / name, root)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns('__pycache__'))
    done('-c', 'from setuptools.build_meta import build_sdist; build_sdist("dist")', cwd=root)
    (sdist,) = (root / 'dist').glob('*.tar.gz')
    pip = ('-m', 'pip', '--disable-pip-version-check', 'wheel', '--no-deps', '--no-build-isolation')
    done(*pip, '--wheel-dir', root / 'dist', sdist, cwd=root)
    return next((root / 'dist').glob('*.whl'))


@pytest.fixture(scope='module')
def bignas(wheel, tmp_path_factory):
    """The console command of the installed wheel, in a folder far from any checkout."""
    root = tmp_path_factory.mktemp('installed')
    pip = ('-m', 'pip', '--disable-pip-version-check', 'install', '--no-deps', '--target', root / 'site')
    done(*pip, wheel, cwd=root)
    (root / 'user').mkdir()

    def call(*words, code: int = 0, tool: str = '') -> str:
        script = root / 'site/mmrazor_bignas/.mim/tools' / tool if tool else root / 'site/bin/bignas'
        return done(script, *words, cwd=root / 'user', code=code, PYTHONPATH=str(root / 'site'))

    call.root = root
    return call


def test_the_wheel_has_all_of_the_package_and_what_mim_looks_for(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if '.dist-info/' not in name}
    expected = {'mmrazor_bignas/.mim/model-index.yml'}
    for name in FOLDERS:
        prefix = '' if name == 'mmrazor_bignas' else 'mmrazor_bignas/.mim/'
        files = (path for path in (ROOT / name).rglob('*') if path.is_file() and '__pycache__' not in path.parts)
        expected |= {f'{prefix}{path.relative_to(ROOT)}' for path in files}
    assert names == expected


def test_commands_work_where_it_is_installed(bignas):
    assert 'usage: bignas COMMAND' in bignas('--help')
    assert f'in {bignas.root}/site/mmrazor_bignas/.mim/configs:\n' in bignas('configs')
    words = ('configs/nas/mmcls/bignas/attentive_mobilenet_subnet_8xb256_in1k.py', '--mutable-cfg', 'attentivenas-a0')
    assert '203,389,568' in bignas('flops', *words)
    assert '203,389,568' in bignas(*words, tool='get_flops.py')
    assert 'bignas train: error: none.py: no such config file' in bignas('train', 'none.py', code=1)
    assert not list((bignas.root / 'user').iterdir())


def test_the_whole_path_where_it_is_installed(bignas):
    short = ('train_cfg.max_epochs=1', 'default_hooks.checkpoint.interval=1')
    bignas('train', 'digits_supernet.py', '--work-dir', 'one', '--cfg-options', *short)
    quick = ('val_cfg.generations=1', 'val_cfg.strategy.population=2', 'val_cfg.strategy.parents=1')
    words = ('--checkpoint', 'one/epoch_1.pth', '--work-dir', 'two', '--cfg-options', *quick)
    bignas('search', 'digits_search.py', *words)
    choice = ('--cfg-options', 'algorithm.mutable_cfg=two/best_subnet.yaml')
    assert 'accuracy/top1' in bignas('test', 'digits_subnet.py', 'two/best_subnet.pth', '--work-dir', 'three', *choice)
    assert {path.name for path in (bignas.root / 'user').iterdir()} == {'one', 'two', 'three'}
