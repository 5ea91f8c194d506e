"""A plan that was written down before anything was evaluated.

`junkdna sweep --preregister FILE` writes it: JSON with the runs, tasks, families and rules of a study, and a sha256 over its
contents, so that a file that was edited later is known as such. Nothing is judged differently because of it; `difficulty.judge.departures` tells what
is other than registered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.json_files import of_known_shape, read_json, text_of
from difficulty.judge.scales import WITH_MARGINS, WITHOUT_MARGINS
from difficulty.judge.series import series_name
from difficulty.runs.checkpoint import plain_name
from difficulty.runs.identity import Method, Run
from difficulty.runs.table import some

KIND, SCHEMA = "junkdna-preregistration", 1
# The scales whose agreement is a verdict.
SCALES = {"with margins": list(WITH_MARGINS), "without margins": list(WITHOUT_MARGINS)}
_LINE = 160  # characters of a line of the file
_PARTS = {
    "registered": str, "version": str, "models": list, "tasks": dict, "families": dict, "grid": dict, "runs": list,
    "evaluation": dict, "verdicts": dict,
}  # fmt: skip
_VERDICTS = {"claims": list, "scales": dict, "margins": bool, "rules": dict, "n_resamples": int, "seed": int}
_NOT_THE_PLAN = ("sha256", "registered", "version")  # may differ where the plan is the same

At = tuple[float | None, float | None]  # level and bits


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
    def conditions(self) -> dict[str, dict[str, dict[At, int]]]:
        """Model -> series -> (level, bits) -> replicates, without the dense runs."""
        found: dict[str, dict[str, dict[At, int]]] = {}
        for row in self.content["runs"]:
            run = run_of(row)
            matched = self.content["grid"].get("matched", ())  # methods whose levels are sought later
            at_levels = found.setdefault(plain_name(run.model), {name: {} for name in matched})
            if not run.is_dense:
                counts = at_levels.setdefault(series_name(run), {})
                counts[run.level, run.bits] = counts.get((run.level, run.bits), 0) + 1
        return found


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
            f"{str(path)!r} registers another plan: its {name} is {short(was)}, not {short(now)}. A registered plan is not "
            "written over: give the options that it was written with, or another file."
        )


def read_prereg(path: str | Path) -> Prereg:
    """The preregistration in a file.

    Raises:
        UsageError: there is none, it is something else, or it was edited after it was written.
    """
    content = read_json(path, "the preregistration", "Name the file that sweep --preregister wrote.")
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
    with of_known_shape(path, "the preregistration", "Name the file that sweep --preregister wrote."):
        _check_parts(content)
    return Prereg(str(path), content)


def _check_parts(content: Mapping[str, Any]) -> None:
    """Refuse parts of which whoever compares them takes the shape for granted.

    Raises:
        ValueError: one has another.
    """
    for name in ("registered", "version"):
        text_of(content, name)
    if not all(isinstance(name, str) for name in content["models"]):
        raise ValueError("models are no list of names")
    for row in content["runs"]:
        text_of(row, "model")
        text_of(row, "method")
        _ = str(run_of(row)), hash(run_of(row))
    if not all(isinstance(entry, dict) for entry in content["tasks"].values()):
        raise ValueError("tasks hold something else than objects")
    for name, tiers in content["families"].items():
        if not isinstance(tiers, list) or not all(isinstance(tier, int) for tier in tiers):
            raise ValueError(f"the tiers of family {name} are {tiers!r:.60}")
    for name in ("matched", "by_rule"):
        listed = content["grid"].get(name, [])
        if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
            raise ValueError(f"{name} of the grid is {listed!r:.60}")


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


def run_of(row: Mapping[str, Any]) -> Run:
    """The run of an entry of `runs`."""
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


def short(value: object) -> str:
    """A value as a sentence quotes it."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:80] + "..."
