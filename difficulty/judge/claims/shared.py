"""What the five claims share: from evidence on families and on all of them pooled to corrected, ordered verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypedDict

import numpy as np

from difficulty.judge.claims.context import Context
from difficulty.judge.estimates import envelope, fewest_clusters, sample_size, sized
from difficulty.judge.verdicts import Claim, Evidence, judge, not_tested
from difficulty.stats.multiple import holm
from difficulty.stats.result import Estimate, Floats

REGRESSION = (
    "the tiers seem to be cut from this very dense run's scores, so that luck in it passes for difficulty (regression to "
    "the mean). Cut them from another model, another seed, or with cross-fitting."
)


class BothScales(TypedDict):
    """The two estimates of an `Evidence` that is decided on the latent scale."""

    latent: Estimate
    score: Estimate


def both_scales(context: Context, cells: Iterable[int], latent: Floats, score: Floats) -> BothScales:
    """Estimates from draws over some cells: `latent` (n_links, 1 + B) in log-odds, `score` (1 + B,) on the score's own scale."""
    listed = list(cells)
    fewest, size = fewest_clusters(context.draws, listed), sample_size(context.draws, listed)
    return {
        "latent": envelope(latent, fewest, size, context.rules),
        "score": sized(score, fewest, size, context.rules),
    }


def pooled_scales(
    context: Context, cells: Iterable[int], slopes: Iterable[tuple[Floats, Floats]]
) -> BothScales:
    """The same for the mean over families, which weigh the same; `slopes`: (latent, score) draws of each."""
    latent, score = zip(*slopes, strict=True)
    return both_scales(context, cells, np.mean(latent, axis=0), np.mean(score, axis=0))


def one_scale(context: Context, cells: Iterable[int], draws: Floats) -> Estimate:
    """An estimate from draws (1 + B,) over some cells."""
    listed = list(cells)
    return sized(
        draws, fewest_clusters(context.draws, listed), sample_size(context.draws, listed), context.rules
    )


def judged(
    context: Context, evidence: list[Evidence], delta: float, score_unit: str, words: str
) -> list[Claim]:
    """The verdicts on "the effect is above 0" (see `judge`), corrected over families, pooled first."""
    return each_judged(evidence, lambda e, p: judge(e, p, context.rules, delta, score_unit, words))


def each_judged(evidence: list[Evidence], verdict: Callable[[Evidence, float], Claim]) -> list[Claim]:
    """The `verdict` on each evidence with its corrected p, pooled first."""
    return ordered([verdict(e, p) for e, p in zip(evidence, _corrected(evidence), strict=True)])


def ordered(claims: list[Claim]) -> list[Claim]:
    """Pooled first, then families by name."""
    return sorted(claims, key=lambda c: (not c.scope.pooled, c.family))


def too_few_tiers(claim: str, method: str, context: Context, judged: Iterable[str]) -> list[Claim]:
    """An entry for every family that is not judged because fewer than two of its tiers may take part."""
    reason = "fewer than two tiers take part: the others are at chance or at the ceiling when dense, or there are none."
    left = [name for name in context.draws.families if name not in set(judged)]
    return [not_tested(claim, method, reason, name) for name in left]


def _corrected(evidence: list[Evidence]) -> list[float]:
    """Holm-corrected p of one claim and method over its families; a pooled row keeps its own p."""
    single = np.array([np.nan if e.scope.pooled or e.blocked else e.p for e in evidence])
    adjusted = holm(single)
    return [e.p if e.scope.pooled else float(a) for e, a in zip(evidence, adjusted, strict=True)]
