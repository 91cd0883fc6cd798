"""Launches: the first one compiles, later ones go straight to what was compiled."""

import pytest
import torch

pytest.importorskip('triton')
from mmrazor_bignas.kernels.triton_code import launch as module
from mmrazor_bignas.kernels.triton_code.launch import launch


class Compiled:
    def __init__(self, calls, takes_constants=True):
        self.calls, self.takes_constants = calls, takes_constants

    def __getitem__(self, grid):
        def run(*args):
            if not self.takes_constants:
                raise TypeError('function takes other arguments')
            self.calls.append(('compiled', grid, args[1:]))

        return run


class Function:
    """Stands for a function of Triton's."""

    def __init__(self, **options):
        self.calls = []
        self.compiled = Compiled(self.calls, **options)

    def __getitem__(self, grid):
        def run(*args, num_warps, **constants):
            self.calls.append(('function', grid, args[1:], constants, num_warps))
            return self.compiled

        return run


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch):
    monkeypatch.setattr(module, '_COMPILED', {})


def run(function, number, size=3, dtype=torch.float32):
    launch(function, (2, 5), (torch.zeros(4, dtype=dtype),), (number,), 4, SIZE=size)


def test_a_second_launch_goes_to_what_was_compiled():
    function = Function()
    run(function, 7)
    run(function, 8)
    assert function.calls == [('function', (2, 5), (7,), {'SIZE': 3}, 4), ('compiled', (2, 5, 1, 1), (8, 3))]


@pytest.mark.parametrize('other', [{'size': 5}, {'dtype': torch.bfloat16}])
def test_other_constants_and_formats_are_compiled_anew(other):
    function = Function()
    run(function, 7)
    run(function, 7, **other)
    assert [call[0] for call in function.calls] == ['function', 'function']


def test_a_triton_whose_compiled_kernels_take_no_constants_is_asked_each_time():
    function = Function(takes_constants=False)
    for number in (7, 8, 9):
        run(function, number)
    assert [call[0] for call in function.calls] == ['function'] * 3
    assert [call[2] for call in function.calls] == [(7,), (8,), (9,)]
