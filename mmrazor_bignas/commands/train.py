"""Train a supernet, or search one: what happens is in the config.

bignas train CONFIG [--work-dir DIR] [--checkpoint FILE [--new-head]] [--resume [auto|FILE]]
    [--cfg-options KEY=VALUE ...]
"""

import argparse

from mmengine.config import Config

from mmrazor_bignas.commands.search import search
from mmrazor_bignas.engine.distributed import on_first_rank
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.resume import find_resume_point, resume_from
from mmrazor_bignas.engine.runner import add_common_arguments, add_tensorboard, build_runner, load_config
from mmrazor_bignas.engine.writer_lock import one_writer
from mmrazor_bignas.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser('Train a supernet, or search a trained one.', 'digits_supernet.py --work-dir work_dirs/demo')
    parser.add_argument('config', help='config of a training or a search')
    parser.add_argument('work_dir_word', nargs='?', metavar='WORK_DIR', help='the same as --work-dir')
    parser.add_argument('--checkpoint', help='weights to start from; a search needs the trained supernet here')
    parser.add_argument(
        '--new-head',
        action='store_true',
        help='take all of --checkpoint but its head, for a data set with other classes (training)',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|FILE',
        help='go on: a training from the newest checkpoint of the work dir or from FILE, a search with its history',
    )
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast for the forward passes')
    parser.add_argument('--no-validate', action='store_true', help='do not validate while training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate to the total batch size (linear rule)'
    )
    parser.add_argument('--tensorboard', action='store_true', help='write the log for TensorBoard, too')
    add_common_arguments(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    cfg = load_config(args.config, args.cfg_options, args.work_dir or args.work_dir_word)
    if 'train_cfg' in cfg:
        train(cfg, args)
    elif 'val_cfg' in cfg:
        check_words_of_a_search(args)
        search(cfg, args)
    else:
        raise InputError(f'{args.config}: has neither train_cfg nor val_cfg; expected a training or a search')


def train(cfg: Config, args: argparse.Namespace) -> None:
    if args.no_validate:
        for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
            cfg.pop(key, None)
    if args.amp:
        cfg.optim_wrapper.type = 'mmrazor_bignas.BFloat16OptimWrapper'
    if args.auto_scale_lr:
        if 'auto_scale_lr' not in cfg:
            raise InputError(f'{args.config}: has no auto_scale_lr.base_batch_size, which --auto-scale-lr needs')
        cfg.auto_scale_lr.enable = True
    if args.tensorboard:
        add_tensorboard(cfg)
    if args.checkpoint:
        cfg.load_from = args.checkpoint
    if args.new_head:
        if not cfg.get('load_from'):
            raise InputError('--new-head needs --checkpoint FILE, from which all but the head is loaded')
        cfg.merge_from_dict({'default_hooks.checkpoint.new_head': True})
    with one_writer(cfg.work_dir) as lock:
        notes = lock.notes
        if args.resume == 'auto':
            # A job that starts and restarts with the same words has --checkpoint and --resume: the work dir's own is
            # newer.
            point, problems = on_first_rank(lambda: find_resume_point(cfg.work_dir))
            args.resume, notes = str(point) if point else None, notes + problems
        if args.resume:
            resume_from(cfg, args.resume, args.allow_pickle)
        runner = build_runner(cfg, args.launcher)
        for note in notes:
            runner.logger.warning(note)
        runner.train()


def check_words_of_a_search(args: argparse.Namespace) -> None:
    for option in ('new_head', 'no_validate', 'auto_scale_lr', 'tensorboard'):
        if getattr(args, option):
            raise InputError(f'--{option.replace("_", "-")} is for training; {args.config} is a search')
    if args.resume not in (None, 'auto'):
        raise InputError('--resume FILE is for training; a search goes on with the history of its work dir: --resume')
    if not args.checkpoint:
        raise InputError(f'{args.config} is a search and needs --checkpoint FILE, the trained supernet')
