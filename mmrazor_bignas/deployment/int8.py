"""An ONNX file in 8-bit integers: onnxruntime's static quantisation."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config

from mmrazor_bignas.deployment.card import INPUT
from mmrazor_bignas.deployment.checking import Images
from mmrazor_bignas.deployment.formats import quiet
from mmrazor_bignas.deployment.network import as_input
from mmrazor_bignas.deployment.preprocessing import test_loader
from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.datasets import innermost_config
from mmrazor_bignas.engine.loops import calibration_batches, calibration_settings

CALIBRATION_IMAGES = 512
# Convolutions and the linear layer hold nearly all of the work. Swish, hard sigmoid and the additions between them stay
# float32: quantised, they cost accuracy and save little.
QUANTISED = ('Conv', 'Gemm')
SCHEME = 'QDQ, int8 weights per channel, int8 activations, MinMax'


def calibration_images(cfg: Config) -> FixedBatches:
    """Training images of a config through its test pipeline, as a file in use gets them."""
    settings = calibration_settings(cfg)
    loader = copy.deepcopy(dict(settings.calibrate_dataloader))
    _, tests = test_loader(cfg)
    innermost_config(loader['dataset'])['pipeline'] = innermost_config(tests['dataset']).get('pipeline', [])
    number = min(settings.calibrate_sample_num, CALIBRATION_IMAGES)
    return calibration_batches(loader, number, settings.get('seed', 0), cache=False)


def quantise(source: Path, target: Path, images: Iterable[Images], card: Mapping[str, Any]) -> None:
    """Write the int8 twin of an ONNX file.

    Args:
        source: The file, in float32.
        target: The file to write.
        images: What to calibrate the ranges of activations on.
        card: Of both; the quantised file has none yet.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, feeds: Iterator[dict]) -> None:
            self.feeds = feeds

        def get_next(self) -> dict | None:
            return next(self.feeds, None)

    with TemporaryDirectory() as folder, quiet():
        prepared = Path(folder) / 'prepared.onnx'
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader({INPUT: as_input(batch, card).numpy()} for batch, _ in images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8,
            op_types_to_quantize=list(QUANTISED),
        )
