"""The search: ask, evaluate, record, tell."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from mmengine.dist import all_gather_object, get_dist_info
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.checkpoints import save_atomically, subnet_checkpoint
from mmrazor_bignas.engine.distributed import on_first_rank, unwrapped
from mmrazor_bignas.engine.evaluation import extract_calibrated, measure
from mmrazor_bignas.engine.loops import calibration_batches
from mmrazor_bignas.engine.progress import track
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError, SearchFailed, UserError
from mmrazor_bignas.registry import LOOPS, TASK_UTILS
from mmrazor_bignas.search import BEFORE, Constraints, History, read_known
from mmrazor_bignas.search_space import CostTable, SubnetSpec

HISTORY = 'search_history.jsonl'
BEST_YAML = 'best_subnet.yaml'
BEST_CHECKPOINT = 'best_subnet.pth'
MOST_FAILURES = 3


@LOOPS.register_module()
class SearchLoop(BaseLoop):
    """Search the supernet that the Runner holds, and export the best subnet.

    A validation loop over many subnets: it needs no optimizer. Writes into the work dir the history (a line per
    candidate), the best subnet's YAML and its calibrated checkpoint.

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
        resume: Go on with the work dir's history.
        known: Histories of earlier searches, with other constraints or strategies, on the same checkpoint and images:
            what they evaluated is not evaluated again, and the feasible part of it is told to the strategy at first.

    Raises:
        InputError: A number is out of range, a constraint cannot be met, the history is of another search.
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
        resume: bool = False,
        known: Sequence[str] = (),
    ) -> None:
        if isinstance(generations, bool) or not isinstance(generations, int) or generations < 1:
            raise InputError(f'search: generations is {generations!r}; expected an integer of 1 or more')
        self.supernet = unwrapped(runner.model).architecture
        space = self.supernet.search_space
        self.cost = CostTable(space, self.supernet.head.num_classes)
        self.constraints = Constraints(space, self.cost, constraints)
        self.strategy = TASK_UTILS.build({**strategy, 'search_space': space, 'constraints': self.constraints})
        super().__init__(runner, FixedBatches(**dataloader))
        self.evaluator = runner.build_evaluator(evaluator)
        self.calibration = calibration_batches(calibrate_dataloader, calibrate_sample_num, seed)
        self.generations, self.score = generations, score
        self._failed: dict[int, int] = {}  # in a row, by rank
        self.resume, self.known = resume, [known] if isinstance(known, str) else known
        if not isinstance(self.known, (list, tuple)) or not all(isinstance(path, str) for path in self.known):
            raise InputError(f'search: known is {known!r}; expected a list of histories')
        self._scores_depend_on = {
            'score': score,
            'data': {key: dataloader[key] for key in ('dataset', 'batch_size')},
            'calibration': {key: calibrate_dataloader[key] for key in ('dataset', 'batch_size')},
            'calibrate_sample_num': calibrate_sample_num,
            'seed': seed,
        }

    def run(self) -> dict[str, float]:
        """Search; returns the best candidate's score, metrics and cost."""
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        history = self._open_history()
        earlier = {subnet: record for subnet, record in history.items() if record.get('generation') == BEFORE}
        if feasible := {s: record['score'] for s, record in earlier.items() if self.constraints.feasible(s)}:
            self.strategy.tell(feasible)
        for generation in range(self.generations):
            candidates = self.strategy.ask()
            if not candidates:
                self.runner.logger.info('no further feasible subnet was found: the search is complete')
                break
            self._evaluate([subnet for subnet in candidates if subnet not in history], generation, history)
            self.strategy.tell({subnet: history[subnet]['score'] for subnet in candidates})
            best = self.strategy.best()[0]
            self.runner.logger.info(
                f'generation {generation + 1}/{self.generations}: {len(candidates)} candidates, '
                f'best {self.score} {history[best]["score"]:.4f} at {history[best]["flops"] / 1e6:,.2f} MFLOPs, '
                f'{history[best]["params"]:,} params'
            )
        best = self.strategy.best()[0]
        if math.isnan(history[best]['score']):
            raise SearchFailed(f'no candidate has a score; {HISTORY} says why')
        metrics = self._export(best, history)
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    def _evaluate(self, subnets: list[SubnetSpec], generation: int, history: dict[SubnetSpec, dict]) -> None:
        """Evaluate one candidate per rank and round; every rank then knows all records, the first writes them."""
        rank, world_size = get_dist_info()
        rounds = [subnets[i : i + world_size] for i in range(0, len(subnets), world_size)]
        for candidates in track(rounds, f'generation {generation + 1}/{self.generations}', len(rounds)):
            mine = candidates[rank : rank + 1]
            records = [(subnet, {'generation': generation, **self._record_or_error(subnet)}) for subnet in mine]
            gathered = list(chain.from_iterable(all_gather_object(records)))
            for subnet, record in gathered:
                history[subnet] = record
                if self._file is not None:
                    self._file.add(subnet, record)
            for i, (_, record) in enumerate(gathered):  # by rank: one broken device must not spoil its share of all
                self._failed[i] = self._failed.get(i, 0) + 1 if 'error' in record else 0
                if self._failed[i] == MOST_FAILURES:
                    raise SearchFailed(
                        f'the evaluation of {MOST_FAILURES} candidates in a row failed, the last with '
                        f'{record["error"]}; all are in {HISTORY}, and --resume tries them again'
                    )

    def _record_or_error(self, subnet: SubnetSpec) -> dict:
        """What a candidate scored; where its evaluation failed, NaN and why."""
        try:
            return self._record(subnet)
        except (UserError, OSError, TypeError, KeyError, AttributeError):  # no other candidate would fare better
            raise
        except Exception as error:  # out of memory, most often
            message = f'{type(error).__name__}: {(str(error).strip().splitlines() or [""])[-1]}'
            self.runner.logger.warning(f'a candidate could not be evaluated:\n{subnet.to_yaml()}', exc_info=True)
            cost = self.cost(subnet)
            return {'score': math.nan, 'metrics': {}, 'flops': cost.flops, 'params': cost.params, 'error': message}

    def _record(self, subnet: SubnetSpec) -> dict:
        metrics = measure(extract_calibrated(self.supernet, subnet, self.calibration), self.dataloader, self.evaluator)
        if self.score not in metrics:
            raise InputError(f'search: score is {self.score!r}; the evaluator measures {sorted(metrics)}')
        cost = self.cost(subnet)
        return {'score': metrics[self.score], 'metrics': metrics, 'flops': cost.flops, 'params': cost.params}

    def _open_history(self) -> dict[SubnetSpec, dict]:
        """The first rank opens the file; all get its records."""
        self._file = None

        def open_file() -> dict[SubnetSpec, dict]:
            search = {
                # With the preprocessor's mean and deviation, which no state dict holds.
                'checkpoint': digest({**self.supernet.state_dict(), **dict(self.supernet.named_buffers())}),
                'search_space': self.supernet.search_space.to_dict(),
                **self._scores_depend_on,
            }
            # Read before the own history is moved aside. A resumed search has taken them over already.
            known = {} if self.resume else {path: read_known(path, search) for path in self.known}
            self._file = History(Path(self.runner.work_dir) / HISTORY, search, self.resume)
            for path, records in known.items():
                self._file.take_over(path, records)
            for subnet in self._file.records:
                self.supernet.search_space.validate(subnet, source=str(self._file.path))
            for note in self._file.notes:
                self.runner.logger.warning(note)
            if self._file.records:
                self.runner.logger.info(f'resumed: {len(self._file.records)} candidates are known')
            # Failed ones are tried again: the reason may be gone.
            return {subnet: record for subnet, record in self._file.records.items() if 'error' not in record}

        return on_first_rank(open_file)

    def _export(self, best: SubnetSpec, history: dict[SubnetSpec, dict]) -> dict[str, float]:
        record = history[best]
        if self._file is not None:
            static = extract_calibrated(self.supernet, best, self.calibration)
            work_dir = Path(self.runner.work_dir)
            choice = best.to_yaml().encode()
            write_atomically(work_dir / BEST_YAML, lambda file: file.write(choice))
            save_atomically(subnet_checkpoint(static, record['metrics']), work_dir / BEST_CHECKPOINT)
            self.runner.logger.info(
                f'exported {work_dir / BEST_CHECKPOINT} and {work_dir / BEST_YAML}:\n{best.to_yaml()}'
            )
        return {key: float(record[key]) for key in ('score', 'flops', 'params')}


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of a state dict's names and values."""
    sha = hashlib.sha256()
    for key, value in state.items():
        sha.update(key.encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
