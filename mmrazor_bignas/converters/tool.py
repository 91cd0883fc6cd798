"""What the converters on the command line share: read, convert, print the account, write."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from mmengine.registry import init_default_scope

from mmrazor_bignas.converters.attentivenas import ATTENTIVENAS
from mmrazor_bignas.converters.conversion import Project, convert
from mmrazor_bignas.converters.mmrazor import MMRAZOR
from mmrazor_bignas.engine.checkpoints import (
    SUPERNET_PREFIX,
    PickledObjectsError,
    read_tensors,
    save_atomically,
    supernet_meta,
)
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.engine.storage import check_target
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space.lookup import CONFIG_ROOT

PROJECTS = (ATTENTIVENAS, MMRAZOR)
DEFAULT_CONFIG = CONFIG_ROOT / 'nas/mmcls/bignas/attentive_mobilenet_supernet_32xb64_in1k.py'


def converter_parser(project: Project, example: str) -> argparse.ArgumentParser:
    parser = tool_parser(f'Convert a supernet of {project.name}.', example)
    parser.add_argument('source', metavar='IN', help=f'checkpoint of {project.name}')
    parser.add_argument('out', metavar='OUT', help='the checkpoint to write')
    parser.add_argument('--config', default=str(DEFAULT_CONFIG), help='config that says what the supernet is')
    parser.add_argument(
        '--skip-pickled',
        action='store_true',
        help='read a file that holds pickled objects too, and leave those out: only tensors are built, no code runs',
    )
    return parser


def convert_file(args: argparse.Namespace, project: Project) -> None:
    """Convert ``args.source`` into ``args.out`` and print what became of every tensor."""
    source, out = Path(args.source), Path(args.out)
    check_target(out, str(out), source)
    try:
        checkpoint = read_tensors(source, args.skip_pickled)
    except PickledObjectsError as error:
        advice = 'they cannot be left out' if args.skip_pickled else '--skip-pickled leaves them out, and runs none'
        raise InputError(f'{error}; {advice}') from error
    cfg = load_config(args.config)
    init_default_scope(cfg.get('default_scope', 'mmcls'))
    supernet = MODELS.build(cfg.algorithm.architecture)
    conversion = convert(checkpoint['state_dict'], project, supernet, str(source), PROJECTS)
    beside = sorted(str(key) for key, value in checkpoint.items() if key != 'state_dict' and value != {})
    print(f'{source}: a supernet of {project.name}')
    print(conversion.account())
    if beside:
        print(f'beside the tensors, not read: {", ".join(beside)}')
    converted = {
        'state_dict': {SUPERNET_PREFIX + key: value for key, value in conversion.state.items()},
        'meta': {
            **supernet_meta(supernet.search_space),
            'num_classes': supernet.head.num_classes,
            'converted_from': {
                'project': project.name,
                'file': source.name,
                'sha256': hashlib.sha256(source.read_bytes()).hexdigest(),
            },
        },
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_atomically(converted, out)
    print(f'{out}: written, {supernet.search_space.size:,} subnets')
