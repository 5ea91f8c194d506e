"""P4: at equal memory quantization orders the tiers less than pruning does."""

from __future__ import annotations

from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context, orderings
from difficulty.judge.claims.shared import REGRESSION, judged, one_scale
from difficulty.judge.ordering import Ordering, at_loss, interpolate
from difficulty.judge.series import FULL_BITS, Series
from difficulty.judge.verdicts import Claim, Evidence, Rules, Scope, as_dict, in_words, not_tested
from difficulty.stats.result import Floats

UNIT = "log-odds a tier, pruning - quantization"


def rule(rules: Rules) -> str:
    """The rule of P4 in words."""
    return (
        "difference of the latent slopes of P2 at equal effective bits a weight (pruning interpolated between its levels), "
        f"averaged over the bits that both cover; supported: p < {rules.alpha:g}, interval above 0 and not wholly below "
        f"{rules.delta_tier:g}, pruning's own slope at these bits shown above 0; refuted: interval wholly below "
        f"{rules.delta_tier:g}; else inconclusive"
    )


def judge_memory(context: Context, pruned: Series) -> list[Claim]:
    """P4 of one pruning method against every quantization method."""
    quantized = [s for s in context.series if s.kind == "quantized"]
    if not quantized:
        return [
            not_tested(
                "P4",
                pruned.method,
                "there are no quantized runs. Add some, e.g. junkdna sweep --quantize rtn:8,4,3,2.",
            )
        ]
    ours = orderings(context, pruned)
    if not ours:
        return [not_tested("P4", pruned.method, "no family has two tiers that may take part.")]
    claims = []
    for number, other in enumerate(quantized):
        claims += _against(context, ours, other, pruned, first=number == 0)
    return claims


def _against(
    context: Context, ours: dict[str, Ordering], other: Series, pruned: Series, first: bool
) -> list[Claim]:
    theirs = orderings(context, other)
    method = f"{pruned.method} vs {other.method}"
    found = {n: _difference(context, ours[n], theirs[n]) for n in ours if n in theirs}
    headline = first and pruned.method == context.primary
    evidence = [_pooled(context, Scope(method, headline=headline), found)]
    evidence += [_single(context, Scope(method, name), parts) for name, parts in found.items()]
    return judged(context, evidence, context.rules.delta_tier, UNIT, rule(context.rules))


Parts = tuple[list[float], list[Floats], list[Floats], list[Floats]]


def _difference(context: Context, ours: Ordering, theirs: Ordering) -> Parts:
    """Bits compared, and for each: slope difference (links, 1 + B), pruning's slope, difference at equal loss (or none)."""
    draws = context.draws
    bits = np.array([FULL_BITS, *(draws.conditions[k].effective_bits for k in ours.series.at)])
    order = np.argsort(bits)
    usable = [FULL_BITS, *(bits[1:][n] for n, level in enumerate(ours.levels) if level.usable)]
    compared: Parts = ([], [], [], [])
    for n, level in enumerate(theirs.levels):
        here = draws.conditions[level.at].effective_bits
        # Both must still be above the floor, and pruning must not be extrapolated.
        if len(level.cells) < 2 or not min(usable) <= here <= FULL_BITS or len(usable) < 2:
            continue
        wide = np.broadcast_to(bits[order][:, None], (len(bits), draws.score.shape[0]))
        slopes = np.vstack([np.zeros((1, wide.shape[1])), np.nan_to_num(ours.slopes)])[order]
        pruning = interpolate(wide, slopes, np.full(wide.shape[1], here))
        compared[0].append(float(here))
        compared[1].append(pruning - theirs.slopes[n])
        compared[2].append(pruning)
        same = at_loss(ours, theirs.losses[n], level.cells) if theirs.losses[n, 0] > 0 else None
        if same is not None:
            compared[3].append(same - theirs.slopes[n])
    return compared


def _evidence(context: Context, scope: Scope, named: dict[str, Parts]) -> Evidence:
    cells = [i for name in named for i in context.groups()[name]]
    difference = np.mean([np.mean(parts[1], axis=0) for parts in named.values()], axis=0)
    pruning = one_scale(context, cells, np.mean([np.mean(p[2], axis=0) for p in named.values()], axis=0))
    details: dict[str, Any] = {
        "effective_bits": {name: parts[0] for name, parts in named.items()},
        "pruning_slope": as_dict(pruning),
    }
    equal_loss = [np.mean(parts[3], axis=0) for parts in named.values() if parts[3]]
    remark = ""
    if equal_loss:
        matched = one_scale(context, cells, np.mean(equal_loss, axis=0))
        details["at_equal_loss"] = {**as_dict(matched), "unit": UNIT}
        words = in_words(matched, context.rules.confidence)
        remark = f"Where pruning loses no more than quantization does, the difference is {words}."
    against = "" if pruning.ci_low > 0 else "pruning itself does not order the tiers at these bits."
    latent = one_scale(context, cells, difference)
    return Evidence("P4", scope, UNIT, latent, against=against, remark=remark, details=details)


def _single(context: Context, scope: Scope, parts: Parts) -> Evidence:
    assert scope.family is not None
    if scope.family in context.self_cut:
        return Evidence("P4", scope, UNIT, blocked=REGRESSION)
    if not parts[0]:
        blocked = "at no effective bits are both methods above chance in two tiers."
        return Evidence("P4", scope, UNIT, blocked=blocked)
    return _evidence(context, scope, {scope.family: parts})


def _pooled(context: Context, scope: Scope, found: dict[str, Parts]) -> Evidence:
    usable = {n: parts for n, parts in found.items() if parts[0] and n not in context.self_cut}
    if not usable:
        blocked = "in no family are both methods above chance in two tiers at the same effective bits."
        return Evidence("P4", scope, UNIT, blocked=blocked)
    return _evidence(context, scope, usable)
