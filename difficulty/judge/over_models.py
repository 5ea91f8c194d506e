"""Several models: each one's verdicts, and what holds over models like these.

Over models the claim's effect of each model is one observation, with its own standard error; random effects over at least three
(Hartung-Knapp), and over two the mean of the two, about these alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from difficulty.errors import UsageError
from difficulty.judge.effect import ENOUGH_FAMILIES, Effect
from difficulty.judge.fit import FitResult, fit
from difficulty.judge.verdicts import (
    CLAIMS,
    STATEMENTS,
    Claim,
    Evidence,
    Hypothesis,
    Rules,
    Scope,
    hypothesis,
    judge,
    not_tested,
)
from difficulty.runs.read import Runs
from difficulty.runs.table import DENSE, MARGIN, some
from difficulty.stats.random_effects import random_effects
from difficulty.stats.result import Estimate

_ENOUGH = 20  # right and wrong answers each, that two models do not have in common by chance
_SAME = 1e-9  # dense margins or scores that agree to this on every item are those of one model


@dataclass(frozen=True)
class ModelsResult:
    """Each model's verdicts (`results`, by name), and those `over` models, a claim each; `sizes`: weights, where known."""

    results: Mapping[str, FitResult]
    over: tuple[Claim, ...]
    hypothesis: Hypothesis
    sizes: Mapping[str, float]

    def headline(self) -> dict[str, Claim]:
        """The verdict over models on each claim."""
        return {claim.claim: claim for claim in self.over}


def own_dense_runs(table: pd.DataFrame) -> list[str]:
    """The models of a table, if there are several and each has a dense run of its own; else none."""
    dense = set(table.loc[table["method"] == DENSE, "model"].astype(str))
    models = [str(name) for name in table["model"].unique()]
    return models if len(models) > 1 and dense >= set(models) else []


def fit_models(runs: Runs, **options: Any) -> ModelsResult:
    """Judge each model of `runs` by itself, and the claims over models. `options` as for `fit`.

    Raises:
        UsageError: two of the models are one under two names, or a model cannot be judged (its name is in the sentence).
    """
    models = own_dense_runs(runs.table)
    _require_others(runs, models)
    results = {}
    for name in models:
        try:
            results[name] = fit(_of_model(runs, name), **options)
        except UsageError as error:
            raise UsageError(f"model {name!r} cannot be judged: {error}") from error
    rules = next(iter(results.values())).rules
    asked = next(iter(results.values())).settings.claims
    over = tuple(_over(claim, results, rules) for claim in CLAIMS if claim in asked)
    return ModelsResult(results, over, hypothesis({c.claim: c for c in over}), _sizes(runs, models))


def _of_model(runs: Runs, name: str) -> Runs:
    keep = set(runs.runs.loc[runs.runs["model"].astype(str) == name, "run"].astype(str))
    return Runs(
        runs.table[runs.table["model"].astype(str) == name],
        runs.runs[runs.runs["run"].astype(str).isin(keep)].reset_index(drop=True),
        {run: manifest for run, manifest in runs.manifests.items() if run in keep},
        runs.warnings,
        {key: facts for key, facts in runs.tasks.items() if key[0] in keep},
        {},
        {run: source for run, source in runs.sources.items() if run in keep},
    )


def _require_others(runs: Runs, models: Sequence[str]) -> None:
    """Models must be different ones: the same weights, or the same answers, are not two observations.

    Raises:
        UsageError: two names are one model.
    """
    facts = runs.runs[runs.runs["method"] == DENSE]
    for n, first in enumerate(models):
        for second in models[n + 1 :]:
            if _one_hash(facts, first, second) or _one_behaviour(runs.table, first, second):
                raise UsageError(
                    f"{first!r} and {second!r} are one model under two names: their dense runs have the same weights or the same "
                    "answers. Name them alike with junkdna label FOLDER --model NAME, or leave one out."
                )


def _one_hash(facts: pd.DataFrame, first: str, second: str) -> bool:
    if "weights_sha256" not in facts:
        return False
    known = [
        {v for v in facts.loc[facts["model"].astype(str) == name, "weights_sha256"] if isinstance(v, str)}
        for name in (first, second)
    ]
    return bool(known[0] & known[1])


def _one_behaviour(table: pd.DataFrame, first: str, second: str) -> bool:
    """Whether the dense runs of two models give the same margin (or score) on every item they share."""
    dense = table[table["method"] == DENSE]
    with_margins = dense[dense["metric"] == MARGIN]
    rows = with_margins if len(with_margins) else dense
    wide = [
        rows[rows["model"].astype(str) == name]
        .drop_duplicates(["task", "item_id", "metric"])
        .set_index(["task", "item_id", "metric"])["value"]
        for name in (first, second)
    ]
    common = wide[0].index.intersection(wide[1].index)
    if len(common) < 2:
        return False
    counts = wide[0].loc[common].value_counts()
    if len(counts) < 2 or (len(counts) == 2 and counts.min() < _ENOUGH):
        return False
    return bool(np.allclose(wide[0].loc[common], wide[1].loc[common], rtol=0, atol=_SAME))


