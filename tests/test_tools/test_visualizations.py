"""The sheet of augmented images shows what a training sees; the plots of searches show what was evaluated."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from mmengine.registry import init_default_scope
from tiny_imagenet import run

from mmrazor_bignas.commands import plot_augmentation, plot_search
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.engine.train_batches import build_train_loader
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import History

DIGITS = str(ROOT / 'configs/demo/digits_supernet.py')
COLOURS = {'blue': (255, 0, 0), 'yellow': (0, 255, 255), 'red': (0, 0, 255), 'cyan': (255, 255, 0)}  # as cv2 has them


def draw(*words) -> None:
    plot_augmentation.main(plot_augmentation.build_parser().parse_args([str(word) for word in words]))


def draw_searches(*words) -> None:
    plot_search.main(plot_search.build_parser().parse_args([str(word) for word in words]))


def history_in(folder: Path, *subnets, **header) -> Path:
    """A search history of subnets with scores of 0.5 and more."""
    folder.mkdir(parents=True)
    history = History(folder / 'search_history.jsonl', header, resume=False)
    for i, subnet in enumerate(subnets):
        history.add(subnet, {'generation': i, 'score': 0.5 + i / 10, 'metrics': {}, 'flops': 10**6 + i, 'params': 9})
    return history.path


def config_of(folder: Path, dataset: str) -> str:
    """A training config of the digits, but for the data set."""
    path = folder / 'augmented.py'
    path.write_text(f'_base_ = {DIGITS!r}\ntrain_dataloader = dict(dataset=dict(_delete_=True, {dataset}))\n')
    return str(path)


def digits_through(*steps: str) -> str:
    return f"type='mmrazor_bignas.Digits', pipeline=[dict(type='Resize', scale=(32, 32)), {', '.join(steps)}]"


def test_from_the_command_line(tmp_path):
    steps = ("dict(type='mmrazor_bignas.AutoAugment', policies='v0')", "dict(type='PackClsInputs')")
    config, out = config_of(tmp_path, digits_through(*steps)), tmp_path / 'a/sheet.png'
    result = run('tools/visualizations/plot_augmentation.py', config, '--out', out, '--num', 2)
    assert result.code == 0, result.err[-3000:]
    assert result.out.splitlines()[-1] == f'{out}: 2 images of mmrazor_bignas.Digits, seed 0'
    height, width, _ = cv2.imread(str(out)).shape
    assert 3 < width / height < 5  # two rows of nine


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"sheet\.xyz: expected a name that ends in one of .*'png'"):
        draw(DIGITS, '--out', tmp_path / 'sheet.xyz', '--num', 1)


@pytest.mark.parametrize(('inverted', 'share'), [(0, 9), (1, 1)])
def test_colours_are_as_in_the_file(tmp_path, inverted, share):
    """Of one blue image: the original, then what the pipeline makes of it, in eight epochs."""
    blue = np.zeros((20, 20, 3), np.uint8)
    blue[..., 0] = 255
    (tmp_path / 'images/a').mkdir(parents=True)
    assert cv2.imwrite(str(tmp_path / 'images/a/0.png'), blue)
    steps = f"dict(type='mmrazor_bignas.AutoAugment', policies=[[('Invert', {inverted}, 0)]])"
    steps = f"dict(type='LoadImageFromFile'), {steps}, dict(type='PackClsInputs')"
    dataset = f"type='CustomDataset', classes=['a'], data_prefix={str(tmp_path / 'images')!r}, pipeline=[{steps}]"
    draw(config_of(tmp_path, dataset), '--out', tmp_path / 'sheet.png')
    sheet = cv2.imread(str(tmp_path / 'sheet.png')).reshape(-1, 3)
    counts = {name: (sheet == colour).all(axis=1).sum() for name, colour in COLOURS.items()}
    cell = (counts['blue'] + counts['yellow']) / 9
    assert cell > 2000
    assert counts['blue'] / cell == pytest.approx(share, rel=0.05)
    assert counts['yellow'] / cell == pytest.approx(9 - share, rel=0.05)
    assert counts['red'] == counts['cyan'] == 0


def test_it_shows_what_the_training_sees():
    init_default_scope('mmcls')
    loader = build_train_loader({**load_config(DIGITS).train_dataloader, 'batch_size': 4}, seed=5)
    loader.batch_sampler.begin(epoch=1, position=0)
    keys = next(iter(loader.batch_sampler))
    batch = next(iter(loader))['inputs']
    for (epoch, index), image in zip(keys, batch, strict=True):
        assert epoch == 1
        shown = plot_augmentation.image_after(loader.dataset, epoch, index)
        assert (shown == image.permute(1, 2, 0).numpy()).all()
        assert (shown != plot_augmentation.image_after(loader.dataset, 0, index)).any()
        assert plot_augmentation.image_before(loader.dataset.dataset, index).shape == (8, 8, 3)


def test_the_seed_changes_the_sheet(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        draw(DIGITS, '--out', tmp_path / f'{name}.png', '--num', 1, '--seed', seed)
    sheets = {name: (tmp_path / f'{name}.png').read_bytes() for name in 'abc'}
    assert sheets['a'] == sheets['b'] != sheets['c']


def test_bad_input(tmp_path):
    out = ('--out', tmp_path / 'sheet.png')
    with pytest.raises(InputError, match='--num 0: expected 1 or more'):
        draw(DIGITS, *out, '--num', 0)
    with pytest.raises(InputError, match='no such config file'):
        draw('none.py', *out)
    with pytest.raises(InputError, match='has no key train_dataloader; expected a config of a training'):
        draw(ROOT / 'configs/demo/digits_search.py', *out)
    unknown = digits_through("dict(type='mmrazor_bignas.AutoAugment', policies='v9')")
    with pytest.raises(InputError, match="policies is 'v9'; expected one of"):
        draw(config_of(tmp_path, unknown), *out)
    unpacked = digits_through("dict(type='RandomFlip', prob=0.5)")
    with pytest.raises(InputError, match=r'the pipeline gives NoneType; expected uint8 \(3 or 1, height, width\)'):
        draw(config_of(tmp_path, unpacked), *out)
    assert not (tmp_path / 'sheet.png').exists()


def test_a_data_set_without_a_loader():
    class Bare:
        def get_data_info(self, index):
            return {'img_path': 'a.jpg'}

    with pytest.raises(InputError, match='data set Bare: loads no image'):
        plot_augmentation.image_before(Bare(), 0)


def test_searches_from_the_command_line(tmp_path, tiny_space):
    history = history_in(tmp_path / 'run', tiny_space.smallest, tiny_space.largest)
    out = tmp_path / 'a/pareto.png'
    result = run('tools/visualizations/plot_search.py', history, '--out', out)
    assert result.code == 0, result.err[-3000:]
    assert result.out == f'{out}: 2 subnets\n'
    assert cv2.imread(str(out)) is not None
    assert [path.name for path in out.parent.iterdir()] == ['pareto.png']


def test_searches_are_compared(tmp_path, tiny_space, capsys):
    histories = [
        history_in(tmp_path / 'a/run', tiny_space.smallest, tiny_space.largest, score='accuracy/top1'),
        history_in(tmp_path / 'b/run', tiny_space.largest, score='accuracy/top1'),
    ]
    outs = {option: tmp_path / f'{option}.png' for option in ('out', 'scores', 'choices')}
    outs['report'] = tmp_path / 'report.html'
    draw_searches(*histories, *(word for option, path in outs.items() for word in (f'--{option}', path)))
    assert capsys.readouterr().out.splitlines() == [f'{path}: 3 subnets' for path in outs.values()]
    images = [cv2.imread(str(outs[option])) for option in ('out', 'scores', 'choices')]
    assert all(image.std() > 10 for image in images)
    page = outs['report'].read_text()
    assert '"run: Pareto front"' in page
    assert '"run (2): Pareto front"' in page
    assert 'accuracy/top1 on the search split' in page


@pytest.mark.parametrize(
    ('paths', 'names'),
    [
        (['a/x/h'], ['x']),
        (['a/x/h', 'b/x/h', 'x/h'], ['x', 'x (2)', 'x (3)']),
        (['a/x/h', 'x (2)/h', 'b/x/h'], ['x', 'x (2)', 'x (3)']),
        (['/h', 'x/../y/h'], ['search', 'y']),
    ],
)
def test_every_run_has_its_name(paths, names):
    assert plot_search.run_names(paths) == names


def test_bad_searches(tmp_path, tiny_space):
    out = ('--out', tmp_path / 'pareto.png')
    good, empty = history_in(tmp_path / 'good', tiny_space.smallest), history_in(tmp_path / 'empty')
    with pytest.raises(InputError, match='none: no such history'):
        draw_searches(good, tmp_path / 'none', *out)
    with pytest.raises(InputError, match=r'empty/search_history\.jsonl: no candidate was evaluated yet'):
        draw_searches(good, empty, *out)
    with pytest.raises(InputError, match=r"pareto\.xyz: expected a name that ends in one of .*'png'"):
        draw_searches(good, '--out', tmp_path / 'pareto.xyz')
    with empty.open('a') as file:
        file.write('{"score": 1}\n')
    with pytest.raises(InputError, match='line 2: expected a mapping with the genes'):
        draw_searches(good, empty, *out)
    empty.write_text('{}\n')
    with pytest.raises(InputError, match='not a search history'):
        draw_searches(good, empty, *out)
    assert not list(tmp_path.glob('pareto*'))
