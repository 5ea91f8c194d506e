"""P4: quantization orders the tiers less than pruning does, at equal mean loss (the claim) and at equal memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context, Setting
from difficulty.judge.claims.equal_loss import loss_range, slopes_at_equal_loss, usable
from difficulty.judge.claims.parts import Part, Pooled, Question, mean_estimate, verdicts
from difficulty.judge.ordering import Ordering, interpolate
from difficulty.judge.series import FULL_BITS, Series
from difficulty.judge.verdicts import Claim, Rules, as_dict, not_tested
from difficulty.stats.result import Floats, Ints

LOSS, MEMORY = "P4", "P4 memory"
UNIT = "log-odds per tier, pruning - quantization"
NONE_USABLE = {
    LOSS: "in no family do pruning and quantization share a mean loss over the same tiers.",
    MEMORY: "in no family are both methods above chance in two tiers at the same effective bits.",
}


def rule(claim: str, rules: Rules) -> str:
    """The rule of P4 in words."""
    at = (
        "the same mean loss over the same tiers (pruning interpolated between its levels), averaged over the quantizer's usable levels"
        if claim == LOSS
        else "equal effective bits per weight (pruning interpolated between its levels), averaged over the bits that both cover"
    )
    return (
        f"difference of the slopes of P2 at {at}; supported: p < {rules.alpha:g} and interval above 0 on every scale, pruning's own "
        f"slope there shown above 0; refuted: interval wholly below {rules.delta_tier:g} on every scale; else inconclusive"
    )


def of_family(context: Context, pruned: Series, claim: str) -> list[Part]:
    """What a family says on P4 for one pruning method against each quantizer."""
    ours = context.ordering(pruned)
    if ours is None:
        return []
    found = []
    for series in (s for s in context.setting.series if s.kind == "quantized"):
        theirs = context.ordering(series)
        assert theirs is not None
        compare = _at_loss if claim == LOSS else _at_memory
        found.append(_part(context, claim, pruned, series, *compare(context, ours, theirs)))
    return found


Compared = tuple[dict[str, Floats], Floats | None, dict[str, Any], str]


def _part(
    context: Context, claim: str, pruned: Series, quantized: Series, draws: dict[str, Floats], own: Floats | None,
    details: dict[str, Any], why: str,
) -> Part:  # fmt: skip
    cells = context.ordered_cells
    return Part(
        claim, f"{pruned.method} vs {quantized.method}", context.family, context.sample(cells, pruned, quantized), context.clusters(cells),
        draws, extra={} if own is None else {"pruning": own}, blocked=context.blocked or why, details=details,
    )  # fmt: skip


def _at_loss(context: Context, ours: Ordering, theirs: Ordering) -> Compared:
    """The difference at the losses of the quantizer's usable levels, and pruning's own slope there."""
    scales = context.draws.scales
    used, negative = slopes_at_equal_loss(ours, usable(theirs), theirs, scales)
    if not used:
        ranges = f"pruning {loss_range(ours, scales[0])}, quantization {loss_range(theirs, scales[0])}"
        return {}, None, {}, f"the two have no mean loss in common over the same tiers ({ranges} log-odds)."
    difference = {scale: -values for scale, values in negative.items()}
    own = difference[scales[0]] + theirs.slopes[scales[0]][used].mean(axis=0)
    levels = [theirs.levels[n] for n in used]
    details = {
        "losses": [level.loss[scales[0]] for level in levels],
        "effective_bits": [context.draws.conditions[level.at].effective_bits for level in levels],
    }
    return difference, own, details, ""


def _at_memory(context: Context, ours: Ordering, theirs: Ordering) -> Compared:
    """The difference at the quantizer's effective bits. Both must be above the floor, and pruning is not extrapolated.

    What saves nothing (rounded activations alone) has no pruned model of its size beside it.
    """
    conditions, scales = context.draws.conditions, context.draws.scales
    bits = np.array([FULL_BITS, *(conditions[k].effective_bits for k in ours.series.at)])
    order = np.argsort(bits).astype(np.int64)
    covered = [FULL_BITS, *(bits[1:][n] for n in usable(ours))]
    here = [
        n
        for n, level in enumerate(theirs.levels)
        if len(level.cells) > 1
        and len(covered) > 1
        and min(covered) <= conditions[level.at].effective_bits < FULL_BITS
    ]
    if not here:
        return {}, None, {}, "at no effective bits are both methods above chance in two tiers."
    at = [conditions[theirs.levels[n].at].effective_bits for n in here]
    difference, own = {}, None
    for scale in scales:
        pruning = np.mean([_slope_at(ours, scale, bits, order, wanted) for wanted in at], axis=0)
        difference[scale] = pruning - theirs.slopes[scale][here].mean(axis=0)
        own = pruning if own is None else own
    return difference, own, {"effective_bits": [float(b) for b in at]}, ""


def _slope_at(ordering: Ordering, scale: str, bits: Floats, order: Ints, wanted: float) -> Floats:
    """Pruning's slope at some effective bits, by interpolation between its levels; (1 + K, 1 + B)."""
    slopes = ordering.slopes[scale]
    # levels without two tiers are 0; a replicate that a level lacks stays unknown
    slopes = np.where(np.isnan(slopes[:, :1, :1]), 0.0, slopes)
    flat = np.vstack([np.zeros((1, slopes[0].size)), slopes.reshape(len(slopes), -1)])[order]
    wide = np.broadcast_to(bits[order][:, None], flat.shape)
    return interpolate(wide, flat, np.full(flat.shape[1], wanted)).reshape(slopes.shape[1:])


def judge_memory(
    setting: Setting, claim: str, parts: Sequence[Part], for_this: dict[str, str]
) -> list[Claim]:
    """P4, or P4 memory, of every pruning method against every quantizer."""
    quantized = [s for s in setting.series if s.kind == "quantized"]
    if not quantized:
        return [
            not_tested(
                claim,
                setting.primary,
                "there are no quantized runs. Add some, e.g. junkdna sweep --quantize rtn:8,4,3,2.",
            )
        ]
    if not parts:
        return [not_tested(claim, setting.primary, "no family has two tiers that may take part.")]
    rules = setting.rules
    headline = f"{setting.primary} vs {quantized[0].method}"
    question = Question(
        claim, UNIT, rule(claim, rules), rules.delta_tier, rules, headline, for_this, NONE_USABLE[claim]
    )  # fmt: skip
    return verdicts(question, parts, lambda usable_parts: _pool(usable_parts, rules))


def _pool(parts: Sequence[Part], rules: Rules) -> Pooled:
    """Pruning's own slope at the levels compared: without one, there is nothing that quantization could order less."""
    own = mean_estimate(parts, "pruning", rules.confidence).deciding
    return Pooled(
        against="" if own.ci_low > 0 else "pruning itself does not order the tiers there.",
        details={"pruning_slope": as_dict(own), "at": {part.family: dict(part.details) for part in parts}},
    )
