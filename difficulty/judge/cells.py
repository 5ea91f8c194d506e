"""One row for every tier, method and level: what was scored, lost, kept and flipped, with intervals."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from difficulty.judge.claims.context import Context
from difficulty.judge.claims.critical import critical_levels
from difficulty.judge.draws import over_replicates
from difficulty.judge.scales import SCORE
from difficulty.stats.bootstrap import interval
from difficulty.stats.flips import flips
from difficulty.stats.isotonic import isotonic
from difficulty.stats.mean import JITTER, mean_interval
from difficulty.stats.paired_loss import paired_loss
from difficulty.stats.result import Bools, Floats
from difficulty.stats.scales import above_chance, retention

COLUMNS = (
    "family", "axis", "tier", "method", "kind", "level", "bits", "effective_bits", "n_items", "n_clusters", "n_replicates",
    "chance", "score", "score_low", "score_high", "loss", "loss_low", "loss_high", "above_chance", "retention",
    "retention_low", "retention_high", "scale", "latent", "latent_loss", "latent_loss_low", "latent_loss_high", "sd_ratio",
    "margin_correlation", "isotonic", "isotonic_low", "isotonic_high", "lost", "gained", "flip_rate", "mcnemar_p", "kl",
    "replicate_sd", "at_floor", "takes_part",
)  # fmt: skip
_FEW_FLIPS = (
    10  # fewer items that changed, and the bootstrap's interval is too short: down to no width without any
)


def cell_rows(context: Context) -> list[dict[str, Any]]:
    """The rows of one family, with the keys `COLUMNS`, the dense model first in each tier.

    `loss` is paired against dense on the same items and clusters; `latent` is in log-odds, on the family's first scale
    (`scale`); `sd_ratio` and `margin_correlation` compare a run's margins with the dense ones within the tier; `isotonic` is
    the falling fit over the method's levels with its bootstrap band; `lost`, `gained`, `mcnemar_p` count flips of the first
    replicate; `kl` (nats) is the mean over items where option log-likelihoods were logged. Intervals cover 1 - alpha, and do
    not collapse where no answer changed (Wilson; Tango; Clopper-Pearson).
    """
    rows: list[dict[str, Any]] = []
    for i in range(len(context.draws.cells)):
        rows.extend(_cell_rows(context, i))
    return rows


def _cell_rows(context: Context, i: int) -> list[dict[str, Any]]:
    draws, confidence = context.draws, context.rules.confidence
    cell, scale = draws.cells[i], draws.scales[0]
    n, conditions = cell.n_clusters, draws.conditions
    score, latent = draws.score[:, i], draws.values[scale][0, :, i]
    loss, latent_loss = score[:, :1] - score, latent[:, :1] - latent
    kept = retention(score, score[:, :1], np.array(cell.chance))
    kept = np.where(np.isnan(kept), kept[0], kept)
    loss_low, loss_high = _honest_loss(context, i, *interval(loss, n, confidence))
    kept_low, kept_high = interval(kept, n, confidence)
    above = score[0, 0] - cell.chance
    if above > 0:
        kept_low = np.minimum(kept_low, 1 - loss_high / above)
        kept_high = np.maximum(kept_high, 1 - loss_low / above)
    bands = {
        "score": (score, _honest_score(context, i, *interval(score, n, confidence))),
        "loss": (loss, (loss_low, loss_high)),
        "retention": (kept, (kept_low, kept_high)),
        "latent_loss": (latent_loss, interval(latent_loss, n, confidence)),
    }
    ratio, correlation = _margins(context, i)
    corrected, fits = above_chance(score[0], np.array(cell.chance)), _isotonic(context, i)
    rows = []
    for k, condition in enumerate(conditions):
        row: dict[str, Any] = {
            "family": cell.family, "axis": cell.axis, "tier": cell.tier, "method": condition.method, "kind": condition.kind,
            "level": condition.level, "bits": condition.bits, "effective_bits": condition.effective_bits,
            "n_items": cell.n_items, "n_clusters": n, "n_replicates": len(condition.columns), "chance": cell.chance,
            "above_chance": float(corrected[k]), "scale": scale, "latent": float(latent[0, k]),
            "at_floor": bool(context.floor[i, k]), "takes_part": bool(context.takes_part[i]),
        }  # fmt: skip
        for name, (values, (low, high)) in bands.items():
            row |= {name: float(values[0, k]), f"{name}_low": float(low[k]), f"{name}_high": float(high[k])}
        row |= dict(zip(("isotonic", "isotonic_low", "isotonic_high"), fits[k], strict=True))
        row |= _items(context, i, k)
        row |= {"sd_ratio": float(ratio[k]), "margin_correlation": float(correlation[k])}
        rows.append({name: row[name] for name in COLUMNS})
    return rows


def _honest_score(context: Context, i: int, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Bounds of the scores, which do not collapse at 0 or 1: those of `mean_interval`, as every table has them; the bootstrap's where
    they are over several replicates, which it draws as well."""
    cell, panel = context.draws.cells[i], context.setting.panel
    confidence, alone = context.rules.confidence, cell.n_clusters == cell.n_items
    first = panel.score[cell.rows][:, [c.columns[0] for c in context.draws.conditions]]
    counted = _right_or_wrong(first)
    for k, condition in enumerate(context.draws.conditions):
        if low[k] < high[k] and len(condition.columns) > 1:
            continue
        if alone and counted[k]:
            own = _counted_score(cell.n_items, int(first[:, k].sum()), confidence)
        else:
            found = mean_interval(first[:, k], cell.clusters, confidence=confidence)
            own = found.low, found.high
        low[k], high[k] = own
    return low, high


