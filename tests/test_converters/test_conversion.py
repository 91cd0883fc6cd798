"""Other projects' supernets: every tensor is accounted for, and the logits are theirs."""

import argparse
import contextlib
import json
import os
import random
import subprocess
import tarfile
from dataclasses import replace

import numpy as np
import parity
import pytest
import reference_network
import torch
from conftest import ROOT
from mmengine.logging import HistoryBuffer
from tiny_imagenet import SUPERNET

from mmrazor_bignas import get_subnet
from mmrazor_bignas.converters import ATTENTIVENAS, MMRAZOR, convert
from mmrazor_bignas.converters.conversion import NEVER_RUNS
from mmrazor_bignas.converters.tool import convert_file, converter_parser
from mmrazor_bignas.engine.checkpoints import read_checkpoint, read_tensors
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import extract_subnet
from mmrazor_bignas.registry import MODELS
from mmrazor_bignas.search_space import SubnetSpec
from mmrazor_bignas.search_space.lookup import NAMED_YAML, find_subnet

PROJECTS = {'attentivenas': ATTENTIVENAS, 'mmrazor': MMRAZOR}
FULL_DEPTHS = [2, 5, 6, 6, 8, 8, 2]
REDUCED_CONFIG = f"""
algorithm = dict(type='mmrazor_bignas.Subnet', mutable_cfg='min', architecture={parity.ARCHITECTURE!r})
default_scope = 'mmcls'
custom_imports = dict(imports=['mmrazor_bignas.registry'])
"""


def in_form(state, project, depths):
    """A state dict with AttentiveNAS's keys, as the project's checkpoint holds it."""
    if project == 'attentivenas':
        return {'state_dict': {f'module.{key}': value for key, value in state.items()}}
    renamed = {parity.mmrazor_key(key, depths): value for key, value in state.items() if 'bn_tracking' not in key}
    masks = {f'architecture.backbone.{end}_mutable_channels.mask': torch.ones(1) for end in ('first', 'last')}
    return {'state_dict': renamed | masks, 'meta': {'epoch': 1}}


@pytest.fixture(scope='session')
def full_state():
    return reference_network.weights(parity.keys('attentivenas'))


@pytest.fixture(scope='session')
def full_supernet():
    return MODELS.build(load_config(ROOT / SUPERNET).algorithm.architecture)


@pytest.fixture
def reduced():
    return MODELS.build(parity.ARCHITECTURE)


@pytest.fixture
def run(tmp_path):
    """Convert a file of the reduced space on the command line; returns what was written."""
    config = tmp_path / 'reduced.py'
    config.write_text(REDUCED_CONFIG)

    def run(source, project='attentivenas', *options, out=tmp_path / 'out.pth'):
        parser = converter_parser(PROJECTS[project], 'IN OUT')
        convert_file(parser.parse_args([str(source), str(out), '--config', str(config), *options]), PROJECTS[project])
        return read_checkpoint(out)

    return run


@pytest.fixture(params=PROJECTS)
def checkpoint(request, tmp_path):
    """Path and project of a checkpoint of the reduced space."""
    path = tmp_path / f'{request.param}.pth'
    torch.save(in_form(parity.official_state(), request.param, [2, 2, 2, 2, 2, 2, 1]), path)
    return path, request.param


# The account


def test_the_whole_key_lists_are_accounted_for(full_supernet):
    for project, dropped in (('attentivenas', [666, 30]), ('mmrazor', [30, 2])):
        listed = parity.keys(project)
        state = {key: torch.zeros(shape, dtype=getattr(torch, dtype)) for key, shape, dtype in listed}
        conversion = convert(state, PROJECTS[project], full_supernet, project)
        assert [len(keys) for keys in conversion.dropped.values()] == dropped
        assert len(conversion.state) == 772 == len(listed) - sum(dropped)
        assert conversion.state.keys() == full_supernet.state_dict().keys()
        shortcuts = conversion.dropped[NEVER_RUNS]
        assert all('shortcut' in key for key in shortcuts)
        assert len(shortcuts) == 37 - sum('shortcut' in key for key in conversion.state)


