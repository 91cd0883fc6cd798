"""What a user can get wrong ends in one clear message, not in a traceback."""

import contextlib
import io
import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from image_folders import truncate
from tiny_imagenet import CLASSES, SEARCH, SEARCH_OPTIONS, SUBNET, SUPERNET, TEST_OPTIONS, TRAIN_OPTIONS, error_of, run

from mmrazor_bignas import commands
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.search_space import MEASURED_ON, LatencyTable, SearchSpace, SubnetSpec


@pytest.fixture
def tool(monkeypatch, imagenet):
    """Run a tool inside this process (a start of its own takes seconds); its error message."""
    monkeypatch.chdir(imagenet)

    def call(name: str, *words) -> str:
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, words)])
        with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as stop:
            commands.run(name)
        assert isinstance(stop.value.code, str), stop.value.code
        return stop.value.code

    return call


def test_one_message_and_no_traceback_from_the_command_line():
    error = error_of(run('tools/train.py', 'configs/none.py'))
    assert re.fullmatch('configs/none.py: no such config file, .*\n', error)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'is.py: no such config file'),
        ('algorithm = dict(', 'cannot be read as a config: SyntaxError'),
        ('model = dict()', 'no key "algorithm"'),
        ('algorithm = dict()', 'no key "algorithm.architecture.backbone.search_space"'),
        ("_base_ = ['none.py']", 'cannot be read as a config: .*none.py'),
        (f"_base_ = ['{ROOT}/{SUPERNET}']\nlearning_rate = 1", "nothing reads the key 'learning_rate'; known keys"),
    ],
)
def test_configs(tool, tmp_path, content, message):
    path = tmp_path / 'this.py'
    if content is not None:
        path.write_text(content)
    assert re.search(message, tool('train', path, '--work-dir', tmp_path))


def test_an_override_that_nothing_reads(tool, tmp_path):
    error = tool('train', SUPERNET, tmp_path, '--cfg-options', 'lr=0.1')
    assert "nothing reads the key 'lr'" in error


def test_a_key_that_a_component_does_not_know(tool, tmp_path):
    error = tool('train', SUPERNET, tmp_path, '--cfg-options', *TRAIN_OPTIONS, 'algorithm.sampler.randoms=3')
    assert 'randoms' in error


def test_an_override_that_cannot_be_read(tool, tmp_path):
    error = tool(
        'train', SUPERNET, tmp_path, '--cfg-options', "algorithm.architecture.train_cfg={'augments':[{'type'}]}"
    )
    place = "--cfg-options algorithm.architecture.train_cfg: the value cannot be read at character 21, '}]}'"
    assert error == f'train.py: error: {place}: expected a colon after the key'


@pytest.mark.parametrize('hours', ['nan', '-1'])
def test_hours_of_a_study(tool, hours):
    assert f'--hours is {float(hours)}; expected 0 or more' in tool('study', 'run', 'study.yaml', '--hours', hours)


def test_a_work_dir_that_cannot_be_written(tool, tmp_path):
    (tmp_path / 'file').write_text('')
    assert 'cannot be written' in tool('train', SUPERNET, tmp_path / 'file')
    assert 'cannot be written' in tool('train', SUPERNET, '/proc/none')


# Checkpoints


def test_a_search_needs_a_checkpoint(tool, tmp_path):
    assert 'needs --checkpoint FILE' in tool('train', SEARCH, '--work-dir', tmp_path)


@pytest.mark.parametrize('option', ['--no-validate', '--auto-scale-lr', '--tensorboard'])
def test_options_of_training_are_no_options_of_a_search(tool, tmp_path, option):
    assert f'{option} is for training' in tool('train', SEARCH, '--work-dir', tmp_path, '--checkpoint', 'x', option)


