"""What Triton's compiler makes of the kernels, for cards that need not be here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.xdist_group('compiled kernels')  # compiled in one process
OF_FEATURES = {
    'convolve',
    'partial_weight_gradient',
    'partial_moments',
    'normalise',
    'partial_gradients',
    'input_gradient',
    'sum_pixels',
    'scale_pixels',
}
OTHERS = {'multiply', 'layer_gradients', 'add_blocks'}


@pytest.fixture(
    scope='module',
    params=[
        ('90', 'bfloat16'),
        pytest.param(('90', 'float32'), marks=pytest.mark.slow),
        pytest.param(('80', 'float32'), marks=pytest.mark.slow),
        pytest.param(('80', 'bfloat16'), marks=pytest.mark.slow),
    ],
    ids='-'.join,
)
def compiled(request) -> dict:
    """What compile_for_card.py prints."""
    pytest.importorskip('triton')
    command = [sys.executable, Path(__file__).with_name('compile_for_card.py'), *request.param]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests'), str(ROOT / 'benchmarks')])}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_kernel_compiles(compiled) -> None:
    assert {kernel['name'] for kernel in compiled['kernels']} == OF_FEATURES | OTHERS


def test_other_subnets_sides_batch_sizes_and_slices_compile_nothing_anew(compiled) -> None:
    after = compiled['after']
    assert after['2'] == after['3'] == after['16']
    # The two small layers of a channel gate have a kernel for many images.
    late = compiled['kernels'][after['16'] :]
    assert {(kernel['name'], kernel['constants']['BLOCK_M']) for kernel in late} == {('multiply', '64')}
    assert after['17'] == after['40'] == after['other weights'] == len(compiled['kernels'])
    once = {json.dumps([kernel['name'], kernel['constants']]) for kernel in compiled['kernels']}
    assert len(once) == len(compiled['kernels'])


def test_all_fits_into_registers(compiled) -> None:
    if 'LOCAL' not in compiled['kernels'][0]:
        pytest.skip("Triton's cuobjdump is not installed")
    assert [kernel for kernel in compiled['kernels'] if kernel['LOCAL'] or kernel['STACK']] == []


def test_features_are_loaded_16_bytes_at_a_time(compiled) -> None:
    of_features = [kernel for kernel in compiled['kernels'] if kernel['name'] in OF_FEATURES]
    assert {kernel['constants']['ALIGN'] for kernel in of_features} == {'8'}
    assert [kernel for kernel in of_features if not kernel['wide_loads']] == []
