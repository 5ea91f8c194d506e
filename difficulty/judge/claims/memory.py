"""P4: at equal memory quantization orders the tiers less than pruning does."""

from __future__ import annotations

from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context, corrected, ordered, orderings
from difficulty.judge.claims.interaction import REGRESSION, at_loss, interpolate
from difficulty.judge.ordering import Ordering, fewest_clusters, sample_size, sized
from difficulty.judge.series import FULL_BITS, Series
from difficulty.judge.verdicts import POOLED, Claim, Evidence, Rules, as_dict, in_words, judge, not_tested
from difficulty.stats.result import Estimate, Floats

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
    evidence = [
        _pooled(
            context,
            found,
            method,
            POOLED if first and pruned.method == context.primary else f"{POOLED}/{method}",
        )
    ]
    evidence += [_single(context, name, parts, method) for name, parts in found.items()]
    words = rule(context.rules)
    return ordered(
        [
            judge(e, p, context.rules, context.rules.delta_tier, UNIT, words)
            for e, p in zip(evidence, corrected(evidence), strict=True)
        ]
    )


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


def _estimate(context: Context, draws: Floats, families: list[str]) -> Estimate:
    part = context.takes_part & ~context.ceiling
    cells = [i for name in families for i in context.draws.family(name) if part[i]]
    return sized(
        draws, fewest_clusters(context.draws, cells), sample_size(context.draws, cells), context.rules
    )


def _evidence(context: Context, family: str, method: str, named: dict[str, Parts]) -> Evidence:
    difference = np.mean([np.mean(parts[1], axis=0) for parts in named.values()], axis=0)
    pruning = _estimate(
        context, np.mean([np.mean(p[2], axis=0) for p in named.values()], axis=0), list(named)
    )
    latent = _estimate(context, difference, list(named))
    details: dict[str, Any] = {
        "effective_bits": {name: parts[0] for name, parts in named.items()},
        "pruning_slope": as_dict(pruning),
    }
    equal_loss = [np.mean(parts[3], axis=0) for parts in named.values() if parts[3]]
    remark = ""
    if equal_loss:
        matched = _estimate(context, np.mean(equal_loss, axis=0), list(named))
        details["at_equal_loss"] = {**as_dict(matched), "unit": UNIT}
        words = in_words(matched, context.rules.confidence)
        remark = f"Where pruning loses no more than quantization does, the difference is {words}."
    against = "" if pruning.ci_low > 0 else "pruning itself does not order the tiers at these bits."
    return Evidence("P4", family, method, UNIT, latent, against=against, remark=remark, details=details)


def _single(context: Context, family: str, parts: Parts, method: str) -> Evidence:
    if family in context.self_cut:
        return Evidence("P4", family, method, UNIT, None, blocked=REGRESSION)
    if not parts[0]:
        blocked = "at no effective bits are both methods above chance in two tiers."
        return Evidence("P4", family, method, UNIT, None, blocked=blocked)
    return _evidence(context, family, method, {family: parts})


def _pooled(context: Context, found: dict[str, Parts], method: str, label: str) -> Evidence:
    judged = {n: parts for n, parts in found.items() if parts[0] and n not in context.self_cut}
    if not judged:
        blocked = "in no family are both methods above chance in two tiers at the same effective bits."
        return Evidence("P4", label, method, UNIT, None, blocked=blocked)
    return _evidence(context, label, method, judged)
