"""The same as ``bignas latency``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('measure_latency')
