"""The same as ``bignas check``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('check_dataset')
