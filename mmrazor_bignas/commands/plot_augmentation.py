"""Draw training images as a training sees them: before the pipeline, and after it in several epochs.

bignas report augmentation CONFIG --out augmentation.png
"""

import argparse
import random

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmrazor_bignas.engine.batches import SeededDataset
from mmrazor_bignas.engine.datasets import build_dataset, describe
from mmrazor_bignas.engine.main import tool_parser
from mmrazor_bignas.engine.plots import load_pyplot, save_figure
from mmrazor_bignas.engine.runner import add_cfg_options, load_config
from mmrazor_bignas.engine.unreadable import Unreadable, load_image
from mmrazor_bignas.errors import InputError

EPOCHS = 8
INCHES = 1.3


def build_parser() -> argparse.ArgumentParser:
    parser = tool_parser('Draw augmented training images.', 'digits_supernet.py --num 4 --out augmentation.png')
    parser.add_argument('config', help='config of a training')
    parser.add_argument('--out', default='augmentation.png', help='the image to write')
    parser.add_argument('--num', type=int, default=8, help='how many training images; default: 8')
    parser.add_argument('--seed', type=int, help="of augmentation and choice of images; default: the config's, or 0")
    add_cfg_options(parser)
    return parser


def image_before(dataset: Dataset, index: int) -> np.ndarray:
    """An image as loaded, (height, width, channels) or (height, width), colours in BGR."""
    image = load_image(dataset, index)
    if isinstance(image, Unreadable):
        raise InputError(str(image))
    if image is None:
        raise InputError(f'data set {type(dataset).__name__}: loads no image; expected one whose own pipeline does')
    return image


def image_after(dataset: SeededDataset, epoch: int, index: int) -> np.ndarray:
    """The image that an epoch trains on, (height, width, 3) in BGR or (height, width, 1)."""
    image = dataset[epoch, index].get('inputs')
    if not torch.is_tensor(image) or image.dtype != torch.uint8 or image.ndim != 3 or len(image) not in (1, 3):
        found = f'{image.dtype} {tuple(image.shape)}' if torch.is_tensor(image) else type(image).__name__
        raise InputError(f'the pipeline gives {found}; expected uint8 (3 or 1, height, width), as of PackClsInputs')
    return image.permute(1, 2, 0).numpy()


def as_colours(image: np.ndarray) -> np.ndarray:
    """An image to draw, (height, width, 3) in RGB."""
    grey = image.ndim == 2 or image.shape[2] == 1
    return np.repeat(image.reshape(*image.shape[:2], 1), 3, 2) if grey else image[..., ::-1]


def main(args: argparse.Namespace) -> None:
    if args.num < 1:
        raise InputError(f'--num {args.num}: expected 1 or more')
    cfg = load_config(args.config, args.cfg_options)
    if not cfg.get('train_dataloader'):
        raise InputError(f'{args.config}: has no key train_dataloader; expected a config of a training')
    pyplot = load_pyplot()

    init_default_scope(cfg.get('default_scope', 'mmengine'))
    seed = args.seed if args.seed is not None else cfg.get('randomness', {}).get('seed') or 0
    dataset = build_dataset(cfg.train_dataloader.dataset)
    seeded = SeededDataset(dataset, seed)
    indices = random.Random(f'{seed}/sheet').sample(range(len(dataset)), min(args.num, len(dataset)))
    size = INCHES * (1 + EPOCHS), INCHES * len(indices) + 0.3
    figure, axes = pyplot.subplots(len(indices), 1 + EPOCHS, squeeze=False, figsize=size, layout='constrained')
    for row, index in zip(axes, indices, strict=True):
        images = [image_before(dataset, index), *(image_after(seeded, epoch, index) for epoch in range(EPOCHS))]
        for cell, image in zip(row, images, strict=True):
            cell.imshow(as_colours(image))
            cell.axis('off')
    for cell, title in zip(axes[0], ['original', *(f'epoch {epoch + 1}' for epoch in range(EPOCHS))], strict=True):
        cell.set_title(title, fontsize=9)
    save_figure(figure, args.out)
    print(f'{args.out}: {len(indices)} images of {describe(cfg.train_dataloader.dataset)}, seed {seed}')
