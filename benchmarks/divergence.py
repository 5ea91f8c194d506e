"""How often a training that is only noisy is called divergent, and after how many steps one is that diverges.

python benchmarks/divergence.py [--steps 10000000] [--trainings]

Losses are drawn with a mean of ln V times a number and a log-normal spread (1: as wide as the mean). A row per pair: the alarms in so many
steps, in trainings of 1,000 steps each. With `--trainings` the embedded model, pruned to half and to a tenth of its weights, is trained at rates
that are far too high, of 300 steps (18 of them warm-up).
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from pathlib import Path

from junkdna_harness.recover.divergence import Losses

V = 2849  # tokens of the embedded model
STEPS = 1000  # of a training
MEANS, SPREADS = (0.5, 0.9, 1.0), (0.2, 0.5, 1.0)
RATES = (1e4, 1e2, 10.0, 1.0, 0.1, 1e-3)


def alarms(mean: float, spread: float, steps: int) -> int:
    """Trainings, of `steps` steps in all, that are called divergent."""
    rng, sigma = random.Random(f"{mean}/{spread}"), math.sqrt(math.log(1 + spread**2))
    middle = math.log(mean * math.log(V)) - sigma**2 / 2
    found = 0
    for _ in range(steps // STEPS):
        losses = Losses(V)
        for _ in range(STEPS):
            losses.add(rng.lognormvariate(middle, sigma))
            if losses.diverged:
                found += 1
                break
    return found


def trained(rate: float, optimizer: str, clip: float, level: float) -> str:
    """The step at which a training was stopped, and why; 'not' where it was not, in 60 steps."""
    from transformers import TrainerCallback

    from junkdna_harness.arguments import resolve_pretrained
    from junkdna_harness.compress import PruneSpec
    from junkdna_harness.recover.data import load_data
    from junkdna_harness.recover.run import begin, load, most_examples
    from junkdna_harness.recover.schedule import longest, tokenize
    from junkdna_harness.recover.spec import RecoverSpec
    from junkdna_harness.recover.training import train

    class Enough(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: object, state: object, control: object, **kwargs: object) -> None:
            control.should_training_stop = state.global_step >= 60  # type: ignore[attr-defined]

    spec = RecoverSpec(steps=300, batch_size=8, trainer={"optim": optimizer, "max_grad_norm": clip})
    model, tokenizer = load(resolve_pretrained(None), "embedded")
    start = begin(model, tokenizer, spec, PruneSpec(sparsity=level), {})
    seen = most_examples(spec)
    rows, _ = tokenize(
        load_data("graded", 1.0, 0, None, seen).examples[:seen], tokenizer, longest(model, None)
    )
    with tempfile.TemporaryDirectory() as folder:
        done = train(model, tokenizer, rows, start.hold, spec, rate, Path(folder) / "t", {}, [Enough()])
    if not done.failed:
        return "not"
    return f"{done.steps} ({'diverged' if 'diverged' in str(done.stopped) else 'NaN'})"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--trainings", action="store_true")
    given = parser.parse_args()
    each = given.steps // (len(MEANS) * len(SPREADS))
    print(f"{'mean / ln V':>12}{'spread':>8}{'steps':>12}{'alarms':>8}")
    for mean in MEANS:
        for spread in SPREADS:
            print(f"{mean:>12}{spread:>8}{each:>12,}{alarms(mean, spread, each):>8}", flush=True)
    if not given.trainings:
        return
    print(f"\n{'optimizer':<14}{'clipped':>8}{'pruned':>8}  " + "".join(f"{rate:>14g}" for rate in RATES))
    for optimizer, clip in (("adamw_torch", 1.0), ("sgd", 1.0), ("sgd", 0.0)):
        for level in (0.5, 0.9):
            row = "".join(f"{trained(rate, optimizer, clip, level):>14}" for rate in RATES)
            print(f"{optimizer:<14}{'yes' if clip else 'no':>8}{level:>8}  {row}", flush=True)


if __name__ == "__main__":
    main()
