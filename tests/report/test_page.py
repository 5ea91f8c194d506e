"""The HTML report: in a real browser where there is one, and by parsing where there is none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.visible import visible
from junkdna_harness.cli import app
from junkdna_harness.report.build import Report, build
from junkdna_harness.report.divergence import divergences_in
from junkdna_harness.report.explorer import explorer
from junkdna_harness.report.figures import Finisher
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
    table["matched"] = table["method"] == "wanda"
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
    scripts = [attributes.get("type") for tag, attributes in parsed.tags if tag == "script"]
    assert scripts.count(None) == 1 and set(scripts) == {None, "application/json"}
    assert "url(" not in page_text
    assert "@import" not in page_text


def test_cards_tables_plots_methods_and_the_command_are_there(report: Report, page_text: str) -> None:
    assert page_text.count('<article class="card') == 7
    assert page_text.count('<table class="sortable board"') == len(report.boards)
    assert page_text.count("<figure id=") == len(report.plots) == 7
    assert page_text.count("<img ") == sum(len(plot.panels) for plot in report.plots)
    assert "junkdna report" in page_text
    assert "Tables: acc" in page_text


def test_the_page_opens_with_the_answer_and_a_picture_then_cards_which_say_what_they_hold_for(
    report: Report, page_text: str
) -> None:
    (fit,) = report.fits
    line = f"The hypothesis is {fit.hypothesis.verdict}: {fit.hypothesis.reason}"
    assert page_text.count(line) == 1
    order = [
        '<section id="answer"', line, '<figure id="score_by_level">', '<figure id="loss_at_matched_damage">', "<h2>Verdicts</h2>",
        '<article class="card', '<section id="tables">', '<section id="plots">',
    ]  # fmt: skip
    places = [page_text.index(part) for part in order]
    assert places == sorted(places)
    answer = page_text.split('<section id="answer"')[1].split("<figure")[0]
    for name in ("P2", "P6"):
        claim = fit.headline()[name]
        assert f"{name} {claim.verdict}</b>" in answer
        assert not claim.about or claim.about in answer
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
    (fit,) = report.fits
    plain = unescape(page_text)
    assert all(sentence in plain for sentence in (*fit.excluded, *fit.warnings))


def test_the_tables_hold_the_numbers_of_the_other_formats(report: Report, page_text: str) -> None:
    from junkdna_harness.report import formats

    text = re.sub(r"<[^>]+>", "", page_text.split("<h3>By tier</h3>")[1].split("</table>")[0])
    text = re.sub(r"\s+", " ", text)
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
    up = [float(text.split()[0]) for text in column(page, 4)]
    assert up == sorted(up)
    heading.press("Enter")
    down = [float(text.split()[0]) for text in column(page, 4)]
    assert down == sorted(down, reverse=True)
    assert page.locator("#tables th[aria-sort=descending]").count() == 1


@pytest.mark.slow
def test_rows_are_filtered_by_words_and_by_method(page: Any) -> None:
    bar = page.locator("#bar-1")
    assert set(column(page, 1)) == {"dense", "magnitude"}
    assert bar.locator("output").inner_text() == "3 of 7 rows"
    bar.get_by_label("Filter rows").fill("wanda")  # who looks for something looks among all
    assert set(column(page, 1)) == {"wanda"}
    assert bar.locator("output").inner_text() == "2 of 7 rows"
    bar.get_by_label("Filter rows").fill("")
    bar.get_by_label("Method").select_option("rtn")
    assert set(column(page, 1)) == {"rtn"}
    bar.get_by_label("Method").select_option("all")
    bar.get_by_role("button").click()
    assert set(column(page, 1)) == {"dense", "magnitude"}
    bar.get_by_role("button", name="Show all 7 rows").press("Enter")
    assert set(column(page, 1)) == {"dense", "magnitude", "wanda", "rtn"}


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


BOXES = """(wanted) => [...document.querySelectorAll(wanted)].filter((e) => e.checkVisibility()).map((e) => {
  const box = e.getBoundingClientRect();
  return { left: box.left, right: box.right, top: box.top + scrollY, bottom: box.bottom + scrollY, width: box.width };
})"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_what_matters_is_in_sight_on_a_screen_and_on_a_phone(
    page: Any, width: int, height: int, scheme: str, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    (answer,), figures, tables = (
        page.evaluate(BOXES, w) for w in ("#answer .hypothesis", "#answer figure", ".board")
    )
    assert answer["bottom"] <= figures[0]["top"] and figures[-1]["bottom"] <= tables[0]["top"]
    assert answer["bottom"] < height
    panels = page.evaluate(BOXES, ".panel")
    assert all(panel["left"] >= 0 and panel["right"] <= width for panel in panels)
    drawn = page.evaluate(
        "[...document.querySelectorAll('.panel img')].map((e) => [e.getBoundingClientRect().width / e.naturalWidth, e.complete])"
    )
    assert all(done and scale > 0.8 for scale, done in drawn)  # texts of 9 points stay above 7
    first = page.evaluate(BOXES, "#answer .panel img")[0]
    if width > 1000:
        assert first["bottom"] < height  # the picture with its legend is above the fold
        assert len({panel["top"] for panel in page.evaluate(BOXES, "#score_by_level .panel")}) == 1
    else:
        assert len({panel["left"] for panel in panels}) == 1  # one below the other
    for name in ("hardest", "method"):
        cells = page.evaluate(BOXES, f"#tables .board .{name}")
        assert cells and all(cell["left"] >= 0 and cell["right"] <= width for cell in cells), name
    moved = "document.querySelector('#tables .scroll').scrollLeft = 80"
    page.evaluate(moved)
    for name in ("hardest", "method"):
        cells = page.evaluate(BOXES, f"#tables .board .{name}")
        assert all(cell["left"] >= 0 and cell["right"] <= width for cell in cells), name
    shot = page.screenshot(path=str(tmp_path / f"{width}-{scheme}.png"))
    assert shot.startswith(b"\x89PNG")