def test_both_forms_give_the_same_weights(full_state, full_supernet):
    ours = [
        convert(in_form(full_state, name, FULL_DEPTHS)['state_dict'], project, full_supernet, name).state
        for name, project in PROJECTS.items()
    ]
    assert len({value.data_ptr() for value in ours[0].values()}) == 772  # no tensor twice
    assert all(torch.equal(value, ours[1][key]) for key, value in ours[0].items())
    names = {parity.mmrazor_key(key, FULL_DEPTHS) for key in full_state if 'bn_tracking' not in key}
    assert names == {key for key, _, _ in parity.keys('mmrazor') if 'mutable' not in key}


def test_the_account_is_printed_and_adds_up(run, checkpoint, capsys):
    path, project = checkpoint
    written = run(path, project)
    lines = capsys.readouterr().out.splitlines()
    counts = [int(line.split()[0].replace(',', '')) for line in lines if line[:6].strip().replace(',', '').isdigit()]
    assert counts[0] == sum(counts[1:]) == len(torch.load(path)['state_dict'])
    assert any("wrapper '" in line and PROJECTS[project].anchor not in line for line in lines)
    assert ('beside the tensors, not read: meta' in lines) == (project == 'mmrazor')
    assert written['meta']['converted_from']['file'] == path.name
    assert len(written['state_dict']) == counts[1]


@pytest.mark.parametrize('wrapper', ['', 'module.', 'architecture.', 'module.architecture.', '_orig_mod.module.'])
def test_wrappers_are_recognised(reduced, wrapper):
    for name, project in PROJECTS.items():
        bare = in_form(parity.official_state(), name, [2, 2, 2, 2, 2, 2, 1])['state_dict']
        taken_off = {'attentivenas': 'module.', 'mmrazor': 'architecture.'}[name]
        state = {wrapper + key.removeprefix(taken_off): value for key, value in bare.items()}
        conversion = convert(state, project, reduced, 'file')
        assert conversion.wrapper == wrapper
        assert (f"wrapper '{wrapper}'" in conversion.account()) == bool(wrapper)


# Parity


@pytest.mark.parametrize('index', range(len(parity.META['subnets'])))
def test_converted_weights_give_the_reference_logits(run, checkpoint, reduced, index):
    state = {key.removeprefix('architecture.'): value for key, value in run(*checkpoint)['state_dict'].items()}
    reduced.load_state_dict(state)
    reduced.eval()
    rows = {row: parity.META['subnets'][index][row] for row in SubnetSpec.__dataclass_fields__}
    for side in parity.META['supernet']['resolutions']:
        subnet = replace(SubnetSpec.from_dict(rows), resolution=side)
        with torch.no_grad():
            for network in (lambda x, subnet=subnet: reduced(x, subnet=subnet), extract_subnet(reduced, subnet)):
                logits = network(parity.images(2, 64, 100))
                expected = parity.OUTPUTS[f'rand_sub{index}_r{side}_from64']
                assert parity.relative_error(logits, expected) < parity.RTOL


@pytest.mark.parametrize('name', ['min', 'max', *NAMED_YAML])
def test_the_full_space_against_an_independent_network(name, full_state, full_supernet):
    state = convert(full_state, ATTENTIVENAS, full_supernet, 'full').state
    full_supernet.load_state_dict(state)
    full_supernet.eval()
    subnet = find_subnet(name, full_supernet.search_space)
    images = parity.images(2, 224, 100)
    with torch.no_grad():
        for side in {subnet.resolution, 192, 288}:
            at_side = replace(subnet, resolution=side)
            expected = reference_network.logits(full_state, at_side.to_dict(), reference_network.FULL, images)
            logits = full_supernet(images, subnet=at_side)
            assert parity.relative_error(logits, expected) < 1e-5
            # These images differ little in their logits: the difference is compared too.
            assert parity.relative_error(logits[0] - logits[1], expected[0] - expected[1]) < 1e-3


