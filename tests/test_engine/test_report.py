"""The report of searches, and the numbers that it and the plots show."""

import json
import math
import re
import sys
from html.parser import HTMLParser
from random import Random

import numpy as np
import pytest
from searches import score

from mmrazor_bignas.engine.plots import load_pyplot
from mmrazor_bignas.engine.report import write_report
from mmrazor_bignas.engine.search_data import (
    front,
    gene_shares,
    generation_of,
    generations_of,
    number,
    scored,
    scores_by_generation,
    shown_costs,
    thinned,
)
from mmrazor_bignas.engine.search_plots import draw_choices, draw_pareto, draw_scores
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search import BEFORE
from mmrazor_bignas.search_space import CostTable

ATTACK = '<script>alert("1")</script><img src=http://example.org/x.png>'
EVIL = '</script><b onclick="x">$a_1$ & %{x}'
VOID = {'meta', 'input'}


def failure(error: str | None = None, **values) -> dict:
    record = {'generation': 1, 'score': math.nan, 'metrics': {}, 'flops': 1e6, 'params': 1e5}
    return {**record, **({'error': error} if error else {}), **values}


def search_of(space, count: int, seed: int = 0) -> dict:
    """Records of random subnets, four generations, the first taken over."""
    rng, cost = Random(seed), CostTable(space, 4)
    subnets = list(dict.fromkeys(space.sample(rng) for _ in range(count)))
    return {
        subnet: {
            'generation': BEFORE + 4 * i // len(subnets),
            'score': score(subnet) + rng.random(),
            'metrics': {},
            'flops': cost(subnet).flops,
            'params': cost(subnet).params,
            'latency': rng.random(),
        }
        for i, subnet in enumerate(subnets)
    }


@pytest.fixture(scope='module')
def records(tiny_space) -> dict:
    found = search_of(tiny_space, 60)
    first, second, third = list(found)[20:23]
    return {**found, first: failure(ATTACK), second: failure(), third: failure(score=math.inf)}


class Page(HTMLParser):
    """The elements of a page, each of which must be closed, and its text outside of scripts."""

    def __init__(self, path) -> None:
        super().__init__()
        self.elements, self.text, self._open = [], '', []
        source = path.read_text()
        self.feed(source)
        self.close()
        assert self._open == []
        start = source.index('const figures = ') + len('const figures = ')
        self.figures, _ = json.JSONDecoder(parse_constant=pytest.fail).raw_decode(source, start)
        self.source = source

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {'script', 'style'} & set(self._open):
            self.text += f'{data}\n'

    def traces(self, figure: str) -> list[dict]:
        return self.figures[figure]['data']


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    load_pyplot().close('all')


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Write a report without the bulk of plotly.js, and read it."""
    monkeypatch.setattr('plotly.offline.get_plotlyjs', lambda: '')

    def write(histories, *args, **kwargs) -> Page:
        write_report(tmp_path / 'report.html', histories, *args, **kwargs)
        return Page(tmp_path / 'report.html')

    return write


def lines_of(subnet) -> list[str]:
    """A subnet's rows as the page has them."""
    rows = subnet.to_dict()
    of_blocks = re.compile(r'\[([\d, ]+)\]')
    return [
        str(rows.pop('resolution')),
        *(
            ' '.join(of_blocks.sub(lambda m: m[1].replace(' ', ''), str(value)) for value in row)
            for row in rows.values()
        ),
    ]


def test_the_whole_page(records, tmp_path):
    """Offline: nothing is loaded, and the policy of the page forbids it."""
    links = {front(records)[0]: 'subnets/a b&"c.yaml'}
    path = tmp_path / 'a/report.html'
    write_report(path, {'run': records}, score_name='accuracy/top1', links=links)
    page = Page(path)
    assert sum(tag == 'script' for tag, _ in page.elements) == 2
    assert not {'img', 'link', 'iframe', 'base', 'object'} & {tag for tag, _ in page.elements}
    assert not [attributes for _, attributes in page.elements if 'src' in attributes]
    assert {attributes['href'] for _, attributes in page.elements if 'href' in attributes} == set(links.values())
    assert not re.search(r'url\(|@import', page.source[: page.source.index('</style>')])
    (policy,) = [attributes['content'] for tag, attributes in page.elements if 'http-equiv' in attributes]
    assert policy.startswith("default-src 'none'; ")
    assert 'http' not in policy
    assert 'Plotly' in page.source
    assert 4e6 < path.stat().st_size < 8e6
    assert [file.name for file in path.parent.iterdir()] == ['report.html']


