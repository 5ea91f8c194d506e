"""What a reader must know of the comparisons beside their verdicts: notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from difficulty.runs.noise import Floor
from difficulty.runs.table import some
from difficulty.stats.paired_loss import PairedLoss
from junkdna_harness.gate.noise import noise_notes
from junkdna_harness.gate.planned import PlannedComparison
from junkdna_harness.gate.policy import Severity


class Judged(Protocol):
    """What notes need of a comparison."""

    @property
    def name(self) -> str: ...
    @property
    def planned(self) -> PlannedComparison: ...
    @property
    def loss(self) -> PairedLoss: ...
    @property
    def p_exceeds(self) -> float: ...
    @property
    def limit(self) -> float: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def noise(self) -> Floor | None: ...
    @property
    def within_noise(self) -> bool | None: ...


def remarks(comparisons: Sequence[Judged], alpha: float) -> list[str]:
    """Notes on rules that cannot fail, and on what low baselines and the noise floor did to the comparisons."""
    harmless = bool(comparisons) and all(one.severity == "advisory" for one in comparisons)
    return [
        *(["no rule on tasks is critical: whatever is lost there, they let it pass"] if harmless else []),
        *_beyond_reach(comparisons),
        *_on_low_baselines(comparisons),
        *noise_notes(comparisons),
        *_spared(comparisons, alpha),
    ]


def _beyond_reach(comparisons: Iterable[Judged]) -> list[str]:
    """A note on the critical comparisons that cannot fail: their limit is no less than all that could be lost."""
    found = []
    for one in comparisons:
        if one.severity == "critical" and (most := _most(one)) is not None and one.limit >= most:
            found.append(f"{one.name} (limit {one.limit:.4g}, at most {most:.4g} can be lost)")
    if not found:
        return []
    return [f"cannot fail, whatever the answers: {some(found, 3)}. A limit of two points is 0.02"]


def _most(one: Judged) -> float | None:
    """The largest loss of a score between 0 and 1, from where the baseline is; None for one without ends."""
    if one.planned.kind == "flips":
        return 1.0
    if not one.loss.bounded or one.planned.scale != "mean":
        return None
    return one.planned.before if one.planned.higher_is_better else 1 - one.planned.before


def _on_low_baselines(comparisons: Iterable[Judged]) -> list[str]:
    """A note on each comparison whose relative limit is taken of more than the baseline's score."""
    notes = []
    for one in comparisons:
        rule, before = one.planned.rule, one.loss.before
        if one.planned.kind != "drop" or rule.max_relative_drop is None:
            continue
        if rule.relative_to(before, one.planned.scale, one.planned.bounded) > abs(before):
            notes.append(
                f"the baseline scores {before:.4g} in {one.name}, below low_baseline {rule.low_baseline:g}: its relative limit is "
                f"taken of {rule.low_baseline:g}"
            )
    return notes


def _spared(comparisons: Iterable[Judged], alpha: float) -> list[str]:
    """A note on each comparison that would be a fail but for the noise floor."""
    return [
        f"{one.name} lost {one.loss.loss:.4g}, more than its limit {one.limit:.4g}, and no more than the noise floor: that is no fail"
        for one in comparisons
        if one.within_noise and one.p_exceeds < alpha
    ]
