"""The same as ``bignas report search``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('plot_search')
