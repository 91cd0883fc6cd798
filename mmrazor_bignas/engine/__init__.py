"""What runs inside mmengine's Runner: loops, hooks, wrappers, calibration, evaluation."""

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.calibration import calibrate_batch_norm
from mmrazor_bignas.engine.distributed import SandwichDistributedDataParallel
from mmrazor_bignas.engine.evaluation import extract_calibrated, measure
from mmrazor_bignas.engine.hooks import LabelCheckHook, LossGuardHook, PlainCheckpointHook, ProgressBarHook
from mmrazor_bignas.engine.loops import SubnetTestLoop, SubnetValLoop
from mmrazor_bignas.engine.optim import BFloat16OptimWrapper
from mmrazor_bignas.engine.runner import NASRunner
from mmrazor_bignas.engine.search_loop import SearchLoop

__all__ = [
    'BFloat16OptimWrapper',
    'FixedBatches',
    'LabelCheckHook',
    'LossGuardHook',
    'NASRunner',
    'PlainCheckpointHook',
    'ProgressBarHook',
    'SandwichDistributedDataParallel',
    'SearchLoop',
    'SubnetTestLoop',
    'SubnetValLoop',
    'calibrate_batch_norm',
    'extract_calibrated',
    'measure',
]
