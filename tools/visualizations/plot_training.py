"""The same as ``bignas report training``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('plot_training')
