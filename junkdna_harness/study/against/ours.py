"""A study's runs as curves: what is left of the dense score at each level, with the interval that the same items allow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difficulty.errors import UsageError
from difficulty.json_files import read_json
from difficulty.runs.identity import DENSE, DENSE_TRANSFER, Method, Recovery, Run
from difficulty.runs.metrics import choose, higher_is_better, scale_of
from difficulty.runs.read import read_runs
from difficulty.runs.replicates import trainings
from difficulty.stats.mean import mean_interval
from difficulty.stats.paired import paired_interval
from junkdna_harness.study.against.curve import Curve, Floats, Level

STUDY, FINISHED = "study.json", "outcome.json"
SOURCES = ("sweep", "recovered")  # no figure of the paper has tokens of a text
_NM = re.compile(r"(\d+):(\d+)")
_ITEM = ["task", "item_id"]
Columns = tuple[str, ...]


@dataclass(frozen=True)
class Ours:
    """One model of a study, or several trainings of one, over which scores are averaged item by item.

    `tasks`: task -> family, axis, tier, chance. `items`: (task, item) -> its cluster. `values`: items down, runs across.
    `found`: (method, level) -> the runs of it.
    """

    name: str
    models: tuple[str, ...]
    tasks: pd.DataFrame = field(repr=False)
    values: pd.DataFrame = field(repr=False)
    clusters: pd.Series[Any] = field(repr=False)
    found: Mapping[tuple[Method, Level], Columns] = field(repr=False)
    plan: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _made: dict[object, tuple[Curve, Curve]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def methods(self) -> list[Method]:
        """What was done to the weights, each once; N:M without its pattern."""
        return list(dict.fromkeys(Method(m.base, None, m.recoveries) for m, _ in self.found))

    def dense(self, training: Recovery | None = None) -> Columns:
        """The runs of the dense model, or of the dense model after as much training; empty where there are none."""
        method = Method(DENSE)
        if training is not None:
            method = method.then(
                Recovery(DENSE_TRANSFER, False, training.adapter, training.share, training.steps, training.lr)
            )
        return self.found.get((method, Level(0.0)), ())

    def levels(self, method: Method, pattern: bool) -> dict[Level, Columns]:
        """Level -> runs of a method without a pattern, or of the same with the patterns N:M; the dense model left out."""
        found = {
            level: columns
            for (m, level), columns in self.found.items()
            if bool(level.pattern) == pattern
            and Method(m.base, None, m.recoveries) == method
            and level.sparsity > 0
        }
        return dict(sorted(found.items()))

    def curves(
        self, label: str, tasks: Sequence[str], levels: Mapping[Level, Columns], dense: Columns
    ) -> tuple[Curve, Curve]:
        """What is left of the dense score over some tasks, each counting the same: as it is, and with chance taken off.

        Both are empty where the dense score is not clearly above chance.
        """
        asked = label, tuple(tasks), tuple(levels.items()), dense
        if asked not in self._made:  # several panels show the same
            self._made[asked] = self._curves(label, tasks, levels, dense)
        return self._made[asked]

    def _curves(
        self, label: str, tasks: Sequence[str], levels: Mapping[Level, Columns], dense: Columns
    ) -> tuple[Curve, Curve]:
        rows = self.values[self.values.index.get_level_values("task").isin(list(tasks))]
        columns = sorted({*dense, *(name for names in levels.values() for name in names)})
        rows = rows.dropna(subset=columns)
        empty = Curve(label, (), *(np.array([]),) * 3)
        if not len(rows) or not dense or not levels:
            return empty, empty
        names = rows.index.get_level_values("task")
        counts = names.map(names.value_counts())
        weights = 1.0 / np.asarray(counts, dtype=float)
        clusters = self.clusters.loc[rows.index].to_numpy()
        before = rows[list(dense)].mean(axis=1).to_numpy()
        chance = float(np.average(self.tasks.loc[names, "chance"].to_numpy(dtype=float), weights=weights))
        own = mean_interval(before, clusters, weights)
        if not own.low > chance:
            return empty, empty
        losses = []
        for there in levels.values():
            after = rows[list(there)].mean(axis=1).to_numpy()
            one = paired_interval(before, after, clusters, weights)
            losses.append((one.estimate, one.ci_low, one.ci_high))
        found = np.array(losses)
        return (
            _kept(label, levels, found, own.mean, chance / own.mean),
            _kept(label, levels, found, own.mean - chance, 0.0),
        )

    def n_items(self, tasks: Sequence[str]) -> int:
        """Items of some tasks."""
        return int(self.values.index.get_level_values("task").isin(list(tasks)).sum())


def _kept(label: str, levels: Mapping[Level, Columns], losses: Floats, dense: float, floor: float) -> Curve:
    """1 - loss / dense, the dense score taken as it was measured: where much is lost this is wider than it need be."""
    kept = 1 - losses / dense
    return Curve(label, tuple(levels), kept[:, 0], kept[:, 2], kept[:, 1], floor)


def is_finished(folder: Path) -> bool:
    """Whether a study in `folder` came to its end."""
    return all((folder / name).is_file() for name in (STUDY, FINISHED))


def read_study(folder: Path) -> list[Ours]:
    """The models of a finished study, trainings of one model together.

    Raises:
        UsageError: the folder holds no study with runs.
    """
    plan = read_json(folder / STUDY, "the plan of a study", "Give the folder of a study as --output.")
    if not isinstance(plan, dict):
        raise UsageError(f"{str(folder / STUDY)!r} holds no plan. Give the folder of a study as --output.")
    sources = [folder / name for name in SOURCES if (folder / name).is_dir()]
    if not sources:
        raise UsageError(f"{str(folder)!r} holds no runs of a study. Run the study first.")
    return ours_of(read_runs(sources).table, plan)


def ours_of(table: pd.DataFrame, plan: Mapping[str, Any]) -> list[Ours]:
    """The models of a tidy table, trainings of one together; `plan`: what the study was asked for.

    Raises:
        UsageError: there is no score of which more is better.
    """
    rows = _shares(choose(table).rows)
    if not len(rows):
        raise UsageError("the study holds no scores of which more is better. Evaluate tasks that have some.")
    groups = trainings(str(name) for name in rows["model"].unique())
    return [_group(name, models, rows[rows["model"].isin(models)], plan) for name, models in groups.items()]


def _shares(rows: pd.DataFrame) -> pd.DataFrame:
    """The tasks whose score is a mean of which more is better: perplexities have no share that is left."""
    kept = [
        str(task)
        for task, part in rows.groupby("task", sort=False, observed=True)
        if scale_of(part) == "mean" and higher_is_better(part) is not False
    ]
    return rows[rows["task"].isin(kept)]


def _group(name: str, models: Sequence[str], rows: pd.DataFrame, plan: Mapping[str, Any]) -> Ours:
    values = rows.pivot_table(
        index=_ITEM, columns="run", values="value", aggfunc="first", sort=True, observed=True
    )
    items = rows.drop_duplicates(_ITEM).set_index(_ITEM)
    tasks = rows.drop_duplicates("task").set_index("task")[["family", "axis", "tier", "chance"]]
    runs = rows.drop_duplicates("run")[["run", "model", "method", "level", "bits"]]
    found: dict[tuple[Method, Level], list[tuple[str, str]]] = {}
    for run, model, method, level, bits in runs.itertuples(index=False):
        known = Run(str(model), Method.parse(str(method)), float(level), float(bits))
        if known.bits is None and known.level is not None:
            found.setdefault((known.method, level_of(known)), []).append((str(model), str(run)))
    complete = {
        key: tuple(run for _, run in there)
        for key, there in found.items()
        if {model for model, _ in there} == set(models)
    }
    return Ours(name, tuple(models), tasks, values, items["cluster_id"], complete, plan)


def level_of(run: Run) -> Level:
    """The level of a pruned run as the paper's figures have it: a pattern stands for what it is meant to remove."""
    pattern = run.method.pattern
    if pattern is None:
        return Level(0.0 if run.level is None or run.method.base == DENSE else run.level)
    match = _NM.fullmatch(pattern)
    assert match is not None
    return Level(1 - int(match[1]) / int(match[2]), pattern)
