"""Train, search, test and export on a tiny ImageNet folder, through the real configs."""

import json
import shutil

import pytest
import torch
import yaml
from mmengine.config import Config
from tiny_imagenet import (
    CLASSES,
    SEARCH,
    SEARCH_OPTIONS,
    SUBNET,
    SUPERNET,
    TEST_OPTIONS,
    TRAIN_OPTIONS,
    error_of,
    run,
)

from mmrazor_bignas.engine.latency import machine_name
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.search import pareto_front, read_history
from mmrazor_bignas.search_space import MEASURED_ON, LatencyTable, SearchSpace, SubnetSpec, distinct_layers


def test_train(trained):
    assert 'Epoch(train)' in trained.out
    assert 'smallest/loss' in trained.out
    assert 'min/accuracy/top1' in trained.out
    assert 'max/accuracy/top1' in trained.out
    assert 'paramwise_options' not in trained.out


def test_checkpoints_are_plain_and_say_what_they_are_of(trained):
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    assert checkpoint['meta']['search_space']['resolution'] == [32, 48, 64]
    assert checkpoint['meta']['mmrazor_bignas_version']
    assert checkpoint['optimizer']['state']
    cfg = Config.fromstring(checkpoint['meta']['cfg'], file_format='.py')
    assert cfg.algorithm.type == 'mmrazor_bignas.BigNAS'
    assert checkpoint['meta']['layout'] == {'iters_per_epoch': 3, 'world_size': 1, 'batch_size': 10}
    # The running statistics of a supernet never move.
    state = checkpoint['state_dict']
    assert not any(value.any() for key, value in state.items() if key.endswith('running_mean'))
    assert not any(value.any() for key, value in state.items() if key.endswith('num_batches_tracked'))


def test_search(searched):
    records = read_history(searched.work_dir / 'search_history.jsonl')
    assert len(records) == 4
    assert {record['generation'] for record in records.values()} == {0, 1}
    assert all(record['flops'] <= 30e6 for record in records.values())
    best = SubnetSpec.from_yaml(searched.work_dir / 'best_subnet.yaml')
    assert records[best]['score'] == max(record['score'] for record in records.values())
    assert 'generation 2/2' in searched.out


def test_a_search_leaves_its_pareto_set_and_a_report(searched):
    records = read_history(searched.work_dir / 'search_history.jsonl')
    front = pareto_front({subnet: (-record['score'], record['flops']) for subnet, record in records.items()})
    yamls = sorted((searched.work_dir / 'pareto').iterdir())
    assert [SubnetSpec.from_yaml(path) for path in yamls] == front
    assert yamls[0].read_text().startswith(f'# accuracy/top1 {records[front[0]]["score"]:.4f}, flops ')
    report = (searched.work_dir / 'report.html').read_text()
    assert all(f'href="pareto/{path.name}"' in report for path in yamls)
    for name in ('pareto.png', 'scores.png', 'choices.png'):
        assert (searched.work_dir / name).read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
