"""The folder of a gate: what it is of, and each batch, written when it was answered.

gate.json            identity, written first, with the first batch
batches/0001.jsonl   a line about the batch, then a line for each document and filter: what was answered, and its scores
samples.parquet      the tidy table of all that was asked; written when it ends
lock                 held while a gate runs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.json_files import WRONG_SHAPE, count_of, parsed, text_of
from junkdna_harness.harness.requests import Sample
from junkdna_harness.harness.results import json_text
from junkdna_harness.held_folder import LOCK, held_folder
from junkdna_harness.lock import Lock

SCHEMA = 1
KIND = "junkdna-gate"
HEADER, BATCHES, SAMPLES = "gate.json", "batches", "samples.parquet"
DEFAULT = "junkdna_gate"
# What of an identity is told where it differs: key -> words.
_TOLD = {
    "model": "model", "weights": "weights", "baseline": "baseline", "policy": "policy", "seed": "--seed", "prompts": "prompts",
    "task_versions": "task versions",
}  # fmt: skip
# What of a sample does not depend on the model, and is there again when the tasks are built again.
_FIXED = ("doc", "target", "arguments", "doc_hash", "target_hash")


@dataclass(frozen=True)
class Batch:
    """A batch that was asked: up to which cluster of the order, how long it took, and the samples by task."""

    until: int
    seconds: float
    items: tuple[str, ...]
    samples: Mapping[str, Sequence[Sample]]


class Folder:
    """The folder, held by this process. `identity`: plain values of everything that a verdict depends on."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path, self.identity = path, dict(identity)
        self._lock: Lock | None = None

    @contextmanager
    def held(self) -> Iterator[Folder]:
        """A block in which no other process writes here.

        Raises:
            UsageError: another one does, it is the folder of another gate, or cannot be written.
        """
        busy = (
            f"another gate is at work in {str(self.path)!r}. Wait for it, or give another folder with --out."
        )
        with held_folder(self.path, busy) as self._lock:
            self._check()
            yield self

    def check_held(self) -> None:
        """To be called before anything is written.

        Raises:
            UsageError: another process has taken the folder over.
        """
        if self._lock is not None:
            self._lock.check()

    def batch(self, number: int) -> Batch | None:
        """A batch that is there whole; None where it is not.

        Raises:
            UsageError: it is damaged.
        """
        path = self._path(number)
        if not path.is_file():
            return None
        try:
            head, *lines = (parsed(line) for line in path.read_text("utf-8").splitlines())
            if len(lines) != head["lines"]:
                raise ValueError(f"{len(lines)} of {head['lines']} lines")
            samples: dict[str, list[Sample]] = {}
            for line in lines:
                samples.setdefault(text_of(line, "task"), []).append(
                    {k: v for k, v in line.items() if k != "task"}
                )
            until, items = count_of(head["until"]), head["items"]
            if until is None or not isinstance(items, list) or not all(isinstance(one, str) for one in items):
                raise ValueError("its head is none of a batch")
            return Batch(until, float(head["seconds"]), tuple(items), samples)
        except WRONG_SHAPE as error:
            raise UsageError(
                f"{str(path)!r} is damaged ({error}). Remove it and those after it; they are asked again."
            ) from error

    def write(self, number: int, batch: Batch) -> None:
        """Keep a batch, and before the first of all what the gate is of: one that was refused leaves nothing.

        Raises:
            UsageError: another process has taken the folder over, or it cannot be written.
        """
        self.check_held()
        header = self.path / HEADER
        if not header.is_file():
            document = {"kind": KIND, "schema": SCHEMA, "identity": self.identity}
            write_atomic(header, json.dumps(document, indent=1, sort_keys=True) + "\n")
        lines = [
            json_text({"task": task, **{name: value for name, value in sample.items() if name not in _FIXED}})
            for task, listed in batch.samples.items()
            for sample in listed
        ]
        head = {
            "until": batch.until,
            "seconds": batch.seconds,
            "items": list(batch.items),
            "lines": len(lines),
        }
        self.check_held()
        write_atomic(self._path(number), "\n".join([json.dumps(head), *lines]) + "\n")

    def _check(self) -> None:
        path = self.path / HEADER
        if not path.is_file():
            if any(one.name != LOCK and one.suffix != ".partial" for one in self.path.iterdir()):
                raise UsageError(
                    f"{str(self.path)!r} holds something else than a gate. Give another folder with --out."
                )
            return
        try:
            found = parsed(path.read_text("utf-8"))
            before = dict(found["identity"]) if found["kind"] == KIND and found["schema"] == SCHEMA else None
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{str(path)!r} is damaged. Give another folder with --out.") from error
        if before is None:
            raise UsageError(
                f"{str(path)!r} is of another version of junkdna. Give another folder with --out."
            )
        now = json.loads(json.dumps(self.identity))
        for key in sorted(
            {*before, *now}, key=lambda key: (list(_TOLD).index(key) if key in _TOLD else len(_TOLD), key)
        ):
            if before.get(key) != now.get(key):
                raise UsageError(
                    f"{str(self.path)!r} holds a gate of another {_TOLD.get(key, key)} ({_short(before.get(key))}; now "
                    f"{_short(now.get(key))}). Give another folder with --out."
                )

    def _path(self, number: int) -> Path:
        return self.path / BATCHES / f"{number:04}.jsonl"


def fingerprint(identity: Mapping[str, Any]) -> str:
    """The name of the folder where none is given."""
    return sha256_of(identity)[:12]


def sha256_of(value: Any) -> str:
    """sha256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else f"{text[:16]}..."
