"""From a config file and overrides to a config."""

import argparse
import re
import sys

import pytest
from conftest import ROOT

from mmrazor_bignas.engine.main import run_tool
from mmrazor_bignas.engine.runner import add_cfg_options, load_config
from mmrazor_bignas.errors import InputError

CONFIG = str(ROOT / 'configs/demo/digits_supernet.py')


def test_overrides_are_merged_one_after_the_other():
    options = {
        'algorithm.sampler.seed': 3,
        'algorithm.sampler': {'num_random': 1},
        'algorithm.architecture.train_cfg': {'augments': [{'type': 'Mixup', 'alpha': 0.2}]},
    }
    algorithm = load_config(CONFIG, options).algorithm
    assert algorithm.sampler == {'type': 'mmrazor_bignas.SandwichSampler', 'num_random': 1, 'seed': 3}
    assert algorithm.architecture.train_cfg.augments[0].alpha == 0.2  # dicts in lists have attributes, too


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('algorithm', 5, 'algorithm is 5; expected a dict'),
        ('work_dir', {'a': 1}, "work_dir is {'a': 1}; expected a folder's name"),
        ('train_cfg.max_epochs', {'a': 1}, '--cfg-options train_cfg.max_epochs: max_epochs='),
        ('algorithm.sampler', {1: 2}, '--cfg-options algorithm.sampler: .* a dict, whose keys are texts'),
        ('custom_hooks.0', 5, r'--cfg-options custom_hooks\.0: one element of a list is overridden by a dict'),
    ],
)
def test_an_override_that_does_not_fit_is_named(key, value, message):
    with pytest.raises(InputError, match=message) as error:
        load_config(CONFIG, {'custom_hooks': [{'type': 'EMAHook'}], key: value})
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('x.py', 'a = 1\nb = (', r'x\.py: cannot be read as a config: SyntaxError: .* \(x\.py, line 2\)'),
        ('x.py', f'a = {"[" * 20_000}', r'cannot be read as a config: SyntaxError: too many nested parentheses'),
        ('x.py', 'import sys\nsys.exit(0)', r'x\.py: cannot be read as a config: SystemExit: 0'),
        (
            'x.yaml',
            'a: 1\nb: {c: 1, c: 2}',
            r"x\.yaml: cannot be read as a config: YAML, line 2: the key 'c' is given twice",
        ),
        ('x.yaml', '[' * 20_000, 'cannot be read as a config: YAML, line 1: nested more than'),
        ('x.yml', 'a: !!python/object/apply:os.getcwd []', 'cannot be read as a config: YAML: .* could not determine'),
        ('x.json', '{"a": 1, "a": 2}', r"x\.json: cannot be read as a config: the key 'a' is given twice"),
        ('x.json', '[' * 20_000, 'cannot be read as a config: nested more than'),
    ],
    ids=lambda it: it[:30],
)
def test_a_config_that_cannot_be_read_is_named_as_a_base_too(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        load_config(str(tmp_path / name))
    assert '\n' not in str(error.value)
    (tmp_path / 'top.py').write_text(f"_base_ = ['{name}']\n")
    with pytest.raises(InputError, match=rf'top\.py: cannot be read as a config: \S*{re.escape(name)}: '):
        load_config(str(tmp_path / 'top.py'))


def test_a_config_in_yaml(tmp_path):
    (tmp_path / 'x.yaml').write_text(f"_base_: ['{CONFIG}']\ntrain_cfg: {{max_epochs: 7}}\n")
    assert load_config(str(tmp_path / 'x.yaml')).train_cfg.max_epochs == 7


@pytest.mark.parametrize(('rank', 'said'), [('0', r'tool: error: --cfg-options lr: expected KEY=VALUE'), ('1', '1$')])
def test_an_option_that_cannot_be_read_is_said_once(monkeypatch, capsys, rank, said):
    parser = argparse.ArgumentParser(prog='tool')
    parser.add_argument('--launcher')
    add_cfg_options(parser)
    monkeypatch.setenv('SLURM_PROCID', rank)
    monkeypatch.setattr(sys, 'argv', ['tool', '--launcher', 'slurm', '--cfg-options', 'lr'])
    with pytest.raises(SystemExit) as stop:
        run_tool(lambda args: None, parser)
    assert re.match(said, str(stop.value.code))
    assert capsys.readouterr().err == ''
