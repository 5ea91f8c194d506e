"""P6: it is the small weights. Magnitude pruning orders the tiers more than its controls do at the same mean loss.

Controls are `random` (any weights) and `largest` (the greatest first). Without them, P2 could be true of any damage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from difficulty.judge.claims.context import Context, Setting
from difficulty.judge.claims.equal_loss import loss_range, slopes_at_equal_loss, usable
from difficulty.judge.claims.parts import Part, Pooled, Question, verdicts
from difficulty.judge.ordering import Ordering
from difficulty.judge.series import PRIMARY, Series
from difficulty.judge.verdicts import Claim, Rules, Scope, Verdict, not_tested

UNIT = "log-odds per tier, magnitude - control"
CONTROLS = ("random", "largest")
NONE_USABLE = "in no family do magnitude and the control share a mean loss over the same tiers."
_HOW = "Sweep with --methods magnitude,random,largest --match-loss."


def rule(rules: Rules) -> str:
    """The rule of P6 in words."""
    return (
        "slope of the loss on the tier under magnitude minus that under a control at the same mean loss over the same tiers; "
        f"supported: for random and for largest p < {rules.alpha:g} and interval above 0 on every scale; refuted: for one of them "
        f"the interval is wholly below {rules.delta_tier:g} on every scale; else inconclusive"
    )


def of_family(context: Context) -> list[Part]:
    """What a family says on P6 for each control that was run."""
    ours = next((s for s in context.setting.series if s.method == PRIMARY), None)
    mine = context.ordering(ours) if ours else None
    if ours is None or mine is None:
        return []
    return [_part(context, ours, series) for series in context.setting.series if series.method in CONTROLS]


def _part(context: Context, ours: Series, control: Series) -> Part:
    mine, theirs = context.ordering(ours), context.ordering(control)
    assert mine is not None and theirs is not None
    scales, cells = context.draws.scales, context.ordered_cells
    used, differences = slopes_at_equal_loss(theirs, usable(mine), mine, scales)
    blocked = context.blocked
    if not used:
        ranges = f"{PRIMARY} {loss_range(mine, scales[0])}, {control.method} {loss_range(theirs, scales[0])}"
        between = _would_give_it(mine, theirs, control.method, scales[0])
        none = f"the two have no mean loss in common over the same tiers ({ranges} log-odds).{between} {_HOW}"
        blocked = blocked or none
    details = {
        "levels": [mine.levels[n].severity for n in used],
        "losses": [mine.levels[n].loss[scales[0]] for n in used],
        "control_levels": [level.severity for level in theirs.levels],
    }
    return Part(
        "P6", f"{PRIMARY} vs {control.method}", context.family, context.sample(cells, ours, control), context.clusters(cells),
        differences, blocked=blocked, details=details,
    )  # fmt: skip


def _would_give_it(mine: Ordering, theirs: Ordering, method: str, scale: str) -> str:
    """Between which levels of a control the loss of magnitude's first usable level lies; a level at chance loses more than all."""
    wanted = [level.loss[scale] for level in mine.usable]
    if not wanted:
        return ""
    lost = [(level.severity, level.loss.get(scale, np.inf)) for level in theirs.levels]
    low = max((at for at, loss in lost if loss <= wanted[0]), default=0.0)
    high = min((at for at, loss in lost if loss > wanted[0]), default=None)
    between = f"above {low:g}" if high is None or high < low else f"between {low:g} and {high:g}"
    return f" A level of {method} {between} would lose {wanted[0]:.2f}."


def _pool(parts: Sequence[Part]) -> Pooled:
    above = sum(part.value > 0 for part in parts)
    remark = f"The difference is above 0 in {above} of {len(parts)} families." if len(parts) > 1 else ""
    few = above < 2 / 3 * len(parts)
    return Pooled(
        against=f"only {above} of {len(parts)} families have a difference above 0." if few else "",
        remark=remark,
    )


def judge_small_weights(
    setting: Setting, parts: Sequence[Part], for_this: dict[str, str], n_half: int | None
) -> list[Claim]:
    """P6 of each control, and the headline over both. `n_half`: items judged, where the others chose the matched levels."""
    there = [s.method for s in setting.series]
    if PRIMARY not in there:
        return [not_tested("P6", PRIMARY, f"there are no runs of {PRIMARY} pruning.")]
    missing = [name for name in CONTROLS if name not in there]
    if len(missing) == len(CONTROLS):
        return [not_tested("P6", PRIMARY, f"there is no control: no runs of random or largest. {_HOW}")]
    if not parts:
        return [not_tested("P6", PRIMARY, "no family has two tiers that may take part.")]
    rules = setting.rules
    question = Question(
        "P6", UNIT, rule(rules), rules.delta_tier, rules, "", for_this, NONE_USABLE,
        controls=frozenset(part.method for part in parts),  # both must show it, so nothing is to be corrected between them
    )  # fmt: skip
    claims = verdicts(question, parts, _pool)
    return [both_controls(claims, missing, n_half), *claims]


def both_controls(claims: Sequence[Claim], missing: Sequence[str], n_half: int | None) -> Claim:
    """The headline: supported against every control, refuted by one."""
    pooled = [claim for claim in claims if claim.scope.pooled]
    weakest = min(pooled, key=lambda c: np.inf if c.estimate is None else c.estimate)
    refuted = [claim for claim in pooled if claim.verdict == "refuted"]
    supported = all(claim.verdict == "supported" for claim in pooled) and not missing
    words = " ".join(f"{claim.method} is {claim.verdict}: {claim.reason}" for claim in pooled)
    advised = bool(missing) or _HOW in words
    words = words.replace(f" {_HOW}", "")
    if missing:
        words += f" There are no runs of {' and '.join(missing)}."
    if advised:
        words += f" {_HOW}"
    if n_half is not None:
        words += f" Judged on the {n_half:,} items that did not choose the matched levels."
    shown = refuted[0] if refuted else weakest
    verdict: Verdict = "refuted" if refuted else "supported" if supported else "inconclusive"
    once = [part for claim in pooled for part in claim.about.split(", ")[1:]]
    about = ", ".join(dict.fromkeys([shown.about.split(", ")[0], *once]))
    return replace(
        shown, about=about, scope=Scope(PRIMARY, headline=True), verdict=verdict, reason=words,
        details={**shown.details, "shown": shown.method, "controls": {c.method: c.verdict for c in pooled}, "missing": list(missing)},
    )  # fmt: skip
