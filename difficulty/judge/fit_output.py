"""A fit as JSON, as CSV, and as a paragraph for the methods section of a paper."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from difficulty.judge.budget_rows import budgets_list
from difficulty.judge.effect import ENOUGH_FAMILIES
from difficulty.judge.fit import FitResult
from difficulty.judge.over_models import ModelsResult
from difficulty.judge.scales import WITH_MARGINS, deciding, short
from difficulty.judge.verdicts import STATEMENTS, Claim
from difficulty.runs.csv_cells import safe_csv
from difficulty.text import p_words
from difficulty.visible import visible_json

SCHEMA = 2
_DIGITS = (
    10  # significant digits written: enough for any use, and the same on machines that round sums differently
)


def to_json(result: FitResult) -> str:
    """The fit as JSON text, the same bytes for the same table, options and seed; docs/statistics.md has the schema."""
    return _json(_document(result))


def models_to_json(found: ModelsResult) -> str:
    """The verdicts over models (`hypothesis`, `claims`) and each model's fit (`models`: what `to_json` writes) as JSON text.

    `trainings`: name -> models that are trainings of it, where there are several.
    """
    document = {
        "schema": SCHEMA,
        "hypothesis": asdict(found.hypothesis),
        "claims": [claim_dict(claim) for claim in found.over],
        "sizes": dict(found.sizes),
        "budgets": budgets_list(found.budgets),
        "trainings": {base: list(names) for base, names in found.trainings.items()},
        "models": [_document(result) for result in found.results.values()],
    }
    return _json(document)


def _json(document: Mapping[str, Any]) -> str:
    return visible_json(json.dumps(_plain(document), indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def _document(result: FitResult) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": result.model,
        "dense": result.dense,
        "primary_method": result.primary,
        "hypothesis": asdict(result.hypothesis),
        "metrics": result.metrics,
        "n_rows": result.n_rows,
        "n_items": result.n_items,
        "n_clusters": result.n_clusters,
        "settings": asdict(result.settings),
        "rules": asdict(result.rules),
        "claims": [claim_dict(claim) for claim in result.claims],
        "budgets": budgets_list(result.budgets),
        "excluded": result.excluded,
        "warnings": result.warnings,
        "methods": methods_paragraph(result),
        "critical": result.critical.to_dict("records"),
        "cells": result.cells.to_dict("records"),
    }


def claim_dict(claim: Claim) -> dict[str, Any]:
    """A claim as a flat dict with `statement` added and `details` nested."""
    row = {
        name: getattr(claim, name) for name in claim.__dataclass_fields__ if name not in ("claim", "scope")
    }
    named = {"claim": claim.claim, "statement": STATEMENTS[claim.claim]}
    return {**named, "family": claim.family, "method": claim.method, **row}


def _plain(value: Any) -> Any:
    """JSON types only: no numpy, NaN and infinity as null, numbers to ten significant digits."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def claims_table(*results: FitResult) -> pd.DataFrame:
    """One row per claim, family and method, without the nested details; with a column `model` where there are several."""
    rows = []
    for result in results:
        for claim in result.claims:
            row = claim_dict(claim)
            del row["details"]
            named = {"model": result.model} if len(results) > 1 else {}
            rows.append({**named, **row, "over": ", ".join(claim.over)})
    return pd.DataFrame(rows)


def claims_csv(*results: FitResult) -> str:
    """`claims_table` as CSV text; text that a spreadsheet would take for a formula gets a leading apostrophe."""
    return safe_csv(claims_table(*results))


def over_csv(found: ModelsResult) -> str:
    """The verdicts over models as CSV text, one row per claim, without the nested details."""
    rows = [{**claim_dict(claim), "over": ", ".join(claim.over)} for claim in found.over]
    return safe_csv(pd.DataFrame(rows).drop(columns="details"))


def cells_csv(*results: FitResult) -> str:
    """The cells as CSV text, with a column `model` where there are several."""
    if len(results) == 1:
        return safe_csv(results[0].cells)
    named = [result.cells.assign(model=result.model) for result in results]
    return safe_csv(pd.concat(named, ignore_index=True))


def methods_paragraph(result: FitResult) -> str:
    """What was done, with its numbers, in sentences that a paper can use."""
    rules, settings = result.rules, result.settings
    cells = result.cells
    families, tiers = cells["family"].nunique(), cells[["family", "tier"]].drop_duplicates().shape[0]
    parts = [
        f"We compared {_runs(cells)} of {result.model} with the dense model on the same {result.n_items:,} items in "
        f"{families} task {_plural(families, 'family', 'families')} and {tiers} difficulty {_plural(tiers, 'tier', 'tiers')} "
        f"({', '.join(result.metrics)}).",
        f"All differences are paired by item; intervals ({100 * rules.confidence:g} %) come from {settings.n_drawn:,} "
        f"bootstrap resamples of {result.n_clusters:,} clusters within tiers (expanded percentile method; seed {settings.seed})"
        + (
            ", over families from Hartung and Knapp's random-effects interval"
            if families >= ENOUGH_FAMILIES
            else ""
        )
        + ", and p-values are corrected by Holm's method over families, and over methods for pooled estimates.",
        "Tiers whose dense score was not shown to lie above chance took no part"
        + (f" ({len(result.excluded)} left out)." if result.excluded else " (none was left out)."),
        "A claim on the order of tiers was called supported only if the effect was shown on every scale, and refuted only if an effect "
        f"of {rules.delta_tier:g} log-odds per tier was excluded on every scale: {_scales(result)}.",
        f"The hypothesis as a whole is {result.hypothesis.verdict}: {result.hypothesis.reason}",
    ]
    parts += [_outcome(claim) for claim in result.headline().values() if claim.verdict != "not tested"]
    return " ".join(parts)


def _scales(result: FitResult) -> str:
    margins = sorted({scale in WITH_MARGINS[:1] for scale in result.cells["scale"]}, reverse=True)
    words = ["; ".join(short(scale) for scale in deciding(known)) for known in margins]
    return " where margins were logged, elsewhere ".join(words) if len(words) > 1 else words[0]


def _plural(n: int, one: str, many: str) -> str:
    return one if n == 1 else many


def _runs(cells: pd.DataFrame) -> str:
    levels = cells[cells["kind"] != "dense"][["method", "kind", "level", "bits"]].drop_duplicates()
    each = [
        f"{len(rows)} {_plural(len(rows), 'level', 'levels')} of {m}" for m, rows in levels.groupby("method")
    ]
    return " and ".join([", ".join(each[:-1]), each[-1]] if len(each) > 1 else each)


def _outcome(claim: Claim) -> str:
    name = f"{claim.claim} ({STATEMENTS[claim.claim]}; {claim.method}) is {claim.verdict}"
    if claim.estimate is None:
        return f"{name}: {claim.reason}"
    about = f" in {claim.about}" if claim.about else ""
    return (
        f"{name}{about}: {claim.estimate:.3f} {claim.unit} [{claim.ci_low:.3f}, {claim.ci_high:.3f}], {p_words(claim.p)}, "
        f"{claim.n_items:,} items in {claim.n_clusters:,} clusters."
    )
