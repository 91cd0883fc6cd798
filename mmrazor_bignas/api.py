"""The Python face: a static subnet in one call."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.checkpoints import load_subnet, read_checkpoint
from mmrazor_bignas.engine.loops import calibration_batches, calibration_settings
from mmrazor_bignas.engine.main import message_of
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import SearchableImageClassifier, Subnet
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.search_space.lookup import CONFIG_ROOT

DEFAULT_CONFIG = CONFIG_ROOT / 'nas/mmcls/bignas/attentive_mobilenet_subnet_8xb256_in1k.py'


def get_subnet(
    mutable_cfg: SubnetSpec | Mapping | str | Path,
    checkpoint: str | Path | None = None,
    config: str | Path = DEFAULT_CONFIG,
    allow_pickle: bool = False,
    calibrate: bool | None = None,
) -> SearchableImageClassifier:
    """A static subnet as a plain ``nn.Module`` in eval mode: normalised images (N, C, H, W) to logits (N, classes).

    Args:
        mutable_cfg: The subnet: a YAML path, a dict, ``'min'``, ``'max'`` or a name such as ``'attentivenas-a0'``.
        checkpoint: An exported subnet's file, or a supernet's (trained or converted), out of which the subnet is cut.
            None leaves new weights.
        config: Path of a config whose ``algorithm.architecture`` says what the supernet is.
        allow_pickle: Read the checkpoint although it holds pickled objects, which can run code.
        calibrate: Whether a subnet that is cut out of a supernet is calibrated on the config's training images. None
            calibrates where they are, and warns where they are not. Without calibration the running statistics are the
            supernet's, which fit no subnet: train or calibrate before you count on an output in eval mode.

    Raises:
        InputError: A file is missing or wrong, the subnet is not of the config's search space, or the checkpoint is of
            another network.
    """
    if calibrate not in (None, True, False):
        raise InputError(f'calibrate is {calibrate!r}; expected True, False or None')
    if calibrate and checkpoint is None:
        raise InputError('calibrate=True needs a checkpoint: new weights have no use for statistics')
    cfg = load_config(str(config))
    model, _ = load_static(cfg, mutable_cfg, checkpoint, checkpoint if allow_pickle else None, calibrate)
    return model.cpu()


def load_static(
    cfg: Config,
    mutable_cfg: SubnetSpec | Mapping | str | Path,
    checkpoint: str | Path | None,
    pickled: str | Path | None = None,
    calibrate: bool | None = True,
) -> tuple[SearchableImageClassifier, str | None]:
    """:func:`get_subnet` for a config that is read already, and what the checkpoint was (``'subnet'``, ``'supernet'``).

    ``pickled`` is the one file that may be unpickled. ``calibrate`` is as there, but True by default. Calibration
    data are those of the config's test loop, or of its validation or search loop.
    """
    init_default_scope(cfg.get('default_scope', 'mmcls'))
    model = Subnet(cfg.algorithm.architecture, mutable_cfg).to(get_device())
    found = None
    if checkpoint is not None:
        content = read_checkpoint(checkpoint, pickled=pickled)
        try:
            found = load_subnet(model, content, str(checkpoint), lambda: _calibration(cfg, calibrate))
        except (InputError, OSError) as error:  # of a data loader's worker, with its traceback
            raise InputError(message_of(error)) from error
    return model.eval(), found


def _calibration(cfg: Config, calibrate: bool | None) -> FixedBatches | None:
    if calibrate is False:
        return None
    loop = calibration_settings(cfg)
    try:
        return calibration_batches(
            loop.calibrate_dataloader, loop.calibrate_sample_num, loop.get('seed', 0), cache=False
        )
    except InputError as error:
        if calibrate or not isinstance(error.__cause__, FileNotFoundError):
            raise
        warnings.warn(
            "the subnet is not calibrated, and in eval mode its outputs are of no use yet: the config's images are "
            f'missing, {error}. config= names a config with images of yours; calibrate=False silences this.',
            stacklevel=6,  # the caller of get_subnet
        )
        return None