# A subnet of a converted supernet


def test_get_subnet_from_a_converted_checkpoint(run, checkpoint, tmp_path):
    run(*checkpoint)
    config = tmp_path / 'reduced_with_data.py'
    config.write_text(
        REDUCED_CONFIG + 'test_cfg = dict(calibrate_sample_num=8, calibrate_dataloader=dict(batch_size=4, '
        "dataset=dict(type='ImageNet', data_root='nowhere', ann_file='meta/train.txt')))\n"
    )
    with pytest.warns(UserWarning, match=r'not calibrated.*missing') as warned:
        model = get_subnet('max', checkpoint=tmp_path / 'out.pth', config=config)
    assert warned[0].filename == __file__
    with torch.no_grad():
        logits = model(parity.images(2, 64, 100))
    assert parity.relative_error(logits, parity.OUTPUTS['rand_sub1_r64_from64']) < parity.RTOL
    with pytest.raises(InputError, match=r'nowhere/meta/train\.txt'):
        get_subnet('max', checkpoint=tmp_path / 'out.pth', config=config, calibrate=True)
    get_subnet('max', checkpoint=tmp_path / 'out.pth', config=tmp_path / 'reduced.py', calibrate=False)


# Pickled objects


def official():
    return in_form(parity.official_state(), 'attentivenas', [])


@pytest.mark.parametrize('legacy', [False, True])
def test_pickled_objects_are_refused_or_left_out(run, tmp_path, legacy):
    path = tmp_path / 'official.pth.tar'
    history = HistoryBuffer([1.0, 2.0], [1, 1])  # as mmengine's checkpoints have them
    beside = {'args': argparse.Namespace(lr=0.1, sizes=[1, 2]), 'best': np.float64(1.0), 'losses': {'loss': history}}
    torch.save({**official(), **beside}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r'official\.pth\.tar: .* pickled objects .*--skip-pickled'):
        run(path)
    written = run(path, 'attentivenas', '--skip-pickled')
    torch.save(official(), path)
    plain = run(path)
    assert all(torch.equal(value, plain['state_dict'][key]) for key, value in written['state_dict'].items())


