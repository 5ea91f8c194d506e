"""Several models: each one's verdicts, and what holds over models like these.

Over models the claim's effect of each model is one observation, with its own standard error; random effects over at least three
(Hartung-Knapp), and over two the mean of the two, about these alone. Models that are one, trained with several seeds
(`difficulty.runs.replicates.trainings`), are one observation, which holds what differs between trainings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from difficulty.errors import UsageError
from difficulty.judge.claims.small_weights import CONTROLS, both_controls
from difficulty.judge.effect import ENOUGH_FAMILIES, Effect
from difficulty.judge.fit import FitResult, fit
from difficulty.judge.over_trainings import TRAININGS, over_trainings
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
from difficulty.runs.replicates import trainings
from difficulty.runs.table import DENSE, MARGIN, N_WEIGHTS, some
from difficulty.stats.random_effects import random_effects
from difficulty.stats.result import Estimate, Floats

_ENOUGH = 20  # right and wrong answers each, that two models do not have in common by chance
_SAME = 1e-9  # dense margins or scores that agree to this on every item are those of one model


@dataclass(frozen=True, repr=False)
class ModelsResult:
    """Each model's verdicts (`results`, by name), and those `over` models, a claim each; `sizes`: weights, where known."""

    results: Mapping[str, FitResult]
    over: tuple[Claim, ...]
    hypothesis: Hypothesis
    sizes: Mapping[str, float]

    def headline(self) -> dict[str, Claim]:
        """The verdict over models on each claim."""
        return {claim.claim: claim for claim in self.over}

    def __repr__(self) -> str:
        return "\n".join((self.title, str(self.hypothesis), *map(str, self.over)))

    @property
    def trainings(self) -> dict[str, tuple[str, ...]]:
        """Name -> models that are trainings of it, where there are several."""
        return {base: names for base, names in trainings(self.results).items() if len(names) > 1}

    @property
    def kind(self) -> str:
        """What the verdicts are over: `"trainings"` where all models are trainings of one, else `"models"`."""
        return _kind(self.results)

    @property
    def title(self) -> str:
        """How many of them there are, e.g. `"3 trainings of embedded"`, `"4 models"`."""
        of = f" of {next(iter(self.trainings))}" if self.kind == TRAININGS else ""
        return f"{len(self.results)} {self.kind}{of}"

    def notes(self) -> list[str]:
        """A sentence on each model of which there are several trainings."""
        return [
            f"{some(names)} are taken for {len(names)} trainings of one model, by their names: verdicts over them hold for trainings "
            f"like these, whose spread has {len(names) - 1} degree{'s' * (len(names) > 2)} of freedom. All are asked the same items, "
            "whose error therefore counts in full."
            for names in self.trainings.values()
        ]


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
        reason = f"the {_kind(headlines)} differ. {_by_model(headlines)}"
        return replace(found, verdict="inconclusive", reason=reason)
    verdict = verdicts.pop()
    reason = f"it is {verdict} for every {_kind(headlines)[:-1]}. {_by_model(headlines)}"
    return replace(found, verdict=verdict, reason=reason)


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
        scale: _effect({name: observed_effect(c, scale) for name, c in usable.items()}, rules)
        for scale in scales
    }
    held = {name: str(c.details["held_back"]) for name, c in usable.items() if c.details.get("held_back")}
    remark = _by_model(usable) + (f" Not judged: {some(left_out)}." if left_out else "")
    against = ""
    if 3 * len(held) > len(usable):
        name, why = next(iter(held.items()))
        against = f"{len(held)} of {len(usable)} {_kind(usable)} hold it back, e.g. {name}: {why}"
    evidence = Evidence(
        claim, Scope(method, headline=True), first.unit, effects, against=against, remark=remark, about=_about(usable),
        details={"models": {name: c.estimate for name, c in usable.items()}, "held_back_in": held},
    )  # fmt: skip
    delta = {"P1": rules.delta, "P3": rules.delta_level}.get(claim, rules.delta_tier)
    rule = f"{STATEMENTS[claim]}: random effects over {_kind(usable)}"
    return judge(evidence, evidence.p, rules, delta, rule)


def _kind(models: Iterable[str]) -> str:
    return TRAININGS if len(models := list(models)) > 1 and len(trainings(models)) == 1 else "models"


def _about(models: Iterable[str]) -> str:
    """What a verdict over some models holds for."""
    names = list(models)
    if _kind(names) == TRAININGS:
        return f"trainings like these ({len(names)})"
    n = len(trainings(names))
    return (
        f"models like these ({n})" if n >= ENOUGH_FAMILIES else f"these {n} models" if n > 1 else "one model"
    )


def _by_model(headlines: Mapping[str, Claim | None]) -> str:
    words = ", ".join(f"{name} {claim.verdict}" for name, claim in headlines.items() if claim is not None)
    return f"By {_kind(headlines)[:-1]}: {words}."


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


def _effect(observed: Mapping[str, Mapping[str, Any]], rules: Rules) -> Effect:
    """Over models, from what was observed of each (by name); trainings of one model are put together before."""
    own = [_of_one([observed[name] for name in names], rules) for names in trainings(observed).values()]
    if len(own) == 1 and len(observed) > 1:
        return own[0]
    effects, errors, items, clusters = _as_arrays([effect.deciding for effect in own], rules)
    n_items, n_clusters = sum(items), sum(clusters)
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


def _of_one(observed: Sequence[Mapping[str, Any]], rules: Rules) -> Effect:
    """The effect of one model: its own, or that over its trainings."""
    estimates = [Estimate(**{**found, "over": tuple(found["over"])}) for found in map(_plain, observed)]
    if len(estimates) == 1:
        return Effect(estimates[0])
    return over_trainings(*_as_arrays(estimates, rules), rules.confidence)


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is an estimate in the details of a claim; random effects beside it are left out."""
    return {field.name: found[field.name] for field in fields(Estimate)}


def _as_arrays(estimates: Sequence[Estimate], rules: Rules) -> tuple[Floats, Floats, list[int], list[int]]:
    """Effects, standard errors, numbers of items and of clusters."""
    return (
        np.array([e.estimate for e in estimates]),
        np.array([_standard_error(e, rules.confidence) for e in estimates]),
        [e.n_items for e in estimates],
        [e.n_clusters for e in estimates],
    )


def _standard_error(observed: Estimate, confidence: float) -> float:
    """The standard error that an interval stands for, by the normal quantile: too large where it has few degrees of freedom."""
    z = float(special.ndtri((1 + confidence) / 2))
    return (observed.ci_high - observed.ci_low) / (2 * z)


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
