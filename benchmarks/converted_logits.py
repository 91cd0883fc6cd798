"""Largest deviation of converted weights' logits from reference logits, relative to the largest logit.

PYTHONPATH=tests python benchmarks/converted_logits.py

In the reduced space against stored outputs of an independent implementation; in the full space, with made-up weights,
against tests/reference_network.py. Both for checkpoints with AttentiveNAS's and with MMRazor's names.
"""

from dataclasses import replace

import parity
import reference_network
import torch
from mmengine.registry import init_default_scope

from mmrazor_bignas.converters import ATTENTIVENAS, MMRAZOR, convert
from mmrazor_bignas.converters.tool import DEFAULT_CONFIG
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.models import SearchableImageClassifier, extract_subnet
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import ROWS, SubnetSpec
from mmrazor_bignas.search_space.lookup import NAMED_YAML, find_subnet

LINE = '{:8} {:28} {:>10} {:>14} {:>14}'


def converted(classifier: SearchableImageClassifier, official: dict, project: str) -> SearchableImageClassifier:
    """The classifier with AttentiveNAS's weights, through a state dict with the project's names."""
    depths = [len(stage) for stage in classifier.backbone.spec.stages]
    if project == 'mmrazor':
        official = {parity.mmrazor_key(k, depths): v for k, v in official.items() if 'bn_tracking' not in k}
    state = convert(official, {'attentivenas': ATTENTIVENAS, 'mmrazor': MMRAZOR}[project], classifier, project).state
    classifier.load_state_dict(state)
    return classifier.eval()


@torch.no_grad()
def main() -> None:
    init_default_scope('mmcls')
    print(LINE.format('space', 'subnet', 'resolution', 'AttentiveNAS', 'MMRazor'))
    reduced = MODELS.build(parity.ARCHITECTURE)
    official, images = parity.official_state(), parity.images(2, 64, 100)
    for index, rows in enumerate(parity.META['subnets']):
        for side in parity.META['supernet']['resolutions']:
            subnet = replace(SubnetSpec.from_dict({row: rows[row] for row in ROWS}), resolution=side)
            expected = parity.OUTPUTS[f'rand_sub{index}_r{side}_from64']
            show('reduced', ('min', 'max')[index] if index < 2 else f'random {index - 1}', subnet, reduced, official,
                 images, expected)  # fmt: skip
    full = MODELS.build(load_config(DEFAULT_CONFIG).algorithm.architecture)
    official, images = reference_network.weights(parity.keys('attentivenas')), parity.images(2, 224, 100)
    for name in ('min', 'max', *NAMED_YAML):
        subnet = find_subnet(name, full.search_space)
        for side in sorted({192, subnet.resolution, 288}):
            at_side = replace(subnet, resolution=side)
            expected = reference_network.logits(official, at_side.to_dict(), reference_network.FULL, images)
            show('full', name, at_side, full, official, images, expected)


def show(space, name, subnet, supernet, official, images, expected) -> None:
    """A line of the table: the static subnet that is cut out of either project's weights."""
    errors = [
        parity.relative_error(extract_subnet(converted(supernet, official, project), subnet)(images), expected)
        for project in ('attentivenas', 'mmrazor')
    ]
    print(LINE.format(space, name, subnet.resolution, *(f'{error:.1e}' for error in errors)))


if __name__ == '__main__':
    main()
