"""What a search leaves in its work dir beside the history: the best subnet, the Pareto set, the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.dist import barrier, get_dist_info
from mmengine.logging import MMLogger

from mmrazor_bignas.engine.candidates import CandidateEvaluator
from mmrazor_bignas.engine.checkpoints import save_atomically, subnet_checkpoint
from mmrazor_bignas.engine.plots import save_figure
from mmrazor_bignas.engine.progress import track
from mmrazor_bignas.engine.report import write_report
from mmrazor_bignas.engine.search_data import front
from mmrazor_bignas.engine.search_plots import draw_choices, draw_pareto, draw_scores
from mmrazor_bignas.engine.storage import write_atomically
from mmrazor_bignas.errors import InputError
from mmrazor_bignas.search_space import SubnetSpec

BEST_YAML = 'best_subnet.yaml'
BEST_CHECKPOINT = 'best_subnet.pth'
PARETO_FOLDER = 'pareto'
REPORT = 'report.html'
PARETO_FILE = re.compile(r'\d{3,}\.(yaml|pth)')


class SearchResults:
    """Writes the results of a search.

    Args:
        work_dir: Where they go.
        candidates: What scored them.
        records: ``subnet -> record`` of every feasible candidate that is known.
        objectives: What the Pareto set is over: ``'score'`` and costs.
        logger: Is told what was written.
    """

    def __init__(
        self,
        work_dir: str | Path,
        candidates: CandidateEvaluator,
        records: Mapping[SubnetSpec, Mapping],
        objectives: Sequence[str],
        logger: MMLogger,
    ) -> None:
        self.work_dir, self.logger = Path(work_dir), logger
        self.candidates, self.records, self.objectives = candidates, records, objectives
        self.front = front(records, objectives)
        self.links = {subnet: f'{PARETO_FOLDER}/{i:03d}.yaml' for i, subnet in enumerate(self.front, 1)}

    def write_best(self, best: SubnetSpec) -> None:
        """The YAML and the calibrated checkpoint of the best subnet."""
        self._write_yaml(best, self.work_dir / BEST_YAML)
        self._write_checkpoint(best, self.work_dir / BEST_CHECKPOINT)
        self.logger.info(
            f'exported {self.work_dir / BEST_CHECKPOINT} and {self.work_dir / BEST_YAML}:\n{best.to_yaml()}'
        )

    def write_pareto_yamls(self) -> None:
        """A YAML of every subnet of the Pareto set, by the last objective; those of an earlier search go."""
        folder = self.work_dir / PARETO_FOLDER
        for path in folder.glob('*'):
            if PARETO_FILE.fullmatch(path.name):
                path.unlink()
        for subnet, link in self.links.items():
            self._write_yaml(subnet, self.work_dir / link)
        self.logger.info(f'exported the Pareto set of {", ".join(self.objectives)}: {len(self.front)} in {folder}')

    def write_pareto_checkpoints(self) -> None:
        """A calibrated checkpoint of each of them; every rank makes its share."""
        barrier()  # behind the first rank, which removes earlier ones
        rank, world_size = get_dist_info()
        mine = self.front[rank::world_size]
        for subnet in track(mine, 'export the Pareto set', len(mine)):
            self._write_checkpoint(subnet, (self.work_dir / self.links[subnet]).with_suffix('.pth'))
        barrier()

    def write_report(self, run: str, score: str) -> None:
        """The report and its figures as images."""
        histories = {run: self.records}
        for name, figure in (
            ('pareto.png', draw_pareto(histories, score, next(name for name in self.objectives if name != 'score'))),
            ('scores.png', draw_scores(histories, score)),
            ('choices.png', draw_choices(histories)),
        ):
            save_figure(figure, self.work_dir / name)
        try:
            write_report(self.work_dir / REPORT, histories, self.objectives, score, self.links)
        except InputError as error:  # plotly is missing
            self.logger.warning(f'{REPORT} was not written: {error}')
        else:
            self.logger.info(f'wrote {self.work_dir / REPORT}, pareto.png, scores.png and choices.png')

    def _write_yaml(self, subnet: SubnetSpec, path: Path) -> None:
        record = self.records[subnet]
        costs = ', '.join(
            f'{name} {value:,}' if isinstance(value, int) else f'{name} {value:.4g}'
            for name, value in self.candidates.costs(subnet).items()
        )
        content = f'# {self.candidates.score} {record["score"]:.4f}, {costs}\n{subnet.to_yaml()}'.encode()
        write_atomically(path, lambda file: file.write(content))

    def _write_checkpoint(self, subnet: SubnetSpec, path: Path) -> None:
        static = self.candidates.extract(subnet)
        classes = getattr(self.candidates.calibration.dataset, 'metainfo', {}).get('classes')
        save_atomically(subnet_checkpoint(static, self.records[subnet]['metrics'], classes), path)
