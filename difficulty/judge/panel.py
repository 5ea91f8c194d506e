"""The tidy table as arrays: items in rows, runs in columns, the same items in every run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.clusters import share_clusters
from difficulty.runs.direction import declared, direction, scale
from difficulty.runs.identity import Method
from difficulty.runs.metrics import choose_one, several
from difficulty.runs.same import different_prompts, require_same, unknown_prompts
from difficulty.runs.table import (
    DENSE,
    HIGHER_IS_BETTER,
    IDENTITY,
    MARGIN,
    OPTION_LOGLIK,
    SCALE,
    WEIGHT,
    some,
)
from difficulty.stats.divergence import option_kl
from difficulty.stats.result import Floats, Ints

_NAMED = 3  # items named in an error
# What is read of the rows; other columns of text are not carried along, which costs more than the rest.
_OF_SCORES = (
    "run", "task", "item_id", "family", "axis", "tier", "cluster_id", "chance", "metric", "value",
    HIGHER_IS_BETTER, WEIGHT, SCALE,
)  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """Scores of the same items in several runs of one model.

    `items`: one row per item (task, item_id, family, axis, tier, cluster, chance), sorted by family, tier, item.
    `runs`: one row a column of the arrays (run and what identifies it), the dense run first.
    `score`, `margin`, `kl`: (n_items, n_runs); `margin` and `kl` are NaN where log-likelihoods were not logged.
    """

    model: str
    items: pd.DataFrame
    runs: pd.DataFrame
    score: Floats = field(repr=False)
    margin: Floats = field(repr=False)
    kl: Floats = field(repr=False)
    metrics: tuple[str, ...]
    n_rows: int
    warnings: tuple[str, ...] = ()

    def of_items(self, keep: Ints) -> Panel:
        """The panel of some of its items."""
        items = self.items.iloc[keep].reset_index(drop=True)
        return replace(self, items=items, score=self.score[keep], margin=self.margin[keep], kl=self.kl[keep])


def build_panel(
    table: pd.DataFrame,
    model: str | None = None,
    baseline: str | None = None,
    metric: str | None = None,
    allow_missing: bool = False,
    allow_different_prompts: bool = False,
    margins: bool = True,
) -> Panel:
    """A `Panel` of a validated tidy table. A task that has no accuracy is left out, with a warning that names it.

    `margins`: use them where they were logged; False judges by accuracy alone.

    Raises:
        UsageError: several models and none chosen, no dense run, other metrics in other runs, items that are not in
            every run, different prompts for the same item, or no task with an accuracy in [0, 1].
    """
    table, model = _one_model(table, model, baseline)
    dense = _dense_runs(table, model, baseline)
    table = share_clusters(one_axis(table))
    asked = require_same([different_prompts(table)], allow_different_prompts)
    asked += tuple(unknown_prompts(table))
    is_margin = table["metric"] == MARGIN
    judged, left_out = _accuracies(table.filter(_OF_SCORES)[~is_margin], dense[0], metric)
    runs = _runs(table, dense)
    items = _items(judged)
    score = _matrix(judged, items, runs)
    keep, warnings = _common_items(score, items, runs, allow_missing)
    _consistent(judged, items)
    logged = table.filter(("run", "task", "item_id", "value", OPTION_LOGLIK))[is_margin]
    margin = _matrix(logged, items, runs) if margins else np.full(score.shape, np.nan)
    kl = _kl(logged, items, runs)
    keep, said = _whole_margins(margin, items, runs, keep, allow_missing)
    warnings += said
    items = items.iloc[keep].reset_index(drop=True)
    metrics = tuple(sorted(judged["metric"].unique()))
    return Panel(
        model,
        items,
        runs,
        score[keep],
        margin[keep],
        kl[keep],
        metrics,
        len(table),
        (*asked, *left_out, *warnings),
    )


def _one_model(table: pd.DataFrame, model: str | None, baseline: str | None) -> tuple[pd.DataFrame, str]:
    models = [str(name) for name in table["model"].unique()]
    if model is not None:
        if model not in models:
            raise UsageError(
                f"there is no model {model!r}.{did_you_mean(model, models)} Models: {some(models)}."
            )
        return table[table["model"] == model], model
    if len(models) == 1:
        return table, models[0]
    if baseline is None:
        raise UsageError(
            f"the table holds {len(models)} models ({some(models)}). Choose one with --model, or say with --baseline "
            "which run is the dense one of them all."
        )
    found = table.loc[table["run"] == baseline, "model"]
    return table, str(found.iloc[0]) if len(found) else models[0]


def _dense_runs(table: pd.DataFrame, model: str, baseline: str | None) -> list[str]:
    """The run (with its replicates) that the others are compared with."""
    runs = [str(name) for name in table["run"].unique()]
    if baseline is not None:
        if baseline not in runs:
            raise UsageError(
                f"--baseline {baseline!r} is not among the runs.{did_you_mean(baseline, runs)} Runs: {some(runs)}."
            )
        return [baseline]
    dense = table.loc[(table["method"] == DENSE) | ((table["level"] == 0) & _plain(table)), "run"]
    if not len(dense):
        raise UsageError(
            f"there is no dense run of {model!r} to compare with (runs: {some(runs)}). Evaluate with sparsity=0, or name "
            "the run with --baseline."
        )
    return [str(name) for name in sorted(dense.unique())]


def _plain(table: pd.DataFrame) -> pd.Series[bool]:
    trained = {name: Method.parse(str(name)).recovered for name in table["method"].unique()}
    return table["bits"].isna() & ~table["method"].map(trained).astype(bool)


def one_axis(table: pd.DataFrame) -> pd.DataFrame:
    """A family that is cut along several axes is one family an axis."""
    axes = table.groupby("family")["axis"].nunique()
    several = set(axes[axes > 1].index)
    if not several:
        return table
    names = table["family"].where(~table["family"].isin(several), table["family"] + "/" + table["axis"])
    return table.assign(family=names)


def _named(items: pd.DataFrame) -> str:
    names = (items["task"] + ":" + items["item_id"].str.slice(0, 16)).tolist()
    return some(names, _NAMED)


def _accuracies(judged: pd.DataFrame, dense: str, metric: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows of one metric per task, by the rule of `difficulty.runs.metrics`, and what to say of it and of what is left out.

    Raises:
        UsageError: no task has an accuracy, or runs have different metrics for a task.
    """
    of_runs = judged[["run", "task", "metric"]].drop_duplicates()
    facts = _facts(judged)
    chosen: dict[str, str] = {}
    reasons: dict[str, str] = {}
    guessed: list[str] = []
    for name, rows in of_runs.groupby("task"):
        task = str(name)
        present = rows.loc[rows["run"] == dense, "metric"].tolist() or rows["metric"].tolist()
        found = choose_one(present, metric)
        if found is None:
            reasons[task] = (
                f"task {task!r} has no metric {metric!r}.{did_you_mean(str(metric), present)} It has: {some(sorted(present))}."
            )
            continue
        with_it = set(rows.loc[rows["metric"] == found, "run"])
        without = [run for run in rows["run"].unique() if run not in with_it]
        if without:
            raise UsageError(
                f"runs have different metrics for task {task!r}: {some(without)} lack{'s' * (len(without) == 1)} "
                f"{found!r}. Evaluate them with the same metric, or choose one that all have with --metric."
            )
        low, high, higher = facts[task, found]
        if low < 0 or high > 1:
            reasons[task] = (
                f"{found} of task {task!r} has values outside [0, 1], so that losses cannot be judged. "
                "Choose an accuracy with --metric."
            )
        elif metric is None and not higher and direction(found) is not True:
            reasons[task] = (
                f"task {task!r} has {some(sorted(present))}, none of which is known as an accuracy. Choose one with --metric."
            )
        elif higher is False:
            reasons[task] = (
                f"lower {found} of task {task!r} is better, so that it is no accuracy. Choose an accuracy with --metric."
            )
        else:
            chosen[task] = found
            guessed += [found] if higher is None else []
    if not chosen:
        raise UsageError(
            next(iter(reasons.values()), "the table holds margins alone. Add the rows of an accuracy.")
        )
    absent = {task: reason for task, reason in _without_samples(of_runs).items() if task in chosen}
    if len(absent) < len(chosen):
        chosen = {task: name for task, name in chosen.items() if task not in absent}
        reasons |= absent
    notes = [f"left out: {reason}" for reason in reasons.values()]
    notes += several(judged[judged["task"].isin(chosen)], chosen)
    notes += [
        f"{name} is taken for an accuracy: higher is better, which its name does not say." for name in guessed
    ]
    return judged[judged["metric"] == judged["task"].map(chosen)], notes


