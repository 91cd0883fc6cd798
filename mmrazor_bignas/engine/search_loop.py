"""The search: ask, evaluate, record, tell."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from mmengine.dist import all_gather_object, get_dist_info
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.candidates import CandidateEvaluator
from mmrazor_bignas.engine.distributed import on_first_rank, unwrapped
from mmrazor_bignas.engine.latency import check_machine
from mmrazor_bignas.engine.loops import calibration_batches, device_of
from mmrazor_bignas.engine.search_arguments import ARGUMENTS, check_arguments
from mmrazor_bignas.engine.search_data import scored
from mmrazor_bignas.engine.search_results import SearchResults
from mmrazor_bignas.engine.search_view import SearchView
from mmrazor_bignas.errors import SearchFailed
from mmrazor_bignas.registry import LOOPS, TASK_UTILS
from mmrazor_bignas.search import BEFORE, COST_NAMES, Constraints, History, read_known
from mmrazor_bignas.search_space import CostTable, LatencyTable, SearchSpace, SubnetSpec

HISTORY = 'search_history.jsonl'
MOST_FAILURES = 3


@LOOPS.register_module()
class SearchLoop(BaseLoop):
    """Search the supernet that the Runner holds, and export what was found.

    A validation loop over many subnets: it needs no optimizer. Writes into the work dir the history (a line per
    candidate), the best subnet's YAML and its calibrated checkpoint, the Pareto set's YAMLs, and a report.

    Args:
        runner: The Runner; its model is the algorithm that trained the supernet.
        dataloader: Config of the data that scores candidates: ``dataset``, ``batch_size`` and options of torch's
            DataLoader.
        evaluator: The metrics.
        strategy: Config of the strategy, e.g. ``mmrazor_bignas.Evolution``.
        generations: How often the strategy is asked.
        constraints: Ranges of costs, see :class:`~mmrazor_bignas.search.Constraints`.
        score: The metric that is the score; higher is better.
        calibrate_dataloader: Config of the calibration data: training images.
        calibrate_sample_num: Images to calibrate each candidate on, the same for all.
        seed: Seed of the choice of calibration images and of their augmentation.
        amp: Whether candidates run under bfloat16 autocast.
        max_hours: No candidate is begun after so many hours; what was found till then is exported. None: no limit.
        latency_table: A file that ``bignas latency`` made, where latency is a constraint or an objective.
        latency_elsewhere: Whether it may be of another machine than this one.
        export_pareto: Whether the subnets of the Pareto set get a checkpoint each, calibrated, beside their YAMLs.
        resume: Go on with the work dir's history.
        known: Histories of earlier searches, with other constraints or strategies, on the same checkpoint and images:
            what they evaluated is not evaluated again, and the feasible part of it is told to the strategy at first.

    Raises:
        InputError: A number is out of range, a constraint cannot be met, the history is of another search, the latency
            table of another space or machine.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: Evaluator | dict | list,
        strategy: dict,
        generations: int,
        constraints: Mapping[str, Sequence[float | None]],
        score: str,
        calibrate_dataloader: dict,
        calibrate_sample_num: int,
        seed: int = 0,
        amp: bool = False,
        max_hours: float | None = None,
        latency_table: str | None = None,
        latency_elsewhere: bool = False,
        export_pareto: bool = False,
        resume: bool = False,
        known: Sequence[str] = (),
    ) -> None:
        known = [known] if isinstance(known, str) else known
        arguments = locals()
        check_arguments({name: arguments[name] for name in ARGUMENTS})
        supernet = unwrapped(runner.model).architecture
        space = supernet.search_space
        num_classes = supernet.head.num_classes
        table = latency_table and _latency_table(latency_table, space, num_classes, latency_elsewhere)
        cost = CostTable(space, num_classes, table)
        self.constraints = Constraints(space, cost, constraints)
        self.strategy = TASK_UTILS.build({**strategy, 'search_space': space, 'constraints': self.constraints})
        super().__init__(runner, FixedBatches(**dataloader, device=device_of(runner)))
        self.candidates = CandidateEvaluator(
            supernet,
            cost,
            calibration_batches(calibrate_dataloader, calibrate_sample_num, seed, device=device_of(runner)),
            self.dataloader,
            runner.build_evaluator(evaluator),
            score,
            amp,
            runner.logger,
        )
        self.generations, self.score, self.export_pareto = generations, score, export_pareto
        self.max_seconds = math.inf if max_hours is None else 3600 * max_hours
        self._failed: dict[int, int] = {}  # in a row, by rank
        self._clock = time.monotonic
        self.resume, self.known = resume, known
        self._scores_depend_on = {
            'score': score,
            'data': {key: dataloader[key] for key in ('dataset', 'batch_size')},
            'calibration': {key: calibrate_dataloader[key] for key in ('dataset', 'batch_size')},
            'calibrate_sample_num': calibrate_sample_num,
            'seed': seed,
            **({'amp': True} if amp else {}),
        }

    def run(self) -> dict[str, float]:
        """Search; returns the best candidate's score, metrics and cost."""
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        history = self._open_history()
        # What this search found itself it is told as it asks for it: a resumed search asks for the same.
        feasible = self._feasible(history)
        if earlier := {s: record['score'] for s, record in feasible.items() if record['generation'] == BEFORE}:
            self.strategy.tell(earlier)
        try:
            self._search(history, feasible, len(earlier))
        except SearchFailed:
            if scored(self._feasible(history)):
                try:
                    self._export(history)
                except Exception:  # the device that failed the candidates, it may be; they are the news
                    self.runner.logger.warning('what was found could not be exported', exc_info=True)
            raise
        metrics = self._export(history)
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    def _search(self, history: dict[SubnetSpec, dict], known: Mapping[SubnetSpec, dict], earlier: int) -> None:
        """All generations.

        Args:
            history: What is known of every subnet; grows.
            known: The feasible part of it.
            earlier: How many were taken over.
        """
        self._deadline = self._clock() + self.max_seconds
        logger = self.runner.logger
        with SearchView(self.score, self.generations, self.strategy, logger, self.max_seconds) as view:
            view.known = earlier
            view.see(known.values())
            for generation in range(self.generations):
                candidates = self.strategy.ask()
                if not candidates:
                    logger.info('no further feasible subnet was found: the search is complete')
                    return
                new = [subnet for subnet in candidates if subnet not in history]
                view.begin(generation, len(candidates), [history[s] for s in candidates if s in history])
                in_time = self._evaluate(new, generation, history, view)
                self.strategy.tell({s: history[s]['score'] for s in candidates if s in history})
                logger.info('; '.join(view.lines()))
                if not in_time:
                    logger.warning('max_hours is over: the search ends here; --resume goes on')
                    return

    def _feasible(self, history: Mapping[SubnetSpec, dict]) -> dict[SubnetSpec, dict]:
        return {subnet: record for subnet, record in history.items() if self.constraints.feasible(subnet)}

    def _evaluate(
        self, subnets: list[SubnetSpec], generation: int, history: dict[SubnetSpec, dict], view: SearchView
    ) -> bool:
        """Evaluate one candidate per rank and round; every rank then knows all records, the first writes them.

        Returns:
            Whether all were evaluated before the time was over.
        """
        rank, world_size = get_dist_info()
        # Those of a round cost nearly the same, so that no rank waits for long.
        subnets = sorted(subnets, key=lambda subnet: self.constraints.cost(subnet).flops, reverse=True)
        for start in range(0, len(subnets), world_size):
            mine = subnets[start : start + world_size][rank : rank + 1]
            records = [(subnet, {'generation': generation, **self.candidates.record(subnet)}) for subnet in mine]
            shares = all_gather_object((records, self._clock() < self._deadline))
            gathered = list(chain.from_iterable(records for records, _ in shares))
            for subnet, record in gathered:
                history[subnet] = record
                if self._file is not None:
                    self._file.add(subnet, record)
            view.add([record for _, record in gathered])
            for i, (_, record) in enumerate(gathered):  # by rank: one broken device must not spoil its share of all
                self._failed[i] = self._failed.get(i, 0) + 1 if 'error' in record else 0
                if self._failed[i] == MOST_FAILURES:
                    raise SearchFailed(
                        f'the evaluation of {MOST_FAILURES} candidates in a row failed, the last with '
                        f'{record["error"]}; all are in {HISTORY}, and --resume tries them again'
                    )
            if not shares[0][1]:  # by the first rank's clock
                return False
        return True

    def _open_history(self) -> dict[SubnetSpec, dict]:
        """The first rank opens the file; all get its records."""
        self._file = None
        supernet = self.candidates.supernet

        def open_file() -> dict[SubnetSpec, dict]:
            search = {
                # With the preprocessor's mean and deviation, which no state dict holds.
                'checkpoint': digest({**supernet.state_dict(), **dict(supernet.named_buffers())}),
                'search_space': supernet.search_space.to_dict(),
                **self._scores_depend_on,
            }
            known = {path: self._priced(read_known(path, search), path) for path in self.known}
            self._file = History(Path(self.runner.work_dir) / HISTORY, search, self.resume)
            own = self._priced(self._file.records, self._file.path)
            if self.resume and own:
                self.runner.logger.info(f'resumed: {len(own)} candidates are known')
            for path, records in known.items():
                self._file.take_over(path, records)
            for note in self._file.notes:
                self.runner.logger.warning(note)
            # Failed ones are tried again: the reason may be gone.
            known = self._file.records | own
            return {subnet: record for subnet, record in known.items() if 'error' not in record}

        return on_first_rank(open_file)

    def _priced(self, records: Mapping[SubnetSpec, dict], source: str | Path) -> dict[SubnetSpec, dict]:
        """Records of subnets of this space, with this search's costs: another latency table may have been in use."""
        priced = {}
        for subnet, record in records.items():
            self.candidates.supernet.search_space.validate(subnet, source=str(source))
            scores = {key: value for key, value in record.items() if key not in COST_NAMES}
            priced[subnet] = {**scores, **self.candidates.costs(subnet)}
        return priced

    def _export(self, history: dict[SubnetSpec, dict]) -> dict[str, float]:
        """Write the results; returns what is known of the best candidate."""
        found = self._feasible(history)
        best = next(iter(scored(found)), None)
        if best is None:
            raise SearchFailed(f'no candidate has a score; {HISTORY} says why')
        record = history[best]
        logger = self.runner.logger
        results = SearchResults(self.runner.work_dir, self.candidates, found, self.strategy.objectives, logger)
        if self._file is not None:
            results.write_best(best)
            results.write_pareto_yamls()
            results.write_report(Path(self.runner.work_dir).resolve().name, self.score)
        if self.export_pareto:
            results.write_pareto_checkpoints()
        return {key: float(record[key]) for key in ('score', *self.candidates.costs(best))}


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict's names and values."""
    sha = hashlib.sha256()
    for key, value in state.items():
        sha.update(key.encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def _latency_table(path: str, space: SearchSpace, num_classes: int, elsewhere: bool) -> LatencyTable:
    """The table of a file, if it is of this space and, unless told otherwise, of this machine."""

    def load() -> LatencyTable:
        table = LatencyTable.load(path)
        table.check_space(space, num_classes)
        if not elsewhere:
            check_machine(
                table,
                'measure here with bignas latency, or, to search for that machine, set val_cfg.latency_elsewhere=True',
            )
        return table

    return on_first_rank(load)
