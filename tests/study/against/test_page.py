"""The page, the tables and the command, from a finished study that was made up."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from difficulty.runs.table import write_table
from junkdna_harness.study.against import ours as reader
from junkdna_harness.study.against.compare import Comparison
from junkdna_harness.study.against.run import show_comparison, write_comparison
from tests.commands import junkdna
from tests.study.against.made_up import LEVELS, TIERS, line, points, table

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose sweep is a tidy table."""
    folder = tmp_path / "s"
    (folder / "sweep").mkdir(parents=True)
    runs = [("dense", 0.0), *(("magnitude", level) for level in LEVELS)]
    write_table(table(TIERS, runs, lambda task, method, level: 1 - level**2), folder / "sweep.parquet")
    (folder / "study.json").write_text(
        json.dumps({"methods": ["magnitude"], "sparsity": "0:0.8:0.2", "arms": []})
    )
    (folder / "outcome.json").write_text("{}")
    monkeypatch.setattr(reader, "read_runs", lambda sources: read_runs(folder / "sweep.parquet"))
    return folder


def curves(folder: Path, name: str = "SST-2 (easy)") -> Path:
    values = {20: 97.0, 40: 85.0, 60: 62.0, 80: 40.0}
    return points(
        folder, *line("task_complexity", "p", name, values), *line("task_complexity", "p", "COLA (hard)", values),
        *line("mbart", "q", "Majority (easy task)", values), *line("mbart", "q", "Minority (hard task)", values),
    )  # fmt: skip


def compared(study: Path, folder: Path, name: str = "SST-2 (easy)") -> Comparison:
    return write_comparison(study, curves(folder, name))


def test_a_page_a_table_of_points_and_tables_are_written(study: Path, tmp_path: Path) -> None:
    found = compared(study, tmp_path)
    page = (study / "against.html").read_text()
    assert page.count("<figure") == 3  # as drawn and chance off, and translation as drawn
    assert "agrees" in page and "before training for after it" in page
    assert "the study has no translation, nor tiers by language" in page
    assert found.beside[0].panels[0].drawn[0].agreements["as drawn"].verdict == "agrees"
    rows = list(csv.DictReader((study / "against.csv").open()))
    assert {row["whose"] for row in rows} == {"paper", "ours"}
    mine = next(row for row in rows if row["whose"] == "ours" and row["level"] == "40 %")
    assert float(mine["kept"]) == pytest.approx(0.84)
    assert float(mine["low"]) < 0.84 < float(mine["high"])
    assert "| --- |".replace(" ", "") in (study / "against.md").read_text()


def test_the_same_study_gives_the_same_files(study: Path, tmp_path: Path) -> None:
    names = ("against.html", "against.csv", "against.md")
    compared(study, tmp_path)
    once = [(study / name).read_bytes() for name in names]
    compared(study, tmp_path)
    assert once == [(study / name).read_bytes() for name in names]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_names_from_the_file_are_only_shown(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A series that is named like markup, and one that is named like a sequence of a terminal."""
    found = compared(study, tmp_path, f"SST-2 (easy) {EVIL} \x1b[31m =1+1")
    tags = _Tags()
    tags.feed((study / "against.html").read_text())
    assert "script" not in tags.seen
    assert EVIL not in (study / "against.md").read_text()
    show_comparison(found)
    assert "\x1b[31m" not in capsys.readouterr().out


def test_what_is_printed_fits_the_terminal_and_ends_with_the_answer(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_comparison(compared(study, tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-3])) <= 80
    assert "of 4 series 2 agree in shape, 0 do not, 0 cannot be told; 2 have" in "\n".join(lines)


def test_figures_whose_names_are_alike_or_come_again_are_all_drawn(study: Path, tmp_path: Path) -> None:
    values = {20: 97.0, 40: 85.0}
    names = ("task_complexity", "task_complexity_chance_off", "task_complexity")
    rows = [row for k, name in enumerate(names) for row in line(name, f"panel {k}", "QNLI (easy)", values)]
    write_comparison(study, points(tmp_path, *rows))
    page = (study / "against.html").read_text()
    assert all(f"<h4>panel {k}</h4>" in page or f": panel {k}" in page for k in range(3))
    assert page.count("<img") == 6


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no runs of a study"):
        write_comparison(tmp_path, curves(tmp_path))


def test_the_command_says_what_is_wrong_with_the_points_before_anything_runs(tmp_path: Path) -> None:
    bad = points(tmp_path, "f,p,s,10,much")
    done = junkdna("study", "--against", str(bad), "-o", str(tmp_path / "o"), cwd=tmp_path)
    assert done.returncode == 2
    assert "line 2: has the value 'much', which is no number" in done.stderr
    assert not (tmp_path / "o").exists()
    done = junkdna("study", "--against", "paper", cwd=tmp_path, JUNKDNA_PAPER="")
    assert done.returncode == 2
    assert "no points of the paper come with junkdna" in done.stderr


@pytest.mark.slow
def test_the_command_runs_a_study_and_then_only_reads_it(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "pretrained: embedded:1\ntasks: difficulty_tiers_agreement\nlimit: 12\nmethods: magnitude\nsparsity: 0,0.4,0.6,0.7,0.8\npatterns: null\n"
        "quantize: null\ncontrols: []\narms: []\n"
    )
    path = curves(tmp_path)
    first = junkdna("study", "--plan", str(plan), "--against", str(path), "-o", "s", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "== sweep" in first.stderr and "wrote s/against.html" in first.stdout
    again = junkdna("study", "--against", str(path), "-o", "s", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "== sweep" not in again.stderr and "wrote s/against.html" in again.stdout
    other = junkdna("study", "--limit", "5", "--against", str(path), "-o", "s", cwd=tmp_path)
    assert other.returncode == 2
    assert "holds another study" in other.stderr
