"""Which comparisons a policy asks for: its rules, laid on the tasks and items of a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import product

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.direction import bounded, direction, same_metric
from difficulty.runs.table import some
from difficulty.stats.mean import Scale, in_nats_or_units, read_on, weighted_mean
from junkdna_harness.gate.items import RunItems, TaskItems
from junkdna_harness.gate.policy import SELECTORS, Kind, Policy, Rule

Positions = NDArray[np.intp]
Where = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PlannedComparison:
    """One decision that a rule asks for, before the new run is looked at.

    `where`: the columns' values that it is about. `cells`: task -> positions of its items in the baseline's `TaskItems`.
    `bounded`: False where a value of the baseline, or the metric's name, says that it can leave [0, 1]. `before`: the baseline's
    score on these items; `limit`: the loss allowed there, in the metric's units, or a share of items for flips.
    """

    rule: Rule
    name: str
    where: Where
    kind: Kind
    metric: str
    scale: Scale
    higher_is_better: bool
    bounded: bool | None
    before: float
    limit: float
    cells: Mapping[str, Positions] = field(repr=False, compare=False)

    @property
    def n_items(self) -> int:
        """Items of the baseline that it is about."""
        return sum(map(len, self.cells.values()))

    @property
    def scope(self) -> str:
        """`overall`, `across` (a tier over all families), `family`, `tier` (of one family), else the columns' names."""
        columns = tuple(column for column, _ in self.where)
        known = {(): "overall", ("tier",): "across", ("family",): "family", ("family", "tier"): "tier"}
        return known.get(columns, "+".join(columns))

    def value(self, column: str) -> str | None:
        """The value of a column that it is about; None where it pools all of them."""
        return dict(self.where).get(column)


# What a comparison pools: metrics of one name, scale and direction alone make one score.
_Metric = tuple[str, Scale, bool]


def plan_comparisons(baseline: RunItems, policy: Policy) -> list[PlannedComparison]:
    """The comparisons of the rules on tasks, in the order of the rules, overall before parts.

    Of two rules that limit the same, the one with more exact selectors counts (`tier: 4` before `tier: "*"`).

    Raises:
        UsageError: a rule matches nothing that the baseline has, two rules contradict each other, or which way a metric is
            better is not known.
    """
    _check_names(baseline, policy)
    ways = {key: _way(task, policy) for key, task in baseline.tasks.items()}
    unbounded = _unbounded(baseline)
    found: list[PlannedComparison] = []
    for rule in policy.on_tasks:
        mine = list(_of_rule(rule, baseline, ways, unbounded))
        if not mine and rule.required:
            raise UsageError(_nothing(rule, baseline))
        found += mine
    return _without_repeats(_settled(found))


def _of_rule(
    rule: Rule, baseline: RunItems, ways: Mapping[str, bool], unbounded: frozenset[str]
) -> Iterator[PlannedComparison]:
    groups: dict[tuple[Kind, _Metric, Where], dict[str, Positions]] = {}
    for key, task in baseline.tasks.items():
        if not _is_of_metric(rule, key, task):
            continue
        for kind in rule.kinds:
            if not _can_be_judged(rule, kind, task):
                continue
            for where, positions in _matching(rule.where, task):
                group = groups.setdefault((kind, (task.metric, task.scale, ways[key]), where), {})
                group[key] = positions
    for (kind, metric, where), cells in sorted(groups.items(), key=lambda one: _order(one[0])):
        limitless = False if metric[0] in unbounded else bounded(metric[0])
        before = score([baseline.tasks[key] for key in cells], list(cells.values()), metric[1])
        if not np.isfinite(before):
            raise UsageError(
                f"the {metric[0]} of the baseline is beyond all numbers in {_name(rule, where, kind)}, so that no limit can be set. "
                "Choose another baseline."
            )
        limit = rule.limit(kind, before, metric[1], limitless)
        yield PlannedComparison(
            rule, _name(rule, where, kind), where, kind, *metric, limitless, before, limit, cells
        )


def score(tasks: Iterable[TaskItems], positions: Iterable[Positions], scale: Scale) -> float:
    """The (weighted) mean over these items of several tasks, read on `scale`."""
    values, weights = [], []
    for task, at in zip(tasks, positions, strict=True):
        values.append(task.values[at])
        weights.append(np.ones(len(at)) if task.weights is None else task.weights[at])
    return read_on(
        weighted_mean(in_nats_or_units(np.concatenate(values), scale), np.concatenate(weights)), scale
    )


