"""Trainings that differ in more than their seed are no draws of one training: told apart by name, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from difficulty.runs.trained import unlike
from tests.difficulty.runs.test_logs import block, both

FACTS = {
    "steps": 100, "lr": 0.001, "batch_size": 8, "max_length": None, "longest_row": 256, "data": "a/lines.jsonl", "examples": 40,
    "adapter": None, "rank": 16, "alpha": None, "merge": None, "early_stop": None, "trainer": {}, "failed": False,
}  # fmt: skip


def trained(
    arm: str = "sparse_transfer", seed: int = 0, method: str | None = None, **changed: Any
) -> dict[str, Any]:
    base, level = ("dense", 0.0) if arm == "dense_transfer" else ("magnitude", 0.5)
    adapter = changed.get("adapter")
    name = method or f"{base}+{arm}" + (f"_{adapter}" if adapter else "")
    return block(name, level, recovery={**FACTS, "arm": arm, "seed": seed, **changed})


def names(folder: Path) -> list[str]:
    return sorted(read_runs(folder).names)


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_runs_of_other_steps_get_them_in_their_names_whatever_their_seeds(
    tmp_path: Path, seeds: tuple[int, int]
) -> None:
    for steps, seed in zip((100, 400), seeds, strict=True):
        both(tmp_path / f"s{steps}", trained(seed=seed, steps=steps))
    both(tmp_path / "d", trained("dense_transfer", steps=400, seed=seeds[1]))
    runs = read_runs(tmp_path)
    assert sorted(runs.names) == [
        "tiny dense+dense_transfer~400steps 0", "tiny magnitude+sparse_transfer~100steps 0.5",
        "tiny magnitude+sparse_transfer~400steps 0.5",
    ]  # fmt: skip
    (said,) = [w for w in runs.warnings if "differ in steps" in w]
    assert "(100, 400)" in said and "--name-by steps" in said


def test_rates_are_compared_among_trainings_with_the_same_adapter(tmp_path: Path) -> None:
    both(tmp_path / "a", trained(lr=2e-5))
    both(tmp_path / "b", trained(adapter="lora", lr=2e-4))
    assert names(tmp_path) == [
        "tiny magnitude+sparse_transfer 0.5",
        "tiny magnitude+sparse_transfer_lora 0.5",
    ]
    both(tmp_path / "c", trained(adapter="lora", lr=2e-3, steps=200))
    assert names(tmp_path) == [
        "tiny magnitude+sparse_transfer 0.5", "tiny magnitude+sparse_transfer_lora~100steps~lr0.0002 0.5",
        "tiny magnitude+sparse_transfer_lora~200steps~lr0.002 0.5",
    ]  # fmt: skip


def test_equal_trainings_and_named_ones_are_left_as_they_are(tmp_path: Path) -> None:
    for seed in (0, 1):
        both(tmp_path / f"s{seed}", trained(seed=seed))
    both(tmp_path / "d", trained("dense_transfer", data="b/lines.jsonl"))
    runs = read_runs(tmp_path)
    assert len(runs.names) == 3 and not any("~" in name for name in runs.names)
    for steps in (100, 400):
        both(
            tmp_path / "other" / str(steps),
            trained(method=f"magnitude+sparse_transfer~{steps}steps", steps=steps),
        )
    runs = read_runs(tmp_path / "other")
    assert sorted(runs.names) == [
        "tiny magnitude+sparse_transfer~100steps 0.5",
        "tiny magnitude+sparse_transfer~400steps 0.5",
    ]
    assert not any("differ in" in w for w in runs.warnings)


def test_steps_of_local_reconstruction_are_those_of_a_block(tmp_path: Path) -> None:
    both(tmp_path / "a", trained(steps=400))
    both(tmp_path / "b", trained("local_reconstruction", steps=50))
    assert names(tmp_path) == [
        "tiny magnitude+local_reconstruction 0.5",
        "tiny magnitude+sparse_transfer 0.5",
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch_size": 32}, r"batch_size \(8 and 32\)"),
        ({"longest_row": 512}, r"max_length \(256 and 512\)"),
        ({"data": "task:boolq"}, r"data \(lines.jsonl and task:boolq\)"),
        ({"examples": 41}, r"examples \(40 and 41\)"),
        ({"trainer": {"gradient_accumulation_steps": 4}}, "trainer"),
        ({"early_stop": 2}, r"early_stop \(none and 2\)"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_no_name_holds_is_refused(tmp_path: Path, changed: dict[str, Any], said: str, seed: int) -> None:
    both(tmp_path / "a", trained())
    both(tmp_path / "b", trained(seed=seed, **changed))
    with pytest.raises(UsageError, match=said):
        read_runs(tmp_path)


def test_the_rank_of_an_adapter_counts_where_there_is_one(tmp_path: Path) -> None:
    both(tmp_path / "a", trained(adapter="lora"))
    both(tmp_path / "b", trained(adapter="lora", seed=1, rank=4))
    with pytest.raises(
        UsageError, match=r"a/tiny.* and .*b/tiny.* would count as draws of one training.* rank \(16 and 4\)"
    ):
        read_runs(tmp_path)
    both(tmp_path / "c" / "a", trained())
    both(tmp_path / "c" / "b", trained(seed=1, rank=4))
    assert len(names(tmp_path / "c")) == 2


def test_an_earlier_training_counts_too(tmp_path: Path) -> None:
    def twice(steps: int, seed: int) -> dict[str, Any]:
        found = trained(method="magnitude+sparse_transfer+sparse_transfer", seed=seed)
        return {
            **found,
            "recovery": {
                **found["recovery"],
                "before": {**FACTS, "arm": "sparse_transfer", "steps": steps, "seed": 0},
            },
        }

    both(tmp_path / "a", twice(100, 0))
    both(tmp_path / "b", twice(400, 1))
    assert names(tmp_path) == [
        "tiny magnitude+sparse_transfer~100steps+sparse_transfer~100steps 0.5",
        "tiny magnitude+sparse_transfer~400steps+sparse_transfer~100steps 0.5",
    ]


def test_a_label_is_kept_and_a_training_that_broke_down_is_said(tmp_path: Path) -> None:
    both(tmp_path / "a", trained())
    both(tmp_path / "b", trained(steps=400, failed=True))
    runs = read_runs(tmp_path, labels=[f"{tmp_path / 'b'}=mine 0.5"])
    assert sorted(runs.names) == ["tiny magnitude+sparse_transfer 0.5", "tiny mine 0.5"]
    assert any("the training of 'tiny mine 0.5' broke down" in w for w in runs.warnings)


def test_only_what_both_say_is_compared() -> None:
    assert unlike([{"steps": 1, "lr": 0.1}], [{"steps": 2}]) == {"steps": (1, 2)}
    assert unlike([], [{"steps": 2}]) == {}
