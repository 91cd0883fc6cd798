"""A supernet of AttentiveNAS or AlphaNet as ours.

python tools/model_converters/convert_attentivenas.py IN OUT [--config CONFIG] [--skip-pickled]
"""

from mmrazor_bignas.converters import ATTENTIVENAS
from mmrazor_bignas.converters.tool import build_parser, convert_file
from mmrazor_bignas.engine.main import run_tool

if __name__ == '__main__':
    run_tool(lambda args: convert_file(args, ATTENTIVENAS), build_parser('convert_attentivenas.py', ATTENTIVENAS))
