"""A history of the gate's decisions: one line of JSON each, appended, with the outcome of every item.

So consecutive entries can be paired item by item, and a loss that creeps in below the limit is seen (`gate.trend`). The first line of
a suite also holds the suite itself and what the baseline scored; a file holds one suite. docs/gate.md has the keys.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from difficulty.errors import UsageError
from difficulty.files import append_line, cannot_write
from difficulty.json_files import WRONG_SHAPE, parsed, refuse_unbounded
from difficulty.stats.result import Floats
from junkdna_harness.gate.decision import COLUMNS, KIND, SCHEMA, cells_from_json, decision
from junkdna_harness.gate.packed import pack, unpack
from junkdna_harness.gate.rule import Gate
from junkdna_harness.gate.suite import Suite, suite_from_json
from junkdna_harness.held_folder import held
from junkdna_harness.lock import Lock

_COMMIT_OF = ("GITHUB_SHA", "CI_COMMIT_SHA")
_PATIENCE = 30.0  # seconds for another process that appends


@dataclass(frozen=True)
class Entry:
    """One decision. `outcomes`: the score of every item of the suite, NaN where it was not asked.

    `new`, `baseline`: run, model, method, level, bits, replicate, sha256 (of the scores), weights_sha256. `comparisons`: one mapping
    each. `line`: where it stands in its file.
    """

    line: int
    time: str
    commit: str | None
    verdict: str
    new: Mapping[str, Any]
    baseline: Mapping[str, Any]
    comparisons: tuple[Mapping[str, Any], ...] = field(repr=False)
    outcomes: Floats = field(repr=False)


@dataclass(frozen=True)
class History:
    """The entries of a file, the suite, and what the first entry's baseline scored (NaN where that is not known)."""

    path: str
    suite: Suite
    start: Floats = field(repr=False)
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def commit_of(given: str | None = None) -> str | None:
    """The commit that is judged: as given, else as CI says, else the one that the working folder is at; None where none is known.

    Raises:
        UsageError: what was given is no name of a commit.
    """
    if given is not None:
        if not given.strip() or not given.isprintable() or len(given) > 200:
            raise UsageError(
                f"--commit {given[:40]!r} is no commit. Give its hash or any short name of the version."
            )
        return given.strip()
    for name in _COMMIT_OF:
        if os.environ.get(name, "").strip():
            return os.environ[name].strip()
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10, stdin=subprocess.DEVNULL
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None  # no git here
    text = found.stdout.strip()
    return text if found.returncode == 0 and text else None


def append(
    path: str | Path, gate: Gate, exit_code: int, commit: str | None = None, allow_different_prompts: bool = False,
    looks: int | None = None,
) -> list[str]:  # fmt: skip
    """Add a decision to a history, which is made where it is missing; notes for the user. `looks`: of a sequential gate.

    Raises:
        UsageError: the file is of another suite, damaged, of a newer schema, held by another process, or cannot be written.
    """
    path = Path(path)
    if not gate.comparisons:
        raise UsageError(
            "a history holds what items scored, and nothing was compared on tasks. Leave out --history."
        )
    suite, entry = decision(gate, exit_code, commit, looks)
    busy = f"{str(path)!r} is being written to by another process. Wait for it, or name another file."
    with held(path.with_name(f".{path.name}.lock"), path, busy, _PATIENCE) as lock:
        try:
            return _append(lock, path, gate, suite, entry, allow_different_prompts)
        except OSError as error:
            raise cannot_write(path, error) from error


def read_history(path: str | Path) -> History:
    """The history in a file.

    Raises:
        UsageError: it is not there, empty, no history, damaged, of a newer schema, or of several suites.
    """
    path = Path(path)
    documents, notes = _documents(path)
    if not documents:
        raise UsageError(
            f"the history {str(path)!r} holds no entries. Add one: junkdna check NEW --against BASE --history {path}"
        )
    suite, start = _suite(documents, path)
    entries: list[Entry] = []
    seen = _Seen()
    for line, document in documents:
        try:
            entry = _entry_from(line, document, suite)
        except WRONG_SHAPE as error:
            raise UsageError(_damaged(path, line, error)) from error
        if seen.before(document):
            notes.append(
                f"line {line} is a run that stands there before, of the same commit: it is not counted again"
            )
            continue
        entries.append(entry)
    return History(str(path), suite, start, tuple(entries), tuple(notes))


def _append(
    lock: Lock, path: Path, gate: Gate, suite: Suite, entry: dict[str, Any], allow_different_prompts: bool
) -> list[str]:
    """The rest of `append`, with the file locked."""
    documents: list[tuple[int, dict[str, Any]]] = []
    notes: list[str] = []
    if path.exists() and path.stat().st_size:
        documents, notes = _documents(path, whole=True)
    if any("suite_content" in document for _, document in documents):
        held, _ = _suite(documents, path)
        what = held.difference(suite, allow_different_prompts)
        if what is not None:
            raise UsageError(
                f"{str(path)!r} is a history of another suite: this baseline {what}. Name another file with --history, or judge against "
                "a baseline of the same tasks and items."
            )
        entry["suite"] = held.sha256
    else:
        entry["suite_content"] = suite.to_json()
        entry["baseline_outcomes"] = [pack(gate.baseline.tasks[task.key].values) for task in suite.tasks]
    seen = _Seen()
    for _, document in documents:
        seen.before(document)
    if seen.before(entry):
        notes.append(f"this run of the same commit stands in {str(path)!r} already; the trend counts it once")
    lock.check()  # just before: what was read above is then what stands there
    if append_line(path, json.dumps(entry, separators=(",", ":"), allow_nan=False)):
        notes.append(f"the last line of {str(path)!r} had no end; the new one was put below it")
    return notes


