"""The same as ``bignas convert subnet``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('convert_subnet')
