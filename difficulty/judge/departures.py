"""Where what was judged departs from what was registered: one sentence for each departure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from difficulty.judge.prereg import SCALES, At, Prereg, run_of, short
from difficulty.judge.series import series_name
from difficulty.runs.checkpoint import plain_name
from difficulty.runs.identity import Run
from difficulty.runs.table import some

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.judge.fit import FitResult

SAME_LEVEL = 0.005  # a level as asked for and as measured


@dataclass(frozen=True)
class Facts:
    """What was judged, as far as it can be registered.

    `conditions`: series -> (level, bits) -> replicates. `families`: family -> tiers. `n_resamples`: as asked for. `margins`:
    whether they are used where they were logged. `items`: task -> number of items, empty where it is not known. `evaluation`:
    settings of the evaluation, and `arguments`: run id -> arguments of the compression, empty where nobody wrote them down.
    `by_rule`: (series, (level, bits)) -> the option that added it by a rule of its own.
    """

    model: str
    conditions: Mapping[str, Mapping[At, int]]
    families: Mapping[str, tuple[int, ...]]
    claims: tuple[str, ...]
    rules: Mapping[str, float]
    n_resamples: int
    seed: int
    metric: str | None
    margins: bool
    scales: Mapping[str, Sequence[str]]
    version: str
    items: Mapping[str, int] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_rule: Mapping[tuple[str, At], str] = field(default_factory=dict)


def facts_of(
    result: FitResult,
    version: str,
    table: pd.DataFrame | None = None,
    plan: Mapping[str, Any] | None = None,
    n_resamples: int | None = None,
) -> Facts:
    """What `result` judged. `table`: the tidy rows it was judged from, for the tasks; `plan`: the `plan.json` of their sweep;
    `n_resamples`: as asked for, since more are drawn where p must resolve more."""
    cells = result.cells
    conditions: dict[str, dict[At, int]] = {}
    for row in cells[cells["kind"] != "dense"].itertuples():
        at = (_number(row.level), _number(row.bits))
        counts = conditions.setdefault(str(row.method), {})
        counts[at] = max(counts.get(at, 0), int(row.n_replicates))
    families = {str(f): tuple(sorted({int(t) for t in rows["tier"]})) for f, rows in cells.groupby("family")}
    plan = plan or {}
    planned = list(zip(plan.get("runs", {}).values(), plan.get("cells", []), strict=False))
    arguments = {run: cell.get("arguments", {}) for run, cell in planned}
    runs = [(Run.parse(run), str(cell["added"].get("why"))) for run, cell in planned if cell.get("added")]
    by_rule = {(series_name(run), (run.level, run.bits)): why for run, why in runs}
    settings = result.settings
    return Facts(
        result.model, conditions, families, tuple(settings.claims), asdict(result.rules),
        n_resamples or settings.n_resamples, settings.seed, settings.metric, settings.margins, SCALES, version,
        {} if table is None else _items(table, result.model), dict(plan.get("settings", {})), arguments, by_rule,
    )  # fmt: skip


def _items(table: pd.DataFrame, model: str) -> dict[str, int]:
    rows = table.loc[table["model"] == model, ["task", "item_id"]]
    return {str(task): int(n) for task, n in rows.drop_duplicates().groupby("task").size().items()}


def departures(prereg: Prereg, facts: Facts) -> tuple[str, ...]:
    """A sentence for each way in which what was judged is not what was registered; none where all is as registered."""
    return (*_asked(prereg, facts), *_compressed(prereg, facts), *_judged(prereg, facts))


def _asked(prereg: Prereg, facts: Facts) -> Iterable[str]:
    """Tasks, items, families, tiers, and the settings of the evaluation."""
    if facts.items:
        yield from _sets("tasks", prereg.tasks, facts.items)
        other = [
            f"{task} {n} for {prereg.tasks[task]['n_items']}"
            for task, n in facts.items.items()
            if prereg.tasks.get(task, {}).get("n_items") not in (None, n)
        ]
        if other:
            yield f"{_count(len(other), 'task has', 'tasks have')} another number of items than registered: {some(other, 3)}."
    families = {str(name): tuple(tiers) for name, tiers in prereg.content["families"].items()}
    yield from _sets("families", families, facts.families)
    for name in families.keys() & facts.families.keys():
        if families[name] and families[name] != facts.families[name]:
            yield f"family {name} has the tiers {_list(facts.families[name])}; registered were {_list(families[name])}."
    registered = prereg.content["evaluation"]
    for name in registered.keys() & facts.evaluation.keys() - {"tasks"}:
        if registered[name] != facts.evaluation[name]:
            yield (
                f"the runs were evaluated with {name}={short(facts.evaluation[name])}; registered was {short(registered[name])}."
            )


def _compressed(prereg: Prereg, facts: Facts) -> Iterable[str]:
    """Methods, levels, bits, replicates, and the arguments of the compression."""
    registered = prereg.conditions.get(plain_name(facts.model), {})
    yield from _sets("methods", registered, facts.conditions)
    by_rule = prereg.content["grid"].get("by_rule", ())
    ruled = [(method, at) for (method, at), why in facts.by_rule.items() if why in by_rule]
    remark = f" (registered was that levels are added by {_list(by_rule)})" if by_rule else ""
    for method in registered.keys() & facts.conditions.keys():
        there, wanted = facts.conditions[method], registered[method]
        pairs = {at: next((own for own in there if _same_at(at, own)), None) for at in wanted}
        missing = [at for at, own in pairs.items() if own is None]
        extra = [at for at in there if at not in pairs.values() and (method, at) not in ruled]
        if missing:
            yield f"{method} lacks the registered {_ats(missing)}."
        if extra:
            yield f"{method} has {_ats(extra)}, not registered{remark}."
        counted: dict[tuple[int, int], list[At]] = {}
        for at, own in pairs.items():
            if own is not None and there[own] != wanted[at]:
                counted.setdefault((there[own], wanted[at]), []).append(own)
        for (n, n_wanted), at_levels in counted.items():
            draws = _count(n, "replicate", "replicates")
            yield f"{method} has {draws} at {_ats(at_levels)}; registered: {n_wanted}."
    asked = {row.get("run") or str(run_of(row)): row.get("arguments", {}) for row in prereg.content["runs"]}
    other = [
        run for run in facts.arguments.keys() & asked.keys() if dict(facts.arguments[run]) != dict(asked[run])
    ]
    if other:
        run = min(other)
        yield (
            f"{_count(len(other), 'run was', 'runs were')} made with other arguments than registered: {run} with "
            f"{short(facts.arguments[run])}, registered was {short(asked[run])}."
        )


def _judged(prereg: Prereg, facts: Facts) -> Iterable[str]:
    """Claims, rules, scales, metric, resamples, seeds, version."""
    registered = prereg.content["verdicts"]
    yield from _sets("claims", registered["claims"], facts.claims)
    for name in (*registered["rules"], *(n for n in facts.rules if n not in registered["rules"])):
        was, now = registered["rules"].get(name), facts.rules.get(name)
        if was != now:
            yield f"the verdicts use {_option(name)}={short(now)}; registered was {short(was)}."
    for kind, names in facts.scales.items():
        if (were := registered["scales"].get(kind, [])) != list(names):
            yield f"the scales that decide {kind} are {_list(names)}; registered were {_list(were)}."
    if registered["margins"] != facts.margins:
        yield f"margins are {'' if facts.margins else 'not '}used where they were logged; registered was the opposite."
    for what, name in (
        ("metric", "metric"),
        ("number of resamples", "n_resamples"),
        ("seed of the resamples", "seed"),
    ):
        if registered.get(name) != getattr(facts, name):
            yield f"the {what} is {short(getattr(facts, name))}; registered was {short(registered.get(name))}."
    if prereg.content["version"] != facts.version:
        yield f"the verdicts are those of version {facts.version}; registered was {prereg.content['version']}."


def _sets(what: str, registered: Iterable[str], there: Iterable[str]) -> Iterable[str]:
    wanted, found = list(registered), list(there)
    if missing := [name for name in wanted if name not in found]:
        yield f"registered {what} are missing: {some(missing)}."
    if extra := [name for name in found if name not in wanted]:
        yield f"{what} that were not registered: {some(extra)}."


def _same_at(asked: At, there: At) -> bool:
    return all(
        a is b is None or (a is not None and b is not None and abs(a - b) <= SAME_LEVEL)
        for a, b in zip(asked, there, strict=True)
    )


def _ats(found: Iterable[At]) -> str:
    """Levels and bits in words, mildest first."""
    ordered = sorted(found, key=lambda at: (at[0] or 0.0, -(at[1] or 0.0)))
    words = [
        " ".join(
            ([f"{level:g}"] if level is not None else []) + ([f"{bits:g} bits"] if bits is not None else [])
        )
        for level, bits in ordered
    ]
    return ("levels " if len(words) > 1 else "level ") + some(words, 8)


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _option(name: str) -> str:
    return name.replace("_", "-")
