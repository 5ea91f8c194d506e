"""Several models: each one's verdicts, and what holds over models like these.

Over models the claim's effect of each model is one observation, with its own standard error; random effects over at least three
(Hartung-Knapp), and over two the mean of the two, about these alone. Models that are one, trained with several seeds
(`difficulty.runs.replicates.trainings`), are one observation, which holds what differs between trainings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from difficulty.errors import UsageError
from difficulty.judge.budgets import BudgetCurve, over_budgets
from difficulty.judge.claims.recovery import after_training
from difficulty.judge.claims.small_weights import CONTROLS, both_controls
from difficulty.judge.combining import observed_effect, over_observed
from difficulty.judge.effect import ENOUGH_FAMILIES
from difficulty.judge.fit import FitResult, fit
from difficulty.judge.over_trainings import TRAININGS
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
from difficulty.stats.multiple import holm

_ENOUGH = 20  # right and wrong answers each, that two models do not have in common by chance
_SAME = 1e-9  # dense margins or scores that agree to this on every item are those of one model


@dataclass(frozen=True, repr=False)
class ModelsResult:
    """Each model's verdicts (`results`, by name), and those `over` models: a claim each, and P5 of each further way of recovery.

    `sizes`: weights, where known. `budgets`: what training gave back by its number of steps, over models.
    """

    results: Mapping[str, FitResult]
    over: tuple[Claim, ...]
    hypothesis: Hypothesis
    sizes: Mapping[str, float]
    budgets: tuple[BudgetCurve, ...] = ()

    def headline(self) -> dict[str, Claim]:
        """The verdict over models on each claim."""
        return {claim.claim: claim for claim in self.over if claim.scope.headline}

    def own(self, model: str, claim: Claim) -> Claim | None:
        """What a model by itself says on a claim over models: the row of the same way of recovery, else its headline."""
        found = self.results[model]
        return _way(found, claim.method) if claim.claim == "P5" else found.headline().get(claim.claim)

    def __repr__(self) -> str:
        return "\n".join((self.title, str(self.hypothesis), *map(str, self.headline().values())))

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
    over = tuple(one for claim in CLAIMS if claim in asked for one in _over(claim, results, rules))
    headline = {c.claim: c for c in over if c.scope.headline}
    return ModelsResult(
        results, over, hypothesis(headline), _sizes(runs, models),
        over_budgets({name: result.budgets for name, result in results.items()}, _about, rules),
    )  # fmt: skip


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


def _over(claim: str, results: Mapping[str, FitResult], rules: Rules) -> list[Claim]:
    """The verdicts on a claim over models, the headline first."""
    if claim == "P5":
        return _over_ways(results, rules)
    return [_over_controls(results, rules) if claim == "P6" else _over_headlines(claim, results, rules)]


def _over_ways(results: Mapping[str, FitResult], rules: Rules) -> list[Claim]:
    """P5 over models: each way of recovery by itself, p corrected over them as for one model.

    The headline is about the way that most models were judged on, of these the one that comes first in a model's own order.
    """
    judged: dict[str, int] = {}
    for result in results.values():
        for own in result.claims:
            if own.claim == "P5" and own.scope.pooled and own.estimate is not None:
                judged[own.method] = judged.get(own.method, 0) + 1
    if not judged:
        return [_over_headlines("P5", results, rules)]
    first = max(judged, key=judged.__getitem__)
    evidence = []
    for method in (first, *(name for name in judged if name != first)):
        own_rows = {name: _way(result, method) for name, result in results.items()}
        found = _evidence("P5", own_rows, rules, method == first)
        if isinstance(found, Evidence):
            evidence.append(found)
    corrected = holm(np.array([one.p for one in evidence])).tolist()
    claims = [_judged(one, p, rules) for one, p in zip(evidence, corrected, strict=True)]
    return [after_training(claim, str(claim.details.get("trained", ""))) for claim in claims]


def _way(result: FitResult, method: str) -> Claim | None:
    """P5 of one way of recovery, pooled; None where it was not tested."""
    rows = (c for c in result.claims if c.claim == "P5" and c.scope.pooled and c.method == method)
    return next(rows, None)


def _over_headlines(claim: str, results: Mapping[str, FitResult], rules: Rules) -> Claim:
    """The verdict on a claim over models, by the effects that their headlines stand on."""
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
    """The verdict on what `_evidence` puts together."""
    evidence = _evidence(claim, headlines, rules)
    return _judged(evidence, evidence.p, rules) if isinstance(evidence, Evidence) else evidence


def _judged(evidence: Evidence, p: float, rules: Rules) -> Claim:
    delta = {"P1": rules.delta, "P3": rules.delta_level}.get(evidence.claim, rules.delta_tier)
    rule = f"{STATEMENTS[evidence.claim]}: random effects over {_kind(evidence.details['models'])}"
    return judge(evidence, p, rules, delta, rule)


def _evidence(
    claim: str, headlines: Mapping[str, Claim | None], rules: Rules, headline: bool = True
) -> Evidence | Claim:
    """The effects of all models that have one, combined; what holds more than a third of the models back holds this back.

    One method is judged: that of most models, of these the first one's. Without any effect, the claim that it is not tested.
    """
    known = {
        name: c
        for name, c in headlines.items()
        if c is not None and c.details.get("scales") and c.estimate is not None
    }
    if not known:
        method = next((c.method for c in headlines.values() if c is not None), "")
        return not_tested(claim, method, _why_none(headlines))
    methods = [c.method for c in known.values()]
    method = max(methods, key=methods.count)
    usable = {name: c for name, c in known.items() if c.method == method}
    left_out = [name for name in headlines if name not in usable]
    first = next(iter(usable.values()))
    scales = [s for s in first.details["scales"] if all(s in c.details["scales"] for c in usable.values())]
    effects = {
        scale: over_observed({name: observed_effect(c, scale) for name, c in usable.items()}, rules)
        for scale in scales
    }
    held = {name: str(c.details["held_back"]) for name, c in usable.items() if c.details.get("held_back")}
    remark = _by_model(usable) + (f" Not judged: {some(left_out)}." if left_out else "")
    against = ""
    if 3 * len(held) > len(usable):
        name, why = next(iter(held.items()))
        against = f"{len(held)} of {len(usable)} {_kind(usable)} hold it back, e.g. {name}: {why}"
    budgets = {(c.details.get("steps"), c.details.get("trained")) for c in usable.values()}
    steps, trained = budgets.pop() if len(budgets) == 1 else (None, None)
    return Evidence(
        claim, Scope(method, headline=headline), first.unit, effects, against=against, remark=remark, about=_about(usable),
        details={
            "models": {name: c.estimate for name, c in usable.items()}, "held_back_in": held,
            **({"steps": steps, "trained": trained} if trained else {}),
        },
    )  # fmt: skip


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