class Calls:
    """Calls something when it is unpickled the usual way, and sets its state afterwards."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


class Evil(torch.nn.Module):
    """A TorchScript module that writes a file when it is loaded."""

    def __init__(self, trace: str):
        super().__init__()
        self.trace = trace

    @torch.jit.export
    def __getstate__(self):
        return (self.trace, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.trace, self.training = state
        torch.save(torch.ones(1), self.trace)

    def forward(self, x):
        return x


def attacks(trace):
    """Contents of a checkpoint that would leave a file behind if anything of it ran."""
    command = f'touch {trace}'
    yield 'a command', Calls(os.system, (command,))
    yield 'a command by another way', Calls(subprocess.call, (command,))
    yield 'eval', Calls(eval, (f'open({str(trace)!r}, "w")',))
    yield 'a file', Calls(open, (str(trace), 'w'))
    yield 'what a function of torch is', Calls(torch._utils._rebuild_tensor, (), {'__name__': 'owned'})


@pytest.mark.parametrize('legacy', [False, True])
def test_nothing_of_a_file_runs(run, tmp_path, legacy):
    path, trace = tmp_path / 'evil.pth', tmp_path / 'trace'
    for name, attack in attacks(trace):
        torch.save({**official(), 'beside': attack}, path, _use_new_zipfile_serialization=not legacy)
        for options in ([], ['--skip-pickled']):
            with contextlib.suppress(InputError):
                run(path, 'attentivenas', *options)
            assert not trace.exists(), name
    assert torch._utils._rebuild_tensor.__name__ == '_rebuild_tensor'


def test_other_archives_are_refused_unread(run, tmp_path):
    trace, path = tmp_path / 'trace', tmp_path / 'script.pth'
    torch.jit.script(Evil(str(trace))).save(str(path))
    with contextlib.suppress(OSError):
        trace.unlink()
    tar = tmp_path / 'old.pth'
    with tarfile.open(tar, 'w') as archive:
        fifo = tarfile.TarInfo('storages')
        fifo.type = tarfile.FIFOTYPE  # reading it would hang
        archive.addfile(fifo)
    for source, message in ((path, 'a TorchScript archive'), (tar, 'a tar archive')):
        for options in ([], ['--skip-pickled']):
            with pytest.raises(InputError, match=message):
                run(source, 'attentivenas', *options)
    assert not trace.exists()


def test_damaged_files_are_one_message(run, tmp_path):
    """Whatever bytes are changed: the weights, or an InputError."""
    rng = random.Random(0)
    for legacy in (False, True):
        path = tmp_path / 'whole.pth'
        content = {'state_dict': {'module.a': torch.ones(3)}, 'args': argparse.Namespace(lr=1), 'epoch': 3}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            path.write_bytes(damaged)
            for skip in (False, True):
                with contextlib.suppress(InputError):
                    read_tensors(path, skip)


def test_half_precision_and_parameters_are_read(run, reduced, tmp_path):
    path = tmp_path / 'half.pth'
    state = parity.official_state()
    halves = {key: torch.nn.Parameter(v.half()) if v.is_floating_point() else v for key, v in state.items()}
    torch.save(halves, path)
    assert read_tensors(path, skip_pickled=True)['state_dict'].keys() == state.keys()
    for key, value in run(path)['state_dict'].items():
        assert value.dtype == reduced.state_dict()[key.removeprefix('architecture.')].dtype


# Bad input


def broken(change):
    """AttentiveNAS's reduced supernet with tensors of these shapes put in, or (None) taken out."""
    state = {f'module.{key}': value for key, value in parity.official_state().items()}
    for key, shape in change.items():
        state.pop(key) if shape is None else state.update({key: torch.ones(shape)})
    return {'state_dict': state}


PROJECT = 'module.blocks.3.mobile_inverted_conv.point_linear.conv.conv.weight'
EMA = f'module.ema.{ATTENTIVENAS.anchor}'


@pytest.mark.parametrize(
    ('change', 'messages'),
    [
        ({'module.teacher.weight': (2,)}, ['unknown: module.teacher.weight (2,)']),
        ({'teacher.weight': (2,)}, ['unknown: teacher.weight (2,)']),
        ({'module.blocks.99.shortcut.conv.conv.weight': (2,)}, ['unknown: module.blocks.99']),
        ({PROJECT: None}, ['missing: what is backbone.stages.1.1.project.conv.weight here, (8, 48, 1, 1)']),
        ({PROJECT: (9, 48, 1, 1)}, ['another search space', 'is (9, 48, 1, 1); expected (8, 48, 1, 1)']),
        ({PROJECT: (6, 48, 1, 1)}, ['one subnet of AttentiveNAS', 'is (6, 48, 1, 1); expected (8, 48, 1, 1)']),
        ({PROJECT: (3,)}, ['is (3,); expected (8, 48, 1, 1)']),
        ({'module.blocks.0.mutable.weight': (2,)}, ['unknown: module.blocks.0.mutable.weight', 'but not whole']),
        ({EMA: (3,)}, ['several networks', "'module.ema.'"]),
    ],
)
def test_differences_are_listed(run, tmp_path, change, messages):
    path = tmp_path / 'broken.pth'
    torch.save(broken(change), path)
    with pytest.raises(InputError) as error:
        run(path)
    assert str(error.value).startswith(f'{path}: ')
    assert all(message in str(error.value) for message in messages)
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (torch.full((8, 48, 1, 1), torch.nan), 'has values that are not finite'),
        (torch.ones(8, 48, 1, 1, dtype=torch.int8), r'is torch\.int8; expected floating point'),
        (torch.ones(8, 48, 1, 1, dtype=torch.bool), r'is torch\.bool; expected floating point'),
        (torch.ones(8, 48, 1, 1, dtype=torch.complex64), r'is torch\.complex64; expected floating point'),
        (torch.ones(8, 48, 1, 1, device='meta'), r'.* on meta; expected plain numbers'),
        (torch.ones(8, 48, 1, 1).to_sparse(), r'is torch\.sparse_coo.*expected plain numbers'),
    ],
)
def test_numbers_that_cannot_be_weights_are_listed(reduced, value, message):
    state = broken({})['state_dict'] | {PROJECT: value}
    with pytest.raises(InputError, match=f'numbers: {PROJECT} {message}'):
        convert(state, ATTENTIVENAS, reduced, 'file')