@pytest.mark.slow
def test_all_controls_are_reached_by_tab_and_named(page: Any) -> None:
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, select, input, [tabindex='0'], img")].filter((e) =>
        !(e.getAttribute("aria-label") || e.alt || e.textContent.trim() || e.closest("label"))).map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def two_runs(folder: Path, items: int, **texts: Any) -> Report:
    """A report of a dense run and one that loses half, on some items with a prompt of 70 words; `texts`: cells of their own."""
    rng = np.random.default_rng(0)
    ids = [item_hash(str(i)) for i in range(items)]
    runs = [("dense", "dense", 0.0, 0.9), ("half", "magnitude", 0.5, 0.4), ("most", "magnitude", 0.8, 0.2)]
    table = pd.concat(
        pd.DataFrame(
            {"run": run, "model": "m", "method": method, "level": level, "bits": np.nan, "replicate": 0}
            | {"task": "t", "family": "f", "axis": "x", "tier": np.arange(items) % 4 + 1, "item_id": ids, "cluster_id": ids}
            | {"metric": "acc", "value": (rng.random(items) < share).astype(float), "n_symbols": 1, "chance": 0.0}
        )
        for run, method, level, share in runs
    )[COLUMNS]  # fmt: skip
    table["task"] = "t" + table["tier"].astype(str)
    table["prompt"] = (
        "A question of ordinary length, with a paragraph to read before it. " * 8 + table["item_id"]
    )
    table["target"], table["answer"] = "yes", "no"
    table.assign(**texts).to_parquet(folder / "t.parquet")
    return build([folder / "t.parquet"], with_fit=False, with_plots=False)


def test_the_pieces_of_the_explorer_hold_every_flip_and_every_text_once(tmp_path: Path) -> None:
    report = two_runs(tmp_path, 2_000)
    found = explorer(report)
    assert found is not None and found.left_out == 0
    assert len(found.documents) > 1 and found.head["pieces"][-1] == sum(len(p["id"]) for p in found.documents)
    wide = report.items.pivot(index=["task", "item_id"], columns="run", values="value")
    dense, half, most = found.head["runs"]
    for r, run in enumerate(found.head["runs"]):
        own, before = found.answers[r], found.answers[found.head["dense"][r]]
        flips = [i for i, (a, b) in enumerate(zip(own["right"], before["right"], strict=True)) if a != b]
        assert len(flips) == int((wide[run] != wide[dense]).sum())
        assert own["texts"] == ["no"] and (r == 0 or own["at"] == flips)
    prompts = [piece["texts"][k] for piece in found.documents for k in piece["prompt"]]
    ids = [one for piece in found.documents for one in piece["id"]]
    assert all(prompt[-64:][:16] == one for prompt, one in zip(prompts, ids, strict=True))
    last = [
        found.head["tasks"][np.searchsorted(found.head["ends"], i, side="right")] for i in range(len(ids))
    ]
    assert last == list(
        wide.index[(wide[half] != wide[dense]) | (wide[most] != wide[dense])].get_level_values(0)
    )


def test_what_is_too_much_for_a_page_is_left_out_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = two_runs(tmp_path, 400)
    whole, part = explorer(report), explorer(report, 100_000)
    assert whole is not None and part is not None
    kept, flips = part.head["pieces"][-1], whole.head["pieces"][-1]
    assert 0 < kept < flips and part.left_out == flips - kept
    assert min(part.head["losers"]) >= sorted(whole.head["losers"])[-kept]  # what most runs lost stays
    assert "more documents flipped" not in render(report)
    monkeypatch.setattr("junkdna_harness.report.html.MOST_TEXT", 100_000)
    assert f"Note: {part.left_out:,} more documents flipped and are left out" in render(report)
    page = render(report, all_documents=True)
    assert "more documents flipped" not in page and "--all-documents" in page.split('id="reproduce"')[1]


