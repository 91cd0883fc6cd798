"""A folder per class: the training images' folders say what the classes are."""

from types import SimpleNamespace

import pytest
import torch
from image_folders import LOAD, config_of, make_folders
from killed_runs import train_here
from mmengine.registry import init_default_scope

from mmrazor_bignas.engine.checkpoints import check_classes
from mmrazor_bignas.engine.class_folders import IMAGENET_CLASSES
from mmrazor_bignas.engine.datasets import build_dataset
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError

CLASSES = ('cat', 'dog', 'eel')


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmcls')


@pytest.fixture
def data(tmp_path):
    """Training images of three classes, and validation images of two, whose own order is another."""
    make_folders(tmp_path / 'data/train', dict.fromkeys(CLASSES, 4))
    make_folders(tmp_path / 'data/val', {'dog': 2, 'eel': 2}, 50)
    return tmp_path / 'data'


@pytest.mark.parametrize('kind', ['ImageNet', 'mmcls.ImageNet', 'CustomDataset', 'mmrazor_bignas.ClassFolders'])
def test_classes_are_numbered_by_the_training_images_folders(data, kind):
    cfg = load_config(str(config_of(data, kind=kind)))
    assert cfg.algorithm.architecture.head.num_classes == 3
    train, val, calibration = map(
        build_dataset,
        (cfg.train_dataloader.dataset, cfg.val_dataloader.dataset, cfg.val_cfg.calibrate_dataloader.dataset),
    )
    for dataset in (train, val, calibration):
        assert dataset.metainfo['classes'] == CLASSES
    assert val.get_gt_labels().tolist() == [1, 1, 2, 2]
    assert calibration.get_gt_labels().tolist() == train.get_gt_labels().tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_search_and_a_test_have_the_classes_of_the_calibration_images(data, tmp_path):
    body = config_of(data).read_text()
    test = body.replace('val_', 'test_') + 'train_dataloader = None\ntrain_cfg = None\n'
    (tmp_path / 'test.py').write_text(test)
    cfg = load_config(str(tmp_path / 'test.py'))
    assert cfg.algorithm.architecture.head.num_classes == 3
    assert build_dataset(cfg.test_dataloader.dataset).get_gt_labels().tolist() == [1, 1, 2, 2]


def test_a_split_of_folders_has_their_classes(data):
    split = "train_dataloader['dataset'] = dict("
    split += "type='mmrazor_bignas.StratifiedSplit', part='train', parts=dict(rest=0.25), dataset=_train_set)\n"
    cfg = load_config(str(config_of(data, extra=split)))
    assert cfg.algorithm.architecture.head.num_classes == 3
    assert build_dataset(cfg.train_dataloader.dataset).metainfo['classes'] == CLASSES


def test_imagenet_itself_keeps_its_names(tmp_path):
    for part in ('train', 'val'):
        for number in range(IMAGENET_CLASSES):
            (tmp_path / f'data/{part}/n{number:08d}').mkdir(parents=True)
    cfg = load_config(str(config_of(tmp_path / 'data')))
    assert cfg.train_dataloader.dataset.type == 'ImageNet'
    assert cfg.algorithm.architecture.head.num_classes == IMAGENET_CLASSES


def test_named_classes_and_lists_of_images_are_left_alone(data):
    for extra in ("classes=['x', 'y', 'z']", "ann_file='x.txt'"):
        cfg = load_config(str(config_of(data, 7, extra=f'_train_set.update({extra})\n')))
        assert cfg.train_dataloader.dataset.type == cfg.val_dataloader.dataset.type == 'ImageNet'
        assert cfg.algorithm.architecture.head.num_classes == 7


@pytest.mark.parametrize('number', [1, 2, 4, 1000])
def test_another_number_of_classes_is_refused(data, number):
    message = rf'num_classes is {number}, but {data}/train has 3 class folders: set it to 3, or to None to count them'
    with pytest.raises(InputError, match=message):
        load_config(str(config_of(data, number)))


