"""What a training step of the ImageNet supernet launches on a GPU, counted without one."""

import pytest
from conftest import ROOT

pytestmark = pytest.mark.xdist_group('kernel count')


@pytest.fixture(scope='module')
def counts():
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(ROOT / 'benchmarks'))
    import count_kernels

    yield count_kernels, count_kernels.count('fused', steps=1, batch=8)[0]
    patch.undo()


def test_a_step_launches_few_kernels(counts):
    script, found = counts
    assert 2_500 < script.kernels(found) <= 3_500  # 10,256 before there were kernels of our own


def test_no_convolution_but_the_first_is_cudnns(counts):
    _, found = counts
    assert found['aten::convolution'] == found['aten::convolution_backward'] == 4  # a stem for each subnet
    assert found['mmrazor_bignas::depthwise_conv2d'] > 80
    assert 'aten::native_batch_norm' not in found


def test_slices_and_casts_cost_no_kernel_each(counts):
    _, found = counts
    assert found['aten::_to_copy'] < 40  # of images and logits; a weight is cast with all the others
    assert found['mmrazor_bignas::add_parts'] <= 8  # two formats, four passes
    assert 'aten::slice_backward' not in found
    assert found['aten::new_zeros'] < 10  # once a pass, for all parameters that had no gradient
