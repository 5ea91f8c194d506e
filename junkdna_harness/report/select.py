"""`--select` and `--sort`: which runs and tasks a report shows, and in which order."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from difficulty.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

RUN_KEYS = ("run", "model", "method", "level", "bits", "effective_bits", "replicate")
ITEM_KEYS = ("task", "family", "axis", "tier")
_NUMERIC = ("level", "bits", "effective_bits", "replicate", "tier")
_RULE = re.compile(r"\s*([a-z_]+)\s*(!=|<=|>=|=|<|>)\s*(.+?)\s*$")


def select(table: pd.DataFrame, rules: Sequence[str]) -> pd.DataFrame:
    """The rows that meet all rules, e.g. `method=wanda,magnitude*`, `level<=0.5`, `tier!=1`.

    Rules on runs never remove the dense run, which all others are compared with.

    Raises:
        UsageError: a rule cannot be read, or nothing is left.
    """
    keep = table["run"].notna()
    for rule in rules:
        key, operator, value = _parse(rule)
        if key not in table:
            raise UsageError(
                f"--select {rule!r}: these runs have no {key}. They have: {', '.join(_known(table))}."
            )
        met = _meets(table[key], rule, key, operator, value)
        if key in RUN_KEYS and not (key == "method" and operator == "!=" and value == "dense"):
            met = met | (table["method"] == "dense")
        keep = keep & met
    left = table[keep]
    if len(left) == 0 or (
        len(table) > 0 and rules and set(left["method"]) == {"dense"} != set(table["method"])
    ):
        raise UsageError(f"--select {' '.join(rules)!r} leaves no run. {_offer(table)}")
    return left


def _parse(rule: str) -> tuple[str, str, str]:
    match = _RULE.match(rule)
    known = RUN_KEYS + ITEM_KEYS
    if match is None:
        raise UsageError(
            f"--select {rule!r} is not a rule. Write KEY=VALUE, e.g. method=wanda,magnitude or level<=0.5."
        )
    key, operator, value = match.groups()
    if key not in known:
        raise UsageError(
            f"--select {rule!r}: {key!r} is not a key.{did_you_mean(key, known)} Keys: {', '.join(known)}."
        )
    return key, operator, value


def _meets(column: pd.Series, rule: str, key: str, operator: str, value: str) -> pd.Series:
    import pandas as pd

    if key in _NUMERIC:
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            raise UsageError(
                f"--select {rule!r}: {value!r} is not a number. Write e.g. {key}<=0.5 or {key}=1,2."
            ) from None
        column = column.astype(float)
        equal = pd.concat([(column - number).abs() < 1e-9 for number in numbers], axis=1).any(axis=1)
        if operator in ("=", "!="):
            return equal if operator == "=" else ~equal
        if len(numbers) > 1:
            raise UsageError(f"--select {rule!r}: {operator} takes one number, not a list.")
        below = column < numbers[0]
        return {
            "<": below & ~equal,
            "<=": below | equal,
            ">": ~below & ~equal & column.notna(),
            ">=": (~below | equal) & column.notna(),
        }[operator]
    if operator not in ("=", "!="):
        raise UsageError(f"--select {rule!r}: {key} is a name. Use = or !=, with * for any letters.")
    patterns = [part.strip() for part in value.split(",")]
    names = {name: any(fnmatch.fnmatchcase(str(name), p) for p in patterns) for name in column.unique()}
    met = column.map(names).astype(bool)
    return met if operator == "=" else ~met


def _known(table: pd.DataFrame) -> list[str]:
    return [key for key in RUN_KEYS + ITEM_KEYS if key in table]


def _offer(table: pd.DataFrame) -> str:
    methods = sorted(str(m) for m in table["method"].unique())
    levels = sorted(float(x) for x in table["level"].dropna().unique())
    return f"Methods: {', '.join(methods)}; levels: {', '.join(f'{x:g}' for x in levels)}."
