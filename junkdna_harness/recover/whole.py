"""Which checkpoint of a training that was cut off is whole, and the folder in which they lie.

A checkpoint is sealed when everything of it is on the disk: a record with the size and sha256 of each of its files, written last. A process
may be killed in the middle, a disk may lose the end of a file: what is not as the record says is not gone on from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list

from difficulty.errors import UsageError
from difficulty.files import sync_tree, write_atomic
from difficulty.runs.store import file_sha256
from junkdna_harness.presentation.console import say
from junkdna_harness.recover.alone import is_first_process
from junkdna_harness.recover.divergence import FILE as LOSSES

REQUEST = "request.json"
FINISHED = "finished"
CHECKPOINT = "checkpoint-"
STATE = "trainer_state.json"  # of transformers


def seal(folder: Path) -> None:
    """Mark the checkpoint as whole; all processes have written their part of it.

    Raises:
        OSError: the disk is full.
        UsageError: the record cannot be written.
    """
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    record = {
        name: {"size": path.stat().st_size, "sha256": file_sha256(path)} for name, path in files.items()
    }
    sync_tree(folder)
    write_atomic(folder / FINISHED, json.dumps({"files": record}, indent=1))


def fault_of(folder: Path, with_best: bool = False) -> str | None:
    """Why the checkpoint cannot be gone on from, in a few words; None where it is whole.

    `with_best`: the best one so far, which it names, must be there too, as early stopping goes back to it at the end.
    """
    if _is_of_an_earlier_version(folder):
        return None
    try:
        files = json.loads((folder / FINISHED).read_text(encoding="utf-8"))["files"]
        recorded = {str(name): (int(facts["size"]), str(facts["sha256"])) for name, facts in files.items()}
    except FileNotFoundError:
        return "it was being written when the training was cut off"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{FINISHED} cannot be read"
    for name, (size, sha256) in recorded.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (there := path.stat().st_size) != size:
            return f"{name} has {there:,} of {size:,} bytes"
        if file_sha256(path) != sha256:
            return f"{name} is not what was written (sha256 differs)"
    best = _best_of(folder) if with_best else None
    if best is not None and best != folder and (fault := fault_of(best)):
        return f"the best one so far, {best.name}, cannot be used: {fault}"
    return None


def _is_of_an_earlier_version(folder: Path) -> bool:
    """Earlier versions marked a checkpoint that was whole by an empty file, and kept no losses. Of its other files none is empty."""
    mark = folder / FINISHED
    if not mark.is_file() or mark.stat().st_size or (folder / LOSSES).exists():
        return False
    return all(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path != mark)


def best_here(folder: Path, named: str | None) -> Path | None:
    """The best checkpoint that transformers named, where it lies now: the folder may have been moved, or named from elsewhere."""
    return None if not named else folder / Path(named).name


@dataclass(frozen=True)
class Found:
    """The newest whole checkpoint; and those that came after it, with what is wrong with each."""

    checkpoint: Path | None
    damaged: Mapping[Path, str]

    def sentence(self) -> str | None:
        """What is told of the damaged ones; None where there are none."""
        if not self.damaged:
            return None
        told = ", ".join(f"{path.name} ({fault})" for path, fault in self.damaged.items())
        place = str(next(iter(self.damaged)).parent)
        on = (
            "training begins at the start again"
            if self.checkpoint is None
            else f"training goes on from {self.checkpoint.name}"
        )
        return f"{told} in {place!r} cannot be used and is removed; {on}."


def find(folder: Path, with_best: bool = False) -> Found:
    """The newest checkpoint in `folder` that is whole."""
    numbered = {
        int(number): path
        for path in folder.glob(f"{CHECKPOINT}*")
        if path.is_dir() and (number := path.name.removeprefix(CHECKPOINT)).isdigit()
    }
    damaged: dict[Path, str] = {}
    for step in sorted(numbered, reverse=True):
        path = numbered[step]
        fault = fault_of(path, with_best)
        if fault is None:
            return Found(path, damaged)
        damaged[path] = fault
    return Found(None, damaged)


def take(folder: Path, identity: Mapping[str, Any], with_best: bool = False) -> str | None:
    """Make `folder` the place of the training with this identity; the checkpoint that it goes on from, None for none.

    The first process looks and the others hear: reading all again takes time, and they must not come to different ends.

    Raises:
        UsageError: it holds checkpoints of another training, or cannot be written.
    """
    if not is_first_process():
        told = _from_first([None, None])
        if told[1] is not None:
            raise UsageError(told[1])
        return None if told[0] is None else str(told[0])
    try:
        found = _take(folder, identity, with_best)
    except UsageError as error:
        _from_first([None, str(error)])
        raise
    return None if (told := _from_first([found, None])[0]) is None else str(told)


def _take(folder: Path, identity: Mapping[str, Any], with_best: bool) -> str | None:
    mine = _stamp(identity)
    found = find(folder, with_best)
    if found.checkpoint is not None:  # else nothing is lost, whatever it was
        _refuse_another(folder, mine)
    if sentence := found.sentence():
        say(f"note: {sentence}", stderr=True)
    for path in found.damaged:
        shutil.rmtree(path, ignore_errors=True)
    write_atomic(folder / REQUEST, json.dumps(mine, indent=1))
    return None if found.checkpoint is None else str(found.checkpoint)


def _stamp(identity: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(identity, sort_keys=True, default=str)
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "run": json.loads(text)}


def _refuse_another(folder: Path, mine: Mapping[str, Any]) -> None:
    path = folder / REQUEST
    anew = f"remove the folder {str(folder)!r}, with the checkpoints in it, to begin anew"
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        same, run = there["sha256"] == mine["sha256"], dict(there["run"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{str(path)!r} is missing or damaged ({error}), so nobody knows of which training the checkpoints beside it are. Name another "
            f"output, or {anew}."
        ) from error
    if not same:
        raise UsageError(
            f"{str(folder)!r} holds an unfinished recovery of another kind{_difference(run, mine['run'])}. Ask for the same again to finish "
            f"it, name another output, or {anew}."
        )


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The first thing that two identities differ in, in words; '' where it cannot be said."""
    was, now = ({**run, **(run.get("spec") or {})} for run in (there, here))
    for name, value in now.items():
        if name != "spec" and was.get(name) != value:
            return f": its {name} is {json.dumps(was.get(name))}, not {json.dumps(value)}"
    return ""


def remove_checkpoints(folder: Path) -> None:
    """The training is finished: its checkpoints may go."""
    shutil.rmtree(folder, ignore_errors=True)


def forget(folder: Path) -> None:
    """Remove the folder of a training that came to nothing; a checkpoint keeps it."""
    if is_first_process() and folder.is_dir() and {path.name for path in folder.iterdir()} <= {REQUEST}:
        shutil.rmtree(folder, ignore_errors=True)


def _best_of(folder: Path) -> Path | None:
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return best_here(folder.parent, state.get("best_model_checkpoint"))


def _from_first(answer: list[Any]) -> list[Any]:
    """What the first process answers."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        broadcast_object_list(answer)
    return answer
