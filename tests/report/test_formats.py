"""The same numbers in every format, and strings that cannot do harm."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import get_data_path
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from junkdna_harness.presentation.escape import csv_cell, latex, markdown_cell, script_json
from junkdna_harness.presentation.lines import plain
from junkdna_harness.report import formats
from junkdna_harness.report.latex import latex_table, latex_tables
from junkdna_harness.report.leaderboard import Leaderboard, leaderboard, leaderboards
from tests.report.synthetic import tidy

HOSTILE = "<script>alert(1)</script> 100%_$x$ & #1 | `a` \\input{/etc/passwd} ~^{}\n=1+1"


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    table = tidy(methods=("magnitude", "wanda"), bits=(4.0, 2.0), n_items=60)
    return leaderboard(table, "tier", effective_bits={"tiny-rtn-4bit": 4.5})


def numbers(text: str) -> list[str]:
    """All numbers with two decimals, or one: scores and their bounds, or shares kept."""
    return re.findall(r"(?<![\d.])\d+\.\d{1,2}(?![\d.])", text)


def test_every_format_prints_the_same_numbers(board: Leaderboard) -> None:
    by_csv = [
        [line["score"], line["low"], line["high"], *([line["kept"]] if line["kept"] else [])]
        for line in csv.DictReader(io.StringIO(formats.csv_table([board])))
    ]
    expected = sorted(number for cell in by_csv for number in cell)
    expected += [formats.row_heads(row)[3] for row in board.rows]
    whole, narrow = (plain(formats.terminal(board, width)).split("\n\nacc in %")[0] for width in (300, 80))
    body = {
        "markdown": formats.markdown(board).split("\n\n")[0],
        "latex": latex_table(board).split("midrule")[1],
        "terminal": whole,
        "narrow terminal": narrow,
    }
    for name, text in body.items():
        assert sorted(numbers(text)) == sorted(expected), name


def test_bold_is_the_same_cell_in_every_format() -> None:
    table = tidy(methods=("magnitude", "wanda"), levels=(0.0, 0.6), n_items=300)
    better = (table["method"] == "wanda") & (table["metric"] == "acc") & (table["tier"] == 4)
    table.loc[better, "value"] = 1.0
    board = leaderboard(table, "tier")
    wanda = next(i for i, row in enumerate(board.rows) if row.method == "wanda")
    assert (wanda, "Tier 4") in board.best
    assert "**100.00 [" in formats.markdown(board)
    assert r"\textbf{100.00} (" in latex_table(board)
    bold = [
        (r["method"], r["column"])
        for r in csv.DictReader(io.StringIO(formats.csv_table([board])))
        if r["best"] == "1"
    ]
    assert len(bold) == len(board.best)
    assert ("wanda", "Tier 4") in bold


def test_equal_methods_are_rarely_bold() -> None:
    bold = 0
    for seed in range(40):
        table = tidy(
            families=("addition",), methods=("magnitude", "wanda"), levels=(0.0, 0.5), n_items=40, seed=seed
        )
        bold += sum(column == "Overall" for _, column in leaderboard(table, "tier").best)
    assert bold <= 6  # 5 % of 40 is 2; more than 6 would have a chance of 0.3 % at that rate


def test_hostile_names_stay_text_in_every_format() -> None:
    table = tidy(model=HOSTILE, n_items=20)
    board = leaderboard(table, "tier")
    widths = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in formats.markdown(board).splitlines()
        if line.startswith("| ")
    }
    assert len(widths) == 1
    assert "<script" not in formats.markdown(board).replace(r"\<script", "")
    assert r"\textbackslash{}input\{/etc/passwd\}" in latex_table(board)
    rows = list(csv.DictReader(io.StringIO(formats.csv_table([board]))))
    assert {row["model"] for row in rows} == {HOSTILE}


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd|x", "@SUM(A1)", "\t=1"])
def test_a_formula_is_not_run_by_a_spreadsheet(text: str) -> None:
    assert csv_cell(text).startswith("'")


@pytest.mark.parametrize("text", ["-0.25", "+1e-3", "12", ".5", "magnitude 4:8"])
def test_numbers_and_names_are_left_alone_in_csv(text: str) -> None:
    assert csv_cell(text) == text


def test_json_in_a_script_can_not_end_the_script() -> None:
    import json

    text = script_json({"a": "</script><!--<script>\u2028&", "b": "\ud800"})
    assert "<" not in text
    assert ">" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!--<script>\\u2028&", "b": "\\ud800"}
    text.encode()


def test_markdown_cells_hold_one_line_and_no_bar() -> None:
    assert markdown_cell("a|b\nc") == r"a\|b c"


def has_booktabs() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_booktabs(), reason="pdflatex with booktabs is not installed")
@pytest.mark.parametrize("form", ["wide", "narrow"])
def test_latex_compiles_with_hostile_names(tmp_path: Path, form: str) -> None:
    two = pd.concat([tidy(model=HOSTILE, n_items=20), tidy(model="other", n_items=20)])
    document = "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\n%s\\end{document}"
    (tmp_path / "t.tex").write_text(document % latex_tables(leaderboards(two, ("tier", "task")), form))
    done = subprocess.run(
        ["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.returncode == 0


@pytest.mark.parametrize("form", ["wide", "narrow"])
def test_latex_has_caption_label_rules_and_as_many_cells_as_columns(board: Leaderboard, form: str) -> None:
    """What a LaTeX engine would refuse: other numbers of cells than columns, environments and braces left open."""
    two = pd.concat(
        [tidy(model=name, methods=("magnitude", "wanda"), n_items=20) for name in (HOSTILE, "other")]
    )
    for text, tables in (
        (latex_tables([board], form), 1),
        (latex_tables(leaderboards(two, ("tier", "task")), form), 2),
    ):
        assert text.count(r"\caption{") == text.count(r"\label{tab:acc-by-") == tables
        for rule in ("toprule", "midrule", "bottomrule"):
            assert text.count(rf"\{rule}") == text.count(r"\begin{tabular}")
        bare = re.sub(r"\\[{}%&]|(?<!\\)%.*", "", text)
        assert bare.count("{") == bare.count("}")
        opened = re.findall(r"\\begin\{(.*?)\}", text)
        assert sorted(opened) == sorted(re.findall(r"\\end\{(.*?)\}", text))
        for spec, body in re.findall(r"\\begin\{tabular\}\{(.*?)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
            columns = len(spec.replace("@{}", ""))
            for row in re.findall(r"^(.*) \\\\$", body, re.MULTILINE):
                spanned = re.match(r"\\multicolumn\{(\d+)\}", row)
                cells = int(spanned[1]) if spanned else len(re.findall(r"(?<!\\)&", row)) + 1
                assert cells == columns, row
    assert r"on 480 items" in latex_tables([board], form) and "95 \\% interval" in latex_tables([board], form)
    assert "Intervals: Wilson" in latex_tables([board], form) and "Bold: best" in latex_tables([board], form)
    assert (
        len(set(re.findall(r"\\label\{(.*?)\}", latex_tables(leaderboards(two, ("tier", "task")), form))))
        == 2
    )


def test_the_narrow_form_fits_a_column_of_a_paper(board: Leaderboard) -> None:
    """In a column of 3.25 inches, by the widths of Computer Modern, which comes with matplotlib: 8 points, the interval 7."""
    text = latex_tables([board], "narrow")
    assert r"\begin{table}" in text and r"\begin{table*}" in latex_tables([board])
    font = str(Path(get_data_path(), "fonts", "ttf", "cmr10.ttf"))

    def points(cell: str) -> float:
        large, _, small = cell.partition(" [")
        sizes = [(large, 8), (f"[{small}", 7)] if small else [(large, 8)]
        drawn = [TextPath((0, 0), part, size=size, prop=FontProperties(fname=font)) for part, size in sizes]
        return sum(path.get_extents().width for path in drawn) + (2.7 if small else 0.0)

    rows = [
        [re.sub(r"\\[a-z]+\{?|[{}\\]", "", cell).strip() for cell in re.split(r"(?<!\\)&", row)]
        for row in re.findall(r"^(.*) \\\\$", text, re.MULTILINE)
    ]
    widest = [max(points(row[k]) for row in rows) for k in range(len(rows[0]))]
    between = float(re.findall(r"tabcolsep\}\{([\d.]+)pt", text)[0])
    assert sum(widest) + 2 * between * (len(widest) - 1) <= 3.25 * 72.27
    cells = [re.sub(" +", " ", row[-1]) for row in rows[1:]]
    assert all(re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", cell) for cell in cells)
    hardest = board.rows[0].scores["Tier 4"]
    assert cells[0] == f"{100 * hardest.mean:.1f} [{100 * hardest.low:.1f}, {100 * hardest.high:.1f}]"


def test_latex_escapes_all_specials() -> None:
    assert latex("#$%&_{}~^\\") == r"\#\$\%\&\_\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}"


def test_a_dash_prints_the_table_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from junkdna_harness.commands.report import SCREEN, report

    table = tmp_path / "items.parquet"
    tidy(n_items=30).to_parquet(table)
    report([table], by=["tier"], csv=SCREEN)
    printed = capsys.readouterr()
    rows = [row for row in csv.reader(io.StringIO(printed.out)) if row]
    assert len(rows) > 1 and {len(row) for row in rows} == {len(rows[0])}
    assert "─" not in printed.out and not (tmp_path / "-").exists()