def test_open_classes_without_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=f'num_classes is not set, .*: {tmp_path}/data/train: No such file'):
        load_config(str(config_of(tmp_path / 'data')))
    (tmp_path / 'data/train').mkdir(parents=True)
    with pytest.raises(InputError, match=f'{tmp_path}/data/train: has no folders; expected one per class'):
        load_config(str(config_of(tmp_path / 'data')))


def test_a_class_that_the_training_images_lack_is_refused(data):
    make_folders(data / 'val', {'fox': 1})
    cfg = load_config(str(config_of(data)))
    message = f'{data}/val: has the class folder fox that {data}/train lacks, where the classes come from'
    with pytest.raises(InputError, match=message):
        build_dataset(cfg.val_dataloader.dataset)


def test_hidden_folders_are_no_classes_and_images_may_lie_deeper(data):
    (data / 'train/.cache').mkdir()
    make_folders(data / 'train/cat', {'more': 2}, 90)
    cfg = load_config(str(config_of(data)))
    assert build_dataset(cfg.train_dataloader.dataset).get_gt_labels().tolist() == [0] * 6 + [1] * 4 + [2] * 4


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/notes.txt').write_text('')
    cfg = {'type': 'mmrazor_bignas.ClassFolders', 'data_prefix': str(tmp_path), 'pipeline': LOAD}
    with pytest.raises(InputError, match=f'{tmp_path}: no image in the class folder a; expected files .*.jpeg'):
        build_dataset(cfg)


def test_a_missing_list_of_images_beside_class_folders(data):
    cfg = {'type': 'ImageNet', 'data_root': str(data), 'data_prefix': 'train', 'ann_file': 'meta/train.txt'}
    with pytest.raises(InputError, match=r"if there is one per class, set ann_file to nothing \(''\)"):
        build_dataset(cfg)


def test_checkpoints_and_exported_subnets_keep_the_names(data, tmp_path, monkeypatch, capsys):
    from mmrazor_bignas.commands import export_subnet

    config = config_of(data)
    train_here(config, tmp_path / 'out', validate=False)
    checkpoint = tmp_path / 'out/epoch_1.pth'
    assert tuple(torch.load(checkpoint, weights_only=True)['meta']['dataset_meta']['classes']) == CLASSES
    words = [str(config), str(checkpoint), '--mutable-cfg', 'min', '--out', str(tmp_path / 'min.pth')]
    export_subnet.main(export_subnet.build_parser().parse_args(words))
    meta = torch.load(tmp_path / 'min.pth', weights_only=True)['meta']
    assert meta['dataset_meta'] == {'classes': list(CLASSES)}
    assert meta['num_classes'] == 3


@pytest.mark.parametrize('names', [None, CLASSES])
def test_a_checkpoint_that_fits_the_data_set(names):
    meta = {'dataset_meta': {'classes': names}} if names else {}
    assert check_classes({'meta': meta}, SimpleNamespace(metainfo={'classes': CLASSES}), 'x.pth') is None
    assert check_classes({'meta': meta}, SimpleNamespace(metainfo={}), 'x.pth') is None


def test_a_checkpoint_of_other_classes():
    dataset = SimpleNamespace(metainfo={'classes': CLASSES})
    note = check_classes({'meta': {'dataset_meta': {'classes': ['cat', 'cow', 'eel']}}}, dataset, 'x.pth')
    assert note.startswith("x.pth: class 1 is 'cow', in the data set it is 'dog'; accuracies are of no use")
    note = check_classes({'meta': {'dataset_meta': {'classes': ['cat', 'dog']}}}, dataset, 'x.pth')
    assert note.startswith("x.pth: class 2 is none, in the data set it is 'eel'")
    message = "x.pth: class 0 is 'dog', in the data set it is 'cat'; expected the same order as in the training"
    with pytest.raises(InputError, match=message):
        check_classes({'meta': {'dataset_meta': {'classes': ['dog', 'cat', 'eel']}}}, dataset, 'x.pth')