def _without_samples(of_runs: pd.DataFrame) -> dict[str, str]:
    """Why a task cannot be judged that some run has no sample of, by task."""
    names = set(of_runs["run"].unique())
    found = {}
    for task, runs in of_runs.groupby("task")["run"].unique().items():
        lacking = sorted(names - set(runs))
        if lacking:
            verb = "have" if len(lacking) > 1 else "has"
            found[str(task)] = (
                f"{some(lacking)} {verb} no samples of task {task!r}. Evaluate it in every run."
            )
    return found


def _facts(judged: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float, bool | None]]:
    """(task, metric) -> lowest and highest value, and whether higher is better.

    The column `higher_is_better` says it, else the metric's name; of what is weighted as perplexity or bits, it never is.
    """
    nothing = pd.Series(np.nan, index=judged.index)
    declared(judged["higher_is_better"].unique() if "higher_is_better" in judged else ())
    rows = judged[["task", "metric", "value"]].assign(
        said=judged.get("higher_is_better", nothing).astype(float),
        weight=judged.get("weight", nothing).astype(float),
        scaled=(judged[SCALE] != "mean") if SCALE in judged else False,
    )
    of = rows.groupby(["task", "metric"], sort=False)
    table = of.agg(
        low=("value", "min"),
        high=("value", "max"),
        down=("said", "min"),
        up=("said", "max"),
        n=("weight", "count"),
        scaled=("scaled", "any"),
    )
    found: dict[tuple[str, str], tuple[float, float, bool | None]] = {}
    for (task, metric), low, high, down, up, n, scaled in table.itertuples(name=None):
        higher = bool(up) if down == up else direction(str(metric))
        if scaled or scale(str(metric), n > 0) != "mean":
            higher = False
        found[str(task), str(metric)] = (float(low), float(high), higher)
    return found


