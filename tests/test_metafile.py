"""model-index.yml and what it imports: OpenMMLab's format, with the estimator's numbers."""

import re

import pytest
import yaml
from conftest import ROOT

import mmrazor_bignas
from mmrazor_bignas.search_space import estimate, resolve
from mmrazor_bignas.search_space.lookup import NAMED_YAML, find_subnet

INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text())
META = [yaml.safe_load((ROOT / path).read_text()) for path in INDEX['Import']]
MODELS = {model['Name']: model for meta in META for model in meta['Models']}
COLLECTIONS = {collection['Name']: collection for meta in META for collection in meta['Collections']}
README = (ROOT / 'README.md').read_text()


def test_every_published_subnet_has_an_entry():
    assert set(MODELS) == {*NAMED_YAML, 'attentivenas-max'}
    assert sum(len(meta['Models']) for meta in META) == len(MODELS)


@pytest.mark.parametrize('name', MODELS)
def test_an_entry_is_what_the_estimator_says(name, imagenet_space):
    model = MODELS[name]
    assert set(model) <= {'Name', 'In Collection', 'Metadata', 'Results', 'Config', 'Converted From'}
    assert model['In Collection'] in COLLECTIONS
    assert (ROOT / model['Config']).is_file()
    subnet = model['Metadata']['Subnet']
    subnet = find_subnet(ROOT / subnet if subnet.endswith('.yaml') else subnet, imagenet_space)
    if name in NAMED_YAML:
        assert subnet == find_subnet(name, imagenet_space)
    cost = estimate(resolve(imagenet_space, subnet), 1000)
    numbers = {key: model['Metadata'][key] for key in ('FLOPs', 'Parameters')}
    assert numbers == {'FLOPs': cost.flops, 'Parameters': cost.params}
    assert all(type(number) is int for number in numbers.values())


def test_collections_are_whole():
    for collection in COLLECTIONS.values():
        assert {'Name', 'Metadata', 'Paper', 'README', 'Code'} == set(collection)
        assert (ROOT / collection['README']).is_file()
        assert collection['Code']['Version'] == f'v{mmrazor_bignas.__version__}'


def test_the_readme_says_the_same():
    rows = {}
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if re.fullmatch(r'`(min|max|attentivenas-a\d)`', cells[1] if len(cells) == 8 else ''):
            rows[cells[1].strip('`')] = cells
    assert list(rows) == ['min', *NAMED_YAML, 'max']
    for name, cells in rows.items():
        model = MODELS[{'min': 'attentivenas-a0', 'max': 'attentivenas-max'}.get(name, name)]
        assert [int(cell.replace(',', '')) for cell in cells[3:5]] == [
            model['Metadata'][key] for key in ('FLOPs', 'Parameters')
        ]
        published = [result['Metrics']['Top 1 Accuracy'] for result in model.get('Results', [])]
        assert cells[5] == (f'{published[0]}' if published else '-')
        test = rf'python tools/test\.py \S+ \\\n  \S+ --work-dir \S+ --cfg-options algorithm\.mutable_cfg={name}\n'
        assert re.search(test, README)
