"""Who looked at a sweep's folder, and which of its runs were planned after that.

A plan that grows after a look at the data may have grown because of what was seen: then its p-values are not those of a plan
that was fixed before. So every verdict on a folder leaves a line in its `looks.jsonl`, and so does every addition to its plan.
Nothing else reads the file, and a folder without it is as good as one with it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.files import append_line
from difficulty.json_files import parsed
from difficulty.runs.store import SAMPLES, finished_runs, manifest_path, planned_runs

if TYPE_CHECKING:
    from difficulty.runs.part import TaskFacts

LOOKS = "looks.jsonl"
LOOK, ADDED = "look", "added"


@dataclass(frozen=True)
class Look:
    """A look at the data: when, by which command of which version, at which runs, by which rules, and what it found.

    `runs_sha256`: hash of the runs that were there and of what they scored. `verdicts`: model -> claim -> verdict.
    """

    time: str
    command: str
    version: str
    runs: tuple[str, ...]
    runs_sha256: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, float] = field(default_factory=dict)
    verdicts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Added:
    """Runs that were added to a plan that was there: when, and by which option that adds levels by a rule, if by one."""

    time: str
    runs: tuple[str, ...]
    by_rule: str | None = None


def log_look(
    folder: str | Path,
    command: str,
    version: str,
    *,
    options: Mapping[str, Any] | None = None,
    rules: Mapping[str, float] | None = None,
    verdicts: Mapping[str, Any] | None = None,
) -> str | None:
    """Add a look to the log of a sweep's folder, unless the same was logged before; a note where it could not be written.

    The same is: the same runs with the same scores, the same command, options and rules, and the same verdicts.
    """
    runs, sha256 = _runs(Path(folder))
    record = {
        "kind": LOOK, "time": _now(), "command": command, "version": version, "options": dict(options or {}),
        "rules": dict(rules or {}), "verdicts": dict(verdicts or {}), "runs_sha256": sha256, "runs": runs,
    }  # fmt: skip
    record = json.loads(json.dumps(record, default=str))
    what = ("command", "options", "rules", "verdicts", "runs_sha256")
    if any(
        all(old.get(n) == record[n] for n in what) for old in _records(Path(folder)) if old["kind"] == LOOK
    ):
        return None
    return _append(Path(folder), record)


def log_added(folder: str | Path, runs: Sequence[str], by_rule: str | None = None) -> str | None:
    """Note that `runs` were added to the plan of a folder that somebody has looked at; a note where it could not be written.

    Before any look nothing is written. `by_rule`: the option that added them by a rule of its own (`--refine P3`), whatever
    the data say: such runs are told apart from those that somebody chose.
    """
    if not runs or not looks(folder):
        return None
    return _append(
        Path(folder), {"kind": ADDED, "time": _now(), "runs": list(map(str, runs)), "by_rule": by_rule}
    )


def looks(folder: str | Path) -> tuple[Look, ...]:
    """The looks at a folder that were logged, in order. Lines that cannot be read are passed over."""
    return tuple(
        Look(**{name: _tuple(record.get(name)) for name in Look.__dataclass_fields__})
        for record in _records(Path(folder))
        if record["kind"] == LOOK
    )


def added(folder: str | Path) -> tuple[Added, ...]:
    """The additions to a folder's plan that followed a look, in order."""
    return tuple(
        Added(str(record.get("time")), _tuple(record.get("runs")), record.get("by_rule"))
        for record in _records(Path(folder))
        if record["kind"] == ADDED
    )


def added_after_look(folder: str | Path) -> tuple[str, ...]:
    """A sentence on the runs that somebody chose after a look at the data, and one on those that a rule added; or none."""
    additions = added(folder)
    if not additions:
        return ()
    from difficulty.runs.table import some

    planned = set(planned_runs(folder).values())
    first = next((str(look.time)[:10] for look in looks(folder)), "at an unknown time")
    sentences = []
    chosen = _there((a for a in additions if a.by_rule is None), planned)
    if chosen:
        sentences.append(
            f"{len(chosen)} of {len(planned)} runs were added after a look at the data ({first}): {some(chosen, 3)}. "
            "Verdicts on a plan that followed what was seen are weaker than their p-values say."
        )
    by_rule: dict[str, list[Added]] = {}
    for addition in additions:
        if addition.by_rule is not None:
            by_rule.setdefault(addition.by_rule, []).append(addition)
    for rule, its in by_rule.items():
        if there := [run for run in _there(its, planned) if run not in chosen]:
            sentences.append(
                f"{len(there)} of {len(planned)} runs were added by the rule of {rule}: {some(there, 3)}."
            )
    return tuple(sentences)


def folders_of(tasks: Iterable[TaskFacts]) -> list[Path]:
    """The sweeps' folders among the places where tasks were read (`Runs.tasks.values()`), sorted."""
    return sorted(
        {place for facts in tasks for place in facts.files if place.is_dir() and (place / SAMPLES).is_dir()}
    )


def _there(additions: Iterable[Added], planned: set[str]) -> list[str]:
    return [run for run in dict.fromkeys(run for a in additions for run in a.runs) if run in planned]


def _runs(folder: Path) -> tuple[list[str], str]:
    """The runs that are finished, and a hash of their names and of the samples that their manifests speak of."""
    names, digest = [], hashlib.sha256()
    for stem in finished_runs(folder):
        try:
            manifest = parsed(manifest_path(folder, stem).read_text(encoding="utf-8"))
            name, samples = str(manifest["run"]), (manifest.get("files") or {}).get(SAMPLES)
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue  # the reader names it
        names.append(name)
        digest.update(json.dumps([name, samples]).encode())
    return names, digest.hexdigest()


def _records(folder: Path) -> list[dict[str, Any]]:
    try:
        lines = (folder / LOOKS).read_bytes().split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            record = parsed(line.decode())
        except ValueError:  # cut off when a process or the machine ended, or edited
            continue
        if isinstance(record, dict) and record.get("kind") in (LOOK, ADDED) and _is_whole(record):
            found.append(record)
    return found


def _is_whole(record: Mapping[str, Any]) -> bool:
    """False where a part is of another kind than what is written."""
    runs, texts = record.get("runs"), ("time",) if record["kind"] == ADDED else ("time", "command", "version")
    return (
        isinstance(runs, list)
        and all(isinstance(run, str) for run in runs)
        and all(isinstance(record.get(name), str) for name in texts)
        and isinstance(record.get("by_rule"), (str, type(None)))
        and all(isinstance(record.get(name) or {}, dict) for name in ("options", "rules", "verdicts"))
    )


def _append(folder: Path, record: Mapping[str, Any]) -> str | None:
    path = folder / LOOKS
    try:
        append_line(path, json.dumps(record, ensure_ascii=False))
    except OSError as error:
        return f"this look is not logged in {str(path)!r}: {error.strerror or error}."
    return None


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
