"""Measure latency: every layer of a search space for a table, and whole subnets to check the table by."""

from __future__ import annotations

import math
import platform
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import nn

from mmrazor_bignas.engine.precision import autocast
from mmrazor_bignas.engine.progress import track
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import SearchableImageClassifier, SingleLayer
from mmrazor_bignas.search_space import LatencyTable, SearchSpace, SubnetSpec, distinct_layers

DEVICES = ('cpu', 'cuda')
DTYPES = ('float32', 'bfloat16')
WARM_UP = 3  # passes
SAMPLES = 5
SAMPLE_SECONDS = 0.002  # at least, of as many passes as that takes
LAYER_ROUNDS, SUBNET_ROUNDS = 5, 25  # a subnet has no neighbours whose errors even out its own


@dataclass(frozen=True)
class Settings:
    """What a latency is measured with.

    Attributes:
        device: One of :data:`DEVICES`.
        batch_size: Images in a forward pass.
        threads: Of torch on the CPU.
        dtype: One of :data:`DTYPES`; bfloat16 by autocast.
    """

    device: str
    batch_size: int
    threads: int
    dtype: str

    def __post_init__(self) -> None:
        for name, value, known in (('device', self.device, DEVICES), ('dtype', self.dtype, DTYPES)):
            if value not in known:
                raise InputError(f'latency: {name} is {value!r}; expected one of {list(known)}')
        for name in ('batch_size', 'threads'):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f'latency: {name} is {value!r}; expected an integer of 1 or more')
        if self.device == 'cuda' and not torch.cuda.is_available():
            raise InputError('latency: device is cuda, but torch finds no GPU here; expected cpu')

    @classmethod
    def of(cls, table: LatencyTable) -> Settings:
        """Those of a table."""
        return cls(**{name: table.measured_on[name] for name in cls.__dataclass_fields__})


def machine_name(device: str) -> str:
    """What computes: the model of the GPU or of the processor."""
    if device == 'cuda':
        return torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'
    cpu_info = Path('/proc/cpuinfo')
    text = cpu_info.read_text() if cpu_info.exists() else ''
    # The name alone can be that of many generations.
    names = ('model name', 'cpu family', 'model')
    found = [re.search(rf'^{name}\s*:\s*(.+)$', text, re.M) for name in names]
    if not all(found):
        return platform.processor() or platform.machine()
    model, family, number = (match[1] for match in found)
    return f'{model}, family {family}, model {number}'


def check_machine(table: LatencyTable, advice: str) -> None:
    """See that a table was measured on what this machine has.

    Raises:
        InputError: It was not; ends with the advice.
    """
    measured, here = table.measured_on['machine'], machine_name(table.measured_on['device'])
    if measured != here:
        raise InputError(f'{table.source}: was measured on {measured!r}, this machine has {here!r}; {advice}')


def measure_table(
    space: SearchSpace, num_classes: int, settings: Settings, source: str = 'latency table'
) -> LatencyTable:
    """A latency table of every layer that some subnet of the space has.

    Weights are new: they do not matter for the time.
    """
    layers = distinct_layers(space, num_classes)

    def inputs(layer) -> tuple[int, int]:
        return layer.in_channels, layer.side

    milliseconds = _fastest_medians(layers, SingleLayer, inputs, settings, LAYER_ROUNDS, 'measure layers')
    measured_on = {
        'machine': machine_name(settings.device),
        **vars(settings),
        'torch': torch.__version__,
        'passes': f'fastest of {LAYER_ROUNDS} rounds, each a median of {SAMPLES} samples after {WARM_UP} passes',
        'date': time.strftime('%Y-%m-%d'),
    }
    return LatencyTable({str(layer): milliseconds[layer] for layer in layers}, measured_on, space, num_classes, source)


def measure_subnets(
    classifier: SearchableImageClassifier, subnets: Sequence[SubnetSpec], settings: Settings
) -> dict[SubnetSpec, float]:
    """Milliseconds of whole subnets for one batch of images of their own resolution."""
    channels = classifier.search_space.in_channels
    return _fastest_medians(
        subnets,
        classifier.twin,
        lambda subnet: (channels, subnet.resolution),
        settings,
        SUBNET_ROUNDS,
        'measure subnets',
    )


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation of two rows without ties."""
    ranks = [sorted(range(len(row)), key=row.__getitem__) for row in (a, b)]
    places = torch.tensor([[order.index(i) for i in range(len(order))] for order in ranks], dtype=torch.float64)
    return torch.corrcoef(places)[0, 1].item()


def _fastest_medians(
    items: Iterable,
    build: Callable[..., nn.Module],
    inputs: Callable[..., tuple[int, int]],
    settings: Settings,
    rounds: int,
    what: str,
) -> dict:
    """Milliseconds of each item's network, in the round that disturbed it least.

    All are measured in every round, so that a disturbance of some seconds spoils one of an item's measurements.
    """
    items = list(items)
    found: dict = {item: [] for item in items}
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        for item in track(items * rounds, what, len(items) * rounds):
            found[item].append(_median(build(item), *inputs(item), settings))
    finally:
        torch.set_num_threads(threads)
    return {item: min(values) for item, values in found.items()}


@torch.inference_mode()
def _median(model: nn.Module, channels: int, side: int, settings: Settings) -> float:
    # As evaluated: see SearchableImageClassifier.
    model = model.eval().to(settings.device, memory_format=torch.channels_last)
    x = torch.randn(settings.batch_size, channels, side, side, generator=torch.Generator().manual_seed(0))
    x = x.to(settings.device).contiguous(memory_format=torch.channels_last)

    def seconds(passes: int) -> float:
        start = time.perf_counter()
        for _ in range(passes):
            model(x)
        if settings.device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter() - start

    with autocast(model, settings.dtype == 'bfloat16'):
        seconds(WARM_UP)
        passes = max(1, math.ceil(SAMPLE_SECONDS / seconds(1)))
        return 1000 * median(seconds(passes) / passes for _ in range(SAMPLES))
