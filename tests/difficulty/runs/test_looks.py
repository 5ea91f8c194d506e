"""The log of looks at a sweep's folder."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from difficulty.runs.looks import LOOKS, added, added_after_look, log_added, log_look, looks

RULES = {"alpha": 0.05}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The manifests and the plan of a sweep with three runs."""
    return plan(tmp_path, ["m dense", "m magnitude 0.3", "m magnitude 0.5"])


def plan(folder: Path, runs: list[str]) -> Path:
    (folder / "runs").mkdir(exist_ok=True)
    for number, run in enumerate(runs):
        finish(folder, number, run)
    (folder / "plan.json").write_text(json.dumps({"runs": {f"r{n}": run for n, run in enumerate(runs)}}))
    return folder


def finish(folder: Path, number: int, run: str, samples: str = "s") -> None:
    (folder / "runs" / f"r{number}.json").write_text(json.dumps({"run": run, "files": {"samples": samples}}))


def test_a_look_says_who_looked_at_what_by_which_rules_and_what_was_found(folder):
    assert (
        log_look(folder, "fit", "1.0", options={"seed": 3}, rules=RULES, verdicts={"m": {"P1": "supported"}})
        is None
    )
    (look,) = looks(folder)
    assert (look.command, look.version, look.options, look.rules) == ("fit", "1.0", {"seed": 3}, RULES)
    assert look.runs == ("m dense", "m magnitude 0.3", "m magnitude 0.5") and len(look.runs_sha256) == 64
    assert look.verdicts == {"m": {"P1": "supported"}} and look.time.endswith("+00:00")


def test_the_same_look_is_logged_once_and_any_other_by_itself(folder):
    for _ in range(3):
        log_look(folder, "fit", "1.0", rules=RULES)
    log_look(folder, "fit", "1.1", rules=RULES)
    assert len(looks(folder)) == 1
    log_look(folder, "report", "1.0", rules=RULES)
    log_look(folder, "fit", "1.0", rules={"alpha": 0.1})
    log_look(folder, "fit", "1.0", rules=RULES, options={"families": ["a"]})
    log_look(folder, "fit", "1.0", rules=RULES, verdicts={"m": {"P1": "refuted"}})
    assert len(looks(folder)) == 5
    finish(folder, 1, "m magnitude 0.3", samples="other")  # evaluated again, with other scores
    log_look(folder, "fit", "1.0", rules=RULES)
    assert len(looks(folder)) == 6


def test_runs_that_are_added_after_a_look_are_told_and_those_before_it_are_not(folder):
    log_added(folder, ["m magnitude 0.3"])
    assert not (folder / LOOKS).exists() and added_after_look(folder) == ()
    log_look(folder, "fit", "1.0")
    assert added_after_look(folder) == ()
    log_added(folder, ["m magnitude 0.4", "m magnitude 0.45"])
    assert added_after_look(folder) == ()  # logged, and the plan was never written
    plan(folder, ["m dense", "m magnitude 0.3", "m magnitude 0.5", "m magnitude 0.4", "m magnitude 0.45"])
    (told,) = added_after_look(folder)
    assert told.startswith("2 of 5 runs were added after a look at the data (20")
    assert told.split(": ")[1].startswith("m magnitude 0.4, m magnitude 0.45. ")
    log_added(folder, ["m magnitude 0.4"])
    assert added_after_look(folder) == (told,)  # named twice, added once


def test_levels_that_a_rule_added_are_told_apart(folder):
    log_look(folder, "fit", "1.0")
    log_added(folder, ["m magnitude 0.5"], by_rule="--refine P3")
    assert added_after_look(folder) == (
        "1 of 3 runs were added by the rule of --refine P3: m magnitude 0.5.",
    )
    log_added(folder, ["m magnitude 0.3"])
    first, second = added_after_look(folder)
    assert first.startswith("1 of 3 runs were added after a look") and "--refine P3" in second
    assert [one.by_rule for one in added(folder)] == ["--refine P3", None]


@pytest.mark.parametrize(
    "rest", [b'{"kind": "look", "ti', b"\x00\xff", b"[]\n", b'{"kind": "other"}\n', b"\n\n"]
)
def test_a_line_that_was_cut_off_costs_no_other_line(folder, rest):
    log_look(folder, "fit", "1.0")
    with (folder / LOOKS).open("ab") as handle:
        handle.write(rest)
    assert len(looks(folder)) == 1
    log_look(folder, "report", "1.0")
    assert [look.command for look in looks(folder)] == ["fit", "report"]


def test_where_the_log_cannot_be_written_there_is_one_note_and_no_error(folder):
    (folder / LOOKS).mkdir()
    note = log_look(folder, "fit", "1.0")
    assert note is not None and "is not logged in" in note and "\n" not in note
    assert looks(folder) == () and log_added(folder, ["m dense"]) is None


def test_a_run_whose_manifest_is_damaged_does_not_keep_a_look_from_being_logged(folder):
    (folder / "runs" / "r1.json").write_text("{")
    assert log_look(folder, "fit", "1.0") is None
    assert looks(folder)[0].runs == ("m dense", "m magnitude 0.5")


def _look_often(folder: str) -> None:
    for number in range(20):
        log_look(folder, "fit", "1.0", options={"by": multiprocessing.current_process().name, "n": number})


def test_several_processes_at_once_lose_no_look(folder):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_look_often, args=(str(folder),)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(looks(folder)) == 60 and (folder / LOOKS).read_bytes().count(b"\n") == 60
