"""A config with which mmcls's own tools take an exported checkpoint: there the network is called ``model``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmrazor_bignas.deployment.network import architecture_of
from mmrazor_bignas.deployment.preprocessing import Preprocessing
from mmrazor_bignas.engine.storage import write_atomically

IMPORTS = ['mmrazor_bignas.registry', 'mmrazor_bignas.deployment.mmcls_inferencer']


def write_mmcls_config(card: Mapping[str, Any], path: str | Path) -> None:
    """Write the config of a card's network, as mmcls's ``ImageClassificationInferencer`` reads one.

    Args:
        card: See :func:`~mmrazor_bignas.deployment.card.make_card`.
        path: The file to write; its name ends in ``.py``.
    """
    cfg = Config(
        {
            'custom_imports': {'imports': IMPORTS, 'allow_failed_imports': False},
            'default_scope': 'mmcls',
            'model': architecture_of(card),
            'test_dataloader': {
                'dataset': {'pipeline': Preprocessing.from_dict(card['preprocessing']).pipeline()},
            },
        }
    )
    write_atomically(path, lambda file: file.write(cfg.pretty_text.encode()))
