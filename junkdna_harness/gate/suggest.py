"""A policy to start from: limits that the items of a baseline can decide, with their numbers beside them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape

import yaml

from difficulty.stats.power import power
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.planned import PlannedComparison, plan_comparisons
from junkdna_harness.gate.policy import Policy, Rule, splits
from junkdna_harness.gate.power import GUESS, POWER, effective_items
from junkdna_harness.presentation.escape import one_line

CHOICES = (0.02, 0.05, 0.1)  # losses that are offered, in points of a score between 0 and 1
RELATIVE = 0.05  # of perplexities and other metrics without a limit


Where = tuple[tuple[str, str], ...]
_Limit = tuple[tuple[str, float], str]  # name and value, severity


@dataclass(frozen=True)
class _Entry:
    """One rule as it is written: its selectors, its limit, how severe it is, and how many items its comparisons have."""

    where: Where
    metric: str | None
    limit: tuple[str, float]
    severity: str
    sizes: tuple[int, ...]


def policy_text(baseline: RunItems, max_drop: float | None = None) -> str:
    """The policy of a baseline, as YAML with comments. `max_drop`: the limit everywhere, whether the items can decide it or not.

    Raises:
        UsageError: which way a metric is better is not known.
    """
    lines = [
        f"# What a model may lose against the baseline {one_line(baseline.name)}. Change it as you need it.",
        "# Each limit is the smallest of 2, 5 and 10 points that an equal model passes in 8 of 10 evaluations where one answer in a",
        "# hundred changes by rounding alone (a guess); what no such limit can decide is advisory: it is told, and decides nothing.",
        "schema: 1",
        "alpha: 0.05  # at most 5 % of equal models fail, at most 5 % of those beyond a critical limit pass",
        "required:  # tasks that must be there",
        *(f"- {_quoted(pattern)}" for pattern in _patterns(task.task for task in baseline.tasks.values())),
        "rules:",
    ]
    for entry in _entries(baseline, max_drop):
        lines += _lines(entry)
    return "\n".join(lines) + "\n"


def _entries(baseline: RunItems, max_drop: float | None) -> list[_Entry]:
    found: list[_Entry] = []
    metrics = sorted({task.metric for key, task in baseline.tasks.items() if key == task.task})
    for metric in metrics:
        rules = tuple(Rule(0.02, where=where, metric=metric) for where in splits("tier"))
        named = metric if len(metrics) > 1 else None
        planned = plan_comparisons(baseline, Policy(rules))
        for rule in rules:
            mine = [one for one in planned if one.rule is rule]
            found += _of_split(rule.where, named, mine, baseline, max_drop)
    return found


def _of_split(
    where: Where, metric: str | None, planned: Sequence[PlannedComparison], baseline: RunItems, max_drop: float | None
) -> list[_Entry]:  # fmt: skip
    """The rules of one split: the commonest limit for all, then what needs another one, by family where its parts agree."""
    limits = {one: _limit(one, baseline, max_drop) for one in planned}
    if not limits:
        return []
    common = Counter(limits.values()).most_common(1)[0][0]
    groups: dict[tuple[Where, _Limit], list[PlannedComparison]] = {}
    for one, limit in limits.items():
        family = one.value("family")
        agree = family is not None and {limits[o] for o in planned if o.value("family") == family} == {limit}
        literal = tuple((column, escape(value)) for column, value in one.where)  # a name may hold [ or *
        exact: Where = (("family", escape(str(family))), *where[1:]) if agree else literal
        groups.setdefault((where if limit == common else exact, limit), []).append(one)
    ordered = sorted(groups.items(), key=lambda group: group[0][1] != common)
    return [_Entry(w, metric, *limit, tuple(one.n_items for one in listed)) for (w, limit), listed in ordered]


def _limit(one: PlannedComparison, baseline: RunItems, max_drop: float | None) -> _Limit:
    if one.bounded is False or one.scale != "mean":
        return ("max_relative_drop", RELATIVE), "critical"
    choices = CHOICES if max_drop is None else (max_drop,)
    for limit in choices:
        if power(effective_items(one, baseline), GUESS / 2, GUESS / 2, limit) >= POWER:
            return ("max_drop", limit), "critical"
    return ("max_drop", choices[-1]), "advisory"


def _lines(entry: _Entry) -> list[str]:
    keys = [*((column, pattern) for column, pattern in entry.where)]
    keys += [] if entry.metric is None else [("metric", entry.metric)]
    name, limit = entry.limit
    said = [
        *(f"{column}: {_quoted(value)}" for column, value in keys),
        f"{name}: {limit:g}",
        f"severity: {entry.severity}",
    ]
    least, most = min(entry.sizes), max(entry.sizes)
    items = f"{least:,} items" if least == most else f"{least:,} to {most:,} items"
    what = "overall" if not entry.where else f"{len(entry.sizes)} comparison{'s' * (len(entry.sizes) > 1)}"
    return [
        f"- {said[0]}  # {what}, {items}{' each' * (len(entry.sizes) > 1)}",
        *(f"  {line}" for line in said[1:]),
    ]


def _patterns(names: Iterable[str]) -> list[str]:
    """Names, with those that differ in a number at their end alone as one pattern."""
    stems: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        stems.setdefault(re.sub(r"\d+$", "", name), []).append(name)
    return [escape(stem) + "*" if len(listed) > 1 else escape(listed[0]) for stem, listed in stems.items()]


def _quoted(value: str) -> str:
    """A YAML scalar: plain where it is a plain word, else in double quotes."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) and value.lower() not in (
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "null",
        "y",
        "n",
    )
    if plain or value.isdecimal():
        return value
    # Not JSON's text, whose pairs of surrogates are no YAML.
    return str(yaml.safe_dump(value, default_style='"', width=float("inf"))).strip()