def higher_is_better(tasks: Iterable[TaskItems], policy: Policy) -> bool:
    """Which way the metric of one task is better: as the policy says, else as the runs say, else by its name.

    Raises:
        UsageError: nothing says it, or two of them say it differently.
    """
    listed = list(tasks)
    metric, task = listed[0].metric, listed[0].task
    down = any(same_metric(metric, name) for name in policy.lower_is_better)
    up = any(same_metric(metric, name) for name in policy.higher_is_better)
    said = {one.higher_is_better for one in listed} - {None}
    options = f"--higher-is-better {metric} or --lower-is-better {metric}"
    if len(said) == 2 and not (up or down):
        raise UsageError(
            f"higher {metric} of task {task!r} is better by one run and worse by the other. Say which holds: {options}."
        )
    found = up if up or down else next(iter(said), direction(metric))
    if found is None:
        raise UsageError(
            f"whether higher {metric} of task {task!r} is better is not known: neither the runs nor its name say it. "
            f"Give {options}."
        )
    if found and any(one.scale != "mean" for one in listed):
        raise UsageError(
            f"{metric!r} of task {task!r} is made of negative log-likelihoods, so lower is better. Leave out --higher-is-better."
        )
    return bool(found)


def _way(task: TaskItems, policy: Policy) -> bool:
    return higher_is_better([task], policy)


def _unbounded(baseline: RunItems) -> frozenset[str]:
    """Metrics of which an item of any task lies outside [0, 1]."""
    outside = {
        t.metric
        for t in baseline.tasks.values()
        if len(t.values) and (t.values.min() < 0 or t.values.max() > 1)
    }
    return frozenset(outside)


def _is_of_metric(rule: Rule, key: str, task: TaskItems) -> bool:
    """A rule without a metric is about what each task is judged by; further metrics of a task are judged where they are named."""
    return key == task.task if rule.metric is None else same_metric(task.metric, rule.metric)


def _can_be_judged(rule: Rule, kind: Kind, task: TaskItems) -> bool:
    """Flips are of right-or-wrong items; a ratio of perplexities alone is of perplexities."""
    if kind == "flips":
        return task.weights is None and bool(np.isin(task.values, (0, 1)).all())
    only_ratio = rule.max_drop is None and rule.max_relative_drop is None
    return not only_ratio or task.scale == "perplexity"


def _matching(where: Where, task: TaskItems) -> Iterator[tuple[Where, Positions]]:
    """Each combination of values that the selectors match in this task, with its items."""
    everything = np.arange(len(task.item_ids))
    if not where:
        yield (), everything
        return
    parts = [list(_values(column, pattern, task)) for column, pattern in where]
    for chosen in product(*parts):
        inside = np.ones(len(everything), dtype=bool)
        for _, mask in chosen:
            if mask is not None:
                inside &= mask
        if inside.any():
            yield (
                tuple((column, value) for (column, _), (value, _) in zip(where, chosen, strict=True)),
                everything[inside],
            )


def _values(column: str, pattern: str, task: TaskItems) -> Iterator[tuple[str, NDArray[np.bool_] | None]]:
    """The values of one column that match, each with the items that have it (None: all of them)."""
    if column in SELECTORS:
        value = str(getattr(task, column))
        if fnmatchcase(value, pattern):
            yield value, None
    elif column in task.columns:
        cells = np.asarray(task.columns[column], dtype=object)
        for value in sorted({str(cell) for cell in cells}):
            if fnmatchcase(value, pattern):
                yield value, cells == value


def exact(pattern: str) -> bool:
    """Whether a selector names one value."""
    return not any(mark in pattern for mark in "*?[")


def _order(key: tuple[Kind, _Metric, Where]) -> tuple[object, ...]:
    kind, metric, where = key
    return (
        metric[0],
        tuple((int(value), "") if value.isdecimal() else (0, value) for _, value in where),
        kind,
        metric[1:],
    )


def _name(rule: Rule, where: Where, kind: Kind) -> str:
    """What a person calls it: `overall`, `tier 4 of all`, `addition`, `addition tier 4`, or the columns' values."""
    values = dict(where)
    columns = tuple(column for column, _ in where)
    if not where:
        name = "overall"
    elif columns == ("tier",):
        name = f"tier {values['tier']} of all"
    else:
        others = [value if column in ("family", "task") else f"{column} {value}" for column, value in where]
        name = " ".join(others)
    if rule.name is not None:
        name = rule.name if all(exact(pattern) for _, pattern in rule.where) else f"{rule.name}: {name}"
    return name + (" (flips)" if kind == "flips" else "")


