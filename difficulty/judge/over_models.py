"""Several models: each one's verdicts, and what holds over models like these.

Over models the claim's effect of each model is one observation, with its own standard error; random effects over at least three
(Hartung-Knapp), and over two the mean of the two, about these alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from difficulty.errors import UsageError
from difficulty.judge.claims.small_weights import CONTROLS, both_controls
from difficulty.judge.effect import ENOUGH_FAMILIES, Effect
from difficulty.judge.fit import FitResult, fit
from difficulty.judge.series import PRIMARY
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
from difficulty.runs.table import DENSE, MARGIN, N_WEIGHTS, some
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
            results[name] = fit(of_model(runs, name), **options)
        except UsageError as error:
            raise UsageError(f"model {name!r} cannot be judged: {error}") from error
    rules = next(iter(results.values())).rules
    asked = next(iter(results.values())).settings.claims
    over = tuple(_over(claim, results, rules) for claim in CLAIMS if claim in asked)
    return ModelsResult(results, over, hypothesis({c.claim: c for c in over}), _sizes(runs, models))


def of_model(runs: Runs, name: str) -> Runs:
    """What is known of one model of `runs`."""
    keep = set(runs.runs.loc[runs.runs["model"].astype(str) == name, "run"].astype(str))
    return Runs(
        runs.table[runs.table["model"].astype(str) == name],
        runs.runs[runs.runs["run"].astype(str).isin(keep)].reset_index(drop=True),
        {run: manifest for run, manifest in runs.manifests.items() if run in keep},
        runs.warnings,
        {key: facts for key, facts in runs.tasks.items() if key[0] in keep},
        {},
        {run: source for run, source in runs.sources.items() if run in keep},
        noise={model: floor for model, floor in runs.noise.items() if model == name},
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
    if claim == "P6":
        return _over_controls(results, rules)
    headlines = {name: result.headline().get(claim) for name, result in results.items()}
    found = _combined(claim, headlines, rules)
    if claim not in ("P1", "P3") or found.verdict == "not tested":
        return found
    # their rules stand on the steps and the grid of each model: over models they hold where they hold for each
    verdicts = {c.verdict for c in headlines.values() if c is not None and c.estimate is not None}
    if len(verdicts) > 1:
        return replace(found, verdict="inconclusive", reason=f"the models differ. {_by_model(headlines)}")
    verdict = verdicts.pop()
    return replace(found, verdict=verdict, reason=f"it is {verdict} for every model. {_by_model(headlines)}")


def _over_controls(results: Mapping[str, FitResult], rules: Rules) -> Claim:
    """P6 over models: against each control by itself, supported where it is against all of them, refuted by one."""
    rows = {
        control: {name: _against(result, control) for name, result in results.items()} for control in CONTROLS
    }
    there = {control: own for control, own in rows.items() if any(c is not None for c in own.values())}
    if not there:
        headlines = {name: result.headline().get("P6") for name, result in results.items()}
        return not_tested("P6", PRIMARY, _why_none(headlines))
    missing = []
    for control, own in rows.items():
        without = [name for name, claim in own.items() if claim is None]
        if without:
            missing.append(f"{control} in {some(without)}" if control in there else control)
    return both_controls([_combined("P6", own, rules) for own in there.values()], missing, None)


def _against(result: FitResult, control: str) -> Claim | None:
    wanted = f"{PRIMARY} vs {control}"
    return next((c for c in result.claims if c.claim == "P6" and c.scope.pooled and c.method == wanted), None)


def _combined(claim: str, headlines: Mapping[str, Claim | None], rules: Rules) -> Claim:
    """The effects of all models that have one, combined; what holds more than a third of the models back holds this back."""
    usable = {
        name: c
        for name, c in headlines.items()
        if c is not None and c.details.get("scales") and c.estimate is not None
    }
    method = next((c.method for c in headlines.values() if c is not None), "")
    if not usable:
        return not_tested(claim, method, _why_none(headlines))
    left_out = [name for name in headlines if name not in usable]
    first = next(iter(usable.values()))
    scales = [s for s in first.details["scales"] if all(s in c.details["scales"] for c in usable.values())]
    effects = {
        scale: _effect([observed_effect(c, scale) for c in usable.values()], rules) for scale in scales
    }
    held = {name: str(c.details["held_back"]) for name, c in usable.items() if c.details.get("held_back")}
    n = len(usable)
    about = (
        f"models like these ({n})" if n >= ENOUGH_FAMILIES else f"these {n} models" if n > 1 else "one model"
    )
    remark = _by_model(usable) + (f" Not judged: {some(left_out)}." if left_out else "")
    against = ""
    if 3 * len(held) > n:
        name, why = next(iter(held.items()))
        against = f"{len(held)} of {n} models hold it back, e.g. {name}: {why}"
    evidence = Evidence(
        claim, Scope(method, headline=True), first.unit, effects, against=against, remark=remark, about=about,
        details={"models": {name: c.estimate for name, c in usable.items()}, "held_back_in": held},
    )  # fmt: skip
    delta = {"P1": rules.delta, "P3": rules.delta_level}.get(claim, rules.delta_tier)
    return judge(evidence, evidence.p, rules, delta, f"{STATEMENTS[claim]}: random effects over models")


def _by_model(headlines: Mapping[str, Claim | None]) -> str:
    words = ", ".join(f"{name} {claim.verdict}" for name, claim in headlines.items() if claim is not None)
    return f"By model: {words}."


def _why_none(headlines: Mapping[str, Claim | None]) -> str:
    """Why no model tests a claim; what holds for all of them is said once."""
    alike: dict[str, list[str]] = {}
    for name, claim in headlines.items():
        if claim is not None:
            alike.setdefault(claim.reason, []).append(name)
    if len(alike) == 1:
        return next(iter(alike))
    return " ".join(f"{some(names)}: {reason}" for reason, names in alike.items()) or "no model tests it."


def observed_effect(claim: Claim, scale: str) -> dict[str, Any]:
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
    """Weights of each model, where its dense run says so, else the largest number that a run of it says."""
    found: dict[str, float] = {}
    if N_WEIGHTS not in runs.runs:
        return found
    for name in models:
        own = runs.runs[runs.runs["model"].astype(str) == name]
        counted = pd.to_numeric(own[N_WEIGHTS], errors="coerce")
        dense = counted[own["method"] == DENSE].dropna()
        known = dense if len(dense) else counted.dropna()
        if len(known):
            found[name] = float(known.max())
    return found
