"""A plan that was written down before anything was evaluated, and where what was judged departs from it.

`junkdna sweep --preregister FILE` writes it: JSON with the runs, tasks, families and rules of a study, and a sha256 over its
contents, so that a file that was edited later is known as such. Nothing is judged differently because of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.judge.scales import WITH_MARGINS, deciding
from difficulty.judge.series import series_name
from difficulty.runs.checkpoint import plain_name
from difficulty.runs.identity import Method, Run
from difficulty.runs.table import some

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.judge.fit import FitResult

KIND, SCHEMA = "junkdna-preregistration", 1
_LINE = 160  # characters of a line of the file
SAME_LEVEL = 0.005  # a level as asked for and as measured
_PARTS = {
    "registered": str, "version": str, "models": list, "tasks": dict, "families": dict, "grid": dict, "runs": list,
    "evaluation": dict, "verdicts": dict,
}  # fmt: skip
_VERDICTS = {"claims": list, "scales": list, "rules": dict, "n_resamples": int, "seed": int}
_NOT_THE_PLAN = ("sha256", "registered", "version")  # may differ where the plan is the same

_At = tuple[float | None, float | None]  # level and bits


@dataclass(frozen=True)
class Prereg:
    """A preregistration as it was read. `content` is the file's, `path` where it lies."""

    path: str
    content: Mapping[str, Any] = field(repr=False)

    @property
    def sha256(self) -> str:
        """The hash of the contents."""
        return str(self.content["sha256"])

    @property
    def registered(self) -> str:
        """When it was written, UTC."""
        return str(self.content["registered"])

    @property
    def models(self) -> list[str]:
        """The names of the models."""
        return [str(name) for name in self.content["models"]]

    @property
    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """Task -> family, axis, tier and n_items, as far as they were known."""
        return dict(self.content["tasks"])

    @cached_property
    def conditions(self) -> dict[str, dict[str, dict[_At, int]]]:
        """Model -> series -> (level, bits) -> replicates, without the dense runs."""
        found: dict[str, dict[str, dict[_At, int]]] = {}
        for row in self.content["runs"]:
            run = _run(row)
            at_levels = found.setdefault(plain_name(run.model), {})
            if not run.is_dense:
                counts = at_levels.setdefault(series_name(run), {})
                counts[run.level, run.bits] = counts.get((run.level, run.bits), 0) + 1
        return found


@dataclass(frozen=True)
class Facts:
    """What was judged, as far as it can be registered.

    `conditions`: series -> (level, bits) -> replicates. `families`: family -> tiers. `items`: task -> number of items, empty
    where it is not known. `evaluation`: settings of the evaluation, and `arguments`: run id -> arguments of the compression,
    empty where nobody wrote them down.
    """

    model: str
    conditions: Mapping[str, Mapping[_At, int]]
    families: Mapping[str, tuple[int, ...]]
    claims: tuple[str, ...]
    rules: Mapping[str, float]
    n_resamples: int
    seed: int
    metric: str | None
    scales: tuple[str, ...]
    version: str
    items: Mapping[str, int] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def facts_of(
    result: FitResult,
    version: str,
    table: pd.DataFrame | None = None,
    plan: Mapping[str, Any] | None = None,
    scales: Iterable[str] | None = None,
) -> Facts:
    """What `result` judged. `table`: the tidy rows it was judged from, for the tasks; `plan`: the `plan.json` of their sweep.

    `scales`: those that the verdicts hung on; by default as the cells say.
    """
    cells = result.cells
    conditions: dict[str, dict[_At, int]] = {}
    for row in cells[cells["kind"] != "dense"].itertuples():
        at = (_number(row.level), _number(row.bits))
        counts = conditions.setdefault(str(row.method), {})
        counts[at] = max(counts.get(at, 0), int(row.n_replicates))
    families = {str(f): tuple(sorted({int(t) for t in rows["tier"]})) for f, rows in cells.groupby("family")}
    plan = plan or {}
    arguments = {
        run: cell.get("arguments", {})
        for run, cell in zip(plan.get("runs", {}).values(), plan.get("cells", []), strict=False)
    }
    settings = result.settings
    if scales is None:
        first = sorted(cells["scale"].unique(), reverse=True)
        scales = dict.fromkeys(name for scale in first for name in deciding(scale == WITH_MARGINS[0]))
    return Facts(
        result.model, conditions, families, tuple(settings.claims), asdict(result.rules), settings.n_resamples,
        settings.seed, settings.metric, tuple(scales), version,
        {} if table is None else _items(table, result.model), dict(plan.get("settings", {})), arguments,
    )  # fmt: skip


