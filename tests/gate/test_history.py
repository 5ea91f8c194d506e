"""A history keeps decisions whole, of one suite, and says what is wrong with a file."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from difficulty.errors import UsageError
from junkdna_harness.gate import Limits, check, history, read_baseline, to_json
from junkdna_harness.gate.decision import cells_from_json, run_sha256
from junkdna_harness.gate.history import append, commit_of, read_history
from junkdna_harness.gate.packed import pack, pack_codes, unpack, unpack_codes
from tests.gate.made_up import answers, keep, run, task, two_tiers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gates.jsonl"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def refused(path: Path, wrong: tuple[int, int] = (3, 3)) -> str:
    """The sentence with which another decision is refused."""
    gate = check(two_tiers("next", wrong), two_tiers("base", (1, 1)), Limits(0.05))
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        append(path, gate, gate.exit_code)
    assert path.read_bytes() == before
    return str(caught.value)


def test_what_was_appended_is_read_back(path: Path) -> None:
    runs = [two_tiers("base", (1, 2)), two_tiers("first", (3, 4)), two_tiers("second", (5, 6))]
    gates = keep(path, runs)
    history = read_history(path)
    assert [entry.commit for entry in history.entries] == ["000001abc", "000002abc"]
    for values, made in zip((history.start, *(e.outcomes for e in history.entries)), runs, strict=True):
        np.testing.assert_array_equal(values, np.concatenate([one.values for one in made.tasks.values()]))
    entry, gate = history.entries[1], gates[1]
    assert (entry.verdict, entry.new["run"], entry.baseline["run"]) == (gate.verdict, "second", "first")
    assert entry.baseline["sha256"] == history.entries[0].new["sha256"]
    assert [row["name"] for row in entry.comparisons] == [one.name for one in gate.comparisons]
    assert [row["loss"] for row in entry.comparisons] == pytest.approx(
        [one.loss.loss for one in gate.comparisons]
    )
    for row, one in zip(entry.comparisons, gate.comparisons, strict=True):
        cells = cells_from_json(row["cells"], history.suite)
        assert {key: at.tolist() for key, at in cells.items()} == {
            key: at.tolist() for key, at in one.planned.cells.items()
        }
    first = lines(path)[0]
    assert (first["kind"], first["schema"], first["exit_code"]) == ("junkdna-gate", 1, gates[0].exit_code)
    assert first["items"] == 400 and first["looks"] is None and first["time"].endswith("Z")


@pytest.mark.parametrize(
    "values",
    [np.array([1.0, 0, 0, 1, 1, 0, 1, 0, 1]), np.array([0.5, -2.25, 1e6]), np.array([0.1, 1 / 3]), np.array([np.nan, 1, np.nan, 0]),
     np.array([np.nan, 0.1]), np.array([np.nan, np.nan])],
)  # fmt: skip
def test_outcomes_are_packed_without_loss(values: np.ndarray) -> None:
    np.testing.assert_array_equal(unpack(json.loads(json.dumps(pack(values))), len(values)), values)


def test_groups_are_packed_whatever_their_numbers() -> None:
    assert unpack_codes(pack_codes(np.array([7, 7, 2, 9, 2])), 5).tolist() == [0, 0, 1, 2, 1]
    assert len(pack_codes(np.arange(13000))) < 200


def test_a_bit_per_right_or_wrong_item() -> None:
    assert len(str(pack((np.random.default_rng(0).random(13000) < 0.9).astype(float)))) < 2200


@pytest.mark.parametrize("packed", ["b1:AA==", "x:AA==", "f8:AAAA", 3, ["b1:gA=="], "b1:?", "f4:" + "A" * 40])
def test_what_is_not_packed_is_refused(packed: object) -> None:
    with pytest.raises(ValueError, match="outcome"):
        unpack(packed, 12)


def test_a_baseline_file_and_the_run_that_it_was_written_from_are_one_suite(
    path: Path, tmp_path: Path
) -> None:
    base, new = two_tiers("base", (1, 2)), two_tiers("new", (3, 4))
    file = tmp_path / "base.json"
    file.write_text(to_json(base))
    from_file = read_baseline(file)
    assert run_sha256(from_file) == run_sha256(base)
    for number, baseline in enumerate((base, from_file)):
        gate = check(new, baseline, Limits(0.05))
        append(path, gate, gate.exit_code, f"c{number}")
    assert len(read_history(path).entries) == 2


def test_items_that_were_not_asked_are_known_not_to_be(path: Path) -> None:
    base, new = two_tiers("base", (1, 2)), two_tiers("new", (3, 4))
    keep(path, [base, replace(new, tasks={"addition_t1": new.tasks["addition_t1"]})])
    outcomes = read_history(path).entries[0].outcomes
    assert np.isnan(outcomes).tolist() == [False] * 200 + [True] * 200
    assert lines(path)[0]["items"] == 200 and lines(path)[0]["missing"]


def test_clusters_and_weights_are_kept(path: Path) -> None:
    values = np.random.default_rng(1).normal(2, 1, 300)
    weights = np.arange(1.0, 301)
    named = tuple(f"passage{i // 3}" for i in range(300))

    def perplexity(name: str, shift: float):
        made = task(
            "text",
            1,
            values + shift,
            "word_perplexity",
            weights=weights,
            scale="perplexity",
            clusters=named,
            higher_is_better=False,
        )
        return run(name, [made])

    keep(path, [perplexity("base", 0), perplexity("new", 0.01)], Limits(1.0))
    suite = read_history(path).suite
    np.testing.assert_array_equal(suite.tasks[0].weights, weights)
    assert suite.clusters is not None and len(np.unique(suite.clusters)) == 100
    assert not suite.tasks[0].higher_is_better


OTHER = {
    "has also sorting_t1": [task("addition", 1, answers(1)), task("addition", 2, answers(1)), task("sorting", 1, answers(1))],
    "lacks addition_t2": [task("addition", 1, answers(1))],
    "with 100 items, not 200": [task("addition", 1, answers(1, 100)), task("addition", 2, answers(1))],
    "judged by exact_match, not acc": [task("addition", 1, answers(1), "exact_match"), task("addition", 2, answers(1))],
    "in version 2.0, not 1.0": [task("addition", 1, answers(1), version="2.0"), task("addition", 2, answers(1))],
    "with other items": [replace(task("addition", 1, answers(1)), item_ids=tuple(f"{i:016d}" for i in range(200))), task("addition", 2, answers(1))],
}  # fmt: skip


@pytest.mark.parametrize("what", OTHER)
def test_another_suite_is_refused_and_what_differs_is_said(path: Path, what: str) -> None:
    keep(path, [two_tiers("base", (1, 1)), two_tiers("new", (2, 2))])
    other = run("other", OTHER[what])
    gate = check(other, other, Limits(0.05))
    before = path.read_bytes()
    with pytest.raises(UsageError, match="history of another suite") as caught:
        append(path, gate, gate.exit_code)
    assert what in str(caught.value) and "Name another file with --history" in str(caught.value)
    assert path.read_bytes() == before


def test_other_prompts_are_refused_unless_they_are_allowed(path: Path) -> None:
    def asked(prompt: str, wrong: int):
        return run("r", [task("addition", 1, answers(wrong), prompts=(prompt * 16,) * 200)])

    keep(path, [asked("a", 1), asked("a", 2)])
    gate = check(asked("b", 3), asked("b", 2), Limits(0.05))
    with pytest.raises(UsageError, match="with other prompts"):
        append(path, gate, 0)
    append(path, gate, 0, allow_different_prompts=True)
    assert len(read_history(path).entries) == 2


def test_a_half_line_is_never_written_behind(path: Path) -> None:
    runs = [two_tiers("base", (1, 1)), two_tiers("a", (2, 2)), two_tiers("b", (3, 3))]
    keep(path, runs)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert "the last line" in refused(path) and "(line 2) is cut off" in refused(path)
    history = read_history(path)
    assert len(history.entries) == 1 and "it is left out" in history.notes[0]
    path.write_bytes(whole.rstrip(b"\n"))  # whole, but for the end of the line
    gate = check(two_tiers("c", (4, 4)), runs[-1], Limits(0.05))
    assert "had no end" in append(path, gate, 0, "c")[0]
    assert path.read_bytes().startswith(whole) and len(read_history(path).entries) == 3


def test_damage_is_named_by_its_line(path: Path) -> None:
    keep(path, [two_tiers("base", (1, 1)), two_tiers("a", (2, 2)), two_tiers("b", (3, 3))])
    first, second = path.read_text().splitlines()

    def broken(change: dict) -> str:
        path.write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
        with pytest.raises(UsageError) as caught:
            read_history(path)
        return str(caught.value)

    assert "line 2" in broken({"outcomes": ["b1:AA==", None]}) and "damaged" in broken({"outcomes": []})
    assert "has schema 7" in broken({"schema": 7})
    assert "is no entry of a history" in broken({"kind": "other"})
    assert "is about other tasks or items than line 1" in broken({"suite": "0" * 64})
    assert "damaged" in broken({"comparisons": {}}) and "damaged" in broken({"new": None})
    path.write_text(f"{first[:50]}\n{second}\n")
    assert "line 1" in refused(path)
    path.write_text(f"{second}\n")
    with pytest.raises(UsageError, match="no line of .* says which tasks"):
        read_history(path)
    path.write_text("")
    with pytest.raises(UsageError, match="holds no entries"):
        read_history(path)
    path.write_bytes(b"\xff\xfe\n")
    assert "is not UTF-8" in refused(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_history(path.with_name("nowhere.jsonl"))


def test_a_history_whose_first_line_is_gone_goes_on_with_the_suite_written_anew(path: Path) -> None:
    runs = [two_tiers("base", (1, 1)), two_tiers("a", (2, 2)), two_tiers("b", (3, 3)), two_tiers("c", (4, 4))]
    keep(path, runs[:3])
    path.write_text(path.read_text().splitlines()[1] + "\n")
    gate = check(runs[3], runs[2], Limits(0.05))
    append(path, gate, gate.exit_code, "c")
    history = read_history(path)
    assert len(history.entries) == 2 and np.isnan(history.start).all()


def test_the_same_run_of_one_commit_is_told_and_counted_once(path: Path) -> None:
    runs = [two_tiers("base", (1, 1)), two_tiers("a", (2, 2))]
    gate = check(runs[1], runs[0], Limits(0.05))
    assert append(path, gate, 0, "abc") == []
    assert "stands in" in append(path, gate, 0, "abc")[0]
    assert append(path, gate, 0, "def") == []
    history = read_history(path)
    assert [entry.commit for entry in history.entries] == ["abc", "def"]
    assert "line 2 is a run that stands there before" in history.notes[0]


def _append_many(path: Path, who: str) -> None:
    gate = check(two_tiers("a", (2, 2)), two_tiers("base", (1, 1)), Limits(0.05))
    for number in range(8):
        append(path, gate, 0, f"{who}{number}")


def test_who_lost_its_lock_while_it_read_appends_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(path, [two_tiers("base", (1, 2)), two_tiers("first", (3, 4))])
    read = history._documents

    def slowly(*given: object, **more: object) -> object:
        (path.parent / f".{path.name}.lock").unlink()  # as one that counts this one as dead does
        return read(*given, **more)

    monkeypatch.setattr(history, "_documents", slowly)
    assert "no longer held by this process" in refused(path)


def test_a_disk_that_is_full_in_the_middle_of_a_line_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(path, [two_tiers("base", (1, 2)), two_tiers("first", (3, 4))])
    write, lines_before = os.write, lines(path)

    def full(descriptor: int, data: bytes) -> int:
        if b'"kind"' in data:
            return write(descriptor, data[:100])
        if len(data) > 200:  # the rest of it; the lock's record is shorter
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert "No space left" in refused(path)
    assert lines(path) == lines_before


def test_two_processes_write_whole_lines(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(path, who)) for who in ("a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    history = read_history(path)
    assert sorted(str(e.commit) for e in history.entries) == [f"{who}{n}" for who in "ab" for n in range(8)]
    assert sum("suite_content" in line for line in lines(path)) == 1
    assert list(path.parent.iterdir()) == [path]  # the lock is gone


def test_the_commit_is_what_was_given_or_what_ci_or_git_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA"):
        monkeypatch.delenv(name, raising=False)
    assert commit_of() is None  # no repository
    monkeypatch.setenv("PATH", "")
    assert commit_of() is None  # no git
    monkeypatch.setenv("CI_COMMIT_SHA", "feed")
    assert commit_of() == "feed"
    monkeypatch.setenv("GITHUB_SHA", "beef")
    assert (commit_of(), commit_of("v1.2")) == ("beef", "v1.2")
    with pytest.raises(UsageError, match="is no commit"):
        commit_of(" ")


def test_the_commit_of_a_repository_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(Path(__file__).parent)
    found = commit_of()
    assert found is None or len(found) in (40, 64)  # the tests may run without a repository


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    gate = check(two_tiers("a", (2, 2)), two_tiers("base", (1, 1)), Limits(0.05))
    with pytest.raises(UsageError, match="cannot write"):
        append(file / "gates.jsonl", gate, 0)


def test_a_state_that_is_brought_back_is_the_newest_where_no_commit_is_known(tmp_path: Path) -> None:
    """A good run, a bad one, the good one again: the third line is no copy of the first, and the model is well."""
    base, good, bad = (
        two_tiers(name, wrong) for name, wrong in (("b", (0, 0)), ("g", (1, 1)), ("w", (60, 60)))
    )
    path = tmp_path / "gates.jsonl"
    told = []
    for new in (good, good, bad, good):
        gate = check(new, base, Limits(0.05))
        told.append(append(path, gate, gate.exit_code))
    history = read_history(path)
    assert [entry.verdict for entry in history.entries] == ["pass", "fail", "pass"]
    assert [bool(notes) for notes in told] == [False, True, False, False]
    assert [entry.line for entry in history.entries] == [1, 3, 4]
