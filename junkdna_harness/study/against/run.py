"""What `junkdna study --against FILE` does once the study is finished: compare, write page and tables, print them."""

from __future__ import annotations

from pathlib import Path

from difficulty.files import write_atomic
from junkdna_harness.presentation.console import say
from junkdna_harness.presentation.lines import show_lines, show_text
from junkdna_harness.study.against.compare import Comparison, compare
from junkdna_harness.study.against.ours import is_finished
from junkdna_harness.study.against.outputs import beside_tables, markdown, paper_tables, points_csv, terminal
from junkdna_harness.study.against.page import counts, render
from junkdna_harness.study.against.points import points_file, read_points

__all__ = ["is_finished", "points_of", "show_comparison", "write_comparison"]

__all__ = ["is_finished", "points_of", "show_comparison", "write_comparison"]

PAGE, POINTS, TABLES = "against.html", "against.csv", "against.md"


def points_of(given: str) -> Path:
    """The file that `--against` means, read once, so that what is wrong with it is said before anything runs.

    Raises:
        UsageError: there is none, or it cannot be understood.
    """
    path = points_file(given)
    read_points(path)
    return path


def write_comparison(folder: Path, source: Path) -> Comparison:
    """The finished study in `folder` beside the points in `source`; page, points and tables lie in the folder afterwards.

    Raises:
        UsageError: the file cannot be understood, or the folder holds no study.
    """
    found = compare(folder, source)
    tables = [*paper_tables(found), *(one for beside in found.beside for one in beside_tables(beside))]
    write_atomic(folder / PAGE, render(found))
    write_atomic(folder / POINTS, points_csv(found))
    write_atomic(folder / TABLES, markdown(tables, found.remarks))
    return found


def show_comparison(found: Comparison) -> None:
    """Print the tables, the answer last."""
    for one in (*paper_tables(found), *(one for beside in found.beside for one in beside_tables(beside))):
        lines = terminal(one)
        if lines:
            show_lines([*lines, []])
            for note in one.notes:
                show_text(note, style="dim")
            say()
    for remark in found.remarks:
        show_text(f"note: {remark}")
    for beside in found.beside:
        show_text(f"{beside.model}: {counts(beside)}", style="bold")
    for name in (PAGE, POINTS, TABLES):
        say(f"wrote {found.folder / name}")