def _items(table: pd.DataFrame, model: str) -> dict[str, int]:
    rows = table.loc[table["model"] == model, ["task", "item_id"]]
    return {str(task): int(n) for task, n in rows.drop_duplicates().groupby("task").size().items()}


def write_prereg(path: str | Path, content: Mapping[str, Any]) -> Prereg:
    """Write `content` with its hash; where the file holds the same plan already, that is read and left as it is.

    Raises:
        UsageError: the file holds another plan or something else, or cannot be written.
    """
    check_prereg(path, content)
    if not Path(path).exists():
        whole = {**content, "sha256": content_sha256(content)}
        write_atomic(path, _readable(whole) + "\n")
    return read_prereg(path)


def check_prereg(path: str | Path, content: Mapping[str, Any]) -> None:
    """Refuse a file that is there and holds another plan than `content`.

    Raises:
        UsageError: says where they differ first.
    """
    if not Path(path).exists():
        return
    there, mine = (
        {name: value for name, value in plain.items() if name not in _NOT_THE_PLAN}
        for plain in (read_prereg(path).content, json.loads(json.dumps(content)))
    )
    if there != mine:
        name, was, now = _first_difference(there, mine)
        raise UsageError(
            f"{str(path)!r} registers another plan: its {name} is {_short(was)}, not {_short(now)}. A registered plan is not "
            "written over: give the options that it was written with, or another file."
        )


