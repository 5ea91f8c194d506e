"""The leaderboard: one row per compressed model, one column per tier, family, axis or task.

All formats print this one object, so that their numbers cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from difficulty.errors import UsageError, did_you_mean
from difficulty.judge.series import FULL_BITS, nominal_bits
from difficulty.runs.clusters import share_clusters
from difficulty.runs.identity import Method
from difficulty.runs.noise import Floor, NoiseFloor
from difficulty.runs.same import different_prompts, require_same, unknown_prompts
from difficulty.runs.table import DENSE
from difficulty.stats import holm
from difficulty.stats.paired_loss import paired_loss
from difficulty.stats.score import Score, score
from difficulty.text import natural, noise_legend
from junkdna_harness.report.comparable import Kind, comparable, require_same_items, weights_of

if TYPE_CHECKING:
    import pandas as pd

By = Literal["tier", "family", "axis", "task"]
BY: tuple[By, ...] = ("tier", "family", "axis", "task")
OVERALL = "Overall"
_RUN = ["model", "method", "level", "bits"]


_SORT = ("model", "-dense", "method", "level", "-bits")


@dataclass(frozen=True)
class Row:
    """One model with one compression; replicates (seeds) are averaged item by item."""

    model: str
    method: str
    level: float | None
    bits: float | None
    effective_bits: float
    replicates: int
    runs: tuple[str, ...]
    scores: dict[str, Score]

    @property
    def size(self) -> str:
        """The level in words: `50 %` sparse, `4 bit`, or a dash for the dense model."""
        if self.method == "dense":
            return "–"
        if self.bits is not None:
            return f"{self.bits:g} bit"
        return "?" if self.level is None else f"{100 * self.level:.4g} %"


@dataclass(frozen=True)
class Leaderboard:
    """`best` holds (row number, column) of each best score that is significantly better than all its rivals.

    `floors`: model -> column -> what two evaluations of its dense weights differ by, where that is known.
    """

    by: str
    metric: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    best: frozenset[tuple[int, str]]
    percent: bool
    n_items: int
    notes: tuple[str, ...]
    floors: Mapping[str, Mapping[str, Floor]] = field(default_factory=dict, repr=False)

    def near(self, number: int, column: str) -> bool | None:
        """Whether a row's difference from its dense run is within the noise floor; None for dense rows, and where it is unknown."""
        row = self.rows[number]
        dense = next((r for r in self.rows if r.method == DENSE and r.model == row.model), None)
        floor = self.floors.get(row.model, {}).get(column)
        if (
            row.method == DENSE
            or dense is None
            or floor is None
            or not {column} <= row.scores.keys() & dense.scores.keys()
        ):
            return None
        return floor.within(row.scores[column].mean - dense.scores[column].mean)

    @property
    def legend(self) -> str:
        """What the mark of the noise floor means, where the table has one; empty where it says nothing."""
        columns = (OVERALL, *self.columns)
        marked = any(self.near(i, column) for i in range(len(self.rows)) for column in columns)
        known = [floor for of_model in self.floors.values() for floor in of_model.values()]
        identical = bool(known) and all(floor.changed == 0 for floor in known)
        return noise_legend(marked, identical, "difference from dense")


def leaderboard(
    items: pd.DataFrame,
    by: str = "tier",
    metric: str | None = None,
    effective_bits: dict[str, float] | None = None,
    sort: Sequence[str] = _SORT,
    allow_different_prompts: bool = False,
    noise: Mapping[str, NoiseFloor] | None = None,
) -> Leaderboard:
    """The leaderboard of a tidy table, of one metric per task (`metric`, or the first of the usual ones that it has).

    `noise`: model -> its noise floor, by which differences from dense are marked.

    Raises:
        UsageError: an unknown `by`, metric or sort key; items that not all runs have; other prompts for the same items.
    """
    return leaderboards(items, (by,), metric, effective_bits, sort, allow_different_prompts, noise)[0]


def leaderboards(
    items: pd.DataFrame,
    by: Sequence[str],
    metric: str | None = None,
    effective_bits: dict[str, float] | None = None,
    sort: Sequence[str] = _SORT,
    allow_different_prompts: bool = False,
    noise: Mapping[str, NoiseFloor] | None = None,
) -> tuple[Leaderboard, ...]:
    """The same for several ways to split, in their order; what is comparable is found once."""
    for one in by:
        if one not in BY:
            raise UsageError(
                f"--by {one!r} is not a way to split.{did_you_mean(one, BY)} Choose from {', '.join(BY)}."
            )
    found = comparable(items, metric)
    notes = [*found.notes, *require_same([different_prompts(found.rows)], allow_different_prompts)]
    notes += unknown_prompts(found.rows)
    rows = share_clusters(found.rows)
    require_same_items(rows)
    wide = _wide(rows)
    return tuple(
        _leaderboard(one, rows, wide, found.kind, notes, effective_bits, sort, noise or {}) for one in by
    )


