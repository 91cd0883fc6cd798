"""What runs inside mmengine's Runner: loops, hooks, wrappers, calibration, evaluation."""

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.calibration import calibrate_batch_norm
from mmrazor_bignas.engine.checkpoint_hook import CheckpointHook
from mmrazor_bignas.engine.distributed import SandwichDistributedDataParallel
from mmrazor_bignas.engine.evaluation import extract_calibrated, measure
from mmrazor_bignas.engine.hooks import LabelCheckHook, LearningCurveHook, LossHook, ProgressBarHook
from mmrazor_bignas.engine.loops import SubnetTestLoop, SubnetValLoop
from mmrazor_bignas.engine.optim import (
    BFloat16OptimWrapper,
    ExponentialDecayLR,
    Float16OptimWrapper,
    GroupedOptimWrapperConstructor,
    LinearWarmupLR,
    OptimWrapper,
)
from mmrazor_bignas.engine.runner import NASRunner
from mmrazor_bignas.engine.search_loop import SearchLoop
from mmrazor_bignas.engine.train_loop import TrainLoop

__all__ = [
    'BFloat16OptimWrapper',
    'CheckpointHook',
    'ExponentialDecayLR',
    'FixedBatches',
    'Float16OptimWrapper',
    'GroupedOptimWrapperConstructor',
    'LabelCheckHook',
    'LearningCurveHook',
    'LinearWarmupLR',
    'LossHook',
    'NASRunner',
    'OptimWrapper',
    'ProgressBarHook',
    'SandwichDistributedDataParallel',
    'SearchLoop',
    'SubnetTestLoop',
    'SubnetValLoop',
    'TrainLoop',
    'calibrate_batch_norm',
    'extract_calibrated',
    'measure',
]
