"""Tasks are found by name, groups are walked whatever way they are written, right answers are read whatever their type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difficulty.errors import UsageError
from junkdna_harness.harness.targets import plain, right_options
from junkdna_harness.harness.tasks import find_task, find_tasks, leaves
from junkdna_harness.training_split import task_examples
from tests.harness.own_tasks import write_tasks

NESTED = """\
group: outer
task:
  - own_choice
  - group: inner
    task: [own_rolling, {task: own_repeats, num_fewshot: 0}]
  - {group: own_group}
"""


def test_groups_written_out_within_a_group_are_walked(tmp_path: Path) -> None:
    (write_tasks(tmp_path) / "outer.yaml").write_text(NESTED)
    manager, names = find_tasks(["outer"], str(tmp_path))
    assert names == ["outer"]
    assert set(leaves(manager, names)) == {"own_choice", "own_rolling", "own_repeats", "own_too_long"}


def test_a_group_within_itself_ends(tmp_path: Path) -> None:
    (write_tasks(tmp_path) / "outer.yaml").write_text("group: outer\ntask: [own_choice, outer]\n")
    manager, names = find_tasks(["outer"], str(tmp_path))
    assert set(leaves(manager, names)) == {"own_choice"}


def test_patterns_and_files_are_found(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path)
    assert find_tasks(["own_r*ing", "own_ch*"], str(folder))[1] == ["own_rolling", "own_choice"]
    file = str(folder / "own_choice.yaml")
    assert find_tasks([file], str(folder))[1] == [file]


def test_all_unknown_names_are_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown tasks 'own_choise'.*own_choice.*'nothing_like_it'"):
        find_tasks(["own_choise", "own_rolling", "nothing_like_it"], str(write_tasks(tmp_path)))


def test_the_file_of_one_task_is_found_and_a_group_is_refused(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path)
    assert find_task("own_choice", str(folder)) == folder / "own_choice.yaml"
    with pytest.raises(UsageError, match="is a group of 2 tasks"):
        find_task("own_group", str(folder))


@pytest.mark.parametrize(
    ("target", "right"),
    [
        (1, ["b"]), (np.int64(1), ["b"]), (np.int8(2), ["2"]), (np.uint32(0), ["a"]), (True, ["b"]), (np.bool_(True), ["b"]),
        (np.float64(1.0), ["b"]), ("b", ["b"]), (np.str_("b"), ["b"]), ("1", ["b"]), (np.str_("1"), ["b"]), ("2", ["2"]),
        ("True", ["b"]), ([0, 1], ["a", "b"]), (np.array([0, 1]), ["a", "b"]), ([np.int64(0), "b"], ["a", "b"]),
        (np.array(["a", "2"]), ["a", "2"]), (7, []), (-1, []), (np.int64(-1), []),
    ],
)  # fmt: skip
def test_the_right_options_are_those_of_lm_eval_whatever_the_type(target: Any, right: list[str]) -> None:
    assert right_options(target, ["a", "b", "2"]) == right


def test_options_that_are_numbers_are_read_as_texts_first() -> None:
    assert right_options("1", ["3", "0", "1", "2"]) == ["1"]
    assert right_options(np.int64(1), ["3", "0", "1", "2"]) == ["0"]


def test_plain_values_are_pythons_own() -> None:
    values = plain([np.int64(1), np.array([1.5, 2.0]), "x", None, (np.bool_(False),)])
    assert values == [1, [1.5, 2.0], "x", None, (False,)]
    assert type(values[0]) is int and type(values[4][0]) is bool


TASK = """\
task: own_TASK
dataset_path: json
dataset_kwargs: {data_files: {train: FOLDER/train.jsonl, test: FOLDER/train.jsonl}}
training_split: train
test_split: test
output_type: OUTPUT
doc_to_text: !function fields.text
doc_to_choice: !function fields.choices
doc_to_target: !function fields.target
"""
FIELDS = """\
import numpy as np
def text(doc): return TEXT
def choices(doc): return ["no", "yes"]
def target(doc): return TARGET
"""


def examples(
    folder: Path, target: str, text: str = "'Q'", output: str = "multiple_choice"
) -> list[tuple[str, str]]:
    folder.mkdir(exist_ok=True)
    name = f"{abs(hash((target, text, output)))}"
    (folder / "train.jsonl").write_text('{"q": 1}\n')
    (folder / "fields.py").write_text(FIELDS.replace("TARGET", target).replace("TEXT", text))
    own = TASK.replace("TASK", name).replace("FOLDER", str(folder)).replace("OUTPUT", output)
    (folder / "own.yaml").write_text(own)
    return [(e.prompt, e.answer) for e in task_examples(f"own_{name}", str(folder))]


@pytest.mark.parametrize(
    "target", ["1", "np.int64(1)", "np.array(1)", "[np.int64(1), 0]", "np.str_('yes')", "True", "1.0"]
)
def test_a_training_answer_is_an_option_whatever_the_type_of_the_label(tmp_path: Path, target: str) -> None:
    assert examples(tmp_path / "t", target) == [("Q", " yes")]


@pytest.mark.parametrize("target", ["2", "np.int64(2)", "-1", "np.int64(-1)", "'maybe'"])
def test_a_label_that_is_no_option_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(
        UsageError, match="has no right answer|cannot be loaded"
    ):  # lm-eval looks at the first label
        examples(tmp_path / "t", target)


@pytest.mark.parametrize("text", ["1", "np.int64(1)"])
def test_options_that_are_the_prompts_give_the_right_prompt(tmp_path: Path, text: str) -> None:
    assert examples(tmp_path / "t", "'it rains'", text) == [("yes", " it rains")]