def _leaderboard(
    by: str,
    rows: pd.DataFrame,
    wide: pd.DataFrame,
    kind: Kind,
    notes: Sequence[str],
    effective_bits: dict[str, float] | None,
    sort: Sequence[str],
    noise: Mapping[str, NoiseFloor],
) -> Leaderboard:
    metric_names = sorted({str(m) for m in rows["metric"].unique()})
    columns = tuple(
        dict.fromkeys(label for _, label in sorted(_labels(rows, by), key=lambda one: natural(one[1])))
    )
    keyed = wide.index.to_frame(index=False)
    column_of = keyed["task"].map(_task_labels(rows, by)).to_numpy()
    dense_of = {model: values for (model, method, *_), values in wide.items() if method == "dense"}
    chances = keyed["task"].map(rows.groupby("task")["chance"].first()).to_numpy(dtype=float)
    items_of = _Items(keyed["cluster_id"].astype(str).to_numpy(), weights_of(rows, keyed), kind)
    runs_of = _runs(rows)
    table = []
    for key, values in wide.items():
        model, method, level, bits = key
        dense = dense_of.get(model)
        scores = {}
        for column in (OVERALL, *columns):
            mask = np.ones(len(keyed), dtype=bool) if column == OVERALL else column_of == column
            mask &= values.notna().to_numpy()
            if mask.any():
                scores[column] = items_of.score(
                    mask,
                    values.to_numpy(),
                    None if dense is None else dense.to_numpy(),
                    float(chances[mask].mean()),
                )
        runs = runs_of[key]
        known = [effective_bits[run] for run in runs if effective_bits and run in effective_bits]
        memory = sum(known) / len(known) if known else _nominal(method, level, bits)
        table.append(Row(model, method, _none(level), _none(bits), memory, len(runs), runs, scores))
    table = _sorted(table, sort, columns)
    values_of = {(k[0], k[1], _none(k[2]), _none(k[3])): v.to_numpy() for k, v in wide.items()}
    best = _best(table, values_of, column_of, items_of, (OVERALL, *columns))
    notes = [*notes, *_unusable(table, columns, kind)]
    floors = {model: _floors(rows, by, floor) for model, floor in noise.items()}
    return Leaderboard(
        by, ", ".join(metric_names), columns, tuple(table), best, kind.share, len(keyed), tuple(notes), floors
    )


def _floors(rows: pd.DataFrame, by: str, noise: NoiseFloor) -> dict[str, Floor]:
    """Column -> the noise floor of its tasks, where it is known of all of them."""
    metrics = {str(task): str(metric) for task, metric in rows.groupby("task")["metric"].first().items()}
    of_task = _task_labels(rows, by)
    columns = {label: [t for t in metrics if of_task[t] == label] for label in set(of_task.values())}
    found = {
        column: noise.over(tasks, metrics) for column, tasks in {**columns, OVERALL: list(metrics)}.items()
    }
    return {column: floor for column, floor in found.items() if floor is not None}


@dataclass(frozen=True)
class _Items:
    """What is known of the items beside their values: clusters (n_items,), weights (n_items,) or None, and their kind."""

    clusters: np.ndarray
    weights: np.ndarray | None
    kind: Kind

    def score(self, mask: np.ndarray, values: np.ndarray, dense: np.ndarray | None, chance: float) -> Score:
        """The score of the items in `mask`; nothing is compared with dense where the direction is not known."""
        kind = self.kind
        reference = None if dense is None or kind.higher_is_better is None else dense[mask]
        return score(
            values[mask],
            self.clusters[mask],
            chance,
            reference,
            not kind.higher_is_better,
            self._weights(mask),
            kind.scale,
            kind.bounded,
        )

    def p_worse(self, mask: np.ndarray, values: np.ndarray, best: np.ndarray) -> float:
        """Two-sided p of `values` against `best` on the items in `mask` that both have."""
        usable = mask & ~np.isnan(values) & ~np.isnan(best)
        loss = paired_loss(
            best[usable],
            values[usable],
            self.clusters[usable],
            not self.kind.higher_is_better,
            self._weights(usable),
            self.kind.scale,
            self.kind.bounded,
        )
        return min(1.0, 2 * loss.p_exceeds(0.0))

    def _weights(self, mask: np.ndarray) -> np.ndarray | None:
        return None if self.weights is None else self.weights[mask]


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Items down, models x methods x levels across; replicates averaged. NaN levels are kept as a key of their own."""
    wide: pd.DataFrame = _filled(rows).pivot_table(
        index=["task", "item_id", "cluster_id"], columns=_RUN, values="value", aggfunc="mean", observed=True
    )
    return wide


def _filled(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with -1 for a level or bits that there are not."""
    return rows.assign(**{name: rows[name].astype(float).fillna(-1.0) for name in ("level", "bits")})


