"""List the configs that come with the package: what a command finds by its name, wherever it is started.

bignas configs
"""

import argparse

from mmrazor_bignas.engine.config_files import CONFIG_ROOT, own_configs
from mmrazor_bignas.engine.main import tool_parser


def build_parser() -> argparse.ArgumentParser:
    return tool_parser('List the configs that come with the package; a command finds each by its name.', '')


def main(args: argparse.Namespace) -> None:
    print(f'in {CONFIG_ROOT}:')
    for path in own_configs():
        print(f'  {path.relative_to(CONFIG_ROOT)}')