def test_every_difference_is_listed_not_the_first_few(run, tmp_path):
    path = tmp_path / 'broken.pth'
    gone = [key for key in parity.official_state() if '.point_linear.' in key and 'bn_tracking' not in key]
    torch.save(broken({f'module.{key}': None for key in gone}), path)
    with pytest.raises(InputError) as error:
        run(path)
    assert str(error.value).count('missing: ') == 13 * 6


def test_other_kinds_of_checkpoint_are_named(run, tmp_path, reduced):
    official = parity.official_state()
    static = {key.replace('conv.conv.', 'conv.').replace('bn.bn.', 'bn.'): value for key, value in official.items()}
    mmrazor = in_form(official, 'mmrazor', [2, 2, 2, 2, 2, 2, 1])['state_dict']
    cases = {
        'mmrazor.pth': (mmrazor, 'its tensors are named as MMRazor does'),
        'static.pth': (static, 'one static subnet of AttentiveNAS'),
        'ours.pth': (reduced.state_dict(), 'a checkpoint of mmrazor_bignas, which needs no conversion'),
        'none.pth': ({}, 'none of its 0 tensors'),
        'resnet.pth': ({'conv1.weight': torch.ones(1), 'bn1.weight': torch.ones(1)}, r"found \['conv1.weight', 'bn1"),
    }
    for name, (state, message) in cases.items():
        torch.save({'state_dict': state}, tmp_path / name)
        with pytest.raises(InputError, match=f'{name}: no supernet of AttentiveNAS or AlphaNet.*{message}'):
            run(tmp_path / name)


def test_files_that_are_no_checkpoint(run, tmp_path, checkpoint):
    path, project = checkpoint
    half, text, other, numbered = (tmp_path / f'{name}.pth' for name in ('half', 'text', 'other', 'numbered'))
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    text.write_text('resolution: 192\n')
    torch.save({'model': {'a': 1}, 'optimizer': {}}, other)
    torch.save({0: torch.zeros(2)}, numbered)
    for source, message in (
        (half, 'half.pth: unreadable or cut off'),
        (text, 'text.pth: not a checkpoint'),
        (tmp_path, 'is a folder, not checkpoint file'),
        (tmp_path / 'none.pth', 'no such checkpoint file'),
        (numbered, r'numbered\.pth: its state_dict does not map names to tensors'),
        (other, r"other.pth: has no state_dict; found \['model', 'optimizer'\]"),
    ):
        for options in ([], ['--skip-pickled']):
            with pytest.raises(InputError, match=message):
                run(source, project, *options)
    os.mkfifo(tmp_path / 'fifo')
    for out, message in (
        (path, 'is what is read'),
        (tmp_path, 'is a folder'),
        (tmp_path / 'fifo', 'is no regular file'),
    ):
        with pytest.raises(InputError, match=message):
            run(path, project, out=out)


def test_the_key_lists_are_those_of_two_projects():
    assert [len(json.loads((parity.DATA / f'{name}_keys.json').read_text())) for name in PROJECTS] == [1468, 804]