def _runs(rows: pd.DataFrame) -> dict[tuple[str, str, float, float], tuple[str, ...]]:
    """Column of `_wide` -> its runs, in the order of the rows."""
    named = _filled(rows[["run", *_RUN]].drop_duplicates())
    found: dict[tuple[str, str, float, float], tuple[str, ...]] = {}
    for run, model, method, level, bits in named.itertuples(index=False, name=None):
        key = model, method, level, bits
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), str(run))))
    return found


def _nominal(method: str, level: float, bits: float) -> float:
    """Bits per weight where no run says: 16, times the share that is kept, and 1 for the mask; or the nominal bits."""
    kind = "quantized" if level == -1.0 else "pruned"
    return (
        FULL_BITS
        if Method.parse(method).base == DENSE and bits == -1.0
        else nominal_bits(kind, max(level, 0.0), bits)
    )


def _none(value: float) -> float | None:
    return None if value == -1.0 else float(value)


def _labels(rows: pd.DataFrame, by: str) -> set[tuple[object, str]]:
    return {(value, label(by, value)) for value in rows[by].unique()}


def _task_labels(rows: pd.DataFrame, by: str) -> dict[str, str]:
    split = rows.groupby("task")[by].nunique()
    if (split > 1).any():
        raise UsageError(
            f"task {split[split > 1].index[0]!r} has more than one {by}, so that --by {by} cannot split it."
        )
    return {str(task): label(by, value) for task, value in rows.groupby("task")[by].first().items()}


def label(by: str, value: object) -> str:
    """The heading of a column: `Tier 2`, or the name of the family, axis or task."""
    return f"Tier {value}" if by == "tier" else str(value)


def _best(
    rows: list[Row],
    values: dict[tuple[str, str, float | None, float | None], np.ndarray],
    column_of: np.ndarray,
    items: _Items,
    columns: Iterable[str],
) -> frozenset[tuple[int, str]]:
    """Among rows of equal size (level or bits), the best one, where Holm-corrected paired tests set it apart from each other one."""
    higher = items.kind.higher_is_better
    rivals: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row.method != "dense" and higher is not None:
            rivals.setdefault(row.size, []).append(i)
    best = set()
    for group in rivals.values():
        for column in columns:
            having = [i for i in group if column in rows[i].scores]
            if len(having) < 2:
                continue
            top = (max if higher else min)(having, key=lambda i: rows[i].scores[column].mean)
            mask = np.ones(len(column_of), dtype=bool) if column == OVERALL else column_of == column
            p = [
                items.p_worse(mask, values[_key(rows[i])], values[_key(rows[top])])
                for i in having
                if i != top
            ]
            if holm(np.array(p)).max() < 0.05:
                best.add((top, column))
    return frozenset(best)


def _key(row: Row) -> tuple[str, str, float | None, float | None]:
    return row.model, row.method, row.level, row.bits


def _sorted(rows: list[Row], keys: Sequence[str], columns: tuple[str, ...]) -> list[Row]:
    """Sorted by the keys, the first one counting most; a leading minus turns the order round; missing values last."""
    for key in reversed(keys):
        name, down = key.lstrip("-"), key.startswith("-")
        rows = sorted(rows, key=lambda row: _sort_value(row, name, columns, down), reverse=down)
    return rows


def _sort_value(row: Row, key: str, columns: tuple[str, ...], down: bool) -> tuple[bool, object]:
    plain = {
        "model": row.model,
        "method": row.method,
        "level": row.level,
        "bits": row.bits,
        "effective_bits": row.effective_bits,
        "dense": row.method == "dense",
    }
    by_name = {re.sub(r"\W+", "_", c.lower()): c for c in (OVERALL, *columns)}
    if key in plain:
        value = plain[key]
    elif key in by_name:
        found = row.scores.get(by_name[key])
        value = None if found is None else found.mean
    else:
        known = [*plain, *by_name]
        raise UsageError(
            f"--sort {key!r} is no column.{did_you_mean(key, known)} Columns: {', '.join(known)}; - before one sorts down."
        )
    missing = value is None
    return (missing != down, 0 if missing else value)


def _unusable(rows: list[Row], columns: tuple[str, ...], kind: Kind) -> list[str]:
    """A note for each dense score that does not stand clearly above chance."""
    notes = []
    for row in rows:
        if row.method == "dense" and kind.higher_is_better:
            floor = [c for c in columns if c in row.scores and row.scores[c].retention is None]
            if floor:
                notes.append(
                    f"no retention for {', '.join(floor)} of {row.model}: "
                    "the dense score is not clearly above chance, so nothing can be seen to fall"
                )
    models = {row.model for row in rows} - {row.model for row in rows if row.method == "dense"}
    notes += [f"no dense run of {model}: no retention and no tests against it" for model in sorted(models)]
    return notes
