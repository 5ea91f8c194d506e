"""When checkpoints are written, and that nothing depends on it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from difficulty.errors import UsageError
from junkdna_harness.recover import RecoverSpec, checkpoints
from junkdna_harness.recover.checkpoints import LEAST, MOST, SHARE, ByTime, all_finite, by_time
from junkdna_harness.recover.run import recover
from tests.recover.test_training import PRUNING, At, interrupt, poison, weights

STEP = 40.0  # seconds between two looks at the clock: the third step's end is 120 s after the beginning


def written(
    per_step: float, per_checkpoint: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> list[float]:
    """Seconds at which checkpoints are begun, in a training whose steps and checkpoints take so long."""
    clock, found = SimpleNamespace(time=0.0), []
    monkeypatch.setattr(checkpoints, "now", lambda: clock.time)
    policy = ByTime()
    policy.on_train_begin(None, None, None)
    for _ in range(steps):
        clock.time += per_step
        control = SimpleNamespace(should_save=False)
        policy.on_step_end(SimpleNamespace(device="cpu"), None, control)
        if control.should_save:
            found.append(clock.time)
            clock.time += per_checkpoint
            policy.on_save(None, None, None)
    return found


@pytest.mark.parametrize(
    ("per_checkpoint", "pause"), [(0.1, LEAST), (5.0, 250.0), (100.0, MOST)], ids=["least", "share", "most"]
)
def test_checkpoints_take_their_share_of_the_time_between_two_and_thirty_minutes_apart(
    per_checkpoint: float, pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = written(1.0, per_checkpoint, 10_000, monkeypatch)
    assert found[0] == LEAST  # what writing takes is not known yet
    apart = {round(later - earlier - per_checkpoint) for earlier, later in itertools.pairwise(found)}
    assert apart == {round(pause)}
    if pause < MOST:
        assert per_checkpoint / pause <= SHARE


def test_who_names_steps_or_goes_back_to_the_best_gets_checkpoints_by_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert by_time(RecoverSpec())
    assert not by_time(RecoverSpec(save_every=7))
    assert not by_time(RecoverSpec(early_stop=2))
    assert not by_time(RecoverSpec(trainer={"fsdp": "full_shard"}))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not by_time(RecoverSpec())


def test_the_best_of_checkpoints_that_nobody_writes_is_not_asked_for() -> None:
    with pytest.raises(UsageError, match="Use 'early_stop' instead"):
        RecoverSpec(trainer={"load_best_model_at_end": True})


def spec(lines: Path, steps: int = 7) -> RecoverSpec:
    return RecoverSpec(data=str(lines), steps=steps, batch_size=2, lr=0.01)


def log(folder: Path) -> list[Any]:
    rows = [json.loads(line) for line in (folder / "train_log.jsonl").read_text().splitlines()]
    return [
        (row["step"], row["loss"], row["learning_rate"], row["grad_norm"]) for row in rows if "loss" in row
    ]


def test_a_short_run_writes_no_checkpoint(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=[At(6, interrupt)])
    assert not list((tmp_path / ".out.training").glob("checkpoint-*"))


def test_a_run_cut_off_after_a_checkpoint_at_any_step_ends_with_the_weights_and_the_log_of_one_that_was_not(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 steps: a row of the log tells two, and the checkpoint of step 3 lies between two of them."""
    recover(str(checkpoint), tmp_path / "whole", spec(lines, 100), PRUNING)
    monkeypatch.setattr(checkpoints, "now", itertools.count(0, STEP).__next__)
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "cut", spec(lines, 100), PRUNING, callbacks=[At(6, interrupt)])
    assert [path.name for path in (tmp_path / ".cut.training").glob("checkpoint-*")] == ["checkpoint-3"]
    recover(str(checkpoint), tmp_path / "cut", spec(lines, 100), PRUNING)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert len(log(tmp_path / "whole")) == 50
    assert log(tmp_path / "whole") == log(tmp_path / "cut")


def test_what_is_kept_at_a_nan_does_not_depend_on_checkpoints(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven steps: weights are remembered after 2, 4 and 6; the checkpoint is of step 3, and takes those of 2 along."""
    nan = At(3, poison)
    done = recover(str(checkpoint), tmp_path / "whole", spec(lines), PRUNING, callbacks=[nan])
    assert "the weights of step 2, the last known to be good" in str(done.training.stopped)
    monkeypatch.setattr(checkpoints, "now", itertools.count(0, STEP).__next__)
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "cut", spec(lines), PRUNING, callbacks=[At(4, interrupt)])
    assert (tmp_path / ".cut.training" / "checkpoint-3" / "finished").is_file()

    class AtBegin(At):
        def on_step_begin(
            self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
        ) -> None:
            self.action(model)

    done = recover(str(checkpoint), tmp_path / "cut", spec(lines), PRUNING, callbacks=[AtBegin(0, poison)])
    assert "at step 3; the weights of step 2, the last known to be good" in str(done.training.stopped)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_sum_that_overflows_is_no_proof_of_a_bad_weight() -> None:
    assert all_finite(torch.full((100,), 3e38))
    assert all_finite(torch.full((100,), 6e4, dtype=torch.float16))
    for bad in (float("nan"), float("inf"), -float("inf")):
        assert not all_finite(torch.tensor([1.0, bad, 2.0]))
    assert not all_finite(torch.tensor([float("inf"), -float("inf")]))
