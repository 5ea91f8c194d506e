"""Figures are the same bytes wherever they are finished, and a process that dies takes none with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from junkdna_harness.report import figures
from junkdna_harness.report.figures import Finisher, finish, write_plots
from junkdna_harness.report.picture import Panel, Picture
from junkdna_harness.report.style import PAPER


def figure() -> Figure:
    made = Figure(figsize=(2, 2))
    made.add_subplot().plot([0, 1], [1, 0])
    made.suptitle("two\nlines")
    return made


def picture(name: str = "two lines") -> Picture:
    return Picture(
        "p",
        name,
        "",
        (Panel("a", lambda axes: axes.plot([0, 1], [1, 0], label="l")), Panel("b", lambda axes: None)),
        (2, 2),
    )


def test_a_process_beside_gives_the_same_plot_and_its_death_takes_none_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figures, "_is_our_command", lambda: True)
    alone = Finisher()
    alone.add("a", picture())
    here = alone.plots()["a"]
    assert here.alt == "two lines" and here.png.startswith(b"\x89PNG") and b"<svg" in here.svg
    assert [(panel.name, panel.alt, panel.png) for panel in here.panels] == [
        ("a_a", "a", b""),
        ("a_b", "b", b""),
    ]
    with Finisher(beside=True) as finisher:
        finisher.add("a", picture())
        assert finisher._pool is not None
        assert finisher.plots() == {"a": here}
        (process,) = finisher._pool._processes.values()
        finisher.add("b", picture())
        os.kill(process.pid, signal.SIGKILL)
        finisher.add("c", picture())
        assert [plot.svg for plot in finisher.plots().values()][1:] == [here.svg] * 2


def test_no_process_is_started_from_a_script_that_would_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import __main__

    for file, ours in (("train.py", False), (None, False), (str(Path("bin", "junkdna")), True)):
        monkeypatch.setattr(__main__, "__file__", file, raising=False)
        assert figures._is_our_command() is ours


KILLED = """
import os, signal
from junkdna_harness.report import figures

if __name__ == "__main__":
    figures._is_our_command = lambda: True
    finisher = figures.Finisher(beside=True)
    finisher._pool.submit(figures._ready).result()
    print(*finisher._pool._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_process_beside_ends_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    # The process beside holds the pipe too, so that this returns when both have ended.
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, timeout=30)
    assert done.returncode == -signal.SIGKILL and done.stdout.strip().isdigit()


def test_a_page_alone_asks_for_panels_as_svg_alone() -> None:
    finisher = Finisher(files=False)
    finisher.add("a", picture())
    (plot,) = finisher.plots().values()
    assert plot.svg == plot.png == plot.pdf == b"" and plot.alt == "two lines"
    assert all(panel.svg and not panel.png and not panel.pdf for panel in plot.panels)


def test_a_page_keeps_text_as_text_in_a_font_that_every_browser_has_some_of() -> None:
    title = "px 'DejaVu Sans'; <b>"
    one = Picture("p", "", "", (Panel("a", lambda axes: axes.plot([0, 1], [1, 0], label=title)),), (2, 2))
    of_page, of_files = Finisher(files=False), Finisher(page=False, theme=PAPER)
    for finisher in (of_page, of_files):
        finisher.add("a", one)
    (page,), (files,) = (finisher.plots()["a"].panels for finisher in (of_page, of_files))
    texts = ElementTree.fromstring(page.svg).findall(".//{*}text")
    assert title in [text.text for text in texts]
    assert all("'DejaVu Sans', Verdana, sans-serif" in text.attrib["style"] for text in texts)
    assert (
        b"<text" not in files.svg and b"DejaVuSans-" in files.svg
    )  # a paper's files hold the letters themselves
    assert len(page.svg) < len(files.svg) / 2


def test_a_figure_alone_has_its_title_for_words_and_every_format() -> None:
    made = finish("a", figure())
    assert made.alt == "two lines"
    assert made.png.startswith(b"\x89PNG") and b"<svg" in made.svg and made.pdf.startswith(b"%PDF")
    assert finish("a", figure()) == made


def test_pictures_for_a_paper_are_panels_of_one_column_in_true_type_without_titles(tmp_path: Path) -> None:
    finisher = Finisher(page=False, theme=PAPER)
    finisher.add("p", picture("A heading"))
    plots = list(finisher.plots().values())
    paths = write_plots(plots, tmp_path)
    assert sorted(path.name for path in paths) == sorted(
        f"p_{k}.{e}" for k in "ab" for e in ("pdf", "png", "svg")
    )
    for name, (_, drawn) in zip("ab", [(t, f) for _, t, f in picture("A heading").apart(PAPER)], strict=True):
        assert drawn.get_figwidth() == 3.25 and drawn.get_suptitle() == "" and drawn.axes[0].get_title() == ""
        drawn.draw_without_rendering()
        sizes = {text.get_fontsize() for text in drawn.findobj(Text) if text.get_text()}
        assert sizes == {8.0}
        pdf = (tmp_path / f"p_{name}.pdf").read_bytes()
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf  # FontFile2 is TrueType
        assert b"/MediaBox [ 0 0 234 " in pdf  # 3.25 inches of 72 points


def test_panels_with_one_title_have_files_of_their_own() -> None:
    made = Picture("p", "h", "", tuple(Panel(t, lambda axes: None) for t in ("m/1", "m 1", "☃", "☃")), (2, 2))
    endings = [ending for ending, *_ in made.apart()]
    assert len(set(endings)) == 4 and all(re.fullmatch(r"[\w.+-]+", ending) for ending in endings)


def test_a_panel_that_is_laid_out_beforehand_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    draw = Figure.draw
    monkeypatch.setattr(
        Figure, "draw", lambda figure, renderer: (drawn.append(figure), draw(figure, renderer))
    )
    panel = Panel("a", lambda axes: axes.plot([0, 1], [0, 1]))
    finisher = Finisher(files=False)
    finisher.add("p", Picture("p", "What", "", (panel,), (3.0, 2.0), left=0.6))
    assert finisher.plots()["p"].panels[0].svg
    assert len(drawn) == 1
