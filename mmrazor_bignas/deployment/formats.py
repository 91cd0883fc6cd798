"""Files of a network: checkpoint, ONNX, torch.export, TorchScript. How each is written, and run again."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmrazor_bignas.deployment.card import INPUT, OUTPUT, to_texts
from mmrazor_bignas.deployment.network import DeployedNetwork, architecture_of
from mmrazor_bignas.engine.checkpoints import check_state, read_checkpoint
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import fold_batch_norm
from mmrazor_bignas.registry import MODELS

OPSET = 18
EXTRA = 'mmrazor_bignas.json'  # the card, inside a file of torch's
Run = Callable[[Tensor], Tensor]


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        suffix: How its name ends.
        libraries: What must be installed beside torch to write it.
        write: Writes a network, traced with an example (2 images as it takes them), and its card to a path.
        load: Of a path; what the file computes, on the CPU.
        is_graph: Whether the file holds the operations themselves, to which some can be added.
    """

    suffix: str
    libraries: tuple[str, ...]
    write: Callable[[DeployedNetwork, Tensor, Mapping[str, Any], Path], None]
    load: Callable[[Path], Run]
    is_graph: bool = True


def need(libraries: tuple[str, ...], what: str) -> None:
    """See that libraries are installed.

    Raises:
        InputError: One is not; names the extra that has it.
    """
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise InputError(f'{what} needs {", ".join(missing)}: pip install mmrazor_bignas[onnx]')


def write_checkpoint(network: DeployedNetwork, example: Tensor, card: Mapping[str, Any], path: Path) -> None:
    torch.save({'state_dict': network.static.state_dict(), 'meta': dict(card)}, path)


def load_checkpoint(path: Path) -> Run:
    content = read_checkpoint(path)
    return run_of_checkpoint(content['state_dict'], content['meta'], str(path))


def run_of_checkpoint(state: Mapping[str, Tensor], card: Mapping[str, Any], source: str, device: str = 'cpu') -> Run:
    """What a checkpoint computes: normalised images (N, 3, height, width) to logits (N, classes).

    Raises:
        InputError: The state is of another network than the card's.
    """
    static = MODELS.build(architecture_of(card))
    check_state(static, state, source)
    static.load_state_dict(state)
    static = static.eval().to(device)
    if device == 'cpu':
        static = fold_batch_norm(static)
    return lambda images: static(images.to(device)).float().cpu()


def write_onnx(network: DeployedNetwork, example: Tensor, card: Mapping[str, Any], path: Path) -> None:
    with quiet():
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=True,  # torch's older exporter is deprecated
            dynamic_shapes=_any_batch(),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    write_card(path, card)


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """Put a card in the place of the metadata of an ONNX file, and see that the file is valid."""
    import onnx

    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, to_texts(card))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def load_onnx(path: Path) -> Run:
    return run_of_session(open_session(path))


def open_session(path: Path):
    """An ONNX file in onnxruntime, on the CPU.

    Raises:
        InputError: onnxruntime is not installed, or cannot read the file.
    """
    need(('onnxruntime',), str(path))
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    except Exception as error:  # its classes have no base of their own
        raise InputError(f'{path}: not an ONNX model, or cut off ({type(error).__name__})') from error


def run_of_session(session) -> Run:
    """What a session of onnxruntime computes."""
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def write_exported_program(network: DeployedNetwork, example: Tensor, card: Mapping[str, Any], path: Path) -> None:
    with quiet():
        program = torch.export.export(network, (example,), dynamic_shapes=_any_batch())
        torch.export.save(program, str(path), extra_files={EXTRA: json.dumps(card)})


def load_exported_program(path: Path) -> Run:
    with quiet():
        return torch.export.load(str(path)).module()


def write_torchscript(network: DeployedNetwork, example: Tensor, card: Mapping[str, Any], path: Path) -> None:
    with quiet():
        torch.jit.save(torch.jit.trace(network, example), str(path), _extra_files={EXTRA: json.dumps(card)})


def load_torchscript(path: Path) -> Run:
    with quiet():
        return torch.jit.load(str(path), map_location='cpu')


ONNX_LIBRARIES = ('onnx', 'onnxruntime', 'onnxscript')
FORMATS = {
    'pth': Format('.pth', (), write_checkpoint, load_checkpoint, is_graph=False),
    'onnx': Format('.onnx', ONNX_LIBRARIES, write_onnx, load_onnx),
    'torch.export': Format('.pt2', (), write_exported_program, load_exported_program),
    'torchscript': Format('.pt', (), write_torchscript, load_torchscript),
}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' own notes: deprecations inside torch, every shape that a trace fixes."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _any_batch() -> tuple[dict]:
    return ({0: torch.export.Dim('batch')},)
