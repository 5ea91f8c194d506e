"""What `junkdna compare` found, as an object, as JSON and as the table that is printed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from difficulty.cut.tiers import Tier
from difficulty.stats.flips import Flips
from difficulty.stats.result import Estimate
from difficulty.text import interval_text, noise_legend, p_text, with_noise_mark
from junkdna_harness.presentation.lines import paragraph, plain
from junkdna_harness.presentation.table import Column, table
from junkdna_harness.tiers.show import number


@dataclass(frozen=True)
class Named:
    """One of the two runs: where it was read, and its id."""

    folder: str
    run: str


@dataclass(frozen=True)
class Row:
    """One tier, or all items, of one task.

    tier: number and score range, None for all. first, second: the metric in the two runs, perplexities and bits in their own
    units. difference: second - first over the same items, with its 95 % interval. flips: right -> wrong and back, None where
    the metric is not right or wrong. noise_floor: the largest difference that two evaluations of the same dense weights show on these
    items, None where it is not known; within_noise: the difference is no larger than that.
    """

    task: str
    metric: str
    tier: Tier | None
    first: float
    second: float
    difference: Estimate
    flips: Flips | None
    noise_floor: float | None = None
    within_noise: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """Everything that `junkdna compare` prints."""

    run_a: Named
    run_b: Named
    by: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: numbers that are not finite (no interval, a perplexity beyond all numbers) are null."""
        whole: dict[str, Any] = _finite(
            {
                "schema": 1,
                "run_a": asdict(self.run_a),
                "run_b": asdict(self.run_b),
                "by": self.by,
                "rows": [asdict(row) for row in self.rows],
                "notes": list(self.notes),
            }
        )
        return whole


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


_METHOD = (
    "B - A: mean paired difference over the same items, items of one cluster together. Interval: of Tango's score test for right or wrong "
    "items, else the wider of t and studentized bootstrap. lost, gained: right in A and wrong in B, and back. p: exact McNemar test; for "
    "metrics that are not right or wrong, the test of the interval. Not corrected for the number of rows."
)


def comparison_text(found: Comparison) -> str:
    """The table that is printed."""
    lines = [
        f"A  {found.run_a.run}  ({found.run_a.folder})",
        f"B  {found.run_b.run}  ({found.run_b.folder})",
        "",
    ]
    columns = [
        Column("task", head=found.by is not None, told=False), Column("metric", "text"), Column(found.by or "", told=found.by is None),
        Column("items", "number"),
        Column("A", "number", told=False), Column("B", "number", told=False), Column("B - A [95 % interval]", "number", told=False),
        Column("lost", "number", told=False), Column("gained", "number", told=False), Column("p", "number", told=False),
    ]  # fmt: skip
    body = []
    for row in found.rows:
        d = row.difference
        if row.tier is None:
            span = "all"
        else:
            low, high = number(row.tier.low), number(row.tier.high)
            span = low if low == high else f"{low} to {high}"
        interval = interval_text(d.ci_low, d.ci_high, "+.4f")
        flipped = [str(row.flips.lost), str(row.flips.gained)] if row.flips else ["-", "-"]
        p = row.flips.p if row.flips else d.p
        body.append(
            [row.task, row.metric, span, f"{d.n_items:,}", f"{row.first:.4f}", f"{row.second:.4f}", _difference(row, interval), *flipped,
             p_text(p, 4) or "-"]
        )  # fmt: skip
    lines += [plain(table(columns, body)), "", _METHOD]
    known = [row.noise_floor for row in found.rows if row.noise_floor is not None]
    legend = noise_legend(any(row.within_noise for row in found.rows), bool(known) and not any(known))
    lines += [legend] if legend else []
    lines += [f"note: {note}" for note in found.notes]
    return plain(folded for line in lines for one in line.split("\n") for folded in paragraph(one))


def _difference(row: Row, interval: str) -> str:
    """B - A of a row with its interval, as it is printed."""
    estimate = row.difference.estimate
    return (
        with_noise_mark(f"{estimate:+.4f} {interval}".rstrip(), row.within_noise)
        if np.isfinite(estimate)
        else "-"
    )
