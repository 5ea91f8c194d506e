"""What the model answered so far, read as the logs of lm-eval are read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from difficulty.errors import UsageError
from difficulty.runs.asked import Asked, asked
from difficulty.runs.evaluated import Evaluated
from difficulty.runs.part import cells_of, weights_in
from difficulty.runs.rows import task_rows
from difficulty.runs.table import COLUMNS, KNOWN_BY, MARGIN, N_WEIGHTS, validate
from difficulty.stats.result import Floats
from junkdna_harness.gate.items import RunItems, TaskItems, run_items
from junkdna_harness.gate.pairs import pair_items
from junkdna_harness.gate.walk import Integers
from junkdna_harness.harness.requests import Sample
from junkdna_harness.sequential.prepared import Prepared


class Answers:
    """The samples of one model, batch by batch, and the tidy rows made of them."""

    def __init__(self, prepared: Prepared, baseline: RunItems, who: Evaluated) -> None:
        self.prepared, self.baseline, self.who = prepared, baseline, who
        self._samples: dict[str, list[Sample]] = {}
        self._frames: list[pd.DataFrame] = []
        # A copy is known by its number among all documents, not among those of its batch.
        self._ids = {name: prepared.ids(name) for name in prepared.cells}

    def add(self, batch: Integers, samples: Mapping[str, Sequence[Sample]]) -> Floats:
        """The values of the items of a batch, from the samples that its documents gave.

        Raises:
            UsageError: a value is no number, or a task has not the baseline's metric.
        """
        for name, listed in samples.items():
            self._samples.setdefault(name, []).extend(listed)
        frame = self._frame(samples)
        self._frames.append(frame)
        # Which option is right, and so a margin, is read from all items together.
        whole = [name for name in samples if name in self._by_margin]
        if whole:
            again = self._frame({name: self._samples[name] for name in whole})
            frame = pd.concat([frame[~frame["task"].isin(whole)], again], ignore_index=True)
        values = np.full(len(self.prepared.items), np.nan)
        for key, task in self._read(frame).tasks.items():
            pair, _, _ = pair_items(task, self.baseline.tasks[key], None)
            values[self.prepared.places[key][list(pair.at_old)]] = pair.after
        if lacking := int((~np.isfinite(values[batch])).sum()):
            raise UsageError(
                f"{lacking} items have no score in this evaluation, and have one in the baseline."
            )
        return values[batch]

    @property
    def _by_margin(self) -> set[str]:
        return {task.task for task in self.baseline.tasks.values() if task.metric == MARGIN}

    @property
    def table(self) -> pd.DataFrame:
        """The tidy table of everything that was asked."""
        if self._by_margin.isdisjoint(self._samples):
            return pd.concat(self._frames, ignore_index=True)
        return self._frame(self._samples)

    def texts(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Asked]:
        """What some items (task, item id) were asked, and what was answered."""
        found: dict[tuple[str, str], Asked] = {}
        for name, listed in self._samples.items():
            for sample in listed:
                key = (name, self._ids[name][int(sample["doc_id"])])
                if key in wanted and key not in found:  # the first filter's
                    found[key] = asked(sample)
        return found

    def run(self, notes: Iterable[str] = (), dtype: str | None = None) -> RunItems:
        """The run as the gate sees it, with the items that were asked."""
        found = self._read(self.table)
        guessed = self.who.run.known_by == "guess"
        return replace(
            found, notes=tuple(dict.fromkeys((*notes, *found.notes))), guessed=guessed, dtype=dtype
        )

    def _frame(self, samples: Mapping[str, Sequence[Sample]]) -> pd.DataFrame:
        """The tidy rows of samples, as the readers of logs make them."""
        rows: list[dict[str, Any]] = []
        for name, listed in samples.items():
            task = self.prepared.suite.tasks[name]
            ids = self._ids[name]
            for row in task_rows(name, task.dump_config(), listed, task.higher_is_better()).rows:
                rows.append({**row, "item_id": ids[int(row["doc_id"])]})
        cells = {
            **cells_of(self.who.run),
            KNOWN_BY: self.who.run.known_by,
            N_WEIGHTS: weights_in(self.who.manifest),
        }
        table = pd.DataFrame(rows).assign(**cells)
        return validate(table[[*COLUMNS, *(c for c in table if c not in COLUMNS)]], "the evaluation")

    def _read(self, table: pd.DataFrame) -> RunItems:
        """What the baseline holds of the tasks of a table, by the baseline's metrics and keys."""
        there = set(table["task"])
        by_metric: dict[str, list[str]] = {}
        for key, old in self.baseline.tasks.items():
            if old.task in there and key in self.prepared.keys:
                by_metric.setdefault(old.metric, []).append(key)
        tasks: dict[str, TaskItems] = {}
        read: RunItems | None = None
        for metric, keys in by_metric.items():
            names = [self.baseline.tasks[key].task for key in keys]
            read = run_items(table[table["task"].isin(names)], None, metric, self.prepared.versions)
            for reason in read.left_out.values():
                raise UsageError(reason)
            tasks |= {key: read.tasks[name] for key, name in zip(keys, names, strict=True)}
        assert read is not None
        return replace(read, tasks=tasks, notes=())
