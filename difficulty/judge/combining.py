"""One effect from what was observed of several models, trainings of one model being put together before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from scipy import special

from difficulty.judge.effect import ENOUGH_FAMILIES, Effect, normal_error
from difficulty.judge.over_trainings import over_trainings
from difficulty.judge.verdicts import Claim, Rules
from difficulty.runs.replicates import trainings
from difficulty.stats.random_effects import random_effects
from difficulty.stats.result import Estimate, Floats


def observed_effect(claim: Claim, scale: str) -> dict[str, Any]:
    """A model's own effect on a scale: that of families like these where there is one."""
    return observed_in(claim.details["scales"][scale])


def observed_in(effect: Mapping[str, Any]) -> dict[str, Any]:
    """The same of an effect as JSON types (`Effect.as_dict`)."""
    own: dict[str, Any] = effect.get("like") or effect["these"]
    return {**own, "shared_error": effect.get("shared_error")}


def over_observed(observed: Mapping[str, Mapping[str, Any]], rules: Rules) -> Effect:
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
    effects, errors, items, clusters = _as_arrays(estimates, rules)
    # What was drawn for one training of the model alone, e.g. the seeds of its recovery, is in their spread already.
    shared = [found.get("shared_error") for found in observed]
    errors = np.array([e if s is None else s for e, s in zip(errors.tolist(), shared, strict=True)])
    return over_trainings(effects, errors, items, clusters, rules.confidence)


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is an estimate in the details of a claim; random effects beside it are left out."""
    return {field.name: found[field.name] for field in fields(Estimate)}


def _as_arrays(estimates: Sequence[Estimate], rules: Rules) -> tuple[Floats, Floats, list[int], list[int]]:
    """Effects, standard errors, numbers of items and of clusters."""
    return (
        np.array([e.estimate for e in estimates]),
        np.array([normal_error(e.ci_low, e.ci_high, rules.confidence) for e in estimates]),
        [e.n_items for e in estimates],
        [e.n_clusters for e in estimates],
    )
