"""Loops that evaluate named subnets: during training, and one subnet in a test."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from random import Random

import torch
from mmengine.config import Config
from mmengine.dist import get_dist_info
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, CheckpointLoader, Runner

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.checkpoints import check_classes, load_subnet
from mmrazor_bignas.engine.distributed import unwrapped
from mmrazor_bignas.engine.evaluation import extract_calibrated, measure
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.registry import LOOPS
from mmrazor_bignas.search_space.lookup import find_subnet


def calibration_batches(dataloader: dict, num_images: int, seed: int, **options) -> FixedBatches:
    """Fixed batches of training images; says so where the data set is smaller than asked for.

    Args:
        dataloader: Config of the data loader.
        num_images: Images to calibrate on.
        seed: Seed of the choice of images and of their augmentation.
        **options: Of FixedBatches, where the config does not set them.
    """
    if type(num_images) is not int:
        raise InputError(f'calibrate_sample_num is {num_images!r}; expected 2 or more images')
    batches = FixedBatches(**{**options, **dataloader}, num_images=num_images, seed=seed)
    if batches.num_images < num_images:
        print_log(
            f'calibrate_sample_num is {num_images}, but the data set has {batches.num_images} images: all are used',
            logger='current',
            level=logging.WARNING,
        )
    return batches


def calibration_settings(cfg: Config) -> dict:
    """The loop of a config that says what is calibrated on: that of its test, or of its validation or search.

    Raises:
        InputError: The config has none.
    """
    loop = cfg.get('test_cfg') or cfg.get('val_cfg')
    if not loop or 'calibrate_dataloader' not in loop:
        raise InputError('the config has no test_cfg or val_cfg with calibrate_dataloader: what to calibrate on')
    return loop


def shared(runner: Runner) -> dict:
    """Options of FixedBatches: this process's share of the batches, and where it evaluates."""
    rank, world_size = get_dist_info()
    return {'rank': rank, 'world_size': world_size, 'device': device_of(runner)}


def device_of(runner: Runner) -> torch.device:
    """Where its model is."""
    return next(runner.model.parameters()).device


@LOOPS.register_module()
class SubnetValLoop(BaseLoop):
    """Evaluate subnets of the supernet in training, each calibrated, over all ranks together.

    Metrics are named ``<subnet>/<metric>``.

    Args:
        runner: The Runner.
        dataloader: Config of the validation data: ``dataset``, ``batch_size`` and options of torch's DataLoader.
        evaluator: The metrics.
        subnets: ``'min'``, ``'max'``, published names or YAML paths.
        calibrate_dataloader: Config of the calibration data: training images.
        calibrate_sample_num: Images to calibrate on.
        num_random: Random subnets besides, the same throughout the training: ``random1``, ``random2`` ...
        seed: Seed of the choice of images, of their augmentation and of the random subnets.
        amp: Whether subnets run under bfloat16 autocast.

    Raises:
        InputError: A subnet is unknown, or a number no such number.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: Evaluator | dict | list,
        subnets: Sequence[str],
        calibrate_dataloader: dict,
        calibrate_sample_num: int,
        num_random: int = 0,
        seed: int = 0,
        amp: bool = False,
    ) -> None:
        if type(num_random) is not int or num_random < 0:
            raise InputError(f'val_cfg.num_random is {num_random!r}; expected 0 or more')
        super().__init__(runner, FixedBatches(**dataloader, **shared(runner)))
        self.evaluator, self.amp = runner.build_evaluator(evaluator), amp
        self.calibration = calibration_batches(calibrate_dataloader, calibrate_sample_num, seed, **shared(runner))
        space = unwrapped(runner.model).search_space
        rng = Random(f'{seed}/validation')
        randoms = {f'random{i + 1}': space.sample(rng) for i in range(num_random)}
        for name, subnet in randoms.items():
            runner.logger.info(f'validation: {name} is {subnet.to_dict()}')
        self.subnets = {**{name: find_subnet(name, space) for name in subnets}, **randoms}

    def run(self) -> dict[str, float]:
        """Evaluate every subnet; the supernet is only read."""
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        supernet = unwrapped(self.runner.model).architecture
        metrics = {}
        for name, subnet in self.subnets.items():
            static = extract_calibrated(supernet, subnet, self.calibration, self.amp)
            metrics |= {
                f'{name}/{key}': value
                for key, value in measure(static, self.dataloader, self.evaluator, self.amp).items()
            }
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics


@LOOPS.register_module()
class SubnetTestLoop(BaseLoop):
    """Evaluate one static subnet from an exported subnet's checkpoint, or from a supernet's after calibration.

    Args:
        runner: The Runner; its model is the static subnet.
        dataloader: Config of the test data: ``dataset``, ``batch_size`` and options of torch's DataLoader.
        evaluator: The metrics.
        checkpoint: The checkpoint file; ``bignas test`` fills it in.
        calibrate_dataloader: Config of the calibration data: training images. Used for a supernet's checkpoint alone.
        calibrate_sample_num: Images to calibrate on.
        seed: Seed of the choice of images and of their augmentation.
        amp: Whether subnets run under bfloat16 autocast.

    Attributes:
        found: After :meth:`run`, what the checkpoint was: ``'subnet'`` or ``'supernet'``.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: Evaluator | dict | list,
        checkpoint: str,
        calibrate_dataloader: dict,
        calibrate_sample_num: int,
        seed: int = 0,
        amp: bool = False,
    ) -> None:
        options = {**shared(runner), 'cache': False}  # read once
        super().__init__(runner, FixedBatches(**dataloader, **options))
        self.evaluator, self.amp = runner.build_evaluator(evaluator), amp
        self.checkpoint = checkpoint
        self.found: str | None = None
        self.calibrate_sample_num = calibrate_sample_num
        self._calibration = partial(calibration_batches, calibrate_dataloader, calibrate_sample_num, seed, **options)

    def run(self) -> dict[str, float]:
        """Load, calibrate where needed, evaluate; the metrics carry the subnet's exact cost."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        static = unwrapped(self.runner.model)
        if getattr(static, 'subnet', None) is None:
            raise InputError("the config's algorithm is no static subnet; a test needs algorithm.type Subnet")
        checkpoint = CheckpointLoader.load_checkpoint(self.checkpoint, 'cpu', logger=None)
        if note := check_classes(checkpoint, self.dataloader.dataset, self.checkpoint):
            self.runner.logger.warning(note)
        self.found = load_subnet(static, checkpoint, self.checkpoint, self._calibration, self.amp)
        self.runner.logger.info(
            f'{self.checkpoint}: found '
            + (
                'an exported subnet with its own BN statistics'
                if self.found == 'subnet'
                else f'a supernet; extracted the subnet and calibrated it on {self.calibrate_sample_num} images at most'
            )
        )
        cost = static.cost()
        metrics = {
            **measure(static, self.dataloader, self.evaluator, self.amp),
            'flops': cost.flops,
            'params': cost.params,
        }
        # mmengine's log drops integers.
        self.runner.call_hook('after_test_epoch', metrics={key: float(value) for key, value in metrics.items()})
        self.runner.call_hook('after_test')
        return metrics
