"""The plots: what they draw is what was measured, and every series can be told apart without colour."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from difficulty.judge.fit import FitResult, fit
from junkdna_harness.report import plots as drawing
from junkdna_harness.report.curves import Measured, measure, score_curve
from junkdna_harness.report.figures import Plot, finish
from tests.report.synthetic import tidy

RECOVERED = ("dense+dense_transfer", "magnitude+sparse_transfer")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return tidy(
        methods=("magnitude", "wanda"),
        levels=(0.0, 0.3, 0.6),
        bits=(8.0, 4.0, 2.0),
        n_items=40,
        model="$m_1$ <x>",
    )


@pytest.fixture(scope="module")
def measured(table: pd.DataFrame) -> Measured:
    return measure(table, {}, "$m_1$ <x>")


def test_the_points_are_the_plain_means_over_families(table: pd.DataFrame, measured: Measured) -> None:
    curve = score_curve(measured, measured.of_kind("pruned")[0], measured.cells(tier=3), "tier 3")
    acc = table[
        (table["metric"] == "acc") & (table["tier"] == 3) & table["method"].isin(("dense", "magnitude"))
    ]
    expected = acc.groupby(["level", "family"])["value"].mean().groupby("level").mean()
    assert curve.x == pytest.approx(expected.index.to_numpy())
    assert curve.seen == pytest.approx(expected.to_numpy())
    assert (np.diff(curve.fit) <= 1e-12).all()
    assert ((curve.low <= curve.fit + 1e-12) & (curve.fit <= curve.high + 1e-12)).all()


def test_a_band_has_a_width_where_all_answers_are_right(table: pd.DataFrame) -> None:
    right = table.copy()
    right.loc[right["metric"] == "acc", "value"] = 1.0
    found = measure(right, {}, "$m_1$ <x>")
    curve = score_curve(found, found.of_kind("pruned")[0], found.cells(tier=3), "tier 3")
    assert (curve.seen == 1).all() and (curve.low < 0.97).all()


def plots(measured: Measured, judged: FitResult | None = None) -> list[Plot]:
    made = [*drawing.figures(measured), *(drawing.figures_of_fit(judged) if judged else ())]
    return [finish(name, figure) for name, figure in made]


def test_all_plots_are_made_with_titles_that_count_the_items(table: pd.DataFrame, measured: Measured) -> None:
    made = plots(measured, fit(table, n_resamples=100))
    assert [plot.name for plot in made] == [
        "score_vs_sparsity", "score_by_family", "drop_heatmap", "equal_memory", "critical_sparsity",
    ]  # fmt: skip
    for plot in made:
        assert "320 items" in plot.alt
        assert plot.svg.startswith(b"<?xml")
        assert plot.png.startswith(b"\x89PNG")
    assert [p.svg for p in plots(measured, fit(table, n_resamples=100))] == [p.svg for p in made]


def test_without_quantized_runs_or_a_fit_their_plots_are_left_out(table: pd.DataFrame) -> None:
    some = measure(table[table["method"] != "rtn"], {}, "$m_1$ <x>")
    assert {plot.name for plot in plots(some)} == {
        "score_vs_sparsity",
        "score_by_family",
        "drop_heatmap",
    }


def test_the_recovery_gap_is_dense_minus_sparse_after_equal_training() -> None:
    base = tidy(families=("addition",), levels=(0.0, 0.5), n_items=30)
    dense, sparse = (base[base["method"] == m] for m in ("dense", "magnitude"))
    extra = [
        dense.assign(method=RECOVERED[0], run="dt"),
        sparse.assign(method=RECOVERED[1], run="st", value=np.where(sparse["metric"] == "acc", 0.0, -1.0)),
    ]
    measured = measure(pd.concat([base, *extra]), {}, "tiny")
    from junkdna_harness.report.curves import recovery_gaps

    ((label, tiers, gap, low, high),) = recovery_gaps(measured)
    acc = dense[dense["metric"] == "acc"].groupby("tier")["value"].mean()
    assert label == "sparse transfer at 50 %"
    assert tiers == [1, 2, 3, 4]
    assert gap == pytest.approx(acc.to_numpy())
    assert ((low <= gap) & (gap <= high)).all()
    assert "recovery_gap" in {plot.name for plot in plots(measured)}


def test_markers_and_lines_differ_where_colours_do() -> None:
    assert len(set(drawing.MARKERS[:7])) == len(drawing.NAMES)
    pairs = {
        (drawing.MARKERS[k % len(drawing.MARKERS)], str(drawing.DASHES[k % len(drawing.DASHES)]))
        for k in range(12)
    }
    assert len(pairs) >= 10


@pytest.mark.slow
def test_no_label_is_cut_off_and_no_panel_is_empty(table: pd.DataFrame, measured: Measured) -> None:
    from matplotlib import image

    for plot in plots(measured, fit(table, n_resamples=100)):
        pixels = image.imread(io.BytesIO(plot.png))[..., :3]
        edge = np.concatenate(
            [
                pixels[:2].reshape(-1, 3),
                pixels[-2:].reshape(-1, 3),
                pixels[:, :2].reshape(-1, 3),
                pixels[:, -2:].reshape(-1, 3),
            ]
        )
        assert (edge > 0.98).all(), f"{plot.name} touches its border"
        for half in np.array_split(pixels, 2, axis=1):
            assert (half < 0.9).any(axis=2).mean() > 0.005, f"{plot.name} has an empty half"
