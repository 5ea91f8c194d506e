"""Pruning methods that go wrong, for the tests."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torch import Tensor

from junkdna_harness.compress import sparsifier


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
