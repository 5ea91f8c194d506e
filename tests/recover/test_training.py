"""What may go wrong in training, and what is then on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover.run import recover

PRUNING = PruneSpec(sparsity=0.5)


class At(TrainerCallback):  # type: ignore[misc]
    """Does something at the end of one step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.action(model)


def poison(model: Any) -> None:
    model.model.norm.weight.data[0] = float("nan")


def interrupt(model: Any) -> None:
    raise KeyboardInterrupt


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def spec(lines: Path, **options: Any) -> RecoverSpec:
    return RecoverSpec(
        **{"data": str(lines), "steps": 6, "batch_size": 4, "lr": 0.01, "save_every": 2, **options}
    )


def test_a_run_that_was_cut_off_ends_with_the_weights_of_one_that_was_not(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    recover(str(checkpoint), tmp_path / "whole", spec(lines), PRUNING)
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "cut", spec(lines), PRUNING, callbacks=[At(5, interrupt)])
    assert not (tmp_path / "cut").exists()
    assert (tmp_path / ".cut.training" / "checkpoint-4").is_dir()
    counted: list[int] = []
    counter = [At(n, lambda model: counted.append(1)) for n in range(1, 7)]
    done = recover(str(checkpoint), tmp_path / "cut", spec(lines), PRUNING, callbacks=counter)
    assert len(counted) == 2  # steps 5 and 6: nothing is done twice
    assert done.training.steps == 6
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not (tmp_path / ".cut.training").exists()


def test_a_checkpoint_that_was_being_written_when_the_process_died_is_passed_over(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    recover(str(checkpoint), tmp_path / "whole", spec(lines), PRUNING)
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "cut", spec(lines), PRUNING, callbacks=[At(5, interrupt)])
    half = tmp_path / ".cut.training" / "checkpoint-4"
    for name in ("finished", "trainer_state.json", "optimizer.pt"):
        (half / name).unlink()
    (half / "model.safetensors").write_bytes(b"half")
    recover(str(checkpoint), tmp_path / "cut", spec(lines), PRUNING)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_an_unfinished_run_of_another_kind_is_not_continued(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=[At(3, interrupt)])
    with pytest.raises(UsageError, match="holds an unfinished recovery of another kind"):
        recover(str(checkpoint), tmp_path / "out", spec(lines, lr=0.02), PRUNING)


@pytest.mark.parametrize(
    ("poisoned", "kept", "says"),
    [
        (5, 4, "the loss became nan at step 5; the weights of step 4, the last known to be good, were kept"),
        (
            4,
            2,
            "became NaN or infinite at step 4; the weights of step 2, the last known to be good, were kept",
        ),
        (
            1,
            0,
            "the loss became nan at step 1; no later ones are known to be good, so the weights are those of the start",
        ),
    ],
)
def test_at_nan_training_stops_and_the_last_good_weights_are_kept(
    checkpoint: Path, lines: Path, tmp_path: Path, poisoned: int, kept: int, says: str
) -> None:
    good: dict[int, dict[str, torch.Tensor]] = {}

    def remember(step: int) -> Any:
        return lambda model: good.setdefault(
            step, {n: p.detach().clone() for n, p in model.named_parameters()}
        )

    callbacks = [*(At(n, remember(n)) for n in range(1, 7)), At(poisoned, poison)]
    done = recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=callbacks)
    assert done.training.failed
    assert done.manifest["recovery"]["stopped"] == done.training.stopped
    assert says in str(done.training.stopped)
    after = weights(tmp_path / "out")
    if kept:
        assert all(torch.equal(after[name], good[kept][name]) for name in after)
    else:
        recover(str(checkpoint), tmp_path / "start", spec(lines, steps=1, lr=1e-30), PRUNING)
        start = weights(tmp_path / "start")
        assert all(torch.allclose(after[name], start[name], atol=1e-6) for name in after)
    assert all(bool(torch.isfinite(value).all()) for value in after.values())


def test_early_stopping_ends_training_and_is_written_down(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    options = spec(lines, steps=40, lr=0.9, early_stop=1, save_every=2, trainer={"max_grad_norm": 1e9})
    done = recover(str(checkpoint), tmp_path / "out", options, PRUNING)
    assert done.training.steps < 40
    assert "stopped early after" in str(done.manifest["recovery"]["stopped"])
    assert not done.training.failed


def test_the_log_is_kept_with_the_checkpoint(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)
    rows = [json.loads(line) for line in (tmp_path / "out" / "train_log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    rates = [row["learning_rate"] for row in rows if "loss" in row]
    assert max(rates) == pytest.approx(0.01)
    assert rates[-1] == min(rates[1:])


def test_a_folder_that_is_not_empty_is_refused_before_training(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(UsageError, match="exists and is not empty"):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)
    assert (tmp_path / "out" / "precious").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "sparse_transfre"}, "Did you mean 'sparse_transfer'"),
        ({"fraction": 0.0}, "give a number above 0 and at most 1"),
        ({"steps": 0}, "steps=0 is too few"),
        ({"lr": -1.0}, "lr=-1.0 is no learning rate"),
        ({"merge": "masked"}, "is about an adapter"),
        ({"arm": "sparse_to_dense", "adapter": "lora", "merge": "masked"}, "trains without a mask"),
        ({"adapter": "lora", "merge": "dense"}, "trains under a mask, which merge='dense' would break"),
        ({"trainer": {"learning_rate": 1}}, "Use 'lr' instead"),
        ({"trainer": {"gradient_acumulation_steps": 1}}, "Did you mean 'gradient_accumulation_steps'"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RecoverSpec(**options)


def test_importing_the_room_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, junkdna_harness.recover as r; r.RecoverSpec(); assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
