"""Whether several samples of one calibration text are different samples: the rows that they share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from difficulty.errors import UsageError
from junkdna_harness.compress.calibration import Calibration

MUCH = 0.5  # of a sample's rows; where two samples share more, their difference says little of what another text would do


def check_samples(draws: Sequence[Calibration]) -> str | None:
    """A sentence where two samples of one source share much of their rows; None where they do not.

    Raises:
        UsageError: two samples are the same rows, so that replicates would be one sample.
    """
    most = 0.0
    for one, other in combinations(draws, 2):
        if one.source != other.source or one.ids.shape != other.ids.shape:
            continue
        if one.rows == other.rows:
            raise UsageError(_same(one, other))
        most = max(most, len(one.rows & other.rows) / min(len(one.rows), len(other.rows)))
    if most <= MUCH:
        return None
    first = draws[0]
    return (
        f"calibration {first.source!r} holds {first.rows_there:,} different rows, and one sample takes about {len(first.rows):,}: "
        f"two replicates share up to {most:.0%} of their rows, so they differ less than samples of fresh text would."
    )


def _same(one: Calibration, other: Calibration) -> str:
    samples, length = one.ids.shape
    return (
        f"calibration {one.source!r} holds {one.rows_there:,} different rows, and a sample of nsamples={samples} x seqlen={length} "
        f"tokens takes {len(one.rows):,} of them: the samples of seeds {one.seed} and {other.seed} are the same rows, so replicates "
        "would be one sample. Give more text, or a smaller nsamples or seqlen, or --replicates 1."
    )