def read_prereg(path: str | Path) -> Prereg:
    """The preregistration in a file.

    Raises:
        UsageError: there is none, it is something else, or it was edited after it was written.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{str(path)!r} cannot be read: {error.strerror or error}. Name the file that sweep --preregister wrote."
        ) from error
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UsageError(
            f"{str(path)!r} is no preregistration. Name the file that sweep --preregister wrote."
        )
    if content.get("schema") != SCHEMA:
        raise UsageError(
            f"{str(path)!r} is a preregistration of schema {content.get('schema')!r}, and this version reads schema {SCHEMA}."
        )
    if content.get("sha256") != content_sha256(content):
        raise UsageError(
            f"{str(path)!r} was edited after it was written: its contents do not have the sha256 in it. Bring back the file as "
            "it was registered."
        )
    if not _has(content, _PARTS) or not _has(content["verdicts"], _VERDICTS):
        raise UsageError(
            f"{str(path)!r} is no whole preregistration. Name the file that sweep --preregister wrote."
        )
    return Prereg(str(path), content)


def content_sha256(content: Mapping[str, Any]) -> str:
    """sha256 of the contents without the hash itself: JSON with sorted keys, no spaces, UTF-8."""
    plain = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def require_same_study(prereg: Prereg, models: Iterable[str], tasks: Iterable[str]) -> None:
    """Refuse a file that registers another model, or other tasks alone: every line of it would be a departure.

    Raises:
        UsageError: names both.
    """
    theirs, mine = set(map(str, models)), set(map(str, tasks))
    same_model = {plain_name(name) for name in theirs} & {plain_name(name) for name in prereg.models}
    if not same_model or not mine & prereg.tasks.keys():
        raise UsageError(
            f"{prereg.path!r} is of another study: it registers tasks {some(sorted(prereg.tasks), 3)} of model "
            f"{some(prereg.models, 3)}, the runs are of tasks {some(sorted(mine), 3)} of model {some(sorted(theirs), 3)}. Give "
            "the file that was written for these runs, or leave --prereg out."
        )


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
                f"the runs were evaluated with {name}={_short(facts.evaluation[name])}; registered was {_short(registered[name])}."
            )


def _compressed(prereg: Prereg, facts: Facts) -> Iterable[str]:
    """Methods, levels, bits, replicates, and the arguments of the compression."""
    registered = prereg.conditions.get(plain_name(facts.model), {})
    yield from _sets("methods", registered, facts.conditions)
    by_rule = prereg.content["grid"].get("by_rule")
    remark = f" (registered was that {_list(by_rule)} adds levels)" if by_rule else ""
    for method in registered.keys() & facts.conditions.keys():
        there, wanted = facts.conditions[method], registered[method]
        pairs = {at: next((own for own in there if _same_at(at, own)), None) for at in wanted}
        missing = [at for at, own in pairs.items() if own is None]
        extra = [at for at in there if at not in pairs.values()]
        if missing:
            yield f"{method} lacks the registered {_ats(missing)}."
        if extra:
            yield f"{method} has {_ats(extra)}, not registered{remark}."
        counted: dict[tuple[int, int], list[_At]] = {}
        for at, own in pairs.items():
            if own is not None and there[own] != wanted[at]:
                counted.setdefault((there[own], wanted[at]), []).append(own)
        for (n, n_wanted), at_levels in counted.items():
            draws = _count(n, "replicate", "replicates")
            yield f"{method} has {draws} at {_ats(at_levels)}; registered: {n_wanted}."
    asked = {str(_run(row)): row.get("arguments", {}) for row in prereg.content["runs"]}
    other = [
        run for run in facts.arguments.keys() & asked.keys() if dict(facts.arguments[run]) != dict(asked[run])
    ]
    if other:
        run = min(other)
        yield (
            f"{_count(len(other), 'run was', 'runs were')} made with other arguments than registered: {run} with "
            f"{_short(facts.arguments[run])}, registered was {_short(asked[run])}."
        )


def _judged(prereg: Prereg, facts: Facts) -> Iterable[str]:
    """Claims, rules, scales, metric, resamples, seeds, version."""
    registered = prereg.content["verdicts"]
    yield from _sets("claims", registered["claims"], facts.claims)
    for name in (*registered["rules"], *(n for n in facts.rules if n not in registered["rules"])):
        was, now = registered["rules"].get(name), facts.rules.get(name)
        if was != now:
            yield f"the verdicts use {_option(name)}={_short(now)}; registered was {_short(was)}."
    yield from _sets("scales", registered["scales"], facts.scales)
    for what, name in (
        ("metric", "metric"),
        ("number of resamples", "n_resamples"),
        ("seed of the resamples", "seed"),
    ):
        if registered.get(name) != getattr(facts, name):
            yield f"the {what} is {_short(getattr(facts, name))}; registered was {_short(registered.get(name))}."
    if prereg.content["version"] != facts.version:
        yield f"the verdicts are those of version {facts.version}; registered was {prereg.content['version']}."


def _sets(what: str, registered: Iterable[str], there: Iterable[str]) -> Iterable[str]:
    wanted, found = list(registered), list(there)
    if missing := [name for name in wanted if name not in found]:
        yield f"registered {what} are missing: {some(missing)}."
    if extra := [name for name in found if name not in wanted]:
        yield f"{what} that were not registered: {some(extra)}."


def _same_at(asked: _At, there: _At) -> bool:
    return all(
        a is b is None or (a is not None and b is not None and abs(a - b) <= SAME_LEVEL)
        for a, b in zip(asked, there, strict=True)
    )


def _ats(found: Iterable[_At]) -> str:
    """Levels and bits in words, mildest first."""
    ordered = sorted(found, key=lambda at: (at[0] or 0.0, -(at[1] or 0.0)))
    words = [
        " ".join(
            ([f"{level:g}"] if level is not None else []) + ([f"{bits:g} bits"] if bits is not None else [])
        )
        for level, bits in ordered
    ]
    return ("levels " if len(words) > 1 else "level ") + some(words, 8)


def _run(row: Mapping[str, Any]) -> Run:
    return Run(
        row["model"], Method.parse(row["method"]), row.get("level"), row.get("bits"), row.get("replicate", 0)
    )


def _has(content: object, parts: Mapping[str, type]) -> bool:
    return isinstance(content, dict) and all(
        isinstance(content.get(name), kind) for name, kind in parts.items()
    )


def _readable(value: Any, indent: str = "") -> str:
    """JSON for the eye: whatever fits on a line stands on one."""
    text = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(text) <= _LINE or not isinstance(value, (dict, list)):
        return text
    inner = f"{indent} "
    if isinstance(value, dict):
        parts = [f"{json.dumps(k, ensure_ascii=False)}: {_readable(v, inner)}" for k, v in value.items()]
    else:
        parts = [_readable(v, inner) for v in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{last}"


def _first_difference(
    there: Mapping[str, Any], mine: Mapping[str, Any], name: str = ""
) -> tuple[str, Any, Any]:
    """The name of the first entry that differs, and both values; entries within entries by `outer.inner`."""
    for key in (*there, *(k for k in mine if k not in there)):
        was, now = there.get(key), mine.get(key)
        if was != now:
            inner = f"{name}.{key}" if name else str(key)
            if isinstance(was, Mapping) and isinstance(now, Mapping):
                return _first_difference(was, now, inner)
            return inner, was, now
    return name, there, mine


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _option(name: str) -> str:
    return name.replace("_", "-")


def _short(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:80] + "..."
