"""One row for every tier, method and level: what was scored, lost, kept and flipped, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from difficulty.judge.claims.context import Context
from difficulty.judge.claims.critical import critical_levels
from difficulty.judge.draws import over_replicates
from difficulty.judge.series import Series
from difficulty.stats.bootstrap import interval
from difficulty.stats.flips import flips
from difficulty.stats.isotonic import isotonic
from difficulty.stats.scales import above_chance, retention

COLUMNS = (
    "family", "axis", "tier", "method", "kind", "level", "bits", "effective_bits", "n_items", "n_clusters", "n_replicates",
    "chance", "score", "score_low", "score_high", "loss", "loss_low", "loss_high", "above_chance", "retention",
    "retention_low", "retention_high", "latent", "latent_loss", "latent_loss_low", "latent_loss_high", "isotonic",
    "isotonic_low", "isotonic_high", "lost", "gained", "flip_rate", "mcnemar_p", "kl", "replicate_sd", "at_floor",
    "takes_part",
)  # fmt: skip


def cell_table(context: Context) -> pd.DataFrame:
    """A table with the columns `COLUMNS`, the dense model first in each tier.

    `loss` is paired against dense on the same items and clusters; `latent` is in log-odds; `isotonic` is the falling fit
    over the method's levels with its bootstrap band; `lost`, `gained`, `mcnemar_p` count flips of the first replicate;
    `kl` (nats) is the mean over items where option log-likelihoods were logged. Intervals cover 1 - alpha.
    """
    fits = _isotonic_bands(context)
    rows: list[dict[str, Any]] = []
    for i in range(len(context.draws.cells)):
        rows.extend(_cell_rows(context, i, fits))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _cell_rows(
    context: Context, i: int, fits: dict[tuple[int, int], tuple[float, float, float]]
) -> list[dict[str, Any]]:
    draws, confidence = context.draws, context.rules.confidence
    cell = draws.cells[i]
    n = cell.n_clusters
    score, latent = draws.score[:, i], draws.latent[0, :, i]
    loss, latent_loss = score[:, :1] - score, latent[:, :1] - latent
    kept = retention(score, score[:, :1], np.array(cell.chance))
    kept = np.where(np.isnan(kept), kept[0], kept)
    bands = {
        "score": (score, interval(score, n, confidence)),
        "loss": (loss, interval(loss, n, confidence)),
        "retention": (kept, interval(kept, n, confidence)),
        "latent_loss": (latent_loss, interval(latent_loss, n, confidence)),
    }
    corrected = above_chance(score[0], np.array(cell.chance))
    rows = []
    for k, condition in enumerate(draws.conditions):
        row: dict[str, Any] = {
            "family": cell.family, "axis": cell.axis, "tier": cell.tier, "method": condition.method, "kind": condition.kind,
            "level": condition.level, "bits": condition.bits, "effective_bits": condition.effective_bits,
            "n_items": cell.n_items, "n_clusters": n, "n_replicates": len(condition.columns), "chance": cell.chance,
            "above_chance": float(corrected[k]), "latent": float(latent[0, k]), "at_floor": bool(context.floor[i, k]),
            "takes_part": bool(context.takes_part[i]),
        }  # fmt: skip
        for name, (values, (low, high)) in bands.items():
            row |= {name: float(values[0, k]), f"{name}_low": float(low[k]), f"{name}_high": float(high[k])}
        fit = fits.get((i, k), (np.nan, np.nan, np.nan))
        row |= dict(zip(("isotonic", "isotonic_low", "isotonic_high"), fit, strict=True))
        row |= _items(context, i, k)
        rows.append(row)
    return rows


def _items(context: Context, i: int, k: int) -> dict[str, Any]:
    """Flips, divergence and the spread of replicates of one cell at one condition."""
    panel, cell, condition = context.panel, context.draws.cells[i], context.draws.conditions[k]
    scores = panel.score[cell.rows]
    flipped = flips(scores[:, context.draws.conditions[0].columns[0]], scores[:, condition.columns[0]])
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


def _isotonic_bands(context: Context) -> dict[tuple[int, int], tuple[float, float, float]]:
    """(cell, condition) -> falling isotonic fit of the score over the method's levels, and its band."""
    found = {}
    for series in context.series:
        for (i, k), values in _bands_of(context, series):
            found[i, k] = values
    return found


def _bands_of(context: Context, series: Series) -> list[tuple[tuple[int, int], tuple[float, float, float]]]:
    draws = context.draws
    fit = isotonic(draws.score[:, :, [0, *series.at]], increasing=False)
    rows = []
    for i, cell in enumerate(draws.cells):
        low, high = interval(fit[:, i], cell.n_clusters, context.rules.confidence)
        for place, k in enumerate(series.at, start=1):
            rows.append(((i, k), (float(fit[0, i, place]), float(low[place]), float(high[place]))))
    return rows


def critical_table(context: Context) -> pd.DataFrame:
    """Critical level of every tier that takes part, by method: on the score, latent, and the highest level shown to be safe."""
    rows = []
    for series in context.series:
        cells = tuple(i for i in range(len(context.draws.cells)) if context.takes_part[i])
        if not cells:
            continue
        found = critical_levels(context, series, cells)
        for n, i in enumerate(cells):
            cell = context.draws.cells[i]
            low, high = interval(found.observed[:, n], cell.n_clusters, context.rules.confidence)
            latent = interval(found.latent[0, :, n], cell.n_clusters, context.rules.confidence)
            unknown = bool(context.ceiling[i])
            rows.append(
                {
                    "family": cell.family, "axis": cell.axis, "tier": cell.tier, "method": series.method,
                    "critical": float(found.observed[0, n]), "critical_low": float(low), "critical_high": float(high),
                    "critical_latent": np.nan if unknown else float(found.latent[0, 0, n]),
                    "critical_latent_low": np.nan if unknown else float(latent[0]),
                    "critical_latent_high": np.nan if unknown else float(latent[1]),
                    "censored": found.censored[n], "shown_safe_up_to": found.by_interval[n],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
