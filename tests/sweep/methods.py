"""Pruning methods that go wrong, for the tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torch import Tensor

from junkdna_harness.compress import sparsifier
from junkdna_harness.sweep import session


@sparsifier("nan_scores")
def nan_scores(weight: Tensor) -> Tensor:
    """Scores that are no numbers."""
    return weight * float("nan")


@sparsifier("nan_weights")
def nan_weights(weight: Tensor) -> Tensor:
    """Breaks the model, as an overflow would."""
    weight.fill_(float("nan"))
    return Tensor(weight.shape).zero_()


@sparsifier("dies")
def dies(weight: Tensor) -> Tensor:
    """Ends its process without a word, as the system does when memory runs out."""
    os._exit(9)


@sparsifier("dies_once")
def dies_once(weight: Tensor) -> Tensor:
    """Kills its process the first time, where JUNKDNA_TEST_MARK is not there yet."""
    mark = Path(os.environ["JUNKDNA_TEST_MARK"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return weight.abs()


@sparsifier("slow")
def slow(weight: Tensor) -> Tensor:
    """Magnitude, slowly."""
    time.sleep(0.05)
    return weight.abs()


@sparsifier("troubled")
def troubled(weight: Tensor) -> Tensor:
    """Magnitude, slowly; for each file in the folder JUNKDNA_TEST_MARK it does once what the file's name says."""
    for order in sorted(Path(os.environ["JUNKDNA_TEST_MARK"]).glob("do-*")):
        try:
            order.rename(order.with_name(f"done-{order.name}"))
        except FileNotFoundError:  # another process has taken it
            continue
        if "kill" in order.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "eat" in order.name:
            _eat()
        if "huge" in order.name:
            _return_much()
    time.sleep(0.02)
    return weight.abs()


@sparsifier("eats")
def eats(weight: Tensor) -> Tensor:
    """Takes memory until somebody ends it."""
    _eat()
    return weight.abs()


def _eat() -> None:
    taken = []
    for _ in range(60):  # at most 6 GB
        taken.append(bytearray(b"x" * 100_000_000))
        time.sleep(0.05)
    time.sleep(20)
    raise MemoryError("nobody ended it")


def _return_much() -> None:
    """The next run answers with more than an object store of 80 MB holds."""
    table = session.responses_table

    def much(scores: object) -> bytes:
        session.responses_table = table
        return bytes(200_000_000)

    session.responses_table = much  # type: ignore[assignment]
