"""The verdicts as text for a page or Markdown: the hypothesis, headline claims, scales, margins, families, models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from difficulty.judge.summary import (
    Bounds,
    ScaleRow,
    margin_text,
    margins,
    models_by_size,
    scale_rows,
)
from difficulty.judge.verdicts import STATEMENTS
from difficulty.text import count_text, estimate_text, interval_text, p_text, p_words
from junkdna_harness.presentation.escape import markdown_cell
from junkdna_harness.report import recovery

if TYPE_CHECKING:
    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult
    from difficulty.judge.verdicts import Claim, Hypothesis, Rules

_MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?", "not tested": "–"}
_FORM = ".3g"


def blocks(
    fits: Sequence[FitResult], over: ModelsResult | None = None, told: Collection[str] = ()
) -> list[dict[str, Any]]:
    """What the page says of the verdicts over models, where there are any, then of each model's.

    `told`: sentences that stand elsewhere on the page, and are not said again.
    """
    first = [] if over is None else [_over_models(over)]
    return first + [_one_model(fit, told) for fit in fits]


def answers(fits: Sequence[FitResult], over: ModelsResult | None = None) -> list[dict[str, Any]]:
    """The hypothesis in a sentence, what it was judged in, and the two claims that it stands on: over models, else of each model."""
    asked = (
        [(over.title, over.hypothesis, over.headline())]
        if over is not None
        else [(fit.model, fit.hypothesis, fit.headline()) for fit in fits]
    )
    rules = next((fit.rules for fit in fits), None)
    found = []
    for name, whole, headline in asked:
        halves = [headline[claim] for claim in ("P2", "P6") if claim in headline]
        abouts = {half.claim: half.about for half in halves if half.about}
        longest = max(abouts.values(), key=len, default="")
        one = all(longest.startswith(about) for about in abouts.values())
        about = [longest] if one else [f"{claim} in {text}" for claim, text in abouts.items()]
        holds = " This holds for " if whole.verdict in ("supported", "refuted") else " It was judged in "
        holds = holds if one else " Judged: "
        found.append(
            {
                "name": name,
                **_hypothesis(whole),
                "holds": f"{holds}{'; '.join(about)}." if abouts else "",
                "halves": [_claim(half, rules) for half in halves if rules is not None],
            }
        )
    return found


def _over_models(over: ModelsResult) -> dict[str, Any]:
    rules = next(iter(over.results.values())).rules
    return {
        "name": f"Over {over.title}: {', '.join(models_by_size(over))}",
        "hypothesis": _hypothesis(over.hypothesis),
        "cards": [_claim(claim, rules) for claim in over.headline().values()],
        "models": _by_model(over),
        "budgets": recovery.table(over.budgets, rules),
        "scales": _scales(over.headline().values(), over.kind),
        "margins": None,
        "families": [_claim(claim, rules) for claim in over.over if not claim.scope.headline],
        "notes": over.notes(),
    }


def _one_model(fit: FitResult, told: Collection[str]) -> dict[str, Any]:
    headline = fit.headline().values()
    shown = set(map(id, headline))
    left_out = [f"Left out: {sentence}" for sentence in fit.excluded]
    return {
        "name": fit.model,
        "hypothesis": _hypothesis(fit.hypothesis),
        "cards": [_claim(claim, fit.rules) for claim in headline],
        "models": None,
        "budgets": recovery.table(fit.budgets, fit.rules),
        "scales": _scales(headline, "families"),
        "margins": _margins(fit),
        "families": [_claim(claim, fit.rules) for claim in fit.claims if id(claim) not in shown],
        "notes": [*left_out, *(sentence for sentence in fit.warnings if sentence not in told)],
    }


def _hypothesis(found: Hypothesis) -> dict[str, str]:
    return {"line": str(found), "css": _css(found.verdict), "mark": _MARKS[found.verdict]}


def _css(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _claim(claim: Claim, rules: Rules) -> dict[str, Any]:
    number = "" if claim.estimate is None else f"{claim.estimate:{_FORM}}"
    interval = interval_text(claim.ci_low, claim.ci_high, _FORM)
    p = claim.p_holm if claim.p_holm is not None else claim.p
    level = f"{100 * rules.confidence:g} %"
    parts = [f"{claim.unit}: {number}", f"{level} {interval}" if interval else "", p_words(p)]
    return {
        "claim": claim.claim,
        "statement": STATEMENTS[claim.claim],
        "unit": claim.unit,
        "about": f"In {claim.about}" if claim.about else "",
        "holds_for": claim.about,
        "family": claim.family,
        "method": claim.method,
        "verdict": claim.verdict,
        "css": _css(claim.verdict),
        "mark": _MARKS[claim.verdict],
        "estimate": ", ".join(part for part in parts if part) if number else "",
        "sentence": ", ".join(
            part for part in (f"{number} {interval}".strip() + f" {claim.unit}", p_words(p)) if part
        )
        if number
        else "",
        "number": number,
        "sort": "" if claim.estimate is None else repr(float(claim.estimate)),
        "interval": interval,
        "p": p_text(p),
        "p_sort": "" if p is None or p != p else repr(float(p)),
        "n_items": claim.n_items,
        "sample": f"{claim.method}, {claim.n_items:,} items in {claim.n_clusters:,} clusters"
        if claim.n_items
        else claim.method,
        "reason": claim.reason,
        "rule": claim.rule,
    }


def _scales(claims: Iterable[Claim], kind: str) -> list[dict[str, Any]]:
    """A table for each claim that was estimated; `kind` is what its effects are of, families or models."""
    found = []
    for claim in claims:
        rows = [_scale(row) for row in scale_rows(claim)]
        if rows:
            heads = (
                ("Scale", "name"), ("Decides", ""), (f"In these {kind}", ""), (f"In {kind} like these", ""), ("Prediction", ""), ("I²", ""),
                ("τ²", ""), ("Drawn again", ""), ("Variance", "words"),
            )  # fmt: skip
            known = [k for k in range(len(heads)) if any(row[k] for row in rows)]
            found.append(
                {
                    "claim": claim.claim,
                    "unit": claim.unit,
                    "beside": not all(row[1] for row in rows),
                    "prediction": any(row[4] for row in rows),
                    "heads": [heads[k][0] for k in known],
                    "rows": [[(row[k], heads[k][1]) for k in known] for row in rows],
                }
            )
    return found


def _scale(row: ScaleRow) -> list[str]:
    prediction = "" if row.prediction is None else interval_text(*row.prediction, _FORM)
    return [
        row.scale, "yes" if row.decides else "", _bounds(row.these), _bounds(row.like), prediction,
        "" if row.i2 is None else f"{100 * row.i2:.0f} %", "" if row.tau2 is None else f"{row.tau2:{_FORM}}",
        ", ".join(row.over), row.shares,
    ]  # fmt: skip


def _bounds(found: Bounds | None) -> str:
    return "" if found is None else estimate_text(*found, _FORM)


def _margins(fit: FitResult) -> dict[str, Any] | None:
    found = margins(fit)
    if found is None:
        return None
    rows = [
        (tier, [margin_text(pair) for pair in zip(ratios, correlations, strict=True)])
        for tier, ratios, correlations in zip(found.tiers, found.sd_ratio, found.correlation, strict=True)
    ]
    return {"method": found.method, "states": found.states, "rows": rows}


def _by_model(over: ModelsResult) -> dict[str, Any]:
    """Heads, and a row per model, from the smallest to the largest: size, then (text, class) on each claim."""
    claims = [claim for claim in over.headline().values() if claim.verdict != "not tested"]
    rows = []
    for model in models_by_size(over):
        size = over.sizes.get(model)
        cells = []
        for one in claims:
            claim = over.own(model, one)
            number = (
                "" if claim is None else estimate_text(claim.estimate, claim.ci_low, claim.ci_high, _FORM)
            )
            cells.append(
                {"text": "", "number": "", "css": ""}
                if claim is None
                else {
                    "text": f"{_MARKS[claim.verdict]} {claim.verdict}",
                    "number": number,
                    "css": _css(claim.verdict),
                }
            )
        rows.append(
            {
                "model": model,
                "size": "" if size is None else count_text(size),
                "sort": "" if size is None else repr(size),
                "cells": cells,
            }
        )
    return {"claims": [claim.claim for claim in claims], "sized": bool(over.sizes), "rows": rows}


def markdown(fits: Sequence[FitResult], over: ModelsResult | None = None) -> str:
    """The hypothesis, the headline claims and why, as GitHub Markdown: over models first, then each model's."""
    texts = []
    for block in blocks(fits, over):
        lines = [
            f"### Verdicts: {markdown_cell(block['name'])}\n",
            f"**{markdown_cell(block['hypothesis']['line'])}**\n",
        ]
        lines += [
            "| Verdict | Claim | Method | Holds for | Estimate | Unit | p (Holm) |",
            "|:--|:--|:--|:--|:--|:--|--:|",
        ]
        for card in block["cards"]:
            cells = (
                card["verdict"], f"{card['claim']}: {card['statement']}", card["method"], card["holds_for"],
                f"{card['number']} {card['interval']}".strip(), card["unit"], card["p"],
            )  # fmt: skip
            lines.append("| " + " | ".join(map(markdown_cell, cells)) + " |")
        lines += ["", *(f"- {card['claim']}: {markdown_cell(card['reason'])}" for card in block["cards"]), ""]
        if block["budgets"]:
            lines += recovery.markdown(block["budgets"])
        texts.append("\n".join(lines))
    return "\n".join(texts)
