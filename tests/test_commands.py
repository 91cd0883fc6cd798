"""The console command: its table, its help, its messages."""

import re
import shlex
import sys
from importlib import import_module

import pytest
from conftest import ROOT
from tiny_imagenet import SUPERNET

from mmrazor_bignas import __main__ as console
from mmrazor_bignas import __version__
from mmrazor_bignas.commands import COMMANDS, run
from mmrazor_bignas.engine.config_files import find_config

MODULES = [module for module, _ in COMMANDS.values()]


@pytest.fixture
def bignas(monkeypatch, capsys):
    """The command in this process; its exit code (or message), stdout and stderr."""

    def call(*words):
        monkeypatch.setattr(sys, 'argv', ['bignas', *map(str, words)])
        try:
            console.main()
        except SystemExit as stop:
            return stop.code or 0, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


def test_every_command_has_a_tool_of_its_name():
    modules = {path.stem for path in (ROOT / 'mmrazor_bignas/commands').glob('*.py')} - {'__init__'}
    assert modules == set(MODULES)
    tools = {path.stem for path in (ROOT / 'tools').rglob('*.py')} - {'demo', 'dist_run'}
    assert tools == modules - {'search', 'list_configs'}  # tools/train.py searches; a checkout shows its configs
    for path in (ROOT / 'tools').rglob('*.py'):
        if path.stem in tools:
            assert path.read_text().endswith(f"    run('{path.stem}')\n")


def test_the_readme_has_every_command():
    table = (ROOT / 'README.md').read_text().split('\n## Commands\n')[1].split('\n## ')[0]
    named = [name for row in re.findall(r'^\| (`.*?) \|', table, re.M) for name in re.findall('`(.*?)`', row)]
    assert sorted(named) == sorted(COMMANDS)


def test_the_overview_has_every_command(bignas):
    code, out, _ = bignas('--help')
    assert code == 0
    assert [line.split('  ')[1] for line in out.splitlines() if line.startswith('  ')] == list(COMMANDS)
    assert bignas() == (2, '', out)
    assert bignas('--version') == (0, f'{__version__}\n', '')


def test_a_group_of_commands_has_an_overview(bignas):
    code, out, _ = bignas('convert', '-h')
    assert code == 0
    assert 'convert subnet' in out
    assert 'export' not in out
    assert bignas('convert') == (2, '', out)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_shows_an_example_that_the_command_takes(bignas, command):
    code, out, _ = bignas(*command.split(), '--help')
    assert code == 0
    assert out.startswith(f'usage: bignas {command} ')
    example = shlex.split(re.search(rf'\nexample: bignas {command}(.*)\n$', out)[1])
    import_module(f'mmrazor_bignas.commands.{COMMANDS[command][0]}').build_parser().parse_args(example)
    for name in example:
        if re.fullmatch(r'\w+\.py', name):
            assert find_config(name)


@pytest.mark.parametrize(
    ('words', 'advice'),
    [
        (['trian', 'x.py'], "no command 'trian'; did you mean 'train'?"),
        (['--hlep'], "no command '--hlep'; expected one of ['train', "),
        (['repotr'], "no command 'repotr'; did you mean 'report'?"),
        (['convert', 'atentivenas'], "no command 'convert atentivenas'; did you mean 'convert attentivenas'?"),
        (['zzz'], "no command 'zzz'; expected one of ['train', "),
    ],
)
def test_an_unknown_command_is_one_line(bignas, words, advice):
    code, out, err = bignas(*words)
    assert (code, out, err.count('\n')) == (2, '', 1)
    assert err.startswith(f'bignas: error: {advice}')


def test_errors_have_the_name_of_what_was_typed(bignas, monkeypatch):
    assert bignas('train', 'none.py')[0].startswith('bignas train: error: none.py: no such config file')
    code, _, err = bignas('report', 'training')
    assert code == 2
    assert 'bignas report training: error: the following arguments are required: work_dir' in err
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', 'none.py'])
    with pytest.raises(SystemExit, match=r'^train\.py: error: none\.py: no such config file'):
        run('train')


def test_a_search_takes_the_config_of_a_search(bignas, tmp_path):
    code, _, err = bignas('search', 'digits_search.py')
    assert code == 2
    assert 'the following arguments are required: --checkpoint' in err
    error, *_ = bignas('search', ROOT / SUPERNET, '--checkpoint', 'x.pth', '--work-dir', tmp_path / 'out')
    assert 'expected the config of a search' in error
    assert not (tmp_path / 'out').exists()


def test_configs_lists_what_a_command_finds(bignas):
    code, out, _ = bignas('configs')
    first, *names = out.splitlines()
    assert (code, first) == (0, f'in {ROOT}/configs:')
    assert '  demo/digits_search.py' in names
    assert not [name for name in names if '_base_' in name or not find_config(name.strip())]
