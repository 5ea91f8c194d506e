"""Further draws of a plan's runs: of each run whose method draws something by lot, the same run with another seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from junkdna_harness.sweep.planned import PlannedRun, spec_of

SEED_NAMES = ("seed", "mask_seed")  # two names of one argument


def with_replicates(cells: Sequence[PlannedRun], replicates: int) -> tuple[list[PlannedRun], tuple[str, ...]]:
    """`cells`, with `replicates` draws of every method that draws something, and sentences on those that draw nothing.

    Replicate r has the first draw's seed + r: of a random mask, of a sample of calibration text. All levels of one draw
    come together and share its seed. The other methods are there once.

    Raises:
        UsageError: a value that cannot be used.
    """
    if replicates == 1:
        return list(cells), ()
    found: list[PlannedRun] = []
    once: list[str] = []
    for (_, kind, method), group in groupby(cells, key=lambda cell: (cell.model, cell.kind, cell.method)):
        first = list(group)
        found += first
        specs = [spec_of(cell) for cell in first]
        if any(spec is not None and spec.drawn for spec in specs):
            for draw in range(1, replicates):
                found += [_drawn_again(cell, draw) for cell in first]
        elif kind != "dense" and method not in once:
            once.append(method)
    return found, _told(once, replicates, len(found) == len(cells))


def _drawn_again(cell: PlannedRun, draw: int) -> PlannedRun:
    spec = spec_of(cell)
    seed = (0 if spec is None else spec.seed) + draw
    arguments = {name: value for name, value in cell.arguments.items() if name not in SEED_NAMES}
    return replace(cell, replicate=draw, arguments={**arguments, "mask_seed": seed})


def _told(once: Sequence[str], replicates: int, in_vain: bool) -> tuple[str, ...]:
    if not once:
        return ()
    effect = f"replicates {replicates}" + (" has no effect here" if in_vain else "")
    return (f"{effect}: nothing is drawn by lot for {', '.join(once)}, so each run of it is there once.",)