def _settled(found: list[PlannedComparison]) -> list[PlannedComparison]:
    """Of comparisons that are about the same, those of the rules that name most of it exactly, one of each severity.

    Raises:
        UsageError: two of one severity set different limits.
    """
    most: dict[_About, int] = {}
    for one in found:
        most[_about(one)] = max(most.get(_about(one), 0), _exactness(one.rule))
    kept: dict[tuple[object, ...], PlannedComparison] = {}
    for one in found:
        if _exactness(one.rule) < most[_about(one)]:
            continue
        other = kept.setdefault((*_about(one), one.rule.severity), one)
        if not _says_the_same(one, other):
            raise UsageError(
                f"two rules contradict each other: {other.rule.title} and {one.rule.title} both limit {one.name} ({one.metric}), by "
                f"{_limits(other.rule)} and by {_limits(one.rule)}. Leave one out, or name what it is about more exactly."
            )
    return list(kept.values())


_About = tuple[object, ...]


def _about(one: PlannedComparison) -> _About:
    return (tuple(sorted(one.where)), one.kind, one.metric, one.scale, one.higher_is_better)


def _exactness(rule: Rule) -> int:
    """How exactly a rule names what it is about: a name counts more than a pattern of letters, and `*` nothing."""
    return sum(2 if exact(pattern) else pattern.strip("*") != "" for _, pattern in rule.where)


def _says_the_same(one: PlannedComparison, other: PlannedComparison) -> bool:
    return (one.limit, one.rule.inconclusive) == (other.limit, other.rule.inconclusive)


def _limits(rule: Rule) -> str:
    told = [f"{name} {value:g}" for name, value in rule.limits.items()]
    return ", ".join(told) + (
        "" if rule.inconclusive == "inconclusive" else f", inconclusive: {rule.inconclusive}"
    )


def _without_repeats(found: list[PlannedComparison]) -> list[PlannedComparison]:
    """Without tiers and families that a pattern named and that hold just what another comparison holds: one family is all there is."""
    kept: list[PlannedComparison] = []
    items = [{key: at.tobytes() for key, at in one.cells.items()} for one in found]
    for number, one in enumerate(found):
        pooled = one.scope in ("across", "family") and _exactness(one.rule) == 0
        twins = (
            other
            for n, other in enumerate(found)
            if n != number
            and items[n] == items[number]
            and (one.kind, one.metric, one.rule.severity) == (other.kind, other.metric, other.rule.severity)
        )
        if not (
            pooled and any(_says_the_same(one, twin) for twin in twins if twin.scope in ("overall", "tier"))
        ):
            kept.append(one)
    return kept


def _check_names(baseline: RunItems, policy: Policy) -> None:
    """Refuse what names a task, column or metric that the baseline has not: it was meant for another one."""
    names = sorted({task.task for task in baseline.tasks.values()})
    for pattern in policy.required:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"{policy.name} requires the task {pattern!r}, which the baseline does not have.{did_you_mean(pattern, names)} "
                f"It has: {some(names)}."
            )
    metrics = sorted({task.metric for task in baseline.tasks.values()})
    for metric in dict.fromkeys(
        rule.metric for rule in policy.on_tasks if rule.required and rule.metric is not None
    ):
        if not any(same_metric(known, metric) for known in metrics):
            raise UsageError(
                f"{policy.name} limits the metric {metric!r}, which the baseline does not have.{did_you_mean(metric, metrics)} "
                f"It has: {', '.join(metrics)}."
            )


def _nothing(rule: Rule, baseline: RunItems) -> str:
    """Why a rule matches nothing, in a sentence."""
    tasks = list(baseline.tasks.values())
    for column, pattern in rule.where:
        known = sorted(
            {str(getattr(t, column)) for t in tasks}
            if column in SELECTORS
            else {v for t in tasks for v in t.columns.get(column, ())}
        )
        if not known:
            columns = sorted({c for t in tasks for c in t.columns} | set(SELECTORS))
            return f"{rule.title} selects by {column!r}, a column that the baseline does not have.{did_you_mean(column, columns)} It has: {', '.join(columns)}."
        if not any(fnmatchcase(value, pattern) for value in known):
            return (
                f"{rule.title}: no {column} of the baseline is {pattern!r}.{did_you_mean(pattern, known)} It has: {some(known)}. "
                "Correct it, or say `required: false`."
            )
    metrics = ", ".join(sorted({t.metric for t in tasks}))
    what = {"max_flips": "right-or-wrong items", "max_perplexity_ratio": "a perplexity"}
    needs = [(name, need) for name, need in what.items() if name in rule.limits]
    if needs:
        return f"{rule.title} limits {needs[0][0]}, which needs {needs[0][1]}, and none was logged there (there is: {metrics}). Leave it out, or say `required: false`."
    return f"{rule.title} matches no item of the baseline: no task has all of that together. Correct it, or say `required: false`."


def with_limit(one: PlannedComparison, before: float) -> PlannedComparison:
    """The comparison with its limit where the baseline scored `before`."""
    return replace(one, before=before, limit=one.rule.limit(one.kind, before, one.scale, one.bounded))
