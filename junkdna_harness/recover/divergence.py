"""A training that diverges is stopped when that is seen, and not when its loss becomes NaN much later, or never.

The limit is 1.5 times the larger of two numbers: the loss at the start, and ln V, the loss of one who guesses among the V tokens. A model
that learns need not pass there: it would give the right token less than V^-1.5, be surely wrong, and worse than it began. How long the
loss may lie above says Page's CUSUM (Biometrika 41, 1954): the sum of ln(loss / limit), which begins at 0 and never falls below it, must
not exceed 8. A loss of 7 times the limit or more is enough in five steps, one of twice the limit in twelve. One batch, however bad, counts
for 2 at the most. Where losses average at ln V the sum falls by itself, also where batches are so small that the losses spread as widely
as they are large: no alarm in ten million steps of that (benchmarks/divergence.py).

Why ln V: finders of learning rates stop where the smoothed loss is 4 times its best (fastai's LRFinder), but a recovery may begin at a loss
of 0.01, and 4 times that is one unlucky batch; Lightning's EarlyStopping has a `divergence_threshold` that the user must know. Why not at
once: losses spike, and come back by themselves (PaLM, Chowdhery et al. 2204.02311, section 5.1; OPT, Zhang et al. 2205.01068, section
2.5). There too the remedy is what is done here: back to weights from before the rise, and a lower rate.

The start is the largest of the first three losses, for one small batch may be easy by chance; but at most twice what the first one says,
as the second and third may come after a step that broke everything.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path

FACTOR = 1.5
THRESHOLD = 8.0  # of the sum
MOST = 2.0  # that one step adds to it
FIRST = 3  # steps whose losses are the start's
SHOWN = 3  # losses that are told
FILE = "losses.json"
_LEAST = 1e-12  # a loss of 0 has no logarithm


class Losses:
    """The losses of a training so far, as far as they tell whether it diverges; `vocabulary` is V."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary, self.guess = vocabulary, math.log(vocabulary)
        self.first: list[float] = []
        self.last: deque[float] = deque(maxlen=SHOWN)
        self.excess = 0.0

    def add(self, loss: float) -> None:
        """The loss of the next step."""
        if len(self.first) < FIRST:
            self.first.append(loss)
        self.last.append(loss)
        above = math.log(max(loss, _LEAST) / self.limit)
        self.excess = max(0.0, self.excess + min(MOST, above))

    @property
    def limit(self) -> float:
        """Above this a loss speaks for divergence."""
        known = max(self.guess, self.first[0])
        return FACTOR * max(known, min(max(self.first), 2 * known))

    @property
    def diverged(self) -> bool:
        """True where the rule says so."""
        return self.excess > THRESHOLD

    @property
    def calm(self) -> bool:
        """True where nothing speaks for it: weights of now are known to be good."""
        return self.excess == 0

    def described(self) -> str:
        """The numbers, for a person."""
        last = ", ".join(f"{loss:.4g}" for loss in self.last)
        return f"the last losses are {last}, where it began at {self.first[0]:.4g} and a guess among the {self.vocabulary:,} tokens has {self.guess:.4g}"

    def write(self, folder: Path) -> None:
        """Beside a checkpoint, so that a training that goes on judges as one that was not cut off."""
        stored: dict[str, float | Sequence[float]] = {
            "first": self.first, "last": list(self.last), "excess": self.excess,
        }  # fmt: skip
        (folder / FILE).write_text(json.dumps(stored), encoding="utf-8")

    def read(self, folder: Path) -> None:
        """What `write` wrote there. Of a checkpoint of an earlier version, which wrote none, training is judged from there on."""
        if not (folder / FILE).is_file():
            return
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
        self.first, self.excess = list(stored["first"]), float(stored["excess"])
        self.last = deque(stored["last"], SHOWN)