def test_a_search_of_many_objectives(imagenet, trained, tmp_path):
    """Under bfloat16, with a latency table, and a checkpoint for every subnet of the Pareto set."""
    rows = load_config(SUPERNET).algorithm.architecture.backbone.search_space
    space = SearchSpace.from_dict({**rows, 'resolution': [32, 48, 64]})
    layers = distinct_layers(space, CLASSES)
    measured_on = {**dict.fromkeys(MEASURED_ON, 1), 'device': 'cpu', 'machine': machine_name('cpu')}
    table = LatencyTable({str(layer): 0.5 for layer in layers}, measured_on, space, CLASSES)
    (tmp_path / 'latency.json').write_text(table.to_json())
    (tmp_path / 'pareto').mkdir()
    (tmp_path / 'pareto/999.yaml').write_text('of an earlier search')
    (tmp_path / 'pareto/notes.txt').write_text('mine')
    options = [
        *SEARCH_OPTIONS,
        'val_cfg.strategy.type=mmrazor_bignas.NSGA2',
        'val_cfg.strategy.objectives=[score,latency]',
        f'val_cfg.latency_table={tmp_path / "latency.json"}',
        'val_cfg.constraints.latency=[0,12]',
        'val_cfg.export_pareto=True',
    ]
    words = ['--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--amp', '--cfg-options', *options]
    result = run('tools/train.py', SEARCH, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    records = read_history(tmp_path / 'search_history.jsonl')
    assert all(record['latency'] == 0.5 * (2 + sum(subnet.depth)) <= 12 for subnet, record in records.items())
    assert json.loads((tmp_path / 'search_history.jsonl').read_text().splitlines()[0])['amp'] is True
    front = pareto_front({subnet: (-record['score'], record['latency']) for subnet, record in records.items()})
    names = [f'{i:03d}.{suffix}' for i in range(1, 1 + len(front)) for suffix in ('pth', 'yaml')]
    assert sorted(path.name for path in (tmp_path / 'pareto').iterdir()) == [*names, 'notes.txt']
    for i, subnet in enumerate(front, 1):
        meta = torch.load(tmp_path / f'pareto/{i:03d}.pth', weights_only=True)['meta']
        assert meta['subnet'] == subnet.to_dict()
        assert meta['metrics'] == records[subnet]['metrics']


def test_a_resumed_search_evaluates_nothing_twice_and_ends_the_same(imagenet, trained, searched, tmp_path):
    history = (searched.work_dir / 'search_history.jsonl').read_text().splitlines(keepends=True)
    (tmp_path / 'search_history.jsonl').write_text(''.join(history[:3]) + history[3][:25])
    words = ['--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--resume', '--cfg-options', *SEARCH_OPTIONS]
    result = run('tools/train.py', SEARCH, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    assert 'half-written' in result.out
    assert 'resumed: 2 candidates are known' in result.out
    assert (tmp_path / 'search_history.jsonl').read_text() == ''.join(history)
    for name in ('best_subnet.yaml',):
        assert (tmp_path / name).read_text() == (searched.work_dir / name).read_text()


def test_a_resume_with_other_options_loses_nothing(imagenet, trained, searched, tmp_path):
    """What another seed would not ask for may be the best all the same; what a third search knows comes on top."""
    header, *lines = (searched.work_dir / 'search_history.jsonl').read_text().splitlines()
    best, known, *_ = map(json.loads, lines)
    best['score'], known['score'] = 99.0, 98.0
    (tmp_path / 'search_history.jsonl').write_text('\n'.join([header, json.dumps(best)]) + '\n')
    (tmp_path / 'known.jsonl').write_text('\n'.join([header, json.dumps(known)]) + '\n')
    options = [
        *SEARCH_OPTIONS,
        'val_cfg.strategy.seed=5',
        'val_cfg.generations=1',
        f'val_cfg.known=[{tmp_path}/known.jsonl]',
    ]
    words = ['--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--resume', '--cfg-options', *options]
    result = run('tools/train.py', SEARCH, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    assert 'took over 1 candidates' in result.out
    assert SubnetSpec.from_yaml(tmp_path / 'best_subnet.yaml').to_dict() == best['subnet']
    scores = [record['score'] for record in read_history(tmp_path / 'search_history.jsonl').values()]
    assert scores[:2] == [99.0, 98.0]
    assert len(scores) == 4


def test_the_history_of_another_checkpoint_is_refused(imagenet, trained, searched, tmp_path):
    shutil.copy(searched.work_dir / 'search_history.jsonl', tmp_path)
    checkpoint = torch.load(trained.checkpoint, weights_only=True)
    checkpoint['state_dict']['architecture.head.fc.bias'] += 1
    torch.save(checkpoint, tmp_path / 'other.pth')
    words = ['--checkpoint', tmp_path / 'other.pth', '--work-dir', tmp_path, '--resume', '--cfg-options']
    error = error_of(run('tools/train.py', SEARCH, *words, *SEARCH_OPTIONS, cwd=imagenet))
    assert "the history of another search: ['checkpoint'] differ" in error


@pytest.mark.slow
def test_a_finished_search_seeds_another_with_another_budget(imagenet, trained, searched, tmp_path):
    known = read_history(searched.work_dir / 'search_history.jsonl')
    budget = sorted(record['flops'] for record in known.values())[1]  # that of two of the four
    options = [
        *SEARCH_OPTIONS,
        f'val_cfg.known=[{searched.work_dir / "search_history.jsonl"}]',
        f'val_cfg.constraints.flops=[0,{budget}]',
        'val_cfg.generations=1',
    ]
    words = ['--checkpoint', trained.checkpoint, '--work-dir', tmp_path, '--cfg-options', *options]
    result = run('tools/train.py', SEARCH, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    assert 'took over 4 candidates from' in result.out
    records = read_history(tmp_path / 'search_history.jsonl')
    taken = {subnet: record['score'] for subnet, record in records.items() if record['generation'] == -1}
    assert taken == {subnet: record['score'] for subnet, record in known.items()}
    new = [record for record in records.values() if record['generation'] == 0]
    assert len(new) == 2
    assert all(record['flops'] <= budget for record in new)
    best = SubnetSpec.from_yaml(tmp_path / 'best_subnet.yaml')
    assert records[best]['score'] == max(record['score'] for record in records.values() if record['flops'] <= budget)


def metrics_of(imagenet, tmp_path, checkpoint, mutable_cfg, *options, dataset=()) -> dict:
    out = tmp_path / 'metrics.json'
    words = [checkpoint, '--work-dir', tmp_path / 'test', '--eval', 'accuracy', '--out', out, *options, '--cfg-options']
    words += [*TEST_OPTIONS, f'algorithm.mutable_cfg={mutable_cfg}', *dataset]
    result = run('tools/test.py', SUBNET, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    return {**json.loads(out.read_text()), 'stdout': result.out}


@pytest.mark.slow
def test_exported_and_extracted_subnet_score_the_same(imagenet, trained, searched, tmp_path):
    subnet = searched.work_dir / 'best_subnet.yaml'
    exported = metrics_of(imagenet, tmp_path, searched.work_dir / 'best_subnet.pth', subnet)
    extracted = metrics_of(imagenet, tmp_path, trained.checkpoint, subnet)
    assert exported['found'] == 'subnet'
    assert extracted['found'] == 'supernet'
    assert exported['accuracy/top1'] == extracted['accuracy/top1']
    assert exported['flops'] == extracted['flops'] <= 30e6
    assert exported['subnet'] == yaml.safe_load(subnet.read_text())
    assert 'found an exported subnet' in exported['stdout']
    assert 'found a supernet' in extracted['stdout']


def test_the_exported_file_scores_what_the_search_said(imagenet, searched, tmp_path):
    """On the images that the search scored with."""
    subnet = SubnetSpec.from_yaml(searched.work_dir / 'best_subnet.yaml')
    record = read_history(searched.work_dir / 'search_history.jsonl')[subnet]
    config = tmp_path / 'on_search_split.py'
    config.write_text(
        f"_base_ = ['{imagenet}/{SUBNET}']\n"
        'test_dataloader = dict(batch_size=128, dataset=dict(_delete_=True, **_base_._search_set))\n'
    )
    out = tmp_path / 'metrics.json'
    words = [searched.work_dir / 'best_subnet.pth', '--work-dir', tmp_path, '--out', out, '--cfg-options']
    words += [*TEST_OPTIONS, f'algorithm.mutable_cfg={searched.work_dir / "best_subnet.yaml"}']
    result = run('tools/test.py', config, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    measured = json.loads(out.read_text())
    assert measured['accuracy/top1'] == record['score']
    assert measured['flops'] == record['flops']
    assert measured['params'] == record['params']


def test_export_subnet(imagenet, trained, searched, tmp_path):
    out = tmp_path / 'new folder/subnet.pth'
    words = [trained.checkpoint, '--mutable-cfg', searched.work_dir / 'best_subnet.yaml', '--out', out]
    result = run('tools/export_subnet.py', SUBNET, *words, '--cfg-options', *TEST_OPTIONS, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    ours = torch.load(out, weights_only=True)
    theirs = torch.load(searched.work_dir / 'best_subnet.pth', weights_only=True)
    assert 'extracted and calibrated' in result.out
    assert ours['meta']['subnet'] == theirs['meta']['subnet']
    # Both were calibrated on the same images: the same file but for the metrics.
    for key, value in theirs['state_dict'].items():
        torch.testing.assert_close(ours['state_dict'][key], value, rtol=1e-4, atol=1e-5)


def test_resumed_training_goes_on(imagenet, trained, tmp_path):
    shutil.copy(trained.checkpoint, tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    words = ['--no-validate', '--resume', '--cfg-options', *TRAIN_OPTIONS, 'train_cfg.max_epochs=2']
    result = run('tools/train.py', SUPERNET, tmp_path, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    assert 'resumed epoch: 1' in result.out
    assert 'Epoch(train) [2]' in result.out
    assert 'Epoch(train) [1]' not in result.out
    before, after = (torch.load(path, weights_only=True) for path in (trained.checkpoint, tmp_path / 'epoch_2.pth'))
    assert after['meta']['iter'] == 2 * before['meta']['iter']
    assert len(after['message_hub']['log_scalars']['train/loss']['values']) == after['meta']['iter']


VARIANTS = {
    'amp': ('', ['--amp', '--auto-scale-lr']),
    'accumulate': ('optim_wrapper = dict(accumulative_counts=2)', []),
    'ema': ("custom_hooks = [dict(type='EMAHook')]", []),
}


@pytest.mark.slow
@pytest.mark.parametrize('variant', VARIANTS)
def test_training_variants(imagenet, tmp_path, variant):
    lines, words = VARIANTS[variant]
    config = tmp_path / 'config.py'
    config.write_text(f"_base_ = ['{imagenet}/{SUPERNET}']\n{lines}\n")
    words = ['--work-dir', tmp_path, *words, '--cfg-options', *TRAIN_OPTIONS]
    result = run('tools/train.py', config, *words, cwd=imagenet)
    assert result.code == 0, result.err[-3000:]
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert ('ema_state_dict' in checkpoint) == (variant == 'ema')
    assert all(value.isfinite().all() for value in checkpoint['state_dict'].values())
