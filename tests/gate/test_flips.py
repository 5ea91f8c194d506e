"""The items behind a loss: which ones, what is known of them, and that the choice does not hang on their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difficulty.runs.asked import AskedOnce, asked
from junkdna_harness.gate import Limits, Policy, Rule, check, read_baseline, read_run, to_json
from junkdna_harness.gate.behind import with_flips, with_logged_flips
from junkdna_harness.gate.flips import Flip, Logged
from junkdna_harness.gate.items import run_items
from junkdna_harness.gate.rule import Gate
from tests.gate.test_check_command import folder, right
from tests.report.synthetic import one_run

ONE, TWO, LONG = ("addition", 1), ("addition", 2), "Is it so? " * 100


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("good"), {ONE: right(), TWO: right()})


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 of one tier and 90 of the other are lost."""
    return folder(tmp_path_factory.mktemp("bad"), {ONE: right(wrong=20), TWO: right(wrong=90)}, prompt=LONG)


def judged(new: Path, against: Path, limits: Limits | Policy | None = None) -> Gate:
    gate = check(read_run(new), read_baseline(against), limits, allow_different_prompts=True)
    return with_logged_flips(gate, new, against)


def flips(gate: Gate, name: str) -> tuple[Flip, ...]:
    (found,) = [one.flips for one in gate.comparisons if one.name == name]
    return found


def test_lost_items_come_with_prompt_and_both_answers_from_every_task_in_turn(good: Path, bad: Path) -> None:
    found = flips(judged(bad, good), "overall")
    assert [flip.task for flip in found] == [
        "addition_t2",
        "addition_t1",
        "addition_t2",
        "addition_t1",
        "addition_t2",
    ]
    for flip in found:
        assert (flip.before, flip.after, flip.wanted, flip.answer_before, flip.answer) == (
            1.0,
            0.0,
            "4",
            "4",
            "5",
        )
        assert flip.prompt is not None
        # The end of a long prompt, where the question is.
        assert flip.prompt.startswith("…") and flip.prompt.endswith("=") and len(flip.prompt) == 601
    assert len({flip.item for flip in found}) == 5


def test_the_same_runs_show_the_same_items_and_not_the_first_ones(good: Path, bad: Path) -> None:
    found = flips(judged(bad, good), "addition tier 2")
    assert found == flips(judged(bad, good), "addition tier 2")
    asked_for = [int(str(flip.prompt).rpartition("+")[2].strip("=")) for flip in found]
    assert all(number < 90 for number in asked_for)  # those that were lost
    assert sorted(asked_for) != list(range(5))


def test_what_passes_shows_nothing_and_is_not_read_again(good: Path) -> None:
    run = read_run(good)

    def never(wanted: object) -> dict[tuple[str, str], object]:
        raise AssertionError("read for nothing")

    gate = with_flips(check(run, run), never, never)  # type: ignore[arg-type]
    assert not any(one.flips for one in gate.comparisons)


def test_a_folder_is_read_once_for_several_of_its_runs(bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged, run = Logged(bad), read_run(bad)
    items = [("addition_t1", item) for item in run.tasks["addition_t1"].item_ids[:2]]
    first = logged.of(run.name)(items)
    monkeypatch.setattr("junkdna_harness.gate.flips.read_runs", None)
    assert (
        set(first) == set(items)
        and logged.of("another run")(items) == {}
        and logged.of(run.name)(items) == first
    )


def test_a_baseline_file_knows_no_answers(good: Path, bad: Path, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    file.write_text(to_json(read_run(good)))
    found = flips(judged(bad, file), "overall")
    assert [flip.item for flip in found] == [flip.item for flip in flips(judged(bad, good), "overall")]
    assert {(flip.answer_before, flip.answer, flip.wanted) for flip in found} == {(None, "5", "4")}


def test_a_limit_on_flips_shows_what_changed_either_way(tmp_path: Path) -> None:
    before, after = right(100), right(100)
    before[:30], after[30:40] = 0, 0
    new, old = folder(tmp_path / "new", {ONE: after}), folder(tmp_path / "old", {ONE: before})
    found = flips(judged(new, old, Policy((Rule(max_flips=0.05),))), "overall (flips)")
    assert {(flip.before, flip.after) for flip in found} == {(0.0, 1.0), (1.0, 0.0)}


def test_other_metrics_show_the_largest_losses_first() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.5, 1.0, 300)
    loss = rng.uniform(0.0, 0.5, 300)
    new, old = (run_items(one_run({("t", 1): values}, metric="f1")) for values in (base - loss, base))
    found = flips(with_flips(check(new, old)), "overall")
    lost = [flip.before - flip.after for flip in found]
    assert lost == pytest.approx(sorted(loss)[:-6:-1]) and not any(flip.known for flip in found)


def test_lower_is_better_turns_the_loss_round() -> None:
    base = np.linspace(1, 2, 300)
    more = base + np.linspace(0, 1, 300)
    new, old = (run_items(one_run({("t", 1): v}, metric="word_perplexity")) for v in (more, base))
    found = flips(with_flips(check(new, old, Limits(max_drop=0.1))), "overall")
    assert [flip.after - flip.before for flip in found] == pytest.approx([1 - i / 299 for i in range(5)])


def test_a_table_may_carry_its_documents(tmp_path: Path, good: Path, bad: Path) -> None:
    paths = []
    for name, source in (("new", bad), ("old", good)):
        run = read_run(source)
        rows = [
            {
                "model": "m", "method": "dense" if name == "old" else "wanda", "level": 0.0 if name == "old" else 0.5,
                "task": task, "family": items.family, "axis": items.axis, "tier": items.tier, "item_id": item,
                "metric": "exact_match", "value": value, "prompt": f"ask {item}", "target": "4", "answer": name,
            }
            for task, items in run.tasks.items()
            for item, value in zip(items.item_ids, items.values, strict=True)
        ]  # fmt: skip
        paths.append(tmp_path / f"{name}.csv")
        pd.DataFrame(rows).to_csv(paths[-1], index=False)
    found = flips(judged(*paths), "overall")
    assert {(flip.prompt, flip.answer_before, flip.answer) for flip in found} == {
        (f"ask {flip.item}", "old", "new") for flip in found
    }


@pytest.mark.parametrize(
    ("target", "options", "shown"),
    [
        ("1", (" was", " were"), "were"),
        ("1", ("2", "1"), "1"),
        ("7", (" was", " were"), "7"),
        ("1", ("x", "x"), "1"),
    ],
)
def test_a_wanted_option_is_shown_by_its_text(target: str, options: tuple[str, str], shown: str) -> None:
    """lm-eval logs some targets as an option's number; a number that is an option itself stays."""
    arguments = {f"gen_args_{i}": {"arg_0": "q", "arg_1": option} for i, option in enumerate(options)}
    assert (
        asked({"target": target, "arguments": arguments, "filtered_resps": [["-1"], ["-2"]]}).target == shown
    )


def test_equal_texts_of_many_runs_are_kept_once() -> None:
    def logged(run: str) -> dict[str, object]:
        return {
            "arguments": [["".join(["a long", " prompt"]), " x"]],
            "target": "".join(["x", "y"]),
            "filtered_resps": [f"by {run}"],
        }

    keep = AskedOnce()
    first, second = keep(logged("a")), keep(logged("b"))
    assert first == asked(logged("a")) and second == asked(logged("b"))
    assert first.prompt is second.prompt and first.target is second.target and first.answer != second.answer
