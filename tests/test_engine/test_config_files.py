import pytest
from conftest import ROOT

from mmrazor_bignas.engine.config_files import find_config
from mmrazor_bignas.engine.runner import load_config
from mmrazor_bignas.errors import InputError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize('name', ['digits_search.py', 'demo/digits_search.py', 'configs/demo/digits_search.py'])
def test_the_packages_configs_are_found_by_name(name):
    assert find_config(name) == str(ROOT / 'configs/demo/digits_search.py')
    assert load_config(name).work_dir == 'work_dirs/digits_search'


def test_a_file_of_the_users_goes_first(tmp_path):
    (tmp_path / 'digits_search.py').write_text('')
    assert find_config('digits_search.py') == 'digits_search.py'


@pytest.mark.parametrize('name', ['gits_search.py', 'other/digits_search.py', '_base_/default_runtime.py', '.', ''])
def test_no_other_file_is_taken_for_one(name):
    with pytest.raises(InputError, match=r'^.*: no such config file, and .* \(bignas configs lists them\)$'):
        find_config(name)


def test_a_name_of_several_is_refused(tmp_path, monkeypatch):
    for folder in 'ab':
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'x.py').write_text('')
    monkeypatch.setattr('mmrazor_bignas.engine.config_files.CONFIG_ROOT', tmp_path)
    with pytest.raises(InputError, match=r'x\.py: no such file, and the package has several .*/a/x\.py, .*/b/x\.py$'):
        find_config('x.py')