def test_it_holds_every_subnet(records, report):
    page = report({'run': records})
    dots, line = page.traces('pareto')
    texts = '\n'.join(dots['text'])
    for subnet in scored(records):
        resolution, width, depth, kernel_size, expand_ratio = lines_of(subnet)
        rows = f'resolution {resolution}<br>width {width}<br>depth {depth}<br>kernel size {kernel_size}<br>'
        assert f'{rows}expand ratio {expand_ratio}' in texts
    assert len(dots['x']) == len(dots['y']) == len(dots['text']) == len(records) - 3
    for subnet in records.keys() - scored(records).keys():
        assert '\n'.join(lines_of(subnet)) in page.text
    assert [x * 1e6 for x in line['x']] == pytest.approx([records[subnet]['flops'] for subnet in front(records)])
    assert line['y'] == [records[subnet]['score'] for subnet in front(records)]
    assert list(page.figures['pareto']['switch']) == ['flops', 'params', 'latency']
    assert dots['marker']['color'] == [generation_of(record) for record in scored(records).values()]


def test_head_and_tables(records, report):
    page = report({'run': records}, score_name='accuracy/top1')
    assert 'run: 3 failed' in page.text
    assert f'run\n{len(records)}\n3\n3\n' in page.text  # candidates, failed, generations
    assert 'the score is nan' in page.text
    assert 'the score is inf' in page.text
    assert 'Generation 0 was taken over' in page.text
    best, of_front = page.text.split('Best 10 by score')[1].split('Pareto front, by FLOPs: ')
    shown = [f'{record["score"]:.4f}' for record in scored(records).values()]
    assert re.findall(r'^\d\d\.\d{4}$', best, re.M) == shown[:10]
    members = [f'{records[subnet]["score"]:.4f}' for subnet in front(records)]
    assert re.findall(r'^\d\d\.\d{4}$', of_front, re.M) == members


def test_strings_of_files_are_text(records, report):
    page = report({EVIL: records, ATTACK: records}, score_name=EVIL)
    assert ATTACK in page.text
    assert EVIL in page.text
    assert {tag for tag, _ in page.elements}.isdisjoint({'img'})
    assert sum(tag == 'script' for tag, _ in page.elements) == 2
    assert '<img' not in json.dumps(page.figures)
    assert '<b ' not in json.dumps(page.figures)
    for draw in (draw_pareto, draw_scores):
        draw({EVIL: records, '_hidden$': records}, EVIL).canvas.draw()


def test_runs_are_told_apart(tiny_space, records, report):
    page = report({'a': records, 'b': search_of(tiny_space, 30, seed=1)})
    names = [trace['name'] for trace in page.traces('pareto')]
    assert names == ['a', 'a: Pareto front', 'b', 'b: Pareto front']
    dots, line, other, other_line = page.traces('pareto')
    assert dots['marker']['color'] == line['line']['color'] != other['marker']['color'] == other_line['line']['color']
    assert page.text.count('Best 10 by score') == 2
    assert page.text.count('width (channels)') == 2


def test_a_front_of_three_objectives_and_a_long_one(tiny_space, report):
    records = search_of(tiny_space, 300)
    members = front(records, ('score', 'flops', 'latency'))
    assert len(members) > 20
    page = report({'run': records}, objectives=('score', 'latency', 'flops'))
    assert list(page.figures['pareto']['switch']) == ['latency', 'flops', 'params']
    assert f'Pareto front, by latency: 20 of {len(members)}, evenly chosen' in page.text
    rows = page.text.split('evenly chosen')[1]
    costs = [float(cost) for cost in re.findall(r'^\d\d\.\d{4}\n(\S+)$', rows, re.M)]
    assert len(costs) == 20
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    'values',
    [
        [{}],
        [{'generation': BEFORE}],
        [failure('out of memory')],
        [failure(), failure(score=-math.inf, generation=3)],
        [{'flops': math.inf, 'params': math.nan, 'latency': 'slow'}, {}],
        [{'score': 10**400}, {'score': 1e300, 'generation': None}],
        [{'latency': 3.0}, {}, {}],
        [{'score': -5, 'flops': 0, 'params': 0}] * 3,
    ],
)
def test_odd_searches(tiny_space, report, values):
    known = search_of(tiny_space, 10)
    usual = {'generation': 0, 'score': 0.5, 'metrics': {}, 'flops': 10**6, 'params': 10**5}
    records = {subnet: {**usual, **value} for subnet, value in zip(known, values, strict=False)}
    page = report({'run': records})
    assert len(page.traces('pareto')[0]['text']) == len(scored(records))
    assert 'latency' not in page.figures['pareto']['switch']
    for draw in (draw_pareto, draw_scores, draw_choices):
        draw({'run': records}).canvas.draw()


def test_what_is_refused(records, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"objectives: \('score', 'size'\); expected some of \['score', 'flops'"):
        write_report(tmp_path / 'a.html', {'run': records}, objectives=('score', 'size'))
    monkeypatch.setitem(sys.modules, 'plotly.offline', None)
    with pytest.raises(InputError, match='reports need plotly: pip install plotly'):
        write_report(tmp_path / 'a.html', {'run': records})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('cost', ['flops', 'params', 'latency'])
