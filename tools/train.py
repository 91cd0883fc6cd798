"""The same as ``bignas train``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('train')