def broken_checkpoints(trained, folder):
    """Name -> (file, what the message says)."""
    whole = trained.checkpoint.read_bytes()
    (folder / 'half.pth').write_bytes(whole[: len(whole) // 2])
    (folder / 'text.pth').write_text('weights: none\n')
    (folder / 'empty.pth').write_bytes(b'')
    torch.save({'state_dict': [1, 2]}, folder / 'list.pth')
    torch.save({'state_dict': {}, 'meta': {'object': contextlib.nullcontext()}}, folder / 'pickled.pth')
    return {
        'none.pth': 'no such checkpoint file',
        '.': 'is a folder, not checkpoint file',
        'half.pth': 'cut off',
        'text.pth': 'text.pth',
        'empty.pth': 'empty.pth',
        'list.pth': 'does not map names to tensors',
        'pickled.pth': 'holds pickled objects',
    }


@pytest.mark.slow
def test_checkpoints_that_cannot_be_read(tool, trained, tmp_path):
    for name, message in broken_checkpoints(trained, tmp_path).items():
        path = tmp_path / name
        words = ['--work-dir', tmp_path / 'w', '--cfg-options', *TEST_OPTIONS, 'algorithm.mutable_cfg=min']
        error = tool('test', SUBNET, path, *words)
        assert message in error
        assert str(path) in error
        words = ['--checkpoint', path, '--work-dir', tmp_path / 'w', '--cfg-options', *SEARCH_OPTIONS]
        assert message in tool('train', SEARCH, *words)


@pytest.mark.parametrize(
    ('option', 'key'),
    [
        ('algorithm.architecture.head.num_classes=7', 'head.fc.weight: expected (7, 1984), found (6, 1984)'),
        (
            'algorithm.architecture.backbone.search_space.stem=[16,32]',
            'stem.conv.weight: expected (32, 3, 3, 3)',
        ),
    ],
)
def test_a_checkpoint_of_another_network_lists_some_keys(tool, trained, tmp_path, option, key):
    for words in (
        ['test', SUBNET, trained.checkpoint, '--work-dir', tmp_path, '--cfg-options', *TEST_OPTIONS],
        ['train', SEARCH, '--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--cfg-options', *SEARCH_OPTIONS],
    ):
        error = tool(*words, option, 'algorithm.mutable_cfg=min') if 'test' in words else tool(*words, option)
        assert key in error
        assert len(error.splitlines()) <= 7


def test_an_exported_checkpoint_of_another_subnet(tool, searched, tmp_path):
    words = [searched.work_dir / 'best_subnet.pth', '--work-dir', tmp_path, '--cfg-options', *TEST_OPTIONS]
    assert 'another subnet than algorithm.mutable_cfg says' in tool('test', SUBNET, *words, 'algorithm.mutable_cfg=max')


# Subnets


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'cannot read the subnet YAML'),
        ('width: [', 'not a YAML file'),
        ('resolution: 192\n', "missing gene 'width'"),
        ('+ks: [3]', "unknown gene 'ks'"),
        ('depth: [1]\ndepth: [2]', "subnet.yaml, line 2: the key 'depth' is given twice, first in line 1"),
        ('+resolution: 200', 'resolution is 200, outside this search space; choose one of [192, 224, 256, 288]'),
        ('+depth: [1, 3, 3, 3, 3, 3]', 'depth has 6 values, this search space needs 7'),
        ('+depth: [1, 3, 3, 9, 3, 3, 1]', 'depth[3] (mb4) is 9, outside this search space; choose one of [3, 4, 5, 6]'),
    ],
)
def test_subnet_yamls(tool, tmp_path, content, message):
    path = tmp_path / 'subnet.yaml'
    if content is not None:
        base = (ROOT / 'configs/nas/mmcls/bignas/ATTENTIVE_SUBNET_A0.yaml').read_text().splitlines()
        row = content[1:].partition(':')[0]
        others = [line for line in base if not line.startswith(f'{row}:')]
        path.write_text('\n'.join([*others, content[1:]]) if content.startswith('+') else content)
    for words in (
        ['get_flops', SUBNET, '--mutable-cfg', path],
        ['export_subnet', SUBNET, 'none.pth', '--mutable-cfg', path, '--out', tmp_path / 'out.pth'],
        ['test', SUBNET, 'none.pth', '--work-dir', tmp_path, '--cfg-options', f'algorithm.mutable_cfg={path}'],
    ):
        error = tool(*words)
        assert message in error
        assert 'subnet.yaml' in error


