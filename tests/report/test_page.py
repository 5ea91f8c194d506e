"""The HTML report: in a real browser where there is one, and by parsing where there is none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from junkdna_harness.report.build import Report, build
from junkdna_harness.report.html import render
from tests.report.synthetic import COLUMNS, item_hash, tidy

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> | `$x$` \u2028"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    table = tidy(
        methods=("magnitude", "wanda"),
        levels=(0.0, 0.3, 0.6),
        bits=(4.0, 2.0),
        n_items=40,
        model="tiny " + HOSTILE,
    )
    table["prompt"] = HOSTILE + table["item_id"].str[:8]
    table["target"] = HOSTILE
    table["answer"] = HOSTILE
    path = tmp_path_factory.mktemp("runs") / "table.parquet"
    table.to_parquet(path)
    return build([path])


@pytest.fixture(scope="module")
def page_text(report: Report) -> str:
    return render(report)


class Collector(HTMLParser):
    """Tags and attributes as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_one_file_without_links_to_elsewhere(page_text: str) -> None:
    parsed = Collector()
    parsed.feed(page_text)
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "action"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, target)
        assert not [name for name in attributes if name.startswith("on")], tag
    assert [tag for tag, _ in parsed.tags].count("script") == 2
    assert "url(" not in page_text
    assert "@import" not in page_text


def test_cards_tables_plots_methods_and_the_command_are_there(report: Report, page_text: str) -> None:
    assert page_text.count('<article class="card') == 7
    assert page_text.count('<table class="sortable board"') == len(report.boards)
    assert page_text.count("<figure>") == len(report.plots) == 6
    assert "junkdna report" in page_text
    assert "Tables: acc" in page_text


def test_the_hypothesis_stands_above_the_cards_which_say_what_they_hold_for(
    report: Report, page_text: str
) -> None:
    (fit,) = report.fits
    line = f"The hypothesis is {fit.hypothesis.verdict}: {fit.hypothesis.reason}"
    assert page_text.count(line) == 1
    assert (
        page_text.index("<h2>Verdicts</h2>") < page_text.index(line) < page_text.index('<article class="card')
    )
    cards = page_text.split('<article class="card')[1:]
    for card, claim in zip(cards, fit.headline().values(), strict=True):
        assert f"<h4>{claim.claim}: " in card
        said = re.findall(r'<p class="about">In (.*?)</p>', card.split("</article>")[0])
        assert said == ([claim.about] if claim.about else [])


