"""Every command of the README runs: marked ones where what they need is there, or in a slow test, the rest here."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

DOCS = ('slurm', 'search', 'performance', 'results', 'own_data', 'deployment')
README = (ROOT / 'README.md').read_text()
PAGES = {name: (ROOT / name).read_text() for name in ('README.md', *(f'docs/{page}.md' for page in DOCS))}
BLOCK = re.compile(r'(?P<marks>(?:<!-- needs: [a-z]+ -->\n)*)```(?P<language>bash|python)\n(?P<code>.*?)```', re.S)


def blocks_of(page: str) -> list[tuple[str, str, set[str]]]:
    """Language, code and needs of every block."""
    return [
        (match['language'], match['code'], set(re.findall(r'needs: ([a-z]+)', match['marks'])))
        for match in BLOCK.finditer(page)
    ]


BLOCKS = blocks_of(README)
SHELL = [code for page in PAGES.values() for language, code, _ in blocks_of(page) if language == 'bash']


def words_of(code: str) -> list[list[str]]:
    """The commands of a block of shell lines, split into words; heredocs, python -c and comments left out."""
    code = re.sub(r"<<'?(\w+)'?.*?\n\1\n", '\n', code, flags=re.S).replace('\\\n', ' ')
    code = re.sub(r'python -c "[^"]*"', '', code)
    return [words for line in code.splitlines() if (words := shlex.split(line, comments=True))]


def test_the_readme_has_its_commands():
    assert len(BLOCKS) >= 12
    assert 'make demo' in README
    assert 'make test' in README
    design = [
        ['sh', 'tools/slurm_train.sh', '$PARTITION', '$JOB_NAME'],
        ['sh', 'tools/slurm_test.sh', '$PARTITION', '$JOB_NAME'],
    ]
    commands = [words for language, code, _ in BLOCKS if language == 'bash' for words in words_of(code)]
    assert [words for words in commands if words[:4] == design[0]] != []
    assert [words for words in commands if words[:4] == design[1]] != []


@pytest.mark.parametrize('code', SHELL)
def test_every_tool_and_file_of_a_command_exists(code):
    for words in words_of(code):
        for word in words:
            if re.match(r'(tools|configs)/\S+\.(py|sh|yaml)$', word):
                assert (ROOT / word).is_file(), word


RUN = [pytest.param(language, code) for language, code, needs in BLOCKS if not needs]
RUN += [
    pytest.param(language, code, marks=pytest.mark.slow) for language, code, needs in BLOCKS if needs == {'minutes'}
]


@pytest.mark.parametrize(('language', 'code'), RUN)
def test_unmarked_blocks_run(language, code, tmp_path):
    for name in ('tools', 'configs', 'mmrazor_bignas', 'tests', 'benchmarks'):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, '-'] if language == 'python' else ['bash', '-e', '-s']
    path = f'{sys.prefix}/bin'
    done = subprocess.run(
        command,
        input=code,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, 'PATH': f'{path}:{os.environ["PATH"]}'},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_links_lead_somewhere():
    for name, page in PAGES.items():
        for target in re.findall(r'\]\((?!http)([^)#]+)', page):
            assert ((ROOT / name).parent / target).exists(), target
