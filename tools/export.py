"""The same as ``bignas export``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('export')
