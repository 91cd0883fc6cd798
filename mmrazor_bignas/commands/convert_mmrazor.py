"""A supernet of MMRazor's BigNAS as ours.

python tools/model_converters/convert_mmrazor.py IN OUT [--config CONFIG] [--skip-pickled]
"""

from mmrazor_bignas.converters import MMRAZOR
from mmrazor_bignas.converters.tool import build_parser, convert_file
from mmrazor_bignas.engine.main import run_tool

if __name__ == '__main__':
    run_tool(lambda args: convert_file(args, MMRAZOR), build_parser('convert_mmrazor.py', MMRAZOR))
