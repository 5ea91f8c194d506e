"""The plots: what they draw is what was measured, and every series can be told apart without colour."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from difficulty.judge.fit import FitResult, fit
from junkdna_harness.report import plots as drawing
from junkdna_harness.report.curves import Measured, measure, score_curve
from junkdna_harness.report.figures import Finisher, Plot
from junkdna_harness.report.lead import matched_damage
from junkdna_harness.report.style import DASHES, MARKERS, NAMES
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
    finisher = Finisher(page=False)
    critical = drawing.critical_sparsity(judged) if judged else None
    for picture in (*drawing.pictures(measured), *([critical] if critical else [])):
        finisher.add(picture.name, picture)
    return list(finisher.plots().values())


def test_all_plots_are_made_with_titles_that_count_the_items(table: pd.DataFrame, measured: Measured) -> None:
    made = plots(measured, fit(table, n_resamples=100))
    assert [plot.name for plot in made] == [
        "score_by_level", "loss_at_matched_damage", "score_by_family", "drop_heatmap", "equal_memory", "critical_sparsity",
    ]  # fmt: skip
    for plot in made:
        assert "320 items" in plot.alt
        assert plot.svg.startswith(b"<?xml")
        assert plot.png.startswith(b"\x89PNG") and plot.pdf.startswith(b"%PDF")
    assert [p.svg for p in plots(measured, fit(table, n_resamples=100))] == [p.svg for p in made]


def test_without_quantized_runs_or_a_fit_their_plots_are_left_out(table: pd.DataFrame) -> None:
    some = measure(table[table["method"] != "rtn"], {}, "$m_1$ <x>")
    assert {plot.name for plot in plots(some)} == {
        "score_by_level",
        "loss_at_matched_damage",
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


def test_scores_after_training_are_shares_of_the_dense_model_trained_as_long() -> None:
    base = tidy(families=("addition",), levels=(0.0, 0.3, 0.5), n_items=30)
    right = base["metric"] == "acc"
    half = base.assign(
        value=np.where(right, base["value"] * (base.groupby("item_id").cumcount() % 2), base["value"])
    )
    parts = [base]
    for share in ("", "@0.1"):
        parts += [base[base["method"] == "dense"].assign(method=RECOVERED[0] + share, run=f"dt{share}")]
        parts += [
            half[(half["method"] == "magnitude") & (half["level"] == level)].assign(method=RECOVERED[1] + share, run=f"st{share} {level}")
            for level in (0.3, 0.5)
        ]  # fmt: skip
    measured = measure(pd.concat(parts), {}, "tiny")
    from junkdna_harness.report.after_training import after_training

    found = after_training(measured)
    assert [one.title for one in found[:3]] == [
        "addition, tier 1, 100 % of the data", "addition, tier 1, 10 % of the data", "addition, tier 2, 100 % of the data",
    ]  # fmt: skip
    (way,) = found[0].ways
    scores = {
        k: measured.draws.score[0, measured.cells(tier=1)[0], k]
        for k, one in enumerate(measured.draws.conditions)
        if one.kind == "recovered" and one.done.recoveries[0].share == 1
    }
    dense, *sparse = scores.values()
    assert way.label == "sparse transfer" and list(way.levels) == [0.3, 0.5]
    assert way.kept == pytest.approx(np.array(sparse) / dense)
    assert ((way.low <= way.kept) & (way.kept <= way.high)).all()
    assert "score_after_training" in {plot.name for plot in plots(measured)}


def test_one_level_after_training_is_no_curve() -> None:
    base = tidy(families=("addition",), levels=(0.0, 0.5), n_items=30)
    dense, sparse = (base[base["method"] == m] for m in ("dense", "magnitude"))
    extra = [dense.assign(method=RECOVERED[0], run="dt"), sparse.assign(method=RECOVERED[1], run="st")]
    assert "score_after_training" not in {
        plot.name for plot in plots(measure(pd.concat([base, *extra]), {}, "tiny"))
    }


def test_markers_and_lines_differ_where_colours_do() -> None:
    assert len(set(MARKERS[:7])) == len(NAMES)
    pairs = {(MARKERS[k % len(MARKERS)], str(DASHES[k % len(DASHES)])) for k in range(12)}
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


CHANCES = {1: 0.5, 2: 0.25, 3: 0.2, 4: 0.1}


def panel(picture: Any, number: int = 0) -> Axes:
    return list(picture.apart())[number][2].axes[0]


def dotted(axes: Axes) -> dict[float, str]:
    """Height and colour of the lines of chance."""
    return {
        round(float(line.get_ydata()[0]), 6): str(to_hex(line.get_color()))
        for line in axes.lines
        if len(line.get_ydata()) == 2 and line.get_linewidth() == 1.0
    }


def test_each_tier_has_its_own_line_of_chance_in_its_colour(table: pd.DataFrame) -> None:
    found = measure(table.assign(chance=table["tier"].map(CHANCES)), {}, "$m_1$ <x>")
    for picture in (drawing.score_by_level(found), drawing.score_by_family(found)):
        assert picture is not None
        axes = panel(picture)
        lines = dotted(axes)
        assert sorted(lines) == sorted(CHANCES.values())
        assert len(set(lines.values())) == 4  # the harder the darker
        labels = axes.get_legend_handles_labels()[1]
        assert labels.count("chance") == 1 and labels.count("dense") == 1
    memory = drawing.equal_memory(found)
    assert memory is not None
    assert [list(dotted(panel(memory, k))) for k in range(4)] == [[c] for c in CHANCES.values()]


def test_the_primary_method_stands_beside_its_controls_and_the_others_come_later() -> None:
    table = tidy(methods=("magnitude", "wanda", "random", "largest"), levels=(0.0, 0.4, 0.6), n_items=30)
    made = {picture.name: picture for picture in drawing.pictures(measure(table, {}, "tiny"))}
    assert [one.title for one in made["score_by_level"].panels] == ["magnitude", "largest", "random"]
    assert [one.title for one in made["score_other_methods"].panels] == ["wanda"]
    limits = {panel(made["score_by_level"], k).get_xlim() for k in range(3)}
    assert len(limits) == 1


def test_losses_are_compared_where_their_means_are_equal() -> None:
    methods = ("magnitude", "random")
    table = tidy(methods=methods, levels=(0.0, 0.2, 0.3, 0.4, 0.5, 0.6), n_items=200)
    faster = table[table["method"] == "random"].assign(
        level=lambda t: t["level"] / 2
    )  # the same losses at half the levels
    measured = measure(pd.concat([table[table["method"] != "random"], faster]), {}, "tiny")
    (mild, heavy) = matched_damage(measured)
    assert mild.loss < heavy.loss and abs(mild.loss - 0.1) < 0.1
    for damage in (mild, heavy):
        assert [row[0] for row in damage.rows] == ["magnitude", "random"]
        for _, loss, low, high in damage.rows:
            assert loss.mean() == pytest.approx(damage.loss)
            assert ((low <= loss) & (loss <= high)).all()
    short = table[(table["method"] != "random") | (table["level"] == 0.6)]
    lonely = matched_damage(measure(short, {}, "tiny"))
    assert all(
        damage.loss > 0.2 for damage in lonely
    )  # from 0 to the only level nothing is known of small losses


def test_seeds_are_a_band_and_matched_levels_are_ringed() -> None:
    table = tidy(methods=("magnitude", "random"), levels=(0.0, 0.4), n_items=40)
    again = table[table["method"] == "random"].assign(replicate=1, run="again")
    again.loc[again["metric"] == "acc", "value"] = 0.0
    chosen = "tiny-random-0.4"
    measured = measure(pd.concat([table, again]), {}, "tiny", matched=[chosen])
    ours, control = measured.of_kind("pruned")
    cells = measured.cells(tier=2)
    curve = score_curve(measured, control, cells, "")
    first = table[(table["run"] == chosen) & (table["tier"] == 2) & (table["metric"] == "acc")]
    assert curve.seeds is not None and curve.matched.tolist() == [False, True]
    assert curve.seeds[0][1] == 0 and curve.seeds[1][1] == pytest.approx(first["value"].mean())
    assert score_curve(measured, ours, cells, "").seeds is None
    picture = drawing.score_by_level(measured)
    assert picture is not None
    labels = [set(panel(picture, k).get_legend_handles_labels()[1]) for k in (0, 1)]
    assert labels[1] - labels[0] == {"matched loss", "seeds"}


def test_critical_sparsity_has_a_panel_per_method_and_many_families_are_thin_lines(
    table: pd.DataFrame,
) -> None:
    judged = fit(table, n_resamples=100)
    picture = drawing.critical_sparsity(judged)
    assert picture is not None
    assert [one.title for one in picture.panels] == ["magnitude", "rtn", "wanda"]
    many = drawing.critical_sparsity(
        replace(judged, critical=pd.concat([judged.critical.assign(family=f"f{k}") for k in range(9)]))
    )
    assert many is not None
    assert panel(many).get_legend_handles_labels()[1] == ["each of 9 families", "mean"]


@pytest.mark.parametrize(
    ("levels", "last", "log", "high", "ticks"),
    [
        ((0, 0.3, 0.6), 0.9, False, 1.04 * 0.9, None),
        ((0, 0.02, 0.1), 0.9, False, 1.04 * 0.1, None),  # far below what the others reach
        ((0,), 0.9, False, 1.04 * 0.9, None),
        ((0, 8e-7, 3e-6, 0.002, 0.1), 0.5, True, 0.16, ["0", "1e-06", "0.0001", "0.01"]),
    ],
)
def test_each_panel_has_an_axis_on_which_its_levels_can_be_told_apart(
    levels: tuple[float, ...], last: float, log: bool, high: float, ticks: list[str] | None
) -> None:
    axes = Figure().add_subplot()
    assert drawing.severities(axes, np.array(levels), last) is log
    assert axes.get_xscale() == ("symlog" if log else "linear")
    low, end = axes.get_xlim()
    assert low < 0 and end == pytest.approx(high)
    places = axes.transData.transform([(x, 0.0) for x in (*levels, end)])[:, 0]
    assert (np.diff(places) > (5 if levels[-1] else 0)).all()  # pixels
    if ticks:
        assert [text.get_text() for text in axes.get_xticklabels()] == ticks