def test_an_unknown_name(tool):
    assert "'attentivenas-a9' is neither a file nor one of" in tool(
        'get_flops', SUBNET, '--mutable-cfg', 'attentivenas-a9'
    )


# Data


def data_set(root, lines=None):
    """A copy of the tiny ImageNet's training list with other lines; the folder to run in."""
    shutil.copytree('data', root / 'data')
    if lines is not None:
        (root / 'data/imagenet/meta/train.txt').write_text(lines)
    (root / 'configs').symlink_to(ROOT / 'configs')
    return root


def all_lines(root) -> list[str]:
    return (root / 'data/imagenet/meta/train.txt').read_text().splitlines(keepends=True)


def test_data_sets(tool, imagenet, tmp_path, monkeypatch):
    lines = all_lines(imagenet)
    cases = {
        'empty': ('', 'is empty, no image was found'),
        'gap': (''.join(line for line in lines if not line.endswith(' 2\n')), '1 of 6 classes have no image'),
        'label': (
            ''.join(lines).replace(' 5\n', ' 9\n'),
            f'largest label is 9, but the head has {CLASSES} classes',
        ),
        'one': (''.join(lines[:6] + lines[6:7]), 'class 1 has 1 images, too few'),
        'words': ('no labels here\n', 'ImageNet'),
    }
    for name, (content, message) in cases.items():
        monkeypatch.chdir(imagenet)
        monkeypatch.chdir(data_set(tmp_path / name, content))
        error = tool('train', SUPERNET, tmp_path / 'w', '--no-validate', '--cfg-options', *TRAIN_OPTIONS)
        assert message in error, name


def test_a_missing_data_folder(tool, tmp_path, monkeypatch):
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    error = tool('train', SUPERNET, tmp_path / 'w', '--cfg-options', *TRAIN_OPTIONS)
    assert 'data/imagenet' in error
    assert 'ImageNet' in error


@pytest.mark.parametrize(
    ('spoil', 'workers', 'reason'),
    [(Path.unlink, 0, 'no such file'), (truncate, 1, 'cannot be decoded as an image: no image, or cut off')],
)
def test_an_image_that_cannot_be_read(tool, tmp_path, imagenet, monkeypatch, spoil, workers, reason):
    root = data_set(tmp_path / 'x')
    for image in (root / 'data/imagenet/train').rglob('*.JPEG'):
        spoil(image)
    monkeypatch.chdir(root)
    options = [*TRAIN_OPTIONS, f'train_dataloader.num_workers={workers}']
    error = tool('train', SUPERNET, tmp_path / 'w', '--no-validate', '--cfg-options', *options)
    assert re.fullmatch(rf'train: error: data/imagenet/train/n\d+/\d\.JPEG: {reason}', error.replace('.py', ''))


