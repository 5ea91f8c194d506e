"""One logged lm-eval run: scores by task and document, and the documents themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from difficulty.cut.axes import Item
from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.lm_eval_log import find_results, read_samples
from difficulty.runs.read import read_runs
from difficulty.runs.table import some
from junkdna_harness.tiers.items import item_of_sample

if TYPE_CHECKING:
    import pandas as pd

PREFERRED = ("acc", "exact_match")  # what a run is judged by when nothing is said


@dataclass(frozen=True)
class RunLog:
    """A run as read.

    folder: as the user named it. run: its id. model: what was evaluated. table: the tidy rows.
    """

    folder: str
    run: str
    model: str
    table: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """Tasks that were logged, in the order of the results."""
        return list(dict.fromkeys(self.table["task"]))

    def metrics(self, task: str) -> list[str]:
        """Metrics that are one number an item, in the order of the log."""
        return list(dict.fromkeys(self.table.loc[self.table["task"] == task, "metric"]))

    def scores(self, task: str, metric: str) -> dict[str, float]:
        """Item id -> value of the metric.

        Raises:
            UsageError: the task or the metric was not logged.
        """
        rows = self.table[(self.table["task"] == task) & (self.table["metric"] == metric)]
        if rows.empty:
            self._refuse(task, metric)
        return dict(zip(rows["item_id"], rows["value"].astype(float), strict=True))

    def default_metric(self, task: str) -> str:
        """acc, else exact_match (of the first filter), else the first.

        Raises:
            UsageError: the task was not logged.
        """
        names = self.metrics(task)
        if not names:
            self._refuse(task, "")
        for wanted in PREFERRED:
            for name in names:
                if name.partition(",")[0] == wanted:
                    return name
        return names[0]

    def _refuse(self, task: str, metric: str) -> None:
        if task not in self.tasks:
            raise UsageError(
                f"{self.folder!r} has no samples of {task!r}; it has {some(self.tasks)}.{did_you_mean(task, self.tasks)}"
            )
        names = self.metrics(task)
        hint = (
            " Margins need log-likelihoods; use dense_accuracy for generated text."
            if metric == "margin"
            else ""
        )
        raise UsageError(
            f"{self.folder!r} has no metric {metric!r} for {task!r}; it has {', '.join(names)}."
            f"{hint or did_you_mean(metric, names)}"
        )


def read_log(folder: str | Path) -> RunLog:
    """The one run in an lm-eval output folder.

    Raises:
        UsageError: there is none, it has no samples, or there are several runs.
    """
    runs = read_runs(folder)
    names = list(runs.runs["run"])
    if len(names) != 1:
        raise UsageError(
            f"{str(folder)!r} holds {len(names)} runs ({some(names)}). Name the folder of one run."
        )
    return RunLog(str(folder), names[0], str(runs.runs["model"].iloc[0]), runs.table)


def logged_items(folder: str | Path, task: str) -> dict[str, Item]:
    """Item id -> what a rule may look at, from the logged samples of a task."""
    items: dict[str, Item] = {}
    for results in find_results(Path(folder)):
        for path in sorted(results.parent.glob(f"samples_{task}_*.jsonl")):
            copies: dict[str, set[object]] = {}
            for sample in read_samples(path):
                # a document that the data set holds twice gets "#2", as in the tidy table
                seen = copies.setdefault(sample["doc_hash"], set())
                seen.add(sample.get("doc_id"))
                name = sample["doc_hash"] if len(seen) == 1 else f"{sample['doc_hash']}#{len(seen)}"
                items.setdefault(name, item_of_sample(sample))
    return items


def samples_sha256(folder: str | Path, task: str) -> str:
    """A sha256 of the samples of a task, for the record."""
    digest = hashlib.sha256()
    for results in find_results(Path(folder)):
        for path in sorted(results.parent.glob(f"samples_{task}_*.jsonl")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def same_items(
    first: Mapping[str, float], second: Mapping[str, float], names: tuple[str, str], task: str
) -> None:
    """Nothing, when both hold the same items.

    Raises:
        UsageError: they do not; the message counts and names what is missing where.
    """
    for here, there, name, other in ((first, second, *names), (second, first, *reversed(names))):
        missing = [item for item in here if item not in there]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(here)} items of {task!r} in {name!r} are not in {other!r} "
                f"({some([item[:12] for item in missing])}). Evaluate both on the same data, version and --limit."
            )
