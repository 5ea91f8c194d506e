"""The loss on training rows that were held out, after training the dense model on the others: how a rate is chosen without any test row.

    JUNKDNA_DATA=rows python benchmarks/finetune_rate.py difficulty_tiers_finetune_sentence_t1 --lr 2e-5 --steps 20

A fifth of the task's training rows is held out. Printed: rate, steps, nats per held-out answer before and after, and the share of them
whose first token is the likeliest.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.recover.data import load_data
from junkdna_harness.recover.run import attach_adapter, begin, default_lr, load
from junkdna_harness.recover.schedule import IGNORED, Row, longest, tokenize
from junkdna_harness.recover.spec import RecoverSpec
from junkdna_harness.recover.training import train

HELD_OUT = 5  # one row in so many


def held_out_loss(model: Any, rows: list[Row]) -> tuple[float, float]:
    """Nats per answer, and the share of answers whose first token is the likeliest."""
    model.eval()
    total, right = 0.0, 0
    with torch.inference_mode():
        for row in rows:
            ids, labels = (torch.tensor([row[name]], device=model.device) for name in ("input_ids", "labels"))
            out = model(input_ids=ids, labels=labels)
            first = int((labels[0] != IGNORED).nonzero()[0])
            total += float(out.loss) * int((labels != IGNORED).sum())
            right += int(out.logits[0, first - 1].argmax() == ids[0, first])
    model.train()
    return total / len(rows), right / len(rows)


def main() -> None:
    """Train once, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--pretrained", default="smollm2-135m")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--adapter")
    given = parser.parse_args()
    spec = RecoverSpec(
        arm="dense_transfer", data=f"task:{given.task}", steps=given.steps, batch_size=16, lr=given.lr, adapter=given.adapter
    )  # fmt: skip
    source = resolve_pretrained(given.pretrained)
    model, tokenizer = load(source, given.pretrained)
    start = begin(model, tokenizer, spec, None, {})
    rows, _ = tokenize(load_data(spec.data).examples, tokenizer, longest(model, None))
    held, rows = rows[: len(rows) // HELD_OUT], rows[len(rows) // HELD_OUT :]
    before = held_out_loss(model, held)
    trained, lr = attach_adapter(model, spec, start), given.lr or default_lr(spec, source)
    with tempfile.TemporaryDirectory() as folder:
        done = train(trained, tokenizer, rows, start.hold, spec, lr, Path(folder) / "training", {})
    after = held_out_loss(trained, held)
    adapter = f", {given.adapter}" if given.adapter else ""
    print(
        f"{given.task}: lr {lr:g}{adapter}, {given.steps} steps in {done.seconds:.0f} s: {before[0]:.2f} -> {after[0]:.2f} nats per answer, "
        f"{before[1]:.0%} -> {after[1]:.0%} likeliest ({len(held)} held out of {len(held) + len(rows)})"
    )


if __name__ == "__main__":
    main()