def test_nothing_beats_a_front(records, cost):
    members = front(records, ('score', cost))
    values = {subnet: (-record['score'], record[cost]) for subnet, record in scored(records).items()}
    assert set(members) <= set(values)
    for subnet, (loss, price) in values.items():
        beaten = any(a <= loss and b <= price and (a, b) != (loss, price) for a, b in values.values())
        assert beaten == (subnet not in members)
    assert [values[subnet][1] for subnet in members] == sorted(values[subnet][1] for subnet in members)


def test_scores_by_generation(records):
    stats = scores_by_generation(records)
    assert [s.number for s in stats] == generations_of(records) == [0, 1, 2, 3]
    so_far = -math.inf
    for s in stats:
        scores = [record['score'] for record in scored(records).values() if generation_of(record) == s.number]
        assert min(scores) <= s.low <= s.median <= s.high <= max(scores)
        assert sum(score < s.median for score in scores) <= len(scores) / 2 >= sum(score > s.median for score in scores)
        so_far = max(so_far, *scores)
        assert s.best == so_far
    lost = scores_by_generation({**records, **{s: failure(generation=7) for s in list(records)[:1]}})[-1]
    assert lost.best == so_far
    assert math.isnan(lost.median)


def test_shares_of_the_choices(records, tiny_space, imagenet_space):
    shares = gene_shares(records)
    assert [gene.row for gene in shares] == [gene.row for gene in tiny_space.genes]
    assert [gene.place for gene in shares][:6] == ['', 'stem', '1', '2', 'head', '1']
    sizes = [sum(generation_of(record) == g for record in records.values()) for g in generations_of(records)]
    for i, (gene, of_space) in enumerate(zip(shares, tiny_space.genes, strict=True)):
        assert gene.choices == of_space.choices
        assert gene.shares.sum(axis=0) == pytest.approx(1)
        taken = [sum(tiny_space.values(subnet)[i] == choice for subnet in records) for choice in gene.choices]
        assert (gene.shares @ np.array(sizes)).tolist() == pytest.approx(taken)
    assert len(gene_shares({imagenet_space.largest: failure()})) == 31


def test_shares_of_the_choices_of_blocks(per_block_space):
    records = search_of(per_block_space, 60)
    shares = gene_shares(records)
    assert [(gene.row, gene.place, gene.block) for gene in shares if gene.row == 'kernel_size'] == [
        ('kernel_size', '1', 1),
        ('kernel_size', '1', 2),
        ('kernel_size', '1', 3),
        ('kernel_size', '2', 1),
        ('kernel_size', '2', 2),
        ('kernel_size', '3', None),
    ]
    assert len(shares) == len(per_block_space.genes)
    by_gene = {(gene.row, gene.place, gene.block): gene for gene in shares}
    deep = by_gene['depth', '1', None].shares[1]
    assert 0 < deep.mean() < 1
    assert by_gene['kernel_size', '1', 3].shares.sum(axis=0) == pytest.approx(deep)
    assert by_gene['kernel_size', '1', 1].shares.sum(axis=0) == pytest.approx(1)
    # The one ratio of a block that is not always there is not what all have.
    ratios = [by_gene['expand_ratio', '1', block] for block in (1, 2)]
    assert [(gene.choices, gene.is_fixed) for gene in ratios] == [((1,), True), ((1,), False)]


def test_report_and_figure_of_block_choices(per_block_space, report):
    records = search_of(per_block_space, 60)
    page = report({'run': records})
    best = next(iter(scored(records)))
    assert all(line in page.text for line in lines_of(best))
    assert page.text.count('stage 1, block 3\n') == 2
    figure = draw_choices({'run': records})
    titles = [axes.get_title() for axes in figure.axes]
    assert 'kernel size 1 block 3' in titles
    assert 'kernel size 3' in titles
    figure.canvas.draw()


@pytest.mark.parametrize('value', [None, 'a', True, math.nan, math.inf, -math.inf, 10**400, [1]])
def test_what_is_no_finite_number(value):
    assert math.isnan(number({'score': value}, 'score'))
    assert math.isnan(number({}, 'score'))


def test_costs_that_most_records_have(records):
    assert shown_costs([records]) == ['flops', 'params', 'latency']
    some = dict(list(records.items())[:10])
    without = {subnet: failure() for subnet in list(records)[10:21]}
    assert shown_costs([some, without]) == ['flops', 'params']
    assert shown_costs([records], ('score', 'latency')) == ['latency', 'flops', 'params']


@pytest.mark.parametrize(('count', 'most'), [(0, 3), (3, 3), (4, 3), (100, 7), (21, 20)])
def test_thinned(count, most):
    kept = thinned(range(count), most)
    assert len(kept) == min(count, most)
    assert kept == sorted(set(kept))
    assert kept[:1] + kept[-1:] == ([0, count - 1] if count else [])
