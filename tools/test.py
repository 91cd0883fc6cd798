"""The same as ``bignas test``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('test')
