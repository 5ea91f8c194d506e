"""A sweep that is registered before it is evaluated, the looks at its folder, and what was added to it after one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.judge.prereg import read_prereg
from difficulty.judge.verdicts import CLAIMS, Rules
from difficulty.runs.looks import LOOKS, added, looks
from difficulty.runs.store import MATCH_LOSS
from junkdna_harness.commands.fit import fit
from junkdna_harness.commands.report import report
from junkdna_harness.commands.sweep import sweep
from junkdna_harness.sweep import Store, build_plan
from junkdna_harness.sweep.export import export
from junkdna_harness.sweep.preregister import content_of, parse_verdicts

app = typer.Typer()
for verb in (fit, report, sweep):
    app.command()(verb)

TASKS = "difficulty_tiers_copying_t1,difficulty_tiers_copying_t2"
GRID = ("--methods", "magnitude", "--tasks", TASKS, "--limit", 12, "--workers", 1)


def run(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def swept(folder: Path, *more: object, sparsity: str = "0.5,0.7") -> Any:
    return run("sweep", *GRID, "--sparsity", sparsity, "-o", folder, *more)


def judged(folder: Path, *more: object) -> Any:
    return run("fit", folder, "--resamples", 200, *more)


@pytest.fixture(scope="module")
def registered(tmp_path_factory) -> Path:
    """A folder with a registered sweep and the file in it."""
    folder = tmp_path_factory.mktemp("registered") / "s"
    swept(
        folder, "--preregister", folder / "prereg.json", "--rule", "resamples=200", "--rule", "claims=P1,P2"
    )
    return folder


@pytest.fixture
def study(registered: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(registered, tmp_path / "s"))


def test_the_file_holds_the_plan_its_tasks_and_the_rules(registered):
    prereg = read_prereg(registered / "prereg.json")
    content = prereg.content
    assert prereg.models == ["embedded"]
    assert [row["run"] for row in content["runs"]] == [
        "embedded dense", "embedded magnitude 0.5", "embedded magnitude 0.7",
    ]  # fmt: skip
    assert content["grid"]["methods"]["magnitude"] == {
        "levels": [0.5, 0.7], "patterns": [], "bits": [], "replicates": 1,
    }  # fmt: skip
    assert content["tasks"]["difficulty_tiers_copying_t2"] == {
        "family": "copying", "axis": "answer_length", "tier": 2, "n_items": 12,
    }  # fmt: skip
    assert content["families"] == {"copying": [1, 2]}
    assert content["evaluation"]["limit"] == 12 and content["evaluation"]["seed"] == [0, 1234, 1234, 1234]
    assert content["verdicts"]["claims"] == ["P1", "P2"] and content["verdicts"]["n_resamples"] == 200
    assert content["verdicts"]["rules"] == Rules().__dict__


def test_fit_as_registered_prints_no_departure_and_other_options_print_each(study):
    file = study / "prereg.json"
    assert "no departure from" in judged(study, "--prereg", file, "--claims", "P1,P2").stdout
    out = judged(study, "--prereg", file, "--delta-tier", 0.2, "--seed", 5).stdout
    assert "3 departures from" in out
    assert "departure: claims that were not registered: P3, P4" in out
    assert "departure: the verdicts use delta-tier=0.2; registered was 0.1." in out
    assert "departure: the seed of the resamples is 5; registered was 0." in out
    found = json.loads(judged(study, "--prereg", file, "--claims", "P1,P2", "--json", "-").stdout)
    assert found["prereg"]["departures"] == [] and found["prereg"]["sha256"] == read_prereg(file).sha256
    assert "prereg" not in json.loads(judged(study, "--json", "-").stdout)


def test_logs_that_were_exported_are_held_against_the_file_too(study, tmp_path):
    export(study, tmp_path / "logs")
    out = judged(tmp_path / "logs", "--prereg", study / "prereg.json", "--claims", "P1,P2").stdout
    assert "no departure from" in out


def test_a_file_of_other_tasks_is_one_refusal(study, tmp_path):
    plan = build_plan(tasks="difficulty_tiers_hypernyms_t1", methods="magnitude", sparsity="0.5")
    other = tmp_path / "other.json"
    from difficulty.judge.prereg import write_prereg

    write_prereg(other, content_of(plan, parse_verdicts([])))
    with pytest.raises(
        UsageError, match="registers tasks difficulty_tiers_hypernyms_t1 of model embedded, the runs are"
    ):
        judged(study, "--prereg", other)


def test_the_same_sweep_goes_on_with_its_file_and_another_plan_is_refused_before_anything_is_written(study):
    file = study / "prereg.json"
    before = file.read_bytes(), (study / "plan.json").read_bytes()
    rules = ("--rule", "resamples=200", "--rule", "claims=P1,P2")
    assert "3 were there" in swept(study, "--preregister", file, *rules).stdout
    for more, told in (
        (("--rule", "delta=0.1", *rules), r"verdicts\.rules\.delta is 0\.05, not 0\.1"),
        ((*rules, "--limit", 11), r"its evaluation\.limit is 12\.0, not 11\.0"),
    ):
        with pytest.raises(
            UsageError, match=f"registers another plan: its {told}|registers another plan.*{told}"
        ):
            swept(study, "--preregister", file, *more)
    with pytest.raises(UsageError, match="registers another plan"):
        swept(study, "--preregister", file, *rules, "--extend", sparsity="0.5,0.6,0.7")
    assert (file.read_bytes(), (study / "plan.json").read_bytes()) == before


def test_what_was_evaluated_already_cannot_be_registered(study, tmp_path):
    late = tmp_path / "late.json"
    with pytest.raises(UsageError, match="holds 3 finished runs already, and a plan is registered before"):
        swept(study, "--preregister", late)
    assert not late.exists()


def test_a_plan_is_registered_only_where_the_folder_takes_it(tmp_path):
    """Nothing half written: no file for a sweep that is refused, and none for a dry run."""
    file, folder = tmp_path / "p.json", tmp_path / "s"
    assert "nothing is registered" in swept(folder, "--preregister", file, "--dry-run").stdout
    folder.mkdir()
    (folder / "mine.txt").write_text("")
    with pytest.raises(UsageError, match="holds no sweep but"):
        swept(folder, "--preregister", file)
    assert not file.exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["delta-teir=0.2"], r"Did you mean 'delta-tier'"),
        (["delta"], "Write NAME=VALUE"),
        (["delta=x"], "delta=x is no number"),
        (["resamples=1.5"], "resamples=1.5 is no whole number"),
        (["alpha=2"], "alpha=2.0 is not between 0 and 1"),
        (["claims=P99"], "there is no claim 'P99'"),
        (["delta=0.1", "delta=0.2"], "names delta twice"),
    ],
)
def test_a_rule_that_fit_does_not_have_is_refused(given, told):
    with pytest.raises(UsageError, match=told):
        parse_verdicts(given)


def test_rules_are_fits_own_by_default_and_need_a_file_to_stand_in():
    assert parse_verdicts([]).rules == Rules() and parse_verdicts([]).claims == CLAIMS
    assert parse_verdicts(["delta_tier=0.2"]).rules == Rules(delta_tier=0.2)
    with pytest.raises(UsageError, match="Add --preregister FILE"):
        run("sweep", *GRID, "--sparsity", 0.5, "--rule", "delta=0.1")


def test_levels_that_are_added_after_a_look_are_told_wherever_verdicts_are(study, tmp_path):
    judged(study)
    judged(study)
    (look,) = looks(study)
    assert look.command == "fit" and look.runs == (
        "embedded dense", "embedded magnitude 0.5", "embedded magnitude 0.7",
    )  # fmt: skip
    assert set(look.verdicts["embedded"]) == set(CLAIMS) and look.options["resamples"] == 200
    told = "1 of 4 runs were added after a look at the data"
    out = swept(study, "--extend", sparsity="0.5,0.6,0.7")
    assert told in out.stderr
    assert [one.runs for one in added(study)] == [("embedded magnitude 0.6",)]
    assert told in " ".join(judged(study).stdout.split())
    assert any(told in w for w in json.loads(judged(study, "--json", "-").stdout)["warnings"])
    out = run("report", study, "--html", tmp_path / "r.html", "--markdown", tmp_path / "r.md")
    assert told in out.stderr
    page = (tmp_path / "r.html").read_text()
    assert page.count(told) == 1 and page.index('<section id="verdicts">') < page.index(told)
    assert (tmp_path / "r.md").read_text().startswith(f"Note: {told}")
    assert [look.command for look in looks(study)] == ["fit", "fit", "report"]
    departures = judged(study, "--prereg", study / "prereg.json", "--claims", "P1,P2").stdout
    assert "departure: magnitude has level 0.6, not registered." in departures


def test_levels_that_a_rule_adds_are_told_as_such_and_registered_with_the_rule(study):
    plan = build_plan(
        tasks=TASKS, methods="magnitude,random", sparsity="0.5", limit=12, match_loss=True, refine="P3"
    )
    grid = content_of(plan, parse_verdicts([]))["grid"]
    assert grid["by_rule"] == ["refine P3", MATCH_LOSS] and grid["matched"] == ["random"]
    judged(study)
    given = json.loads((study / "plan.json").read_text())["cells"]
    swept(study, "--extend", "--match-loss", "--methods", "magnitude,largest")
    cells = json.loads((study / "plan.json").read_text())["cells"]
    new = [cell for cell in cells if cell.get("added")]
    assert len(cells) > len(given) and len(new) == len(cells) - len(given)
    assert {one.by_rule for one in added(study)} == {MATCH_LOSS}
    out = " ".join(judged(study).stdout.split())
    assert f"{len(new)} of {len(cells)} runs were added by the rule of {MATCH_LOSS}" in out
    assert "after a look" not in out


def test_what_is_added_before_any_look_is_no_news(study):
    swept(study, "--extend", sparsity="0.5,0.6,0.7")
    assert not (study / LOOKS).exists()
    assert "after a look" not in judged(study).stdout


def test_tables_without_verdicts_are_no_look_and_a_table_has_no_log(study, tmp_path):
    run("report", study)
    assert not (study / LOOKS).exists()
    Store(study).samples().to_parquet(tmp_path / "t.parquet")
    judged(tmp_path / "t.parquet")
    assert not list(tmp_path.glob(f"*{LOOKS}"))


def test_a_log_that_cannot_be_written_is_a_note_beside_the_verdicts(study):
    (study / LOOKS).mkdir()
    out = judged(study)
    assert "Verdicts" in out.stdout and out.stderr.count("is not logged in") == 1
