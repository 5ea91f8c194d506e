"""Finished blocks of a local reconstruction that may be cut off: each in a folder of its own, sealed, and all of them are needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from junkdna_harness.presentation.console import say
from junkdna_harness.recover.storage import while_writing
from junkdna_harness.recover.whole import CHECKPOINT, fault_of, seal, take

WEIGHTS, FIT = "block.safetensors", "block.json"


@dataclass(frozen=True)
class Finished:
    """A block that is done: the weights that were trained, by name, what became of it, and its rows of the log."""

    weights: Mapping[str, Tensor]
    fit: Mapping[str, Any]
    log: list[dict[str, Any]]


def write_block(
    folder: Path,
    number: int,
    weights: Mapping[str, Tensor],
    fit: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
) -> None:
    """Write block `number`, counted from 1.

    Raises:
        StorageError: the disk is full or fails; what was written of it is removed.
        UsageError: it cannot be written.
    """
    place = folder / f"{CHECKPOINT}{number}"
    with while_writing(place):
        place.mkdir(parents=True, exist_ok=True)
        save_file({name: weight.contiguous() for name, weight in weights.items()}, place / WEIGHTS)
        (place / FIT).write_text(json.dumps({"fit": dict(fit), "log": list(log)}), encoding="utf-8")
        seal(place)


def finished_blocks(folder: Path, identity: Mapping[str, Any]) -> list[Finished]:
    """Make `folder` the place of the run with this identity; the blocks that are finished there, from the first on.

    A block that is damaged goes, with a note, and with it those after it, which were fitted to what it gave.

    Raises:
        UsageError: it holds another run, or cannot be written.
    """
    newest = take(folder, identity)
    if newest is None:
        return []
    last = int(Path(newest).name.removeprefix(CHECKPOINT))
    found: list[Finished] = []
    for number in range(1, last + 1):
        place = folder / f"{CHECKPOINT}{number}"
        if fault := fault_of(place):
            say(
                f"note: block {number} in {str(folder)!r} cannot be used ({place.name}: {fault}); it is fitted anew, and those after it.",
                stderr=True,
            )
            for later in range(number, last + 1):
                shutil.rmtree(folder / f"{CHECKPOINT}{later}", ignore_errors=True)
            break
        found.append(_read(place))
    return found


def _read(place: Path) -> Finished:
    stored = json.loads((place / FIT).read_text(encoding="utf-8"))
    return Finished(load_file(place / WEIGHTS), stored["fit"], stored["log"])
