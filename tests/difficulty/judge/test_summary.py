"""What a fit says in rows: scales, margins, models by size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from difficulty.judge.fit import FitResult, fit
from difficulty.judge.over_models import fit_models
from difficulty.judge.summary import margin_text, margins, models_by_size, scale_rows
from difficulty.judge.verdicts import Hypothesis
from difficulty.runs.read import Runs, read_runs
from difficulty.simulate.draw import tidy
from difficulty.simulate.world import Arm, World

PRUNED = Arm("magnitude", levels=(0.3, 0.5), losses=(0.6, 1.2), share=0.3)
ROUNDED = Arm("rtn", bits=(8.0, 3.0), losses=(0.2, 1.0))


def world(*arms: Arm, model: str = "m", families: int = 4) -> World:
    return World(model=model, families=families, tiers=3, items=40, arms=arms)


@pytest.fixture(scope="module")
def result() -> FitResult:
    return fit(tidy(world(PRUNED, ROUNDED), 0), n_resamples=200)


def test_scales_that_decide_come_first_with_both_forms(result: FitResult) -> None:
    claim = result.headline()["P2"]
    rows = scale_rows(claim)
    decide = [row for row in rows if row.decides]
    assert rows[: len(decide)] == decide and [row.scale[0] for row in decide] == ["T", "S", "A"]
    found = claim.details["scales"]["T"]
    first = decide[0]
    assert first.these is not None and first.like is not None and first.prediction is not None
    assert first.these.estimate == found["these"]["estimate"]
    assert tuple(first.like) == (claim.estimate, claim.ci_low, claim.ci_high)
    assert first.prediction == (found["like"]["prediction_low"], found["like"]["prediction_high"])
    assert first.over == ("items", "4 families")
    assert sum(int(part.split()[1]) for part in first.shares.split(", ")) == pytest.approx(100, abs=1)
    # what is shown beside is of the form that decides: families like these
    assert all(row.these is None and row.like is not None for row in rows[len(decide) :])


def test_with_few_families_all_scales_are_about_these() -> None:
    claim = fit(tidy(world(PRUNED, families=2), 0), n_resamples=200).headline()["P2"]
    rows = scale_rows(claim)
    assert any(not row.decides for row in rows)
    assert all(row.these is not None and row.like is None and row.prediction is None for row in rows)


def test_what_was_not_estimated_has_no_scales(result: FitResult) -> None:
    assert scale_rows(result.headline()["P5"]) == []


def test_margins_are_means_over_families(result: FitResult) -> None:
    found = margins(result)
    assert found is not None and found.states == ("0.3", "0.5") and found.tiers == (1, 2, 3)
    cells = result.cells[(result.cells["method"] == "magnitude") & (result.cells["level"] == 0.5)]
    by_tier = cells.groupby("tier")[["sd_ratio", "margin_correlation"]].mean()
    assert found.sd_ratio[:, 1] == pytest.approx(by_tier["sd_ratio"].to_numpy())
    assert found.correlation[:, 1] == pytest.approx(by_tier["margin_correlation"].to_numpy())


def test_margins_of_rounding_stand_by_bits_the_mildest_first() -> None:
    found = margins(fit(tidy(world(ROUNDED), 0), n_resamples=200))
    assert found is not None and found.method == "rtn"
    assert found.states == ("8 bits", "3 bits") and np.isfinite(found.sd_ratio).all()


def test_without_margins_there_is_nothing_to_show() -> None:
    table = tidy(world(PRUNED), 0)
    assert margins(fit(table[table["metric"] == "acc"], n_resamples=200)) is None


def test_what_is_not_known_is_left_out_of_a_cell() -> None:
    assert margin_text((1.204, 0.5)) == "1.20, 0.50"
    assert margin_text((float("nan"), float("nan"))) == ""


def test_the_hypothesis_is_a_sentence() -> None:
    assert str(Hypothesis("refuted", "P2 is refuted.")) == "The hypothesis is refuted: P2 is refuted."


def test_a_fit_that_is_printed_shows_the_verdicts_alone(result: FitResult) -> None:
    first, second, *lines = str(result).splitlines()
    assert first == f"m, {result.n_items:,} items in {result.n_clusters:,} clusters"
    assert second == str(result.hypothesis)
    assert [line.split(" (")[0] for line in lines] == [
        f"{name} {claim.verdict}" for name, claim in result.headline().items()
    ]
    assert f"{result.headline()['P2'].estimate:+.3f} [" in lines[1] and "p " in lines[1]


def test_runs_that_are_printed_are_their_names() -> None:
    table = tidy(world(PRUNED), 0)
    found = Runs(table, pd.DataFrame({"run": table["run"].unique()}))
    assert str(found).splitlines() == [f"3 runs, {len(table):,} rows", *found.names]


def several(sizes: dict[str, float | None], tmp_path) -> Runs:
    parts = [
        tidy(world(PRUNED, model=name), k).assign(n_weights=np.nan if size is None else size)
        for k, (name, size) in enumerate(sizes.items())
    ]
    pd.concat(parts, ignore_index=True).to_parquet(tmp_path / "t.parquet")
    return read_runs(tmp_path / "t.parquet")


def test_models_stand_by_size_and_those_of_unknown_size_last(tmp_path) -> None:
    runs = several({"unknown": None, "large": 1.4e9, "small": 70e6}, tmp_path)
    found = fit_models(runs, n_resamples=200)
    assert found.sizes == {"large": 1.4e9, "small": 70e6}
    assert models_by_size(found) == ["small", "large", "unknown"]
    p2 = scale_rows(found.headline()["P2"])[0]
    assert p2.these is None and p2.like is not None and p2.over == ("items", "3 models")
    # no model was recovered: the reason, which all share, is said once
    assert found.headline()["P5"].reason == next(iter(found.results.values())).headline()["P5"].reason


def test_the_dense_runs_count_is_the_models(tmp_path) -> None:
    runs = several({"a": 100, "b": 200}, tmp_path)
    own = runs.runs["method"] != "dense"
    packed = runs.runs.assign(n_weights=runs.runs["n_weights"].where(~own, 900))
    found = fit_models(Runs(runs.table, packed, tasks=runs.tasks), n_resamples=100, claims=["P2"])
    assert found.sizes == {"a": 100, "b": 200}