# Searches


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('val_cfg.constraints.flops=[0,1e6]', 'no subnet has flops in [0, 1,000,000]; this search space reaches'),
        ('val_cfg.constraints.flops=[30e6,20e6]', 'the lower bound is above the upper one'),
        ('val_cfg.constraints.flops=700e6', 'expected (low, high)'),
        ('val_cfg.constraints.memory=[0,5]', "'memory' is unknown; expected some of ['flops', 'params', 'latency']"),
        ('val_cfg.constraints.latency=[0,5]', 'latency has no estimator; name a table that'),
        ('val_cfg.latency_table=nowhere.json', 'nowhere.json: no such latency table'),
        ('val_cfg.max_hours=0', 'max_hours is 0; expected more than 0 hours'),
        ('val_cfg.amp=no', "amp is 'no'; expected True or False"),
        ('val_cfg.seed=None', 'seed is None; expected an integer'),
        ('val_cfg.latency_table=5', "latency_table is 5; expected a file's name, or None"),
        ('val_cfg.strategy=NSGA2', "strategy is 'NSGA2'; expected a dict with the type"),
        ('val_cfg.calibrate_sample_num=None', 'calibrate_sample_num is None; expected 2 or more'),
        ('val_cfg.known=5', 'known is 5; expected a list of histories'),
        ('val_cfg.strategy.population=0', 'population is 0; expected an integer of 1 or more'),
        ('val_cfg.strategy.parents=0', 'parents is 0; expected an integer of 1 or more'),
        ('val_cfg.generations=0', 'generations is 0; expected an integer of 1 or more'),
        ('val_cfg.score=accuracy/top9', "score is 'accuracy/top9'; the evaluator measures"),
        ('val_cfg.calibrate_sample_num=0', 'calibrate_sample_num is 0'),
    ],
)
def test_searches(tool, trained, tmp_path, option, message):
    words = ['--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--cfg-options', *SEARCH_OPTIONS, option]
    assert message in tool('train', SEARCH, *words)


@pytest.mark.parametrize('measured_on', ['Turing 1', None])
def test_a_latency_table_of_another_machine_or_space(tool, trained, tmp_path, measured_on):
    rows = load_config(SUPERNET).algorithm.architecture.backbone.search_space
    if measured_on:
        rows = {**rows, 'resolution': [32, 48, 64]}
    space = SearchSpace.from_dict(rows)
    table = LatencyTable({}, {**dict.fromkeys(MEASURED_ON, 1), 'device': 'cpu', 'machine': measured_on}, space, CLASSES)
    (tmp_path / 'latency.json').write_text(table.to_json())
    option = f'val_cfg.latency_table={tmp_path / "latency.json"}'
    words = ['--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--cfg-options', *SEARCH_OPTIONS, option]
    message = "was measured on 'Turing 1', this machine has" if measured_on else 'is of another search space'
    assert message in tool('train', SEARCH, *words)


# Training


def test_a_loss_that_is_no_number_stops_before_anything_is_overwritten(tool, trained, tmp_path):
    shutil.copy(trained.checkpoint, tmp_path)
    before = (tmp_path / 'epoch_1.pth').read_bytes()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    options = [*TRAIN_OPTIONS, 'train_cfg.max_epochs=3', 'algorithm.architecture.data_preprocessor.std=[0,0,0]']
    error = tool('train', SUPERNET, tmp_path, '--resume', '--no-validate', '--cfg-options', *options)
    assert 'training stopped at iteration' in error
    assert 'largest/loss is nan' in error
    culprit = SubnetSpec.from_yaml(tmp_path / 'diverged_largest.yaml')
    assert f'largest was {culprit.to_dict()}' in error
    assert 'epoch_1.pth' in error
    assert (tmp_path / 'epoch_1.pth').read_bytes() == before
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_tensorboard_is_asked_for_where_it_is_missing(tool, tmp_path):
    if find_spec('tensorboard'):
        pytest.skip('tensorboard is installed')
    error = tool('train', SUPERNET, tmp_path / 'out', '--tensorboard')
    assert '--tensorboard needs tensorboard: pip install mmrazor_bignas[tensorboard]' in error
    assert not (tmp_path / 'out').exists()


def test_results_are_json(tool, tmp_path):
    assert 'expected a name that ends in .json' in tool('test', SUBNET, 'x.pth', '--out', tmp_path / 'out.pkl')


def test_get_flops_prints_exact_integers():
    result = run('tools/get_flops.py', SUBNET, '--mutable-cfg', 'attentivenas-a6', '--json')
    assert result.code == 0
    *words, last = result.out.splitlines()
    assert json.loads(last) == {'flops': 709007232, 'params': 15154792, 'resolution': 288}
    assert '709,007,232 (709.01 M)' in '\n'.join(words)
    assert 'multiply-adds' in '\n'.join(words)
