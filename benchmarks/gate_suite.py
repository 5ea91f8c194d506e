"""Runs of a suite like the default one, with a known loss and discordance: what the gate is simulated on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from junkdna_harness.gate import RunItems, TaskItems

FAMILIES, TIERS, ITEMS = 6, (1, 2, 3, 4), 250
DENSE = {1: 0.97, 2: 0.94, 3: 0.90, 4: 0.85}
CELLS = [(f, t) for f in range(FAMILIES) for t in TIERS]
IDS = {(f, t): tuple(f"{f}-{t}-{i}" for i in range(ITEMS)) for f, t in CELLS}

Loss = Mapping[tuple[int, int], float | np.ndarray]  # of a cell, or of each of its items


def suite(right: dict[tuple[int, int], np.ndarray]) -> RunItems:
    """A run of the default suite's shape with the given right (1) and wrong (0) answers."""
    tasks = {}
    for (family, tier), values in right.items():
        ids = IDS[(family, tier)]
        name = f"family{family}_t{tier}"
        tasks[name] = TaskItems(
            name, f"family{family}", "size", tier, "acc", 0.0, ids, values.astype(float), ids
        )
    return RunItems("simulated", {"model": "simulated", "method": "dense"}, tasks)


def pair(
    rng: np.random.Generator, loss: Loss, discordance: float | dict[tuple[int, int], float]
) -> tuple[RunItems, RunItems]:
    """(new, baseline). In a cell, P(lost) - P(gained) is its loss (of all items, or of each) and P(lost) + P(gained) is loss + `discordance`.

    No more can be gained than was wrong: what flips beyond that is lost.
    """
    new, base = {}, {}
    for cell in CELLS:
        share = DENSE[cell[1]]
        flips = discordance.get(cell, 0.0) if isinstance(discordance, dict) else discordance
        before = rng.random(ITEMS) < share
        draw = rng.random(ITEMS)
        gained = min(flips / 2, 1 - share)
        p_lost = np.minimum(1.0, (loss.get(cell, 0.0) + flips - gained) / share)
        p_gained = min(1.0, gained / (1 - share))
        base[cell] = before
        new[cell] = np.where(before, draw >= p_lost, draw < p_gained)
    return suite(new), suite(base)


def everywhere(loss: float) -> Loss:
    """The same loss in every family and tier."""
    return dict.fromkeys(CELLS, loss)


# What an item loses, less its mean, of a metric without a limit.
TAILS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda g, n: g.normal(0, 1, n),
    "t, 3 degrees of freedom": lambda g, n: g.standard_t(3, n),
    "lognormal, sigma 1": lambda g, n: g.lognormal(0, 1, n) - math.exp(0.5),
    "normal, 1 % with 30 times the SD": lambda g, n: g.normal(0, 1, n) * np.where(g.random(n) < 0.01, 30, 1),
    "1 % of the items carry the loss": lambda g, n: g.normal(0, 0.1, n) + 10 * (g.random(n) < 0.01) - 0.1,
}
