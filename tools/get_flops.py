"""The same as ``bignas flops``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('get_flops')
