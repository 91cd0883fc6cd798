"""Imports point down.

tools -> commands -> study, deployment -> api, converters -> engine -> algorithms, models, search -> registry,
search_space, kernels -> reading, folders -> errors.
"""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = 'mmrazor_bignas'
LOWEST = {'errors', 'folders', 'reading'}
LOW = {'registry', 'search_space', 'kernels'} | LOWEST
MIDDLE = {'algorithms', 'models', 'search'}
# What each part of the package may import of it, besides itself; '' is the package's own __init__.py.
MAY_IMPORT = {
    '': {'api', 'deployment'},
    'api': {'engine'} | MIDDLE | LOW,
    '__main__': {'commands'},
    'commands': {'study', 'deployment', 'api', 'converters', 'datasets', 'engine'} | MIDDLE | LOW,
    'deployment': {'api', 'datasets', 'engine'} | MIDDLE | LOW,
    'study': {'api', 'engine'} | MIDDLE | LOW,
    'converters': {'engine', 'models'} | LOW,
    'engine': MIDDLE | LOW,
    'algorithms': LOW,
    'models': LOW,
    'search': {'registry', 'search_space'} | LOWEST,
    'datasets': {'registry'} | LOWEST,
    'kernels': LOWEST,
    'registry': LOWEST,
    'search_space': LOWEST,
    'reading': {'errors'},
    'folders': {'errors'},
    'errors': set(),
}
# Third-party packages of the parts that work without torch.
MAY_IMPORT_OF_OTHERS = {
    '': set(),
    '__main__': set(),
    'errors': set(),
    'reading': {'yaml'},
    'folders': set(),
    'search_space': {'yaml', 'numpy'},
    'search': {'yaml', 'numpy', 'mmengine', 'pymoo', 'sklearn'},
}


def module_name(path) -> str:
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


MODULES = {module_name(path): path for path in sorted((ROOT / PACKAGE).rglob('*.py'))}
TOOLS = {module_name(path): path for path in sorted((ROOT / 'tools').rglob('*.py'))}


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Dotted names that a module imports anywhere: ``from a.b import c`` is ``a.b.c``, relative ones are resolved."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = node.level - is_package
            base = module.split('.')[: -up or None] if node.level else []
            found |= {'.'.join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return found


def imports_of(module: str) -> set[str]:
    path = {**MODULES, **TOOLS}[module]
    return imports(path.read_text(encoding='utf-8'), module, is_package=path.name == '__init__.py')


def part(dotted: str) -> str:
    """The part of the package that a name is of."""
    return dotted.removeprefix(f'{PACKAGE}.').split('.')[0] if dotted != PACKAGE else ''


def test_the_reader_sees_every_import():
    source = (
        'import a.b\nfrom c import d\nfrom . import e\n'
        'def f():\n    from ..g import h\n    if True:\n        import i as j\n'
    )
    assert imports(source, 'p.q.r') == {'a.b', 'c.d', 'p.q.e', 'p.g.h', 'i'}
    assert imports(source, 'p.q', is_package=True) == {'a.b', 'c.d', 'p.q.e', 'p.g.h', 'i'}


def test_every_part_has_its_rule():
    assert {part(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize('module', MODULES)
def test_imports_point_down(module):
    ours = {name for name in imports_of(module) if name.split('.')[0] == PACKAGE}
    # The bare package is its version; what it gives besides would be the api and deployment.
    ours -= {PACKAGE, f'{PACKAGE}.__version__'}
    upwards = {name for name in ours if part(name) not in MAY_IMPORT[part(module)] | {part(module)}}
    assert not upwards
    assert not {name for name in imports_of(module) if name.split('.')[0] in {'tools', 'tests', 'configs'}}


@pytest.mark.parametrize('module', [module for module in MODULES if part(module) in MAY_IMPORT_OF_OTHERS])
def test_what_needs_no_torch_imports_none(module):
    roots = {name.split('.')[0] for name in imports_of(module)}
    assert roots - sys.stdlib_module_names - {PACKAGE} <= MAY_IMPORT_OF_OTHERS[part(module)]


def test_one_file_imports_the_models_of_mmcls():
    importers = {
        module
        for module in [*MODULES, *TOOLS]
        if any(f'{name}.'.startswith('mmcls.models.') for name in imports_of(module))
    }
    # Beside it, what a study compares with.
    assert importers == {'mmrazor_bignas.models.classifier', 'mmrazor_bignas.study.baselines'}


def test_tools_are_commands_by_another_name():
    for tool in set(TOOLS) - {'tools.demo', 'tools.dist_run'}:
        assert imports_of(tool) == {'mmrazor_bignas.commands.run'}, tool


HEAVY = {'torch', 'numpy', 'yaml', 'mmengine', 'mmcv', 'mmcls'}


@pytest.mark.parametrize(
    ('module', 'heavy'),
    [
        ('mmrazor_bignas', HEAVY),
        ('mmrazor_bignas.__main__', HEAVY | {'argparse', 'difflib', 'mmrazor_bignas.errors'}),
        ('mmrazor_bignas.search_space.lookup', {'torch', 'mmengine', 'mmcv', 'mmcls'}),
        ('mmrazor_bignas.search_space', {'torch', 'mmengine', 'mmcv', 'mmcls'}),
        ('mmrazor_bignas.search', {'torch', 'mmcv', 'mmcls', 'pymoo', 'sklearn'}),
    ],
)
def test_importing_loads_nothing_heavy(module, heavy):
    code = f'import sys, {module}; print(*sorted(sys.modules))'
    loaded = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert module in loaded.split()
    assert not heavy & set(loaded.split())
