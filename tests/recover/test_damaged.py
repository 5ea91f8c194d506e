"""A checkpoint that is damaged is not gone on from, and what comes of that is what an undisturbed training gives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from difficulty.errors import UsageError
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover.run import recover
from junkdna_harness.recover.whole import find
from tests.conftest import ROOT
from tests.models_factory import make_tokenizer
from tests.recover.conftest import small_model
from tests.recover.test_checkpoints import log
from tests.recover.test_training import PRUNING, At, interrupt, weights

Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "garbage": lambda path: path.write_bytes(b"\xff" * path.stat().st_size),
    "missing": Path.unlink,
}


@dataclass(frozen=True)
class Cut:
    """A training that was cut off in its step 5, with checkpoints of steps 2 and 4; and the result of one that was not."""

    model: Path
    spec: RecoverSpec
    whole: Path
    folder: Path

    def copied(self, place: Path) -> Path:
        """The folder of the checkpoints of an output in `place`."""
        return shutil.copytree(self.folder, place / ".out.training")

    def go_on(self, place: Path) -> int:
        """How many steps were done in going on, after comparing the result with the undisturbed one."""
        done: list[int] = []
        counting = [At(n, lambda model: done.append(1)) for n in range(1, 7)]
        recover(str(self.model), place / "out", self.spec, PRUNING, callbacks=counting)
        expected, found = weights(self.whole), weights(place / "out")
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        assert log(self.whole) == log(place / "out")
        assert not (place / ".out.training").exists()
        return len(done)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    place = tmp_path_factory.mktemp("cut")
    small_model().save_pretrained(place / "dense")
    make_tokenizer().save_pretrained(place / "dense")
    data = place / "data.jsonl"
    data.write_text(
        "".join(f'{{"prompt": "rev {i}=", "answer": "{str(i)[::-1]}"}}\n' for i in range(100, 140))
    )
    spec = RecoverSpec(data=str(data), steps=6, batch_size=4, lr=0.01, save_every=2)
    recover(str(place / "dense"), place / "whole", spec, PRUNING)
    with pytest.raises(KeyboardInterrupt):
        recover(str(place / "dense"), place / "out", spec, PRUNING, callbacks=[At(5, interrupt)])
    return Cut(place / "dense", spec, place / "whole", place / ".out.training")


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_file_of_a_checkpoint_is_damaged_the_one_before_is_found(
    cut: Cut, damage: str, tmp_path: Path
) -> None:
    names = sorted(path.name for path in (cut.folder / "checkpoint-4").iterdir())
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin",
            "losses.json", "row-0.json", "finished"} <= set(names)  # fmt: skip
    for name in names:
        folder = cut.copied(tmp_path)
        DAMAGES[damage](folder / "checkpoint-4" / name)
        found = find(folder)
        assert found.checkpoint == folder / "checkpoint-2", name
        assert name in str(found.sentence()) or (name, damage) == ("finished", "missing")
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "damage", "fault"),
    [
        ("model.safetensors", "truncated", "model.safetensors has "),
        ("optimizer.pt", "empty", "optimizer.pt has 0 of "),
        ("trainer_state.json", "garbage", "trainer_state.json is not what was written (sha256 differs)"),
        ("rng_state.pth", "missing", "rng_state.pth is missing"),
        ("finished", "empty", "finished cannot be read"),
    ],
)
def test_it_goes_on_from_the_one_before_and_says_so(
    cut: Cut, name: str, damage: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut.copied(tmp_path)
    DAMAGES[damage](folder / "checkpoint-4" / name)
    assert cut.go_on(tmp_path) == 4
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: checkpoint-")]
    assert len(told) == 1
    assert told[0].startswith(f"note: checkpoint-4 ({fault}")
    assert told[0].endswith("cannot be used and is removed; training goes on from checkpoint-2.")


def test_with_none_left_it_begins_again(cut: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut.copied(tmp_path)
    (folder / "checkpoint-4" / "finished").unlink()
    DAMAGES["garbage"](folder / "checkpoint-2" / "scheduler.pt")
    assert cut.go_on(tmp_path) == 6
    said = capsys.readouterr().err
    assert "note: checkpoint-4 (it was being written when the training was cut off), checkpoint-2 (" in said
    assert "training begins at the start again." in said


def test_checkpoints_of_an_earlier_version_are_gone_on_from(
    cut: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They had no losses, and an empty mark in the place of the record."""
    folder = cut.copied(tmp_path)
    for one in folder.glob("checkpoint-*"):
        (one / "losses.json").unlink()
        (one / "finished").write_text("")
    assert cut.go_on(tmp_path) == 2
    assert "cannot be used" not in capsys.readouterr().err
    folder = cut.copied(tmp_path)
    for one in folder.glob("checkpoint-*"):
        (one / "losses.json").unlink()
        (one / "finished").write_text("")
    os.truncate(folder / "checkpoint-4" / "optimizer.pt", 0)  # the power went
    assert find(folder).checkpoint == folder / "checkpoint-2"


