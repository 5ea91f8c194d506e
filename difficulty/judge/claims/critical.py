"""P3: the critical sparsity, up to which the loss stays small, falls with the tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context
from difficulty.judge.claims.parts import Part, Pooled
from difficulty.judge.ordering import tier_slope
from difficulty.judge.scales import SCORE
from difficulty.judge.series import Series
from difficulty.judge.verdicts import Rules
from difficulty.stats.isotonic import ROUNDING, crossing, isotonic
from difficulty.stats.result import Floats

UNIT = "fall of the critical level per tier"
NONE_USABLE = "in no family does a tier pass its mark within the levels."
# A mark passed below the lowest level is known to lie between it and 0.
Bracket = tuple[float, float]


@dataclass(frozen=True)
class Critical:
    """Critical levels of the cells of one family. `levels[scale]` (1 + K, 1 + B, n_cells).

    `censored[scale]` (n_cells,): the loss never passes its mark within the levels. `brackets[scale]` (n_cells,): the
    neighbouring levels between which it does, None where censored.
    """

    cells: tuple[int, ...]
    levels: Mapping[str, Floats] = field(repr=False)
    censored: Mapping[str, tuple[bool, ...]]
    brackets: Mapping[str, tuple[Bracket | None, ...]]

    def of(self, cells: tuple[int, ...]) -> Critical:
        """The critical levels of some of the cells."""
        at = [self.cells.index(i) for i in cells]
        return Critical(
            cells,
            {scale: values[..., at] for scale, values in self.levels.items()},
            {scale: tuple(flags[n] for n in at) for scale, flags in self.censored.items()},
            {scale: tuple(found[n] for n in at) for scale, found in self.brackets.items()},
        )


def rule(rules: Rules) -> str:
    """The rule of P3 in words."""
    return (
        f"critical level: where the isotonic fit of the loss passes {rules.delta_latent:g} log-odds, by interpolation; fall = minus "
        f"its slope on the tier; supported: p < {rules.alpha:g} and interval above 0 on every scale; refuted: interval wholly below "
        f"{rules.delta_level:g} on every scale, with every tier passing its mark unless the opposite is shown; inconclusive otherwise, and where the grid cannot "
        f"resolve it: the levels around a tier's mark are more than {2 * rules.delta_level:g} apart, or it is passed before the "
        "first level"
    )


def critical_levels(context: Context, series: Series) -> Critical:
    """The critical level of each cell above chance under one method, on the score (mark delta) and on each scale that decides."""
    return context.once(("critical", series.method), lambda: _critical_levels(context, series))


def _critical_levels(context: Context, series: Series) -> Critical:
    cells = context.scored_cells
    draws, rules = context.draws, context.rules
    grid = np.array([0.0, *series.levels])
    at = [0, *series.at]
    levels: dict[str, Floats] = {}
    censored: dict[str, tuple[bool, ...]] = {}
    brackets: dict[str, tuple[Bracket | None, ...]] = {}
    for scale in (SCORE, *draws.scales):
        mark = rules.delta if scale == SCORE else rules.delta_latent
        own, hidden, around = [], [], []
        for i in cells:
            values = draws.values[scale][:, :, i]
            losses = values[..., :1] - values[..., at]
            own.append(crossing(grid, losses, mark))
            bracket = _bracket(grid, isotonic(losses[0, 0]), mark)
            hidden.append(bracket is None)
            around.append(bracket)
        levels[scale] = np.stack(own, axis=-1)
        censored[scale], brackets[scale] = tuple(hidden), tuple(around)
    return Critical(cells, levels, censored, brackets)


def _bracket(grid: Floats, curve: Floats, mark: float) -> Bracket | None:
    above = np.flatnonzero(curve - mark > ROUNDING)
    return (float(grid[above[0] - 1]), float(grid[above[0]])) if len(above) and above[0] else None


def unresolved(critical: Critical, scales: Sequence[str], rules: Rules) -> list[Bracket]:
    """The brackets that are too wide to say where between two levels a tier passes its mark, sorted."""
    found: set[Bracket] = set()
    for scale in scales:
        for bracket in critical.brackets[scale]:
            if bracket is None:
                continue
            low, high = bracket
            widest = rules.delta_level if low == 0 else 2 * rules.delta_level
            if high - low > widest + 1e-9:
                found.add(bracket)
    return sorted(found)


def of_family(context: Context, series: Series) -> Part | None:
    """What a family says on P3 under one method; None where fewer than two tiers may take part."""
    cells = context.ordered_cells
    if not cells:
        return None
    scales = context.draws.scales
    found = critical_levels(context, series).of(cells)
    falls = {scale: -tier_slope(context.draws, found.levels[scale], cells) for scale in (*scales, SCORE)}
    hidden = max(sum(found.censored[scale]) for scale in scales)
    blocked = context.blocked
    if any(all(found.censored[scale]) for scale in scales):
        blocked = blocked or f"no tier loses {context.rules.delta_latent:g} log-odds within the levels."
    wide = unresolved(found, scales, context.rules)
    details: dict[str, Any] = {
        "tiers": [
            {
                "tier": context.draws.cells[i].tier,
                "critical": {scale: float(found.levels[scale][0, 0, n]) for scale in (*scales, SCORE)},
                "bracket": {scale: found.brackets[scale][n] for scale in scales},
                "censored": {scale: found.censored[scale][n] for scale in scales},
            }
            for n, i in enumerate(cells)
        ],
        "n_censored": hidden,
        "unresolved": [list(bracket) for bracket in wide],
        "kind": series.kind,
        "no_room": _no_room(context, found),
    }
    return Part(
        "P3", series.method, context.family, context.sample(cells, series), context.clusters(cells),
        {scale: falls[scale] for scale in scales}, {SCORE: falls[SCORE]}, blocked=blocked,
        cannot_refute=_hidden(hidden) or details["no_room"], unresolved=_not_resolved(wide, series.kind), details=details,
    )  # fmt: skip


def _no_room(context: Context, found: Critical) -> str:
    """Where all tiers break at once, a fall that matters has no room below their critical levels: that cannot refute."""
    tiers = [context.draws.cells[i].tier for i in found.cells]
    highest = max(float(found.levels[scale][0, 0].max()) for scale in context.draws.scales)
    needed = context.rules.delta_level * (max(tiers) - min(tiers))
    if highest >= needed:
        return ""
    return f"all tiers pass their mark below {highest:.2g}, where a fall of {context.rules.delta_level:g} per tier has no room."


def _not_resolved(wide: Sequence[Sequence[float]], kind: str) -> str:
    if not wide:
        return ""
    if kind == "quantized":
        return "tiers pass their mark between numbers of bits that are neighbours, so that their critical level is not known."
    between = ", ".join(f"{low:g} and {high:g}" for low, high in wide)
    return (
        f"the grid cannot resolve it: tiers pass their mark somewhere between {between}. Add levels there, e.g. "
        f"{', '.join(f'{level:g}' for level in midpoints(wide))}, or sweep with --refine P3."
    )


def midpoints(wide: Sequence[Sequence[float]]) -> list[float]:
    """The middles of some brackets, sorted: the levels that halve them."""
    return sorted({round((low + high) / 2, 6) for low, high in wide})


def _hidden(n: int) -> str:
    """A tier that never passes its mark hides how far apart the tiers are: that cannot refute."""
    if not n:
        return ""
    return f"{n} tiers never pass their mark within the levels, so that the fall is only known to be small up to there."


def pool(parts: Sequence[Part]) -> Pooled:
    """What is said beside the pooled fall: whether the grid resolves every family, and in how many it lies above 0."""
    wide = sorted({tuple(bracket) for part in parts for bracket in part.details["unresolved"]})
    above = [part.value > 0 for part in parts]
    few = sum(above) < 2 / 3 * len(above)
    hidden = sum(part.details["n_censored"] for part in parts)
    against = f"only {sum(above)} of {len(above)} families have a fall above 0." if few else ""
    return Pooled(
        against=against,
        cannot_refute=_hidden(hidden)
        or next((p.details["no_room"] for p in parts if p.details["no_room"]), ""),
        unresolved=_not_resolved(wide, parts[0].details["kind"]),
        details={
            "n_censored": hidden,
            "unresolved": [list(bracket) for bracket in wide],
            "levels_to_add": midpoints(wide) if parts[0].details["kind"] != "quantized" else [],
        },
    )