def _runs(table: pd.DataFrame, dense: list[str]) -> pd.DataFrame:
    columns = ["run", *IDENTITY, *(["matched"] if "matched" in table else [])]
    runs = table[columns].drop_duplicates("run")
    runs = runs.assign(dense=runs["run"].isin(dense))
    order = ["dense", "method", "level", "bits", "replicate", "run"]
    return runs.sort_values(order, ascending=[False, True, True, False, True, True]).reset_index(drop=True)


def _items(judged: pd.DataFrame) -> pd.DataFrame:
    columns = ["task", "item_id", "family", "axis", "tier", "cluster_id", "chance"]
    items = judged[columns].drop_duplicates(["task", "item_id"])
    return items.sort_values(["family", "tier", "task", "item_id"]).reset_index(drop=True)


def _positions(rows: pd.DataFrame, items: pd.DataFrame, runs: pd.DataFrame) -> tuple[Ints, Ints]:
    """Row and column of each table row; -1 for an item that is not among `items`."""
    keys = pd.concat([items[["task", "item_id"]], rows[["task", "item_id"]]], ignore_index=True)
    task, item = pd.factorize(keys["task"])[0], pd.factorize(keys["item_id"])[0]
    code = pd.factorize(task.astype(np.int64) * (int(item.max()) + 1) + item)[0]
    place = np.full(int(code.max()) + 1, -1, dtype=np.int64)
    place[code[: len(items)]] = np.arange(len(items))
    column = pd.Index(runs["run"]).get_indexer(rows["run"])
    return place[code[len(items) :]], column.astype(np.int64)


def _matrix(rows: pd.DataFrame, items: pd.DataFrame, runs: pd.DataFrame) -> Floats:
    matrix = np.full((len(items), len(runs)), np.nan)
    if len(rows):
        at, column = _positions(rows, items, runs)
        there = at >= 0
        matrix[at[there], column[there]] = rows["value"].to_numpy()[there]
    return matrix


