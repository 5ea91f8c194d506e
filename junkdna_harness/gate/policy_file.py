"""Policies in YAML: reading them with one sentence for each mistake, and writing one that fits a baseline.

`policy.schema.json` beside this file says the same for editors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.gate.policy import LIMITS, SELECTORS, Policy, Rule
from junkdna_harness.yaml_values import read_yaml_file

SCHEMA = 1
SCHEMA_FILE = Path(__file__).with_name("policy.schema.json")
TOP = ("schema", "alpha", "required", "higher_is_better", "lower_is_better", "defaults", "rules")
_NUMBERS = (*LIMITS, "low_baseline")
_TEXTS = ("name", "metric", "of", "severity", "inconclusive")
_TRUTHS = ("required", "higher_is_better")
RULE_KEYS = (*SELECTORS, "where", *_NUMBERS, *_TEXTS, *_TRUTHS)
_EVERY_RULE = tuple(
    key for key in RULE_KEYS if key not in (*SELECTORS, "where", "name")
)  # what `defaults` may hold


def read_policy(path: str | Path) -> Policy:
    """The policy in a YAML file.

    Raises:
        UsageError: it cannot be read, or says something that no policy says.
    """
    path = Path(path)
    remedy = f"Correct it, or make one: junkdna check BASE --write-policy {path.name}."
    document = read_yaml_file(path, "the policy", remedy)
    return policy_of_document(document, str(path))


def policy_of_document(document: Any, name: str) -> Policy:
    """The policy that the plain values of a YAML document say; `name` is its file.

    Raises:
        UsageError: it says something that no policy says.
    """
    told = f"the policy {name!r}"
    if not isinstance(document, Mapping):
        raise UsageError(
            f"{told} is no mapping with `rules:`. Make one: junkdna check BASE --write-policy FILE."
        )
    _known(document, TOP, told)
    if document.get("schema", SCHEMA) != SCHEMA:
        raise UsageError(
            f"{told} has schema {document['schema']!r}, and this version reads {SCHEMA}. Write it anew."
        )
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise UsageError(f"{told} has no list of `rules`. Give at least one, e.g. `- max_drop: 0.02`.")
    defaults = {} if document.get("defaults") is None else document["defaults"]
    if not isinstance(defaults, Mapping):
        raise UsageError(f"{told}: `defaults` is no mapping. Write e.g. `defaults: {{severity: critical}}`.")
    _known(defaults, _EVERY_RULE, f"{told}, defaults")
    found: list[Rule] = []
    ways: dict[str, bool] = {}
    for number, entry in enumerate(rules, 1):
        where = f"{told}, rule {number}"
        if not isinstance(entry, Mapping):
            raise UsageError(f"{where} is no mapping. Write e.g. `- max_drop: 0.02`.")
        _known(entry, RULE_KEYS, where)
        _direction({**defaults, **entry}, where, ways)
        found += _rules(entry, defaults, where)
    lists = {
        key: _names(document.get(key), f"{told}, {key}")
        for key in ("required", "higher_is_better", "lower_is_better")
    }
    alpha = _number(document.get("alpha", 0.05), f"{told}, alpha")
    try:
        return Policy(
            tuple(found), alpha, lists["required"],
            (*lists["lower_is_better"], *(metric for metric, up in ways.items() if not up)),
            (*lists["higher_is_better"], *(metric for metric, up in ways.items() if up)), told,
        )  # fmt: skip
    except UsageError as error:
        raise UsageError(f"{told}: {error}") from None


def _rules(entry: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> list[Rule]:
    """The rules that one entry stands for: with lists in its selectors, one for each combination."""
    selectors = {key: entry[key] for key in SELECTORS if key in entry}
    further = {} if entry.get("where") is None else entry["where"]
    if not isinstance(further, Mapping):
        raise UsageError(
            f"{where}: `where` is no mapping of columns to values. Write e.g. `where: {{language: de}}`."
        )
    for column in further:
        if column in SELECTORS:
            raise UsageError(f"{where}: {column!r} stands under `where`. Write it beside the limits.")
    columns = {
        str(column): _patterns(value, f"{where}, {column}")
        for column, value in {**selectors, **further}.items()
    }
    columns = dict(sorted(columns.items(), key=lambda one: _rank(one[0])))
    values = _values({**_fitting(defaults, entry), **entry}, where)
    found = []
    for chosen in product(*columns.values()):
        try:
            found.append(Rule(**values, where=tuple(zip(columns, chosen, strict=True))))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
    return found


def _fitting(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of this entry: a limit of theirs holds where the entry sets none; metrics are of tasks."""
    limited = any(key in entry for key in LIMITS)
    text = entry.get("of", defaults.get("of")) == "text" or any(
        key in entry for key in ("max_kl", "min_agreement")
    )
    return {
        key: value for key, value in defaults.items()
        if not (key in LIMITS and limited) and not (key in ("metric", "higher_is_better") and text)
    }  # fmt: skip


