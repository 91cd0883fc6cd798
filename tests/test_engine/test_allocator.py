"""Memory of freed tensors."""

import platform
import subprocess
import sys

import pytest
from conftest import ROOT

PAGES = """
import resource, torch
from mmrazor_bignas.engine.allocator import keep_freed_memory

def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(64, 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

touch()
print(touch())
assert keep_freed_memory()
touch()
print(touch())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='no glibc')
def test_the_system_clears_no_page_twice():
    command = [sys.executable, '-c', PAGES]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=100).stdout
    returned, kept = map(int, out.split())
    assert kept < 100 < returned