@pytest.mark.slow
def test_of_many_samples_one_page_is_built_and_all_are_found(browser: Any, tmp_path: Path) -> None:
    report = two_runs(tmp_path, 10_000, answer=HOSTILE)
    (tmp_path / "r.html").write_text(render(report), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "r.html").as_uri())
    assert page.evaluate("document.querySelectorAll('*').length") < 2000
    page.evaluate("document.getElementById('explorer').scrollIntoView()")
    page.locator("#list .item").first.wait_for()
    page.locator("#e-order").select_option("by task")
    rows = page.locator("#list .item")
    assert rows.count() == 50
    flips = int(page.locator("#e-count").inner_text().split()[0].replace(",", ""))
    assert flips > 4_000
    page.locator("#list").focus()
    page.keyboard.press("End")
    pages = -(-flips // 50)
    assert page.locator("#e-page").input_value() == str(pages) and rows.count() == flips - 50 * (pages - 1)
    assert page.locator("#list .item").last.get_attribute("aria-selected") == "true"
    last = page.locator("#detail pre").first.inner_text()[-64:]
    page.locator("#e-page").fill("1")
    page.locator("#e-page").press("Enter")
    assert page.locator("#detail pre").first.inner_text()[-64:] != last
    page.locator("#e-text").fill(last)  # it lies in the last piece
    page.locator("#e-count", has_text="1 documents flipped").wait_for()
    assert rows.count() == 1 and page.locator("#detail pre").first.inner_text()[-64:] == last
    assert page.locator("#detail pre").last.inner_text() == visible(HOSTILE) and "owned" not in page.title()
    assert page.evaluate("document.querySelectorAll('*').length") < 2000
    page.close()


def test_the_command_makes_the_page_again_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from a path that a shell would take apart, with options that a shell would read."""
    folder = tmp_path / 'it\'s a "sweep" $(x) & more'
    folder.mkdir()
    tidy(methods=("magnitude", "random"), levels=(0.0, 0.5), n_items=20).to_parquet(folder / "t.parquet")
    monkeypatch.chdir(tmp_path)
    asked = [
        folder.name + "/t.parquet",
        "--by=tier",
        "--select=level<=0.5",
        "--sort=-overall",
        "--seed=3",
        "--metric=acc",
    ]
    run = CliRunner().invoke(app, ["report", *asked, "--html=first page.html"], catch_exceptions=False)
    assert run.exit_code == 0
    page = (tmp_path / "first page.html").read_text("utf-8")
    command = unescape(re.findall(r'<pre id="command">(.*?)</pre>', page, re.DOTALL)[0])
    assert "pip install" not in page
    # As a shell reads it, which starts the command in the end.
    words = subprocess.run(
        ["sh", "-c", f"set -- {command}; printf '%s\\n' \"$@\""], capture_output=True, text=True, check=True
    )
    name, *arguments = words.stdout.splitlines()
    assert name == "junkdna"
    (tmp_path / "first page.html").unlink()
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert (tmp_path / "first page.html").read_text("utf-8") == page


def test_answers_that_were_only_scored_are_called_so(tmp_path: Path) -> None:
    from difficulty.runs.asked import asked

    options = {
        "arguments": [["Q", " yes"], ["Q", " no"]],
        "target": 0,
        "filtered_resps": [["-1.0"], ["-2.0"]],
    }
    wanted = {"arguments": [["Q", " yes"]], "target": "yes", "filtered_resps": [["-1.0", "False"]]}
    written = {"arguments": [["Q", {"until": ["."]}]], "target": "yes", "filtered_resps": ["yes"]}
    assert [asked(sample).scored for sample in (options, wanted, written)] == [True, True, False]
    report = two_runs(tmp_path, 40)
    scored = replace(report, documents=replace(report.documents, scored=frozenset({"t2"})))
    found = explorer(scored)
    assert found is not None
    assert dict(zip(found.head["tasks"], found.head["scored"], strict=True))["t2"] is True
    assert sum(found.head["scored"]) == 1


def test_divergences_on_a_text_are_drawn_where_they_lie_or_are_named(tmp_path: Path) -> None:
    def compared(level: float) -> dict[str, Any]:
        figures = {"kl_mean": level, "kl_mean_low": level / 2, "kl_mean_high": 2 * level}
        parts = {name: [{"part": "some", **figures}] for name in ("by_frequency", "by_context")}
        head = {"schema": 1, "kind": "junkdna-fidelity", "method": "magnitude", "level": level, "bits": None}
        return {**head, "against": "tiny", "n_tokens": 1000, **figures, **parts}

    tidy(levels=(0.0, 0.5), n_items=20).to_parquet(tmp_path / "t.parquet")
    file = tmp_path / "f.json"
    file.write_text(json.dumps({"runs": [compared(0.1), compared(0.3)]}))
    (tmp_path / "other.json").write_text('{"kind": "something else"}')
    options: dict[str, Any] = {
        "with_fit": False,
        "with_documents": False,
        "with_plots": Finisher(files=False),
    }
    report = build([tmp_path / "t.parquet", file], **options)
    names = [plot.name for plot in report.plots if plot.name.startswith("kl_")]
    assert names == ["kl_by_level", "kl_by_frequency", "kl_by_context"]
    assert divergences_in(tmp_path) == [file]
    assert "f.json" in render(report).split('id="command"')[1]
    file.write_text('{"kind": "junkdna-fidelity"}')
    with pytest.raises(UsageError, match=r"f\.json.*is damaged"):
        build([tmp_path / "t.parquet", file], **options)
