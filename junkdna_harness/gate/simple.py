"""Limits given without a policy file, as the rules that say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.table import some
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.policy import SELECTORS, Limits, Policy, Rule, splits

_TIER = re.compile(r"tier ?(\d+)")
HOW = "Write --max-drop 0.02 for all, --max-drop tier4=0.05, FAMILY=0.05, TASK=0.05 or FAMILY,tier4=0.05 for a part"


def parse_drops(given: list[str]) -> tuple[float | None, dict[str, float]]:
    """What `--max-drop` says: a number for all, and those for parts, each `PART=NUMBER`.

    Raises:
        UsageError: what should be a number is none, or a part is given twice.
    """
    overall: list[float] = []
    parts: dict[str, float] = {}
    for text in given:
        part, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise UsageError(f"--max-drop {text!r} is no number. {HOW}.") from None
        if not equals:
            overall.append(value)
        elif parts.setdefault(part.strip(), value) != value:
            raise UsageError(
                f"--max-drop is given twice for {part.strip()!r}: {parts[part.strip()]:g} and {value:g}. Give one."
            )
    if len(set(overall)) > 1:
        raise UsageError(f"--max-drop is given twice for all: {overall[0]:g} and {overall[1]:g}. {HOW}.")
    return (overall[0] if overall else None), parts


def policy_of(limits: Limits, baseline: RunItems) -> Policy:
    """The policy that says the same. The limit of a tier or a family is also that of the cells in it.

    Raises:
        UsageError: a part is none of the baseline's.
    """
    rules = []
    if limits.max_drop is not None or limits.max_relative_drop is not None:
        rules += [Rule(limits.max_drop, limits.max_relative_drop, where=where) for where in splits(limits.by)]
    for part, limit in limits.at.items():
        where = dict(_selectors(part, baseline))
        wheres: list[Mapping[str, str]] = [where]
        if limits.by == "tier" and set(where) in ({"tier"}, {"family"}):
            wheres.append({"family": "*", "tier": "*", **where})
        for one in wheres:
            rules.append(Rule(limit, limits.max_relative_drop, where=tuple(one.items())))
    return Policy(
        tuple(rules), limits.alpha, (), limits.lower_is_better, limits.higher_is_better, name="--max-drop"
    )


def _selectors(part: str, baseline: RunItems) -> list[tuple[str, str]]:
    """The columns and patterns that `FAMILY,tier4`, `TASK` or `column:pattern` stand for."""
    found: list[tuple[str, str]] = []
    for piece in (piece.strip() for piece in part.split(",")):
        column, colon, pattern = piece.partition(":")
        if tier := _TIER.fullmatch(piece):
            found.append(("tier", tier[1]))
        elif colon:
            found.append((column, pattern))
        else:
            found.append((_column_of(piece, part, baseline), piece))
    return sorted(found, key=lambda one: SELECTORS.index(one[0]) if one[0] in SELECTORS else len(SELECTORS))


def _column_of(name: str, part: str, baseline: RunItems) -> str:
    tasks = list(baseline.tasks.values())
    for column in ("family", "task"):
        if any(getattr(task, column) == name for task in tasks):
            return column
    known = sorted({t.family for t in tasks} | {t.task for t in tasks} | {f"tier{t.tier}" for t in tasks})
    raise UsageError(
        f"--max-drop {part}=…: {name!r} is no family, tier or task of the baseline.{did_you_mean(name, known)} It has: {some(known)}. {HOW}."
    )
