"""A training that diverges is stopped within a few steps of that; one that is only noisy, or begins badly, never is."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from junkdna_harness.compress import PruneSpec
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover.checkpoints import Diverged
from junkdna_harness.recover.data import load_data
from junkdna_harness.recover.divergence import FACTOR, FIRST, MOST, THRESHOLD, Losses
from junkdna_harness.recover.run import begin, load, most_examples, recover
from junkdna_harness.recover.schedule import longest, tokenize
from junkdna_harness.recover.training import HoldingTrainer, Training, train
from tests.recover.test_training import PRUNING, At, interrupt, spec, weights

V = 2849  # tokens of the embedded model
GUESS = math.log(V)


def alarm(losses: list[float], vocabulary: int = V) -> int | None:
    """The step at which the rule says that training diverges; None where it never does."""
    kept = Losses(vocabulary)
    for step, loss in enumerate(losses, start=1):
        kept.add(loss)
        if kept.diverged:
            return step
    return None


def noisy(mean: float, spread: float, rng: random.Random) -> float:
    """A loss with this mean, never negative and now and then very large, as that of a batch of one example is (log-normal)."""
    sigma = math.sqrt(math.log(1 + spread**2))
    return rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0], ids=["large batches", "small batches", "single examples"])
@pytest.mark.parametrize(
    ("begins", "ends"),
    [(0.01, 0.01), (GUESS, 2.0), (GUESS, GUESS), (1.5 * GUESS, 3.0), (0.01, GUESS)],
    ids=["perfect", "from nothing", "learns nothing", "pruned to 90 %", "forgets"],
)
def test_no_false_alarm(begins: float, ends: float, spread: float) -> None:
    """50 trainings of 1,000 steps each, whose mean loss falls (or rises) within the first 200 of them: three quarters of a million steps."""
    rng = random.Random(f"{begins}/{ends}/{spread}")
    means = [ends + (begins - ends) * max(0.0, 1 - step / 200) for step in range(1000)]
    for _ in range(50):
        assert alarm([noisy(mean, spread, rng) for mean in means]) is None


def test_a_spike_that_goes_by_is_no_alarm() -> None:
    calm, most = [1.0] * 50, int(THRESHOLD / MOST)
    assert alarm([*calm, *[1e6] * most, *calm]) is None
    assert alarm([*calm, *[1e6] * (most + 1)]) == 50 + most + 1


def test_the_limit_is_of_the_start_and_of_a_guess() -> None:
    assert alarm([0.01] * 20 + [FACTOR * GUESS - 0.01] * 9999) is None
    assert alarm([0.01] * 20 + [2 * FACTOR * GUESS] * 20) == 20 + math.ceil(THRESHOLD / math.log(2))
    assert alarm([20.0] * 20 + [FACTOR * 20 - 0.01] * 9999) is None  # it began above a guess
    assert alarm([20.0] * 20 + [2 * FACTOR * 20] * 20) == 20 + math.ceil(THRESHOLD / math.log(2))


def test_a_first_step_that_breaks_everything_is_no_start() -> None:
    assert FIRST == 3
    assert alarm([0.01, *[1e6] * 9]) == 1 + int(THRESHOLD / MOST) + 1


def test_what_was_written_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    losses = [1.0, 2.0, 0.0, *[1.1 * FACTOR * GUESS] * 99]
    expected = alarm(losses)
    assert expected is not None and expected > 30
    for cut in (1, 2, 5, expected - 1):
        before, after = Losses(V), Losses(V)
        for loss in losses[:cut]:
            before.add(loss)
        before.write(tmp_path)
        after.read(tmp_path)
        found = [
            n for n, loss in enumerate(losses[cut:], start=cut + 1) if (after.add(loss), after.diverged)[1]
        ]
        assert found[0] == expected


def trained(lr: float, optimizer: str, level: float, steps: int, folder: Path, **options: Any) -> Training:
    """The embedded model, pruned to `level`, in training at any learning rate, also such as options would refuse."""
    asked = RecoverSpec(
        steps=steps, batch_size=4, trainer={"optim": optimizer, "max_grad_norm": 0.0}, **options
    )
    seen = most_examples(asked)
    model, tokenizer = load(str(_embedded()), "embedded")
    start = begin(model, tokenizer, asked, PruneSpec(sparsity=level), {})
    examples = load_data("graded", 1.0, 0, None, seen).examples[:seen]
    rows, _ = tokenize(examples, tokenizer, longest(model, None))
    return train(model, tokenizer, rows, start.hold, asked, lr, folder, {})


def _embedded() -> Path:
    from junkdna_harness.embedded import model_path

    return Path(model_path("embedded"))


@pytest.mark.parametrize("optimizer", ["adamw_torch", "sgd"])
@pytest.mark.parametrize("lr", [1e4, 1e2, 10.0, 1.0])
def test_a_learning_rate_that_is_far_too_high_is_found_within_a_few_steps(
    lr: float, optimizer: str, tmp_path: Path
) -> None:
    """Of 300 steps, of which the first 18 are warm-up; without clipping, which makes SGD at 1 a training like others."""
    done = trained(lr, optimizer, 0.5, 300, tmp_path / "t")
    assert done.failed
    assert done.steps <= 24
    assert f"in place of {lr:g}" in str(done.stopped)
    assert (
        "the loss diverged" in str(done.stopped) or "NaN" in str(done.stopped) or "nan" in str(done.stopped)
    )


def test_what_recovers_from_heavy_pruning_in_batches_of_few_is_not_called_so(tmp_path: Path) -> None:
    done = trained(1e-3, "adamw_torch", 0.9, 60, tmp_path / "t")
    assert not done.failed
    assert done.first_loss is not None and done.first_loss > 5


class Rising:
    """Stands in for the loss that `Trainer` computes: `low` before step `since`, `high` from then on."""

    def __init__(self, since: int, low: float = 1.0, high: float = 50.0) -> None:
        self.since, self.low, self.high = since, low, high

    def __call__(self, trainer: Any, *given: Any) -> torch.Tensor:
        return torch.tensor(self.high if trainer.state.global_step >= self.since else self.low)


def rising(monkeypatch: pytest.MonkeyPatch, since: int) -> None:
    from transformers import Trainer

    own, told = Trainer.training_step, Rising(since)

    def step(self: Any, *given: Any, **more: Any) -> torch.Tensor:
        own(self, *given, **more)
        return told(self)

    monkeypatch.setattr(Trainer, "training_step", step)


def test_the_weights_of_before_the_rise_are_kept_and_the_manifest_says_why(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are remembered every 2 of 40 steps, and the loss is high from step 13 on: those of 14 and 16 are not known to be good."""
    good: dict[str, torch.Tensor] = {}

    def remember(model: Any) -> None:
        good.update({n: p.detach().clone() for n, p in model.named_parameters()})

    rising(monkeypatch, since=12)
    done = recover(
        str(checkpoint), tmp_path / "out", spec(lines, steps=40), PRUNING, callbacks=[At(12, remember)]
    )
    stopped = str(done.training.stopped)
    assert done.training.failed
    assert done.manifest["recovery"]["failed"] and done.manifest["recovery"]["stopped"] == stopped
    assert stopped.startswith(
        "the loss diverged at step 16: the last losses are 50, 50, 50, where it began at 1 and a guess among the"
    )
    assert (
        "the weights of step 12, the last known to be good, were kept. Try a smaller lr, e.g. 0.001 in place of 0.01"
        in stopped
    )
    found = weights(tmp_path / "out")
    assert all(torch.equal(found[name], good[name]) for name in found)


def test_it_does_not_depend_on_whether_training_was_cut_off(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising(monkeypatch, since=12)
    asked = spec(lines, steps=40, save_every=3)
    done = recover(str(checkpoint), tmp_path / "whole", asked, PRUNING)
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "cut", asked, PRUNING, callbacks=[At(15, interrupt)])
    again = recover(str(checkpoint), tmp_path / "cut", asked, PRUNING)
    assert again.training.stopped == done.training.stopped
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_passes_that_are_accumulated_are_one_loss(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the loss comes from each of two passes."""
    asked = spec(lines, steps=3, batch_size=2, trainer={"gradient_accumulation_steps": 2})
    seen: list[float] = []
    monkeypatch.setattr(Losses, "add", lambda self, loss: seen.append(loss))
    done = recover(str(checkpoint), tmp_path / "out", asked, PRUNING)
    assert seen == pytest.approx([row["loss"] for row in done.training.log if "loss" in row], rel=1e-3)


def test_it_is_an_error_of_its_own() -> None:
    assert str(Diverged("the loss diverged", 3, ": so")) == "the loss diverged at step 3: so"
    assert HoldingTrainer.__doc__
