"""Several models in one report: verdicts over models first, then each model's, and the forest plots of both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from difficulty.simulate.draw import tidy
from difficulty.simulate.world import Arm, World
from junkdna_harness.report import forest as drawing
from junkdna_harness.report import verdicts
from junkdna_harness.report.build import Report, build
from junkdna_harness.report.curves import measure
from junkdna_harness.report.figures import write_plots
from junkdna_harness.report.forest import Forest, over_families, over_models
from junkdna_harness.report.formats import markdown_page
from junkdna_harness.report.html import render
from junkdna_harness.report.trainings import over_trainings, scores_of
from tests.report.test_page import HOSTILE, Collector

SIZES = (410_000_000, 70_000_000, 1_400_000_000)


def world(model: str, share: float, families: int = 3) -> World:
    arms = (
        Arm("magnitude", levels=(0.3, 0.5), losses=(0.6, 1.2), share=share),
        Arm("random", (0.3, 0.5), (0.6, 1.2)),
    )
    return World(model=model, families=families, tiers=3, items=40, arms=arms)


def tables(names: Sequence[str], sizes: Sequence[float] | None = None) -> pd.DataFrame:
    parts = [tidy(world(name, 0.1 + 0.2 * k), k) for k, name in enumerate(names)]
    if sizes is not None:
        parts = [part.assign(n_weights=size) for part, size in zip(parts, sizes, strict=True)]
    return pd.concat(parts, ignore_index=True)


def report_of(table: pd.DataFrame, folder: Path, **options: Any) -> Report:
    table.to_parquet(folder / "t.parquet")
    return build([folder / "t.parquet"], with_documents=False, **options)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    names = [f"{letter} {HOSTILE}" for letter in "abc"]
    return report_of(tables(names, SIZES), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page_text(report: Report) -> str:
    return render(report)


def test_verdicts_over_models_come_first(report: Report, page_text: str) -> None:
    assert report.over is not None and len(report.fits) == 3
    heads = re.findall(r"<h3>(.*?)</h3>", page_text.split('<section id="tables">')[0], re.DOTALL)
    assert [head[:4] for head in heads] == ["Over", "a &l", "b &l", "c &l"]
    lines = re.findall(r'<p class="hypothesis.*?</p>', page_text)
    said = [report.over.hypothesis, *(fit.hypothesis for fit in report.fits)]
    assert len(lines) == 4
    assert all(
        f"The hypothesis is {one.verdict}: {one.reason}" in line
        for line, one in zip(lines, said, strict=True)
    )
    assert "In models like these (3)" in page_text


def test_models_are_listed_by_size_with_verdict_and_estimate(report: Report) -> None:
    first = verdicts.blocks(report.fits, report.over)[0]
    rows = first["models"]["rows"]
    assert [(row["model"][0], row["size"]) for row in rows] == [("b", "70 M"), ("a", "410 M"), ("c", "1.4 B")]
    p2 = first["models"]["claims"].index("P2")
    for row in rows:
        claim = next(fit for fit in report.fits if fit.model == row["model"]).headline()["P2"]
        assert (
            claim.verdict in row["cells"][p2]["text"]
            and f"{claim.estimate:.3g} [" in row["cells"][p2]["number"]
        )


def test_hostile_names_are_text_everywhere(page_text: str) -> None:
    parsed = Collector()
    parsed.feed(page_text)
    tags = [tag for tag, _ in parsed.tags]
    scripts = [attributes.get("type") for tag, attributes in parsed.tags if tag == "script"]
    assert scripts.count(None) == 1 and set(scripts) == {None, "application/json"}
    assert tags.count("img") > tags.count("figure") > 6
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on")], tag


def test_the_forest_has_a_row_per_model_and_their_mean(report: Report) -> None:
    assert report.over is not None
    panels = over_models(report.over)
    assert [panel.claim for panel in panels] == ["P2", "P6", "P3"]
    drawn = drawing.forest(panels, "forest", "heading", "")
    assert drawn is not None
    names = [label.get_text() for label in next(drawn.apart())[2].axes[0].get_yticklabels()]
    assert [name[0] for name in names] == ["b", "a", "c", "m"] and names[0].endswith("(70 M)")
    for panel in panels:
        over = report.over.headline()[panel.claim]
        assert tuple(panel.mean) == pytest.approx((over.estimate, over.ci_low, over.ci_high))
        assert panel.prediction is not None and panel.prediction[0] <= panel.mean.low + 1e-12
        fits = {fit.model[0]: fit.headline()[panel.claim] for fit in report.fits}
        for name, bounds in panel.rows:
            claim = fits[name[0]]
            assert (bounds is None) == (claim.estimate is None)
            if bounds is not None:
                assert tuple(bounds) == pytest.approx((claim.estimate, claim.ci_low, claim.ci_high))


def test_lines_stand_at_0_and_at_delta_and_all_is_within_the_axis(report: Report) -> None:
    assert report.over is not None
    panels = over_models(report.over)
    picture = drawing.forest(panels, "forest", "heading", "")
    assert picture is not None
    for axes, panel in zip(picture.whole().axes, panels, strict=True):
        upright = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
        assert upright[:2] == [0, {"P3": 0.02}.get(panel.claim, 0.1)]
        low, high = axes.get_xlim()
        shown = [value for _, row in panel.rows if row is not None for value in (row.estimate,)]
        assert all(low < value < high for value in (0, panel.delta, *panel.mean, *shown))


def test_an_interval_without_end_is_cut_off_with_an_arrow() -> None:
    wide = Forest(
        "P2", "refuted", "log-odds", "T", 0.1, (("a", drawing.Bounds(0.1, -50.0, np.inf)), ("b", None)),
        drawing.Bounds(0.1, 0.0, 0.2), "this family", None,
    )  # fmt: skip
    picture = drawing.forest([wide], "forest", "heading", "")
    assert picture is not None
    axes = picture.whole().axes[0]
    assert axes.get_xlim()[1] - axes.get_xlim()[0] < 1
    assert [line.get_marker() for line in axes.lines if line.get_marker() in "<>"] == ["<", ">"]
    assert [text.get_text() for text in axes.texts] == ["not judged"]


def test_families_have_their_own_forest(report: Report) -> None:
    fit = report.fits[2]
    panels = over_families(fit)
    assert [panel.claim for panel in panels] == ["P2", "P6"]
    for panel in panels:
        headline = fit.headline()[panel.claim]
        assert len(panel.rows) == 3
        assert tuple(panel.mean) == pytest.approx((headline.estimate, headline.ci_low, headline.ci_high))
        method = headline.details.get("shown", headline.method)
        own = {
            c.scope.family: None if c.estimate is None else (c.estimate, c.ci_low, c.ci_high)
            for c in fit.claims
            if c.claim == panel.claim and c.scope.family and c.method == method
        }
        assert any(own.values()) and len(own) == 3
        for name, bounds in panel.rows:
            assert own[name] == (None if bounds is None else pytest.approx(tuple(bounds)))


def test_each_plot_has_a_file_of_its_own(report: Report, tmp_path: Path) -> None:
    names = [plot.name for plot in report.plots]
    assert len(set(names)) == len(names) and names[0] == "forest_models"
    assert sum(name.startswith("forest_families") for name in names) == 3
    written = write_plots(report.plots, tmp_path)
    assert len(set(written)) == 3 * len(names) == len(list(tmp_path.iterdir()))


def test_markdown_has_the_hypothesis_first_and_whole_tables(report: Report) -> None:
    text = markdown_page(report.boards, (), verdicts.markdown(report.fits, report.over))
    assert text.count("The hypothesis is") == 4 and text.index("The hypothesis is") < text.index("### By")
    assert "<script" not in text.replace("\\<script", "")
    for line in text.split("### By")[0].splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 8, line


def test_two_models_are_about_these_two_alone(tmp_path: Path) -> None:
    found = report_of(tables(["a", "b"]), tmp_path)
    assert found.over is not None and "In these 2 models" in render(found)
    panels = over_models(found.over)
    assert panels and all(panel.prediction is None and len(panel.rows) == 2 for panel in panels)
    assert [name for name, _ in panels[0].rows] == ["a", "b"]


def test_one_model_under_two_names_is_told_and_each_is_judged(tmp_path: Path) -> None:
    one = tidy(world("a", 0.2), 0)
    twice = pd.concat([one, one.assign(model="b", run="b" + one["run"].str[1:])], ignore_index=True)
    found = report_of(twice, tmp_path, with_plots=False)
    assert found.over is None and [fit.model for fit in found.fits] == ["a", "b"]
    assert [w for w in found.warnings if "no verdicts over models" in w and "one model under two names" in w]


def test_a_model_that_cannot_be_judged_leaves_the_others_their_verdicts(tmp_path: Path) -> None:
    table = tables(["a", "b"])
    table = table[(table["model"] == "a") | (table["method"] == "dense")]
    found = report_of(table, tmp_path, with_plots=False)
    assert found.over is None and [fit.model for fit in found.fits] == ["a"]
    assert [w for w in found.warnings if w.startswith("no verdicts on b:")]
    assert render(found).count('<p class="hypothesis') == 1


def test_verdicts_know_the_noise_floor(tmp_path: Path) -> None:
    table = pd.concat([tidy(world(name, 0.2), k) for k, name in enumerate("ab")], ignore_index=True)
    table = table.drop(columns="run")
    dense = table[table["method"] == "dense"]
    same = dense.assign(method="magnitude", level=0.1)
    again = dense.assign(noise_floor=True)
    again.loc[(again["metric"] == "acc") & (np.arange(len(again)) % 5 == 0), "value"] = 0.0
    known = pd.concat([table, same], ignore_index=True).assign(noise_floor=False)
    found = report_of(pd.concat([known, again], ignore_index=True), tmp_path, with_plots=False)
    assert [fit.model for fit in found.fits] == ["a", "b"] and found.over is not None
    for fit in found.fits:
        assert fit.cells.loc[fit.cells["level"] == 0.1, "within_noise"].all()
    plain = report_of(known, tmp_path, with_plots=False)
    assert not any(fit.cells["within_noise"].any() for fit in plain.fits)


def test_seeds_of_one_model_are_shown_as_its_trainings(tmp_path: Path) -> None:
    found = report_of(tables(["m", "m:1", "m:2"]), tmp_path)
    page = render(found)
    assert "Over 3 trainings of m: m, m:1, m:2" in page
    assert "In trainings like these (3)" in page and "models like these" not in page
    assert "m, m:1, m:2 are taken for 3 trainings of one model" in page
    assert "Verdicts: Over 3 trainings of m: m, m:1, m:2" in verdicts.markdown(found.fits, found.over)
    assert [plot.name for plot in found.plots if plot.name == "forest_models"]
    (plot,) = [plot for plot in found.plots if plot.name == "score_over_trainings"]
    assert [panel.alt for panel in plot.panels] == ["magnitude", "random"] and "3 trainings" in plot.alt
    assert page.index('<figure id="score_over_trainings">') < page.index('<figure id="score_by_level_1">')


def test_trainings_are_a_mean_with_a_band_from_the_lowest_to_the_highest() -> None:
    found = []
    for k, name in enumerate(("m", "m:1", "m:2")):
        table = tables([name]).assign(run=lambda t: t["run"])
        right = (table["metric"] == "acc") & (table["method"] == "magnitude") & (table["tier"] == 2)
        table.loc[right, "value"] = [0.0, 1.0, 1.0][k]
        found.append(scores_of(measure(table, {}, name)))
    picture = over_trainings("m", found)
    assert picture is not None
    axes = next(picture.apart())[2].axes[0]
    means = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3]
    assert any(np.allclose(np.asarray(mean)[1:], 2 / 3) for mean in means)
    bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
    assert any(band.min() == 0 and band.max() == 1 for band in bands)
    assert over_trainings("m", [found[0], replace(found[1], curves={})]) is None
