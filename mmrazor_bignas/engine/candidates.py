"""CandidateEvaluator: from a subnet to its record in the history."""

from __future__ import annotations

import math
from dataclasses import asdict

from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger

from mmrazor_bignas.engine.batches import FixedBatches
from mmrazor_bignas.engine.evaluation import extract_calibrated, measure
from mmrazor_bignas.errors import InputError, UserError
from mmrazor_bignas.models import SearchableImageClassifier
from mmrazor_bignas.search_space import CostTable, SubnetSpec


class CandidateEvaluator:
    """Scores subnets of a supernet, which is only read; a score depends on the subnet alone.

    Args:
        supernet: The trained supernet.
        cost: The cost of its subnets.
        calibration: The calibration images.
        batches: The images that score.
        evaluator: The metrics.
        score: The metric that is the score.
        amp: Whether forward passes run under bfloat16 autocast.
        logger: Gets the traceback of a failure.
    """

    def __init__(
        self,
        supernet: SearchableImageClassifier,
        cost: CostTable,
        calibration: FixedBatches,
        batches: FixedBatches,
        evaluator: Evaluator,
        score: str,
        amp: bool,
        logger: MMLogger,
    ) -> None:
        self.supernet, self.cost, self.amp = supernet, cost, amp
        self.calibration, self.batches, self.evaluator = calibration, batches, evaluator
        self.score, self.logger = score, logger

    def extract(self, subnet: SubnetSpec) -> SearchableImageClassifier:
        """The static, calibrated network that is scored."""
        return extract_calibrated(self.supernet, subnet, self.calibration, self.amp)

    def costs(self, subnet: SubnetSpec) -> dict[str, float]:
        """FLOPs, params, and the latency where there is a table."""
        return {name: value for name, value in asdict(self.cost(subnet)).items() if value is not None}

    def record(self, subnet: SubnetSpec) -> dict:
        """Score, metrics and costs; where the evaluation failed, NaN and the error.

        Raises:
            UserError, OSError: No other candidate would fare better.
        """
        try:
            metrics = measure(self.extract(subnet), self.batches, self.evaluator, self.amp)
        except (UserError, OSError):
            raise
        except Exception as error:  # out of memory, most often
            message = ': '.join([type(error).__name__, *str(error).strip().splitlines()[-1:]])
            self.logger.warning(f'a candidate could not be evaluated:\n{subnet.to_yaml()}', exc_info=True)
            return {'score': math.nan, 'metrics': {}, **self.costs(subnet), 'error': message}
        if self.score not in metrics:
            raise InputError(f'search: score is {self.score!r}; the evaluator measures {sorted(metrics)}')
        return {'score': metrics[self.score], 'metrics': metrics, **self.costs(subnet)}
