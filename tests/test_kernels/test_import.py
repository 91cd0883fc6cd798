"""What importing the kernels brings along."""

import subprocess
import sys


def test_importing_loads_neither_triton_nor_torch_s_compiler():
    code = 'import sys, mmrazor_bignas.kernels; print(*sys.modules)'
    loaded = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout.split()
    assert not {'triton', 'torch._dynamo', 'torch._inductor'} & set(loaded)
