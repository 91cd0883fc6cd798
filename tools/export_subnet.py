"""The same as ``bignas export-subnet``."""

from mmrazor_bignas.commands import run

if __name__ == '__main__':
    run('export_subnet')
