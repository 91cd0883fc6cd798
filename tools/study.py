"""The same as ``bignas study``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('study')