class _Seen:
    """The entries of a history up to one of them."""

    def __init__(self) -> None:
        self._keys: set[tuple[object, object]] = set()
        self._last: tuple[object, object] | None = None

    def before(self, entry: Mapping[str, Any]) -> bool:
        """Whether a run of the same commit with the same scores stands before this entry, which is added. Where no commit is known,
        only right before: an older state of the model that is brought back is a step of its own."""
        key = (entry.get("commit"), entry["new"].get("sha256"))
        found = key in self._keys if key[0] is not None else key == self._last
        self._keys.add(key)
        self._last = key
        return found


def _documents(path: Path, whole: bool = False) -> tuple[list[tuple[int, dict[str, Any]]], list[str]]:
    """The lines of a file, numbered, and notes. A half line at the end is left out with a note, or refused where it must be `whole`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(
            f"the history {str(path)!r} cannot be read: {what}. Name a file that --history has written."
        ) from error
    found: list[tuple[int, dict[str, Any]]] = []
    notes: list[str] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = parsed(line)
            refuse_unbounded(document)
        except ValueError as error:
            if number < len(lines):
                raise UsageError(_damaged(path, number, error)) from error
            cut = f"the last line of {str(path)!r} (line {number}) is cut off, as by a crash while it was written"
            if whole:
                raise UsageError(f"{cut}. Delete that line, then add the decision again.") from error
            notes.append(f"{cut}: it is left out")
            continue
        found.append((number, _checked(document, path, number)))
    return found, notes


def _checked(document: object, path: Path, line: int) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise UsageError(
            f"line {line} of {str(path)!r} is no entry of a history. Name a file that `junkdna check NEW --against BASE --history FILE` has written."
        )
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"line {line} of {str(path)!r} has schema {document.get('schema')!r}, and this version reads {SCHEMA}. Use the version that wrote it, or start another file."
        )
    if not isinstance(document.get("new"), dict):
        raise UsageError(_damaged(path, line, "no 'new'"))
    return document


def _suite(documents: Sequence[tuple[int, dict[str, Any]]], path: Path) -> tuple[Suite, Floats]:
    """The suite of a file, and what its first baseline scored.

    Raises:
        UsageError: no line holds it, or lines are of several suites.
    """
    holder = next(((line, document) for line, document in documents if "suite_content" in document), None)
    if holder is None:
        raise UsageError(
            f"no line of {str(path)!r} says which tasks its entries are about: the first line of a history does. Put it back."
        )
    line, document = holder
    try:
        suite = suite_from_json(document["suite_content"])
        values = _values(document["baseline_outcomes"], suite)
    except WRONG_SHAPE as error:
        raise UsageError(_damaged(path, line, error)) from error
    for number, other in documents:
        if other.get("suite") != suite.sha256:
            raise UsageError(
                f"line {number} of {str(path)!r} is about other tasks or items than line {line}: it was written to another history. "
                "Move it to a file of its own."
            )
    known = values if line == documents[0][0] else np.full(suite.n_items, np.nan)
    return suite, known


def _values(packed: Sequence[object], suite: Suite) -> Floats:
    return np.concatenate([unpack(one, task.n_items) for one, task in zip(packed, suite.tasks, strict=True)])


def _entry_from(line: int, document: Mapping[str, Any], suite: Suite) -> Entry:
    columns = document["comparisons"]
    names = columns["name"]
    full = {
        name: columns[name] if isinstance(columns[name], list) else [columns[name]] * len(names)
        for name in COLUMNS
    }
    rows = [dict(zip(COLUMNS, cells, strict=True)) for cells in zip(*full.values(), strict=True)]
    for row in rows:
        cells_from_json(row["cells"], suite)
        _check_row(row)
    commit = document["commit"]
    if not isinstance(document["baseline"], dict) or not isinstance(commit, (str, type(None))):
        raise ValueError("a baseline or commit that is none")
    return Entry(
        line, str(document["time"]), commit, str(document["verdict"]), document["new"], document["baseline"], tuple(rows),
        _values(document["outcomes"], suite),
    )  # fmt: skip


def _check_row(row: Mapping[str, Any]) -> None:
    """Refuse a comparison with a text for a number, or a number for a text."""
    for name in ("name", "kind", "severity", "metric", "verdict"):
        if not isinstance(row[name], (str, type(None))):
            raise ValueError(f"{name} is {row[name]!r}")
    for name in ("limit", "before", "after", "loss", "low", "high", "n"):
        if isinstance(row[name], bool) or not isinstance(row[name], (int, float, type(None))):
            raise ValueError(f"{name} is {row[name]!r}")


def _damaged(path: Path, line: int, why: object) -> str:
    what = f"no {why.args[0]!r}" if isinstance(why, KeyError) else why
    return f"line {line} of {str(path)!r} is damaged ({what}). Bring back the file as it was, or delete that line."