def test_an_undamaged_one_is_gone_on_from_without_a_word(
    cut: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut.copied(tmp_path)
    assert cut.go_on(tmp_path) == 2
    assert "note: checkpoint" not in capsys.readouterr().err


@pytest.mark.parametrize("damage", DAMAGES)
def test_checkpoints_of_which_nobody_knows_whose_they_are_are_refused(
    cut: Cut, damage: str, tmp_path: Path
) -> None:
    folder = cut.copied(tmp_path)
    DAMAGES[damage](folder / "request.json")
    with pytest.raises(
        UsageError, match="is missing or damaged.*remove the folder .*training'.* to begin anew"
    ):
        recover(str(cut.model), tmp_path / "out", cut.spec, PRUNING)
    assert (folder / "checkpoint-4").is_dir()


def test_who_asks_for_another_training_is_told_what_differs_and_which_folder_to_remove(
    cut: Cut, tmp_path: Path
) -> None:
    folder = cut.copied(tmp_path)
    other = RecoverSpec(**{**cut.spec.to_dict(), "lr": 0.02})
    with pytest.raises(UsageError, match=r"its lr is 0\.01, not 0\.02.*remove the folder '") as error:
        recover(str(cut.model), tmp_path / "out", other, PRUNING)
    assert str(folder) in str(error.value)


def test_a_folder_without_a_whole_checkpoint_holds_nobody_up(cut: Cut, tmp_path: Path) -> None:
    folder = cut.copied(tmp_path)
    for checkpoint in folder.glob("checkpoint-*"):
        (checkpoint / "finished").unlink()
    other = RecoverSpec(**{**cut.spec.to_dict(), "steps": 2})
    assert recover(str(cut.model), tmp_path / "out", other, PRUNING).training.steps == 2


def test_what_is_refused_before_the_first_step_leaves_no_folder(cut: Cut, tmp_path: Path) -> None:
    refused = RecoverSpec(**{**cut.spec.to_dict(), "trainer": {"optim": "no_such_optimizer"}})
    with pytest.raises(UsageError, match="refuses the trainer options"):
        recover(str(cut.model), tmp_path / "deep" / "er" / "out", refused, PRUNING)
    assert not list(tmp_path.iterdir())


def test_early_stopping_does_not_go_back_to_a_damaged_best(
    cut: Cut, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last checkpoint is whole, and names a best one that is not."""
    spec = RecoverSpec(**{**cut.spec.to_dict(), "early_stop": 9, "lr": 0.9})
    recover(str(cut.model), tmp_path / "whole", spec, PRUNING)
    with pytest.raises(KeyboardInterrupt):
        recover(str(cut.model), tmp_path / "out", spec, PRUNING, callbacks=[At(5, interrupt)])
    folder = tmp_path / ".out.training"
    state = folder / "checkpoint-4" / "trainer_state.json"
    best = Path(json.loads(state.read_text())["best_model_checkpoint"]).name
    assert best == "checkpoint-2"
    DAMAGES["truncated"](folder / best / "model.safetensors")
    recover(str(cut.model), tmp_path / "out", spec, PRUNING)
    assert (
        "note: checkpoint-4 (the best one so far, checkpoint-2, cannot be used: " in capsys.readouterr().err
    )
    assert all(torch.equal(weights(tmp_path / "whole")[n], w) for n, w in weights(tmp_path / "out").items())


def test_the_best_checkpoint_is_found_where_the_folder_was_moved_to(
    cut: Cut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lr so high that the first checkpoint is the best: the result is that of the checkpoint, wherever it lies now."""
    spec = RecoverSpec(**{**cut.spec.to_dict(), "early_stop": 9, "lr": 0.9})
    recover(str(cut.model), tmp_path / "whole", spec, PRUNING)
    (tmp_path / "before").mkdir()
    monkeypatch.chdir(tmp_path / "before")
    with pytest.raises(KeyboardInterrupt):
        recover(str(cut.model), "out", spec, PRUNING, callbacks=[At(5, interrupt)])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "before").rename("after")
    recover(str(cut.model), tmp_path / "after" / "out", spec, PRUNING)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "after" / "out")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_an_output_that_is_a_link_and_the_folder_it_leads_to_are_one_training(
    cut: Cut, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "out")
    with pytest.raises(KeyboardInterrupt):
        recover(str(cut.model), tmp_path / "link", cut.spec, PRUNING, callbacks=[At(5, interrupt)])
    assert (tmp_path / "real" / ".out.training" / "checkpoint-4").is_dir()
    assert cut.go_on(tmp_path / "real") == 2
    assert (tmp_path / "link").is_symlink()


KILLED = """
import os, signal, sys
from junkdna_harness.recover.run import recover
from tests.recover.test_damaged import PRUNING, At, RecoverSpec
model, data, output = sys.argv[1:]
spec = RecoverSpec(data=data, steps=6, batch_size=4, lr=0.01, save_every=2)
recover(model, output, spec, PRUNING, callbacks=[At(5, lambda model: os.kill(os.getpid(), signal.SIGTERM))])
"""


def test_a_process_that_is_told_to_end_keeps_what_is_finished(cut: Cut, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(cut.model), cut.spec.data, str(tmp_path / "out")]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    assert cut.go_on(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
