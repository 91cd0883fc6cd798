"""Options of the checkpoint hook; what it saves is tested through the tools."""

import pytest

from mmrazor_bignas.engine import CheckpointHook
from mmrazor_bignas.errors import InputError


@pytest.mark.parametrize('option', [{'filename_tmpl': 'e{}.pth'}, {'out_dir': '/elsewhere'}])
def test_names_and_places_are_fixed(option):
    with pytest.raises(InputError, match=f"'{next(iter(option))}'.* cannot be set"):
        CheckpointHook(**option)


def test_the_rest_is_mmengines():
    hook = CheckpointHook(interval=3, by_epoch=False, max_keep_ckpts=4, save_best='min/accuracy/top1', rule='greater')
    assert (hook.interval, hook.by_epoch, hook.max_keep_ckpts) == (3, False, 4)
    assert hook.filename_tmpl == 'iter_{}.pth'