def _common_items(
    score: Floats, items: pd.DataFrame, runs: pd.DataFrame, allow_missing: bool
) -> tuple[Ints, tuple[str, ...]]:
    """Indices of the items that every run has, and what to say of the others."""
    absent = np.isnan(score)
    keep = np.flatnonzero(~absent.any(axis=1))
    dropped = len(items) - len(keep)
    if not dropped:
        return keep, ()
    if not allow_missing:
        foreign = absent[:, 0]
        if foreign.any():
            column = int(np.argmin(absent[foreign][0]))
            raise UsageError(
                f"{int(foreign.sum())} items are not in the dense run but in others, e.g. in {runs['run'][column]!r}: "
                f"{_named(items[foreign])}. Evaluate the same items in every run, or pass --allow-missing."
            )
        column = int(np.argmax(absent.sum(axis=0)))
        raise UsageError(
            f"run {runs['run'][column]!r} lacks {int(absent[:, column].sum())} of {len(items)} items: "
            f"{_named(items[absent[:, column]])}. Evaluate the same items in every run, or pass --allow-missing."
        )
    if not len(keep):
        raise UsageError(
            "no item is in every run, so that nothing can be compared. Evaluate the same items in every run."
        )
    return keep, (
        f"{dropped} of {len(items)} items are not in every run and are left out: {_named(items[absent.any(axis=1)])}.",
    )


def _whole_margins(
    margin: Floats, items: pd.DataFrame, runs: pd.DataFrame, keep: Ints, allow_missing: bool
) -> tuple[Ints, tuple[str, ...]]:
    """The items to keep, so that each family has margins for all of its items and runs or for none, and what was left out.

    Raises:
        UsageError: a family has margins for some and not for others: its scale would be another without a word.
    """
    absent = np.isnan(margin[keep])
    family = items["family"].to_numpy()[keep]
    drop = np.zeros(len(keep), dtype=bool)
    for name in np.unique(family):
        own = family == name
        lacking = absent[own]
        if not lacking.any() or lacking.all():
            continue
        without = lacking.any(axis=1)
        if not allow_missing or without.all():
            column = int(np.argmax(lacking.sum(axis=0)))
            gone = int(lacking[:, column].sum())
            raise UsageError(
                f"run {runs['run'][column]!r} lacks the margin of {gone} of {int(own.sum())} items of family {name!r}, which others "
                f"have: {_named(items.iloc[keep[own][lacking[:, column]]])}. Evaluate them with log-likelihoods logged, pass "
                "--allow-missing to leave these items out, or --no-margins to judge by accuracy alone."
            )
        drop[np.flatnonzero(own)[without]] = True
    if not drop.any():
        return keep, ()
    left = items.iloc[keep[drop]]
    return keep[~drop], (
        f"{len(left)} of {len(items)} items have no margin in some run and are left out: {_named(left)}.",
    )


def _consistent(judged: pd.DataFrame, items: pd.DataFrame) -> None:
    """One family, tier and cluster per item, whatever the run."""
    columns = ["task", "item_id", "family", "tier", "cluster_id"]
    kinds = judged[columns].drop_duplicates()
    if len(kinds) > len(items):
        twice = kinds[kinds.duplicated(["task", "item_id"])]
        raise UsageError(
            f"{len(twice)} items have another tier, family or cluster in another run: {_named(twice)}. "
            "Evaluate all runs with the same tiers."
        )


def _kl(margins: pd.DataFrame, items: pd.DataFrame, runs: pd.DataFrame) -> Floats:
    """KL of each run's option probabilities from the dense run's, item by item."""
    kl = np.full((len(items), len(runs)), np.nan)
    if OPTION_LOGLIK not in margins:
        return kl
    given = margins[OPTION_LOGLIK]
    logged = margins[[np.ndim(value) == 1 for value in given]]
    if not len(logged):
        return kl
    at, column = _positions(logged, items, runs)
    lengths = np.array([len(value) for value in logged[OPTION_LOGLIK]])
    for length in np.unique(lengths):
        chosen = np.flatnonzero((lengths == length) & (at >= 0))
        cube = np.full((len(items), len(runs), length), np.nan)
        cube[at[chosen], column[chosen]] = np.stack(logged[OPTION_LOGLIK].iloc[chosen].to_list())
        rows = np.unique(at[chosen])
        kl[rows] = option_kl(cube[rows, :1], cube[rows])
    return kl
