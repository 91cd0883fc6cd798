"""The same as ``bignas predict``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('predict')
