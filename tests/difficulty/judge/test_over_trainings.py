"""Several trainings of one model: one observation over models, and verdicts that hold for trainings like these."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from difficulty.errors import UsageError
from difficulty.judge.fit_output import models_to_json
from difficulty.judge.over_trainings import over_trainings
from difficulty.runs.replicates import trainings
from tests.difficulty.judge.test_over_models import judged, model


def test_models_of_one_name_and_several_seeds_are_trainings() -> None:
    assert trainings(["embedded", "embedded:1", "embedded:2"]) == {
        "embedded": ("embedded", "embedded:1", "embedded:2")
    }
    assert trainings(["a:1", "b", "a:2"]) == {"a": ("a:1", "a:2"), "b": ("b",)}
    assert trainings(["a:1", "a:b", "org/a"]) == {"a:1": ("a:1",), "a:b": ("a:b",), "org/a": ("org/a",)}


def test_three_seeds_hold_for_trainings_like_these() -> None:
    found = judged(model("m", 1, 0.5), model("m:1", 2, 0.6), model("m:2", 3, 0.55))
    claim = found.headline()["P2"]
    assert (found.kind, found.title) == ("trainings", "3 trainings of m")
    assert claim.about == "trainings like these (3)"
    assert claim.over == ("items", "3 trainings")
    assert claim.n_items == 1200  # those of one training: all are asked the same
    assert "By training: m supported, m:1 supported, m:2 supported." in claim.reason
    (note,) = found.notes()
    assert note.startswith("m, m:1, m:2 are taken for 3 trainings of one model")
    assert json.loads(models_to_json(found))["trainings"] == {"m": ["m", "m:1", "m:2"]}


def test_the_interval_is_that_of_items_and_trainings_together() -> None:
    found = judged(model("m", 1, 0.5), model("m:1", 2, 0.6))
    claim = found.headline()["P2"]
    own = [r.headline()["P2"].details["scales"]["T"]["like"] for r in found.results.values()]
    effects = np.array([o["estimate"] for o in own])
    v = np.mean([((o["ci_high"] - o["ci_low"]) / (2 * 1.959964)) ** 2 for o in own])
    between = effects.var(ddof=1) / 2
    # Cochran's quantile: each part's own, weighted by its variance
    t = (v * stats.t.ppf(0.975, claim.n_clusters - 1) + between * stats.t.ppf(0.975, 1)) / (v + between)
    assert claim.estimate == pytest.approx(effects.mean())
    assert claim.ci_high - claim.estimate == pytest.approx(t * np.sqrt(v + between), rel=1e-5)


def test_trainings_are_one_model_beside_others() -> None:
    found = judged(model("m", 1), model("m:1", 2), model("a", 3), model("b", 4))
    assert (found.kind, found.title) == ("models", "4 models")
    assert found.headline()["P2"].about == "models like these (3)"
    assert found.headline()["P2"].over == ("items", "3 models")
    two = judged(model("m", 1), model("m:1", 2), model("a", 3))
    assert two.headline()["P2"].about == "these 2 models"
    assert two.trainings == {"m": ("m", "m:1")}


def test_one_training_under_two_seeds_is_refused() -> None:
    first = model("m", 1)
    with pytest.raises(UsageError, match="'m' and 'm:1' are one model under two names"):
        judged(first, first.assign(model="m:1", run=first["run"].str.replace("m ", "m:1 ", n=1)))


def test_trainings_that_differ_are_not_support() -> None:
    found = judged(model("m", 1, 0.6), model("m:1", 2, -0.4), model("m:2", 3, 0.1))
    assert found.headline()["P2"].verdict == "inconclusive"


@pytest.mark.parametrize("k", [2, 3, 5])
def test_intervals_cover_where_trainings_share_their_items(k: int) -> None:
    rng = np.random.default_rng(k)
    n, held = 1500, 0
    for _ in range(n):
        effects = 1.0 + rng.normal(0, 1) + rng.normal(0, 1, k) + rng.normal(0, 0.5, k)
        found = over_trainings(effects, np.full(k, np.sqrt(1.25)), [200] * k, [200] * k, 0.95).deciding
        held += found.ci_low <= 1.0 <= found.ci_high
    assert held / n > 0.95 - 2 * np.sqrt(0.95 * 0.05 / n)


def test_what_changes_nowhere_has_no_interval() -> None:
    found = over_trainings(np.zeros(3), np.zeros(3), [5] * 3, [5] * 3, 0.95)
    assert (found.these.estimate, found.these.ci_low, found.these.ci_high, found.p) == (0, 0, 0, 1)