def _right_or_wrong(values: Floats) -> Bools:
    """Which columns hold nothing but 0 and 1."""
    flags: Bools = np.asarray(np.isin(values, (0, 1)).all(axis=0))
    return flags


@lru_cache(maxsize=4096)
def _counted_score(n: int, right: int, confidence: float) -> tuple[float, float]:
    found = mean_interval(np.array([1.0] * right + [0.0] * (n - right)), confidence=confidence)
    return found.low, found.high


def _honest_loss(context: Context, i: int, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Bounds of the losses that do not collapse where few answers changed: the wider of the bootstrap's and `PairedLoss`'s."""
    cell, panel, alpha = context.draws.cells[i], context.setting.panel, context.rules.alpha
    score = np.stack([over_replicates(panel.score, cell.rows, c) for c in context.draws.conditions], axis=1)
    lost = score[:, :1] - score
    moved = (np.abs(lost) > JITTER).sum(axis=0)
    alone = cell.n_clusters == cell.n_items
    binary = _right_or_wrong(score)
    for k in range(1, score.shape[1]):
        if moved[k] >= _FEW_FLIPS:
            continue
        if alone and binary[0] and binary[k]:
            counts = int((lost[:, k] > 0).sum()), int((lost[:, k] < 0).sum())
            exact = _counted_bounds(cell.n_items, *counts, alpha / 2)
        else:
            exact = paired_loss(score[:, 0], score[:, k], cell.clusters).bounds(alpha / 2)
        low[k], high[k] = min(low[k], exact[0]), max(high[k], exact[1])
    return low, high


@lru_cache(maxsize=4096)
def _counted_bounds(n: int, lost: int, gained: int, alpha: float) -> tuple[float, float]:
    before = np.array([1.0] * lost + [0.0] * gained + [1.0] * (n - lost - gained))
    after = np.array([0.0] * lost + [1.0] * gained + [1.0] * (n - lost - gained))
    return paired_loss(before, after).bounds(alpha)


def _items(context: Context, i: int, k: int) -> dict[str, Any]:
    """Flips, divergence, the spread of margins and of replicates of one cell at one condition."""
    panel, cell, condition = context.setting.panel, context.draws.cells[i], context.draws.conditions[k]
    dense = context.draws.conditions[0]
    scores = panel.score[cell.rows]
    flipped = flips(scores[:, dense.columns[0]], scores[:, condition.columns[0]])
    each = scores[:, list(condition.columns)].mean(axis=0)
    divergence = over_replicates(panel.kl, cell.rows, condition)
    known = divergence[~np.isnan(divergence)]
    return {
        "lost": flipped.lost,
        "gained": flipped.gained,
        "flip_rate": flipped.rate,
        "mcnemar_p": flipped.p,
        "kl": float(known.mean()) if len(known) else np.nan,
        "replicate_sd": float(each.std(ddof=1)) if len(each) > 1 else np.nan,
    }


def _margins(context: Context, i: int) -> tuple[Floats, Floats]:
    """SD of each run's margins over the dense SD, and their correlation (non-uniform differential functioning).

    Of the first replicate of each condition, (n_conditions,) both; NaN if unknown.
    """
    columns = [condition.columns[0] for condition in context.draws.conditions]
    margin = context.setting.panel.margin[context.draws.cells[i].rows][:, columns]
    if len(margin) < 3:
        return np.full(len(columns), np.nan), np.full(len(columns), np.nan)
    apart = margin - margin.mean(axis=0)
    spread = np.sqrt((apart**2).sum(axis=0))
    spread[~(margin.max(axis=0) > margin.min(axis=0))] = np.nan
    ratio: Floats = spread / spread[0]
    correlation: Floats = np.clip(apart[:, 0] @ apart / (spread[0] * spread), -1.0, 1.0)
    return ratio, correlation


def _isotonic(context: Context, i: int) -> dict[int, tuple[float, float, float]]:
    """Condition -> falling isotonic fit of one cell's score over its method's levels, and its band; NaN where there is none."""
    draws = context.draws
    found = dict.fromkeys(range(len(draws.conditions)), (float("nan"),) * 3)
    for series in context.setting.series:
        fit = isotonic(draws.score[:, i][:, [0, *series.at]], increasing=False)
        low, high = interval(fit, draws.cells[i].n_clusters, context.rules.confidence)
        for place, k in enumerate(series.at, start=1):
            found[k] = (float(fit[0, place]), float(low[place]), float(high[place]))
    return found


def critical_rows(context: Context) -> list[dict[str, Any]]:
    """Critical level of every tier that takes part, by method: on the score, latent, and the highest level shown to be safe.

    `bracket_low`, `bracket_high`: the levels between which the latent mark is passed.
    """
    cells = context.scored_cells
    if not cells:
        return []
    draws, rows = context.draws, []
    scale, confidence = draws.scales[0], context.rules.confidence
    for series in context.setting.series:
        found = critical_levels(context, series)
        for n, i in enumerate(cells):
            cell = draws.cells[i]
            observed, latent = found.levels[SCORE][0, :, n], found.levels[scale][0, :, n]
            low, high = interval(observed, cell.n_clusters, confidence)
            latent_low, latent_high = interval(latent, cell.n_clusters, confidence)
            unknown = bool(context.ceiling[i])
            bracket = found.brackets[scale][n] or (np.nan, np.nan)
            rows.append(
                {
                    "family": cell.family, "axis": cell.axis, "tier": cell.tier, "method": series.method,
                    "critical": float(observed[0]), "critical_low": float(low), "critical_high": float(high),
                    "critical_latent": np.nan if unknown else float(latent[0]),
                    "critical_latent_low": np.nan if unknown else float(latent_low),
                    "critical_latent_high": np.nan if unknown else float(latent_high),
                    "bracket_low": bracket[0], "bracket_high": bracket[1],
                    "censored": found.censored[scale][n], "shown_safe_up_to": _shown_safe_up_to(context, series.at, series.levels, i),
                }
            )  # fmt: skip
    return rows


def _shown_safe_up_to(context: Context, at: tuple[int, ...], levels: tuple[float, ...], i: int) -> float:
    """The highest level up to which the loss is shown to be below delta, one-sided at alpha, by bootstrap and exact bounds."""
    draws, rules, panel = context.draws, context.rules, context.setting.panel
    cell, safe = draws.cells[i], 0.0
    score = draws.score[:, i]
    high = interval(score[:, :1] - score[:, list(at)], cell.n_clusters, 1 - 2 * rules.alpha)[1]
    dense = over_replicates(panel.score, cell.rows, draws.conditions[0])
    small: Bools = high < rules.delta
    for n, k in enumerate(at):
        if not small[n]:
            break
        found = paired_loss(
            dense, over_replicates(panel.score, cell.rows, draws.conditions[k]), cell.clusters
        )
        if found.p_below(rules.delta) >= rules.alpha:
            break
        safe = levels[n]
    return float(safe)