def test_each_estimated_claim_has_a_table_of_its_scales(report: Report, page_text: str) -> None:
    (fit,) = report.fits
    tables = dict(
        re.findall(
            r'<details class="scales"><summary>(.*?) on each scale(.*?)</details>', page_text, re.DOTALL
        )
    )
    estimated = [name for name, claim in fit.headline().items() if claim.details.get("scales")]
    assert list(tables) == estimated and "P2" in estimated
    for name in estimated:
        details = fit.headline()[name].details
        rows = [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr><td.*?</tr>", tables[name])]
        assert len(rows) == len(details["scales"]) + len(details.get("sensitivity", {}))
        assert [row[1] for row in rows] == ["yes"] * len(details["scales"]) + [""] * len(
            details.get("sensitivity", {})
        )
        for row, found in zip(rows, details["scales"].values(), strict=False):
            assert f"{found['these']['estimate']:.3g} [{found['these']['ci_low']:.3g}, " in row[2]
            assert ", ".join(found["these"]["over"]) in row


def test_margins_stand_by_tier_and_level(report: Report, page_text: str) -> None:
    (fit,) = report.fits
    table = page_text.split('<details class="margins">')[1].split("</details>")[0]
    heads = re.findall(r"<th scope.*?>(.*?)</th>", table)
    assert heads == ["Tier", "0.3", "0.6"]
    rows = [re.findall(r"<td.*?>(.*?)</td>", row) for row in re.findall(r"<tr><td.*?</tr>", table)]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    cells = fit.cells[
        (fit.cells["method"] == fit.primary) & (fit.cells["tier"] == 2) & (fit.cells["level"] == 0.6)
    ]
    assert len(cells) == 2
    expected = cells["sd_ratio"].mean(), cells["margin_correlation"].mean()
    assert rows[1][2] == f"{expected[0]:.2f}, {expected[1]:.2f}"


def test_what_is_left_out_is_told(report: Report, page_text: str) -> None:
    from html import unescape

    (fit,) = report.fits
    plain = unescape(page_text)
    assert all(sentence in plain for sentence in (*fit.excluded, *fit.warnings))


def test_the_tables_hold_the_numbers_of_the_other_formats(report: Report, page_text: str) -> None:
    from junkdna_harness.report import formats

    text = re.sub(r"<[^>]+>", "", page_text.split("<h3>By tier</h3>")[1].split("</table>")[0])
    for i in range(len(report.boards[0].rows)):
        for column in ("Overall", *report.boards[0].columns):
            cell = formats.cell(report.boards[0], i, column)
            assert f"{cell.mean} {cell.interval} ({cell.kept})" in text


def test_the_same_runs_give_the_same_page(report: Report, page_text: str) -> None:
    assert render(report) == page_text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: the page is checked by parsing only")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, page_text: str, tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "report.html"
    path.write_text(page_text, encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.troubles = []
    opened.on("console", lambda message: opened.troubles.append(message.text))
    opened.on("pageerror", lambda error: opened.troubles.append(str(error)))
    opened.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:")) else opened.troubles.append(r.url)
    )
    opened.goto(path.as_uri())
    yield opened
    assert opened.troubles == []
    assert "owned" not in opened.title().replace("document.title='owned'", "")
    context.close()


def column(page: Any, index: int) -> list[str]:
    return list(
        page.locator("#tables table")
        .first.locator(f"tbody tr:visible td:nth-child({index})")
        .all_inner_texts()
    )


@pytest.mark.slow
def test_a_heading_sorts_up_and_down_by_mouse_and_keyboard(page: Any) -> None:
    heading = page.locator("#tables table").first.get_by_role("button", name="Overall")
    heading.click()
    up = [float(text.split()[0]) for text in column(page, 5)]
    assert up == sorted(up)
    heading.press("Enter")
    down = [float(text.split()[0]) for text in column(page, 5)]
    assert down == sorted(down, reverse=True)
    assert page.locator("#tables th[aria-sort=descending]").count() == 1


@pytest.mark.slow
def test_rows_are_filtered_by_words_and_by_method(page: Any) -> None:
    bar = page.locator("#bar-1")
    bar.get_by_label("Filter rows").fill("wanda")
    assert set(column(page, 2)) == {"wanda"}
    assert bar.locator("output").inner_text() == "2 of 7 rows"
    bar.get_by_label("Filter rows").fill("")
    bar.get_by_label("Method").select_option("rtn")
    assert set(column(page, 2)) == {"rtn"}


@pytest.mark.slow
def test_the_explorer_shows_hostile_documents_as_text(page: Any) -> None:
    listed = page.locator("#list")
    listed.scroll_into_view_if_needed()
    page.locator("#list .item").first.wait_for()
    assert page.locator("#detail pre").first.inner_text().startswith("</script><script>")
    first = page.locator("#detail h3").inner_text()
    listed.focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#detail h3").inner_text() != first
    assert page.locator("#list .item[aria-selected=true]").count() == 1
    before = page.locator("#e-count").inner_text()
    page.locator("#e-kind").select_option("gained")
    assert page.locator("#e-count").inner_text() != before


@pytest.mark.slow
def test_the_theme_follows_the_system_and_the_button(page: Any) -> None:
    def back() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    assert back() == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    dark = back()
    assert dark != "rgb(255, 255, 255)"
    page.locator("#theme").click()
    assert back() == "rgb(255, 255, 255)"
    page.locator("#theme").click()
    assert back() == dark


@pytest.mark.slow
def test_both_themes_have_the_same_structure(page: Any) -> None:
    def tree() -> list[str]:
        found = page.evaluate("[...document.querySelectorAll('*')].map((e) => e.tagName + '.' + e.className)")
        return [str(name) for name in found]

    def shown() -> list[float]:
        return list(
            page.evaluate(
                "[...document.querySelectorAll('#verdicts *')].map((e) => e.getBoundingClientRect().height)"
            )
        )

    page.emulate_media(color_scheme="light")
    page.evaluate("document.querySelectorAll('#verdicts details').forEach((e) => { e.open = true; })")
    light, heights = tree(), shown()
    page.emulate_media(color_scheme="dark")
    assert tree() == light and shown() == heights


@pytest.mark.slow
def test_a_phone_needs_no_sideways_scrolling_of_the_page(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_all_controls_are_reached_by_tab_and_named(page: Any) -> None:
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, select, input, [tabindex='0'], img")].filter((e) =>
        !(e.getAttribute("aria-label") || e.alt || e.textContent.trim() || e.closest("label"))).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


@pytest.mark.slow
def test_of_twenty_thousand_samples_only_those_on_the_screen_are_built(browser: Any, tmp_path: Path) -> None:
    n, rng = 10_000, np.random.default_rng(0)
    ids = [item_hash(str(i)) for i in range(n)]
    runs = [("dense", "dense", 0.0, 0.9), ("half", "magnitude", 0.5, 0.4)]
    table = pd.concat(
        pd.DataFrame(
            {"run": run, "model": "m", "method": method, "level": level, "bits": np.nan, "replicate": 0}
            | {
                "task": "t",
                "family": "f",
                "axis": "x",
                "tier": np.arange(n) % 4 + 1,
                "item_id": ids,
                "cluster_id": ids,
            }
            | {"metric": "acc", "value": (rng.random(n) < share).astype(float), "n_symbols": 1, "chance": 0.0}
        )
        for run, method, level, share in runs
    )[COLUMNS]
    table["task"] = "t" + table["tier"].astype(str)
    table["prompt"] = (
        "A question of ordinary length, with a paragraph to read before it. " * 8 + table["item_id"]
    )
    table["target"], table["answer"] = "yes", "no"
    table.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "r.html").write_text(
        render(build([tmp_path / "t.parquet"], with_fit=False)), encoding="utf-8"
    )
    page = browser.new_page()
    page.goto((tmp_path / "r.html").as_uri())
    assert page.evaluate("document.querySelectorAll('*').length") < 2000
    page.evaluate("document.getElementById('explorer').scrollIntoView()")
    page.locator("#list .item").first.wait_for()
    assert page.locator("#list .item").count() < 60
    page.close()
