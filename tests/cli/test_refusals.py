"""What is refused leaves nothing behind and holds nobody up: after it the folder is as it was, and the corrected command works in the same place."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from difficulty.errors import UsageError
from junkdna_harness import resources
from junkdna_harness.cli import app
from tests.models_factory import save_tiny

TASKS = "--tasks difficulty_tiers_copying_t1 --limit 2"
OWN_TASK = """
task: own_task
dataset_path: json
dataset_kwargs: {data_files: {test: no_such_data.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: answer
"""

# Verb and its arguments, and what the sentence says. `deep/er/o` is an output; none of its folders is there.
MODEL = [("./nowhere", "is no folder here"), ("home", "without config.json")]
TEXT = [("no.txt", "no.txt"), ("empty.txt", "is empty"), ("binary.txt", "UTF-8"), ("hf:org/data", "could not be loaded: the hub cannot be reached")]  # fmt: skip
GRID = "--methods magnitude --sparsity 0.5"
REFUSALS: list[tuple[str, str]] = [
    *((f"prune {name} -o deep/er/o", told) for name, told in MODEL),
    *((f"prune --method wanda --calibration {name} -o deep/er/o", told) for name, told in TEXT),
    ("prune --mask no.mask -o deep/er/o", "is no file"),
    ("prune --recipe no.yaml -o deep/er/o", "no.yaml"),
    ("prune --sparsity 1.5 -o deep/er/o", "1.5"),
    *((f"quantize {name} -o deep/er/o", told) for name, told in MODEL),
    *((f"quantize --method gptq --bits 4 --calibration {name} -o deep/er/o", told) for name, told in TEXT[:1]),
    *((f"sweep --model_args pretrained={name} {GRID} {TASKS} -o deep/er/o", told) for name, told in MODEL),
    *((f"sweep --model_args calibration={name} --methods magnitude,wanda --sparsity 0.5 {TASKS} -o deep/er/o", told)
      for name, told in TEXT),
    (f"sweep --methods wanda --model_args pretrained=tiny --sparsity 0.5 {TASKS} -o deep/er/o", "so it needs text"),
    (f"sweep {GRID} --tasks own_task --include_path tasks -o deep/er/o", "no task can be evaluated: own_task"),
    (f"sweep {GRID} --tasks own_task --include_path tasks -o empty", "no task can be evaluated: own_task"),
    (f"sweep {GRID} --text no.txt -o deep/er/o", "there is no text file 'no.txt'"),
    (f"sweep {GRID} {TASKS} --device cuda:99 -o deep/er/o", "cuda:99"),
    (f"sweep {GRID} {TASKS} --device cuda:99 -o deep/er/o --preregister deep/file.json", "cuda:99"),
    ("sweep no.yaml -o deep/er/o", "no.yaml"),
    ("sweep wrong.yaml -o deep/er/o", "unknown option 'methdos'"),
    (f"sweep {GRID} {TASKS} -o home", "holds no sweep but 't.tex'"),
    (f"sweep --model_args pretrained=embedded --model_args pretrained=home {GRID} {TASKS} -o deep/er/o", "without config.json"),
    *((f"recover {name} --sparsity 0.5 -o deep/er/o", told) for name, told in MODEL),
    *((f"recover --sparsity 0.5 --data {name} -o deep/er/o", told) for name, told in TEXT[:2]),
    *((f"recover --sparsity 0.5 --method wanda --calibration {name} -o deep/er/o", told) for name, told in TEXT[:1]),
    ("recover --sparsity 0.5 --trainer optim=no_such -o deep/er/o", "refuses the trainer options"),
    ("recover --sparsity 0.5 --bits 4 -o deep/er/o", "No such option"),
    ("recover -o deep/er/o", "needs a pruned model"),
    *((f"study {name} -o deep/er/o", told) for name, told in MODEL),
    ("study --data no.txt -o deep/er/o", "there is no file 'no.txt' to train on"),
    ("study --plan no.yaml -o deep/er/o", "no.yaml"),
    ("study --plan trainer.yaml -o deep/er/o", "Did you mean 'gradient_accumulation_steps'"),
    ("study --device cuda:99 --quick -o deep/er/o", "cuda:99"),
    *((f"gate {name} --against baseline.json --out deep/er/o", told) for name, told in MODEL),
    ("gate embedded --against no.json --out deep/er/o", "no.json"),
    ("gate embedded --against baseline.json --max-items 0 --out deep/er/o", "--max-items 0"),
    (f"fidelity {GRID} --text no.txt --cache deep/er/o", "no.txt"),
    ("fidelity home --text starter --cache deep/er/o", "without config.json"),
    (f"fidelity {GRID} --text starter --window 99999 --cache deep/er/o", "99999"),
    (f"fidelity {GRID} --text starter --cache home", "is no cache of logits"),
    ("tiers build --task own_task --include_path tasks --by no_rule -o deep/er/o", "no_rule"),
    ("tiers build --task own_task --include_path tasks --by answer_length -o deep/er/o", "own_task"),
    ("sweep export home deep/er/o", "holds no sweep"),
    ("sweep export nowhere deep/er/o", "holds no sweep"),
    ("report nowhere --html deep/er/o.html --plots deep/er/o", "nowhere"),
    ("report home --markdown deep/er/o.md --csv deep/er/o.csv", "home"),
    ("table home -o deep/er/o.csv", "home"),
    ("fit home --json deep/er/o.json", "home"),
    ("compare home home --json deep/er/o.json", "home"),
    ("check home --against nowhere --json deep/er/o.json --history deep/er/o.jsonl", "'home' holds neither"),
]  # fmt: skip


def everything(folder: Path) -> dict[str, str]:
    """What lies in a folder: path -> sha256, or that it is a folder."""
    return {
        str(path.relative_to(folder)): "folder"
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of every kind of mistake."""
    place = tmp_path_factory.mktemp("given")
    for name in ("home", "tasks", "empty"):
        (place / name).mkdir()
    (place / "home" / "t.tex").write_text("a thesis")
    (place / "tasks" / "own.yaml").write_text(OWN_TASK)
    (place / "empty.txt").write_text(" \n")
    (place / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    (place / "wrong.yaml").write_text("methdos: magnitude\n")
    (place / "typo.yaml").write_text("tasks: [difficulty_tires]\n")
    (place / "trainer.yaml").write_text("trainer: {gradient_acumulation_steps: 2}\n")
    save_tiny("llama", place / "tiny")
    baseline = json.loads((Path(__file__).parents[1] / "gate" / "baseline.json").read_text())
    (place / "baseline.json").write_text(json.dumps(baseline))
    return place


def call(arguments: str) -> Any:
    return CliRunner().invoke(app, arguments.split())


@pytest.mark.parametrize(("arguments", "told"), REFUSALS, ids=[arguments for arguments, _ in REFUSALS])
def test_what_is_refused_leaves_everything_as_it_was(
    given: Path, arguments: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def unreachable(*args: Any, **more: Any) -> Any:
        raise ConnectionError("the hub cannot be reached")

    if "hf:" in arguments:
        monkeypatch.setattr(datasets, "load_dataset", unreachable)
    monkeypatch.chdir(given)
    before = everything(given)
    run = call(arguments)
    assert run.exit_code, run.output
    assert isinstance(run.exception, (UsageError, SystemExit)), run.exception
    assert told in f"{run.exception} {run.output}"
    assert everything(given) == before


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (f"--tasks difficulty_tires --limit 2 {GRID}", f"{TASKS} {GRID}"),
        (f"--tasks own_task --include_path tasks {GRID}", f"{TASKS} {GRID}"),
        (f"--model_args pretrained=home {GRID} {TASKS}", f"{TASKS} {GRID}"),
    ],
    ids=["a typo", "data that are missing", "another model"],
)
def test_the_corrected_sweep_goes_into_the_same_folder(
    given: Path, tmp_path: Path, wrong: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(given)
    folder = tmp_path / "s"
    assert call(f"sweep {wrong} -o {folder}").exit_code == 1
    assert not folder.exists()
    done = call(f"sweep {right} --workers 1 -o {folder}")
    assert done.exit_code == 0, done.output


def test_an_addition_that_is_refused_does_not_change_the_plan(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(given)
    same = f"sweep {TASKS} --workers 1 -o {tmp_path / 's'}"
    assert call(f"{same} {GRID}").exit_code == 0
    before = everything(tmp_path)
    for addition, told in (
        ("--methods magnitude,wanda --sparsity 0.5 --model_args calibration=no.txt", "no.txt"),
        ("--methods magnitude --sparsity 0.5,0.7 --device cuda:99", "cuda:99"),
        ("--methods magnitude,no_such --sparsity 0.5", "no_such"),
        ("--methods magnitude --sparsity 0.5,0.7 --seed 5", "another plan"),
    ):
        refused = call(f"{same} --extend {addition}")
        assert refused.exit_code and told in str(refused.exception), refused.exception
        assert everything(tmp_path) == before
    assert call(f"{same} --extend --methods magnitude --sparsity 0.5,0.7").exit_code == 0
    assert len(list((tmp_path / "s" / "runs").glob("*.json"))) == 3


# What a dry run says was there, by verb; and what it refuses as the verb itself would.
DRY = [
    ("prune --method wanda", ["calibration text of the embedded model", "memory: ", "disk: "]),
    ("quantize --method gptq --bits 4 --calibration graded", ["calibration text graded", "memory: ", "disk: "]),
    (f"sweep --methods wanda --sparsity 0.5 {TASKS}",
     ["model embedded", "calibration text of the embedded model", "data of 1 tasks", "memory: ", "disk: "]),
    ("recover --method wanda --sparsity 0.5", ["training data graded", "calibration text of the embedded model", "memory: ", "disk: "]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "checked"), DRY, ids=[arguments.split()[0] for arguments, _ in DRY])
def test_a_dry_run_says_what_it_looked_for_and_writes_nothing(
    tmp_path: Path, arguments: str, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = call(f"{arguments} --dry-run -o deep/er/o")
    assert run.exit_code == 0, run.output
    told = [line for line in run.output.splitlines() if line.startswith("checked: ")]
    for words in checked:
        assert any(words in line for line in told), (words, run.output)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [arguments for arguments, _ in DRY], ids=lambda a: a.split()[0])
@pytest.mark.parametrize(
    ("short", "told"), [("memory", "of memory, and 1 kB are free"), ("disk", "left")], ids=["memory", "disk"]
)
def test_a_dry_run_refuses_what_has_no_room(
    tmp_path: Path, arguments: str, short: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if short == "memory":
        monkeypatch.setattr(resources, "free_memory", lambda: 1000)
    else:
        usage = resources.shutil.disk_usage(tmp_path)
        monkeypatch.setattr(resources.shutil, "disk_usage", lambda path: usage._replace(free=100))
    run = call(f"{arguments} --dry-run -o deep/er/o")
    assert isinstance(run.exception, UsageError) and run.exception.exit_code == 2, run.output
    assert told in str(run.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("prune --method wanda --calibration no.txt", "no.txt"),
        ("prune --mask no.mask", "is no file"),
        (f"sweep {GRID} --tasks own_task --include_path tasks", "no task can be evaluated"),
        (f"sweep {GRID} {TASKS} --model_args pretrained=home", "without config.json"),
        ("recover --sparsity 0.5 --data no.txt", "no.txt"),
        ("recover --sparsity 0.5 --trainer optim=no_such", "refuses the trainer options"),
        ("study --data no.txt --quick", "no.txt"),
        ("study --plan typo.yaml", "difficulty_tires"),
    ],
)
def test_a_dry_run_refuses_what_the_verb_refuses(
    given: Path, arguments: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(given)
    before = everything(given)
    run = call(f"{arguments} --dry-run -o deep/er/o")
    assert isinstance(run.exception, UsageError) and told in str(run.exception), (run.exception, run.output)
    assert everything(given) == before


def test_a_sweep_is_refused_where_its_tables_have_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    usage = resources.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda path: usage._replace(free=200))
    run = CliRunner().invoke(app, ["sweep", *GRID.split(), *TASKS.split(), "-o", "deep/o"])
    assert isinstance(run.exception, UsageError) and "'deep/o' would take 240 B" in str(run.exception)
    assert list(tmp_path.iterdir()) == []