def _over(claim: str, results: Mapping[str, FitResult], rules: Rules) -> Claim:
    """The verdict on a claim over models, by the effects that their headlines stand on."""
    headlines = {name: result.headline().get(claim) for name, result in results.items()}
    usable = {
        name: c
        for name, c in headlines.items()
        if c is not None and c.details.get("scales") and c.estimate is not None
    }
    method = next((c.method for c in usable.values()), "")
    if not usable:
        reasons = "; ".join(f"{name}: {c.reason}" for name, c in headlines.items() if c is not None)
        return not_tested(claim, method, reasons or "no model tests it.")
    left_out = [name for name in results if name not in usable]
    first = next(iter(usable.values()))
    scales = [s for s in first.details["scales"] if all(s in c.details["scales"] for c in usable.values())]
    effects = {scale: _effect([_observed(c, scale) for c in usable.values()], rules) for scale in scales}
    by_model = {name: c.verdict for name, c in usable.items()}
    words = ", ".join(f"{name} {verdict}" for name, verdict in by_model.items())
    n = len(usable)
    about = (
        f"models like these ({n})" if n >= ENOUGH_FAMILIES else f"these {n} models" if n > 1 else "one model"
    )
    remark = f"By model: {words}." + (f" Not judged: {some(left_out)}." if left_out else "")
    unresolved = ""
    if claim in ("P1", "P3"):
        # their rules stand on steps and grids of each model; over models they hold where they hold for each
        verdicts = set(by_model.values())
        unresolved = "" if len(verdicts) == 1 else "the models differ, or some cannot resolve it."
        if verdicts == {"inconclusive"}:
            unresolved = "it is inconclusive for every model."
    lacking = [name for name, c in usable.items() if c.details.get("missing")]
    doubted = [name for name, c in usable.items() if _spoken_against(c, rules)]
    against = f"in {some(lacking)} a control is missing." if lacking else ""
    if doubted and not against:
        against = f"it is shown in {some(doubted)}, but there something speaks against it."
    evidence = Evidence(
        claim, Scope(method, headline=True), first.unit, effects, against=against, remark=remark, unresolved=unresolved, about=about,
        details={"models": {name: c.estimate for name, c in usable.items()}},
    )  # fmt: skip
    delta = {"P1": rules.delta, "P3": rules.delta_level}.get(claim, rules.delta_tier)
    return judge(evidence, evidence.p, rules, delta, f"{STATEMENTS[claim]}: random effects over models")


def _spoken_against(claim: Claim, rules: Rules) -> bool:
    """Whether a model's effect is shown on every scale, and yet the claim is not called supported."""
    lows = [form["ci_low"] for scale in claim.details["scales"].values() for form in _forms(scale)]
    shown = min(lows) > 0 and claim.p_holm is not None and claim.p_holm < rules.alpha
    return shown and claim.verdict == "inconclusive"


def _forms(scale: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [scale[name] for name in ("these", "like") if name in scale]


def _observed(claim: Claim, scale: str) -> dict[str, Any]:
    """A model's own effect on a scale: that of families like these where there is one."""
    found: dict[str, dict[str, Any]] = claim.details["scales"][scale]
    return found.get("like") or found["these"]


def _effect(observed: Sequence[Mapping[str, Any]], rules: Rules) -> Effect:
    effects = np.array([float(o["estimate"]) for o in observed])
    errors = np.array([_standard_error(o, rules.confidence) for o in observed])
    n_items, n_clusters = (sum(int(o[name]) for o in observed) for name in ("n_items", "n_clusters"))
    names = ("items", f"{len(effects)} models")
    if len(effects) < ENOUGH_FAMILIES or not (errors > 0).any():
        error = float(np.sqrt((errors**2).sum()) / len(effects))
        half = float(special.ndtri((1 + rules.confidence) / 2)) * error
        mean = float(effects.mean())
        p = float(2 * special.ndtr(-abs(mean) / error)) if error > 0 else float(mean == 0)
        return Effect(Estimate(mean, mean - half, mean + half, p, n_items, n_clusters, ("items",)))
    meta = random_effects(effects, errors**2, rules.confidence)
    like = Estimate(meta.estimate, meta.ci_low, meta.ci_high, meta.p, n_items, n_clusters, names)
    return Effect(like, like, meta)


def _standard_error(observed: Mapping[str, Any], confidence: float) -> float:
    """The standard error that an interval stands for, by the normal quantile: too large where it has few degrees of freedom."""
    z = float(special.ndtri((1 + confidence) / 2))
    return (float(observed["ci_high"]) - float(observed["ci_low"])) / (2 * z)


def _sizes(runs: Runs, models: Sequence[str]) -> dict[str, float]:
    """Weights of each model, where a run's manifest says so."""
    found = {}
    for name in models:
        own = runs.runs.loc[runs.runs["model"].astype(str) == name, "run"].astype(str)
        known = [runs.manifests.get(run, {}).get("n_weights") for run in own]
        numbers = [float(value) for value in known if isinstance(value, (int, float))]
        if numbers:
            found[name] = max(numbers)
    return found
