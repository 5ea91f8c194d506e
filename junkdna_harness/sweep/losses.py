"""How much a run loses on the calibration half of the items: the number by which levels of two methods are made equal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from difficulty.errors import UsageError
from difficulty.runs.halves import in_calibration_half
from difficulty.runs.metrics import choose, higher_is_better
from difficulty.runs.parquet import read_parquet
from difficulty.runs.store import SAMPLES, table_path
from difficulty.runs.table import MARGIN

if TYPE_CHECKING:
    import pandas as pd

TRIMMED = 0.1  # of the items of a cell, at each end
ITEM = ["task", "family", "tier", "item_id"]
TOLERANCES = {"margin": 0.05, "accuracy": 0.01}  # in log-odds; as a share of the items


@dataclass(frozen=True)
class Loss:
    """A run's `value`, over `cells` of family and tier; `missing` items of the half have no score in this run."""

    value: float
    cells: int
    missing: int


class Losses:
    """The mean losses of a model's runs, from their samples in a sweep's folder: dense minus run, each read once.

    A cell is a family's tier. Its score is the 10 % trimmed mean (each end) of the margins of its items in the calibration half;
    cells without margins take no part, and cells count alike. Where no margin was logged at all, it is the mean accuracy (of tasks that
    have one).

    Raises:
        UsageError: the dense run has nothing to compare.
    """

    def __init__(self, folder: Path, dense: str) -> None:
        self.folder = folder
        self._known: dict[str, Loss | None] = {}
        rows = self._read(dense)
        self.scale = "margin" if (rows["metric"] == MARGIN).any() else "accuracy"
        self._metrics = {} if self.scale == "margin" else _accuracies(rows)
        self._dense = self._scores(rows)
        if not len(self._dense):
            raise UsageError(
                f"the dense run in {str(folder)!r} has no item in the calibration half whose loss could be matched. "
                "Evaluate more items: raise --limit."
            )

    @property
    def tolerance(self) -> float:
        """What counts as no loss at all."""
        return TOLERANCES[self.scale]

    def of(self, stem: str) -> Loss | None:
        """The loss of a finished run; None where it lacks a cell that the dense run has (a task that could not be run)."""
        if stem not in self._known:
            self._known[stem] = self._measure(stem)
        return self._known[stem]

    def _measure(self, stem: str) -> Loss | None:
        both = self._dense.join(self._scores(self._read(stem)).rename(columns={"value": "now"}), how="left")
        missing = int(both["now"].isna().sum())
        cells = both.dropna().groupby(["family", "tier"], sort=True)
        if len(cells) < self._dense.groupby(["family", "tier"]).ngroups:
            return None
        lost = [self._mean(cell["value"]) - self._mean(cell["now"]) for _, cell in cells]
        return Loss(sum(lost) / len(lost), len(lost), missing)

    def _mean(self, values: pd.Series[float]) -> float:
        if self.scale == "accuracy":
            return float(values.mean())
        from scipy.stats import trim_mean

        return float(trim_mean(values.to_numpy(), TRIMMED))

    def _scores(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The score of each item in the calibration half: a column `value`, by task, family, tier and item."""
        if self.scale == "margin":
            rows = rows[rows["metric"] == MARGIN]
        else:
            rows = rows[rows["metric"] == rows["task"].map(self._metrics)]
        rows = rows[in_calibration_half(rows["cluster_id"])]
        return rows.set_index(ITEM)[["value"]].astype(float).dropna()

    def _read(self, stem: str) -> pd.DataFrame:
        return read_parquet(table_path(self.folder, SAMPLES, stem))


def _accuracies(dense: pd.DataFrame) -> dict[str, str]:
    """Task -> its metric, of the tasks whose metric is a share of which more is better."""
    chosen = choose(dense)
    return {
        task: chosen.metrics[str(task)]
        for task, rows in chosen.rows.groupby("task")
        if higher_is_better(rows) is not False and rows["value"].between(0, 1).all()
    }
