"""What a search shows while it runs: one live view on a terminal, one line every now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack

from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from tqdm import tqdm

from mmrazor_bignas.engine.progress import LINE_EVERY_SECONDS, logs_above_bars, on_terminal
from mmrazor_bignas.search import Strategy


class SearchView:
    """Generation, candidates evaluated / known / tried, best score and time left; a context manager.

    Args:
        score: What the score is called.
        generations: How many there will be at most.
        strategy: Says how many proposals were tried and how many of them were feasible.
        logger: Its lines go around the view.
        max_seconds: After which no candidate is begun.
    """

    def __init__(
        self, score: str, generations: int, strategy: Strategy, logger: MMLogger, max_seconds: float = math.inf
    ) -> None:
        self.score, self.generations, self.strategy, self.logger = score, generations, strategy, logger
        self.max_seconds = max_seconds
        self.generation = self.evaluated = self.known = 0
        self.best: Mapping | None = None
        self._left = generations * strategy.population  # candidates that may still be evaluated
        self._start = self._shown = time.monotonic()
        self._stack = ExitStack()
        self._bars: list[tqdm] = []

    def __enter__(self) -> SearchView:
        if on_terminal():
            self._stack.enter_context(logs_above_bars(self.logger))
            bar = tqdm(desc='search', total=self._left, unit=' candidates', leave=False, dynamic_ncols=True)
            text = tqdm(bar_format='{desc}', leave=False, dynamic_ncols=True)
            self._bars = [self._stack.enter_context(bar), self._stack.enter_context(text)]
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def begin(self, generation: int, candidates: int, known: Collection[Mapping]) -> None:
        """A generation of so many candidates begins; the records of some are known."""
        self.generation = generation + 1
        self.known += len(known)
        self._left = (self.generations - generation - 1) * self.strategy.population + candidates - len(known)
        self.see(known)
        self._refresh()

    def add(self, records: Collection[Mapping]) -> None:
        """Candidates were evaluated."""
        self.evaluated += len(records)
        self._left -= len(records)
        self.see(records)
        self._refresh()

    def see(self, records: Iterable[Mapping]) -> None:
        """The best of these records, where they have a score, may be the best of all."""
        scored = [record for record in records if math.isfinite(record['score'])]
        scored += [self.best] if self.best else []
        self.best = max(scored, key=lambda record: (record['score'], -record['flops']), default=None)

    def lines(self) -> tuple[str, str]:
        """Where the search is, and the best so far."""
        counts = (
            f'generation {self.generation}/{self.generations}, {self.evaluated:,} evaluated, {self.known:,} known, '
            f'{self.strategy.feasible:,} feasible of {self.strategy.tried:,} tried'
        )
        if self.best is None:
            return counts, f'best {self.score}: none yet'
        costs = f'{self.best["flops"] / 1e6:,.2f} MFLOPs, {self.best["params"]:,} params'
        if 'latency' in self.best:
            costs += f', {self.best["latency"]:.3f} ms'
        return counts, f'best {self.score} {self.best["score"]:.4f} at {costs}'

    @property
    def seconds_left(self) -> float:
        """At the pace so far, and not beyond the end of the time."""
        spent = time.monotonic() - self._start
        return min(spent / max(self.evaluated, 1) * self._left, max(self.max_seconds - spent, 0))

    def _refresh(self) -> None:
        counts, best = self.lines()
        if self._bars:
            bar, text = self._bars
            bar.n, bar.total = self.evaluated, self.evaluated + self._left
            bar.refresh()
            text.set_description_str(f'{counts}; {best}')
        now = time.monotonic()
        if not self._bars and now - self._shown > LINE_EVERY_SECONDS and is_main_process():
            self._shown = now
            self.logger.info(f'{counts}; {best}; {self.seconds_left:.0f} s left')