def _values(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in _NUMBERS:
        if key in entry:
            found[key] = _number(entry[key], f"{where}, {key}")
    for key in _TEXTS:
        if key in entry:
            if not isinstance(entry[key], str) or not entry[key].strip():
                raise UsageError(f"{where}: {key} {entry[key]!r} is no text. Write a word.")
            found[key] = entry[key]
    if "required" in entry:
        found["required"] = _truth(entry["required"], f"{where}, required")
    if any(key in entry for key in ("max_kl", "min_agreement")):
        found.setdefault("of", "text")
    if found.get("of", "tasks") not in ("tasks", "text"):
        raise UsageError(f"{where}: of {found['of']!r} is not known. Choose from tasks, text.")
    return found


def _direction(entry: Mapping[str, Any], where: str, ways: dict[str, bool]) -> None:
    """Note which way the metric of a rule is better, where the rule says it."""
    if "higher_is_better" not in entry:
        return
    up = _truth(entry["higher_is_better"], f"{where}, higher_is_better")
    metric = entry.get("metric")
    if not isinstance(metric, str):
        raise UsageError(f"{where}: higher_is_better is of a metric. Name it: `metric: acc`.")
    if ways.setdefault(metric, up) != up:
        raise UsageError(
            f"{where}: {metric!r} is better higher by one rule and lower by another. Say one of them."
        )


def _known(given: Mapping[Any, Any], allowed: Sequence[str], where: str) -> None:
    for key in given:
        if key not in allowed:
            hint = did_you_mean(str(key), allowed)
            raise UsageError(f"{where}: the key {key!r} is not known.{hint} There is: {', '.join(allowed)}.")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{where}: {value!r} is no number. Write e.g. 0.02.")
    try:
        return float(value)
    except OverflowError:
        raise UsageError(
            f"{where}: a number of {len(str(value))} digits is too large. Write e.g. 0.02."
        ) from None


def _truth(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {value!r} is neither true nor false. Write one of them.")
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    listed = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) and one for one in listed):
        raise UsageError(f"{where}: {value!r} is no list of names. Write e.g. `[arc_easy, mmlu_*]`.")
    return tuple(listed)


def _patterns(value: Any, where: str) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(
        isinstance(one, (str, int, float)) for one in listed
    ):  # true is `True` in a table
        raise UsageError(f'{where}: {value!r} is no value or pattern. Write e.g. 4, addition or "mmlu_*".')
    return [f"{one:g}" if isinstance(one, float) else str(one) for one in listed]


def _rank(column: str) -> int:
    order = ("task", "family", "axis", "tier")
    return order.index(column) if column in order else len(order)


@lru_cache(maxsize=1)
def json_schema() -> dict[str, Any]:
    """The JSON schema of a policy, for editors and other programs."""
    found: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return found


def to_dict(policy: Policy) -> dict[str, Any]:
    """A policy as plain values, as a YAML document holds them."""
    found: dict[str, Any] = {"schema": SCHEMA, "alpha": policy.alpha}
    for key in ("required", "higher_is_better", "lower_is_better"):
        if getattr(policy, key):
            found[key] = list(getattr(policy, key))
    return {**found, "rules": [_rule_to_dict(rule) for rule in policy.rules]}


def _rule_to_dict(rule: Rule) -> dict[str, Any]:
    where = {column: pattern for column, pattern in rule.where if column not in SELECTORS}
    found: dict[str, Any] = {column: pattern for column, pattern in rule.where if column in SELECTORS}
    found |= {"where": where} if where else {}
    plain = Rule(max_drop=0.0)
    for key in (*_TEXTS, "low_baseline", "required"):
        if (value := getattr(rule, key)) != getattr(plain, key):
            found[key] = value
    return {**found, **rule.limits}
