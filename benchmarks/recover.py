"""Training under a mask beside a bare `transformers.Trainer`: same weights to begin with, rows, batches, optimizer, steps.

    python benchmarks/recover.py [--model embedded] [--arm sparse_transfer] [--steps 60] [--rounds 3]
    python benchmarks/recover.py --model smollm2-135m --batch-size 4 --max-length 128 --steps 16

The bare Trainer holds nothing, writes no checkpoint and looks at nothing; `recover` is measured without checkpoints and
with those that it writes by itself. Every training runs in a process of its own, so that its peak memory is its own; the
sides alternate, and ratios are of neighbours. Seconds are those of the training alone, from before the Trainer is made.
SmolLM2 reads the passages of `boolq/validation.jsonl` in the folder named by JUNKDNA_DATA. `--into FILE` adds the
measurements to a file and prints the table of all in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIDES = ("bare", "held", "default")
NAMES = {"bare": "bare Trainer", "held": "recover, no checkpoints", "default": "recover"}
SPARSITY = 0.5


def main() -> None:
    """Measure the sides in alternation, and print the table."""
    arguments = parse()
    if arguments.only:
        print(json.dumps(train_one(arguments)))
        return
    if arguments.passes:
        print_passes()
        return
    found = read(arguments.into)
    for _ in range(arguments.rounds):
        found.append({side: in_process(side) for side in arguments.sides.split(",")})
        if arguments.into:
            arguments.into.write_text("".join(json.dumps(row) + "\n" for row in found))
    print_table(found)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--arm", default="sparse_transfer")
    parser.add_argument("--freeze", default="removed")
    parser.add_argument("--adapter")
    parser.add_argument("--optim", help="of transformers.TrainingArguments; its default where none is given")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--into", type=Path)
    parser.add_argument(
        "--passes", action="store_true", help="time the ways to hold weights, and nothing else"
    )
    parser.add_argument("--only", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def print_passes() -> None:
    """One pass over the weights of SmolLM2-135M's linear layers, half of them held, by each way to hold them."""
    import torch

    from junkdna_harness.recover.hold import zero_unless

    shapes = [(1536, 576), (1536, 576), (576, 1536), (576, 576), (576, 576), (192, 576), (192, 576)] * 30
    weights = [torch.randn(shape) for shape in shapes]
    free = [torch.rand(shape) < SPARSITY for shape in shapes]
    held, kept = [~one for one in free], [torch.randn(shape) for shape in shapes]
    bits = [
        torch.where(where, values, 0.0).view(torch.int32) for where, values in zip(held, kept, strict=True)
    ]
    as_floats = [one.float() for one in free]

    def restore(w: Any, one: Any, values: Any) -> None:
        zero_unless(one, w)
        w.view(torch.int32).bitwise_or_(values)

    ways: dict[str, tuple[Any, list[Any]]] = {
        "zeros: masked_fill_": (lambda w, where: w.masked_fill_(where, 0), [held]),
        "zeros: integers times the mask (ours)": (lambda w, one: zero_unless(one, w), [free]),
        "zeros: a product of floats (leaves NaN and -0)": (lambda w, one: w.mul_(one), [as_floats]),
        "values: torch.where": (lambda w, where, v: w.copy_(torch.where(where, v, w)), [held, kept]),
        "values: integers times the mask, and their bits (ours)": (restore, [free, bits]),
    }
    print(
        f"{sum(w.numel() for w in weights) / 1e6:.0f} M weights, {torch.get_num_threads()} threads, least of 7.\n"
    )
    print("| pass | ms |\n|---|---:|")
    for name, (way, given) in ways.items():
        seconds = []
        for _ in range(9):
            began = time.perf_counter()
            for w, *rest in zip(weights, *given, strict=True):
                way(w, *rest)
            seconds.append(time.perf_counter() - began)
        print(f"| {name} | {1000 * min(seconds[2:]):.0f} |")


def read(path: Path | None) -> list[dict[str, Any]]:
    """The rounds measured before."""
    if path is None or not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def in_process(side: str) -> dict[str, Any]:
    """One training in a fresh process."""
    print(f"{side} ...", file=sys.stderr, flush=True)
    command = [sys.executable, *sys.argv, "--only", side]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def train_one(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds, peak memory until the end of training, loss, and a hash of the weights."""
    from junkdna_harness.compress import PruneSpec
    from junkdna_harness.recover import RecoverSpec

    with tempfile.TemporaryDirectory() as scratch:
        spec = RecoverSpec(
            arm=arguments.arm, freeze=arguments.freeze, adapter=arguments.adapter, data=data(arguments.model, Path(scratch)),
            steps=arguments.steps, batch_size=arguments.batch_size, max_length=arguments.max_length,
            trainer={"optim": arguments.optim} if arguments.optim else {},
        )  # fmt: skip
        pruning = None if arguments.arm == "dense_transfer" else PruneSpec(sparsity=SPARSITY)
        model = None if arguments.model == "embedded" else arguments.model
        if arguments.only == "bare":
            return train_bare(model, spec, pruning, Path(scratch))
        return train_ours(model, spec, pruning, Path(scratch), checkpoints=arguments.only == "default")


def data(model: str, scratch: Path) -> str:
    """The suite's own generator for the embedded model, else real passages."""
    if model == "embedded":
        return "graded"
    root = Path(os.environ["JUNKDNA_DATA"])
    rows = [json.loads(line) for line in (root / "boolq" / "validation.jsonl").read_text().splitlines()]
    path = scratch / "passages.txt"
    path.write_text("\n\n".join(row["passage"] for row in rows))
    return str(path)


def train_ours(
    model: str | None, spec: Any, pruning: Any, scratch: Path, checkpoints: bool
) -> dict[str, Any]:
    from transformers import TrainerCallback

    from junkdna_harness.recover.run import recover

    peak: list[float] = []
    written: list[int] = []

    class Look(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not checkpoints:
                control.should_save = False

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            written.append(state.global_step)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            peak.append(peak_mb())

    done = recover(model, scratch / "out", spec, pruning, callbacks=[Look()])
    return {
        "seconds": done.training.seconds, "peak": peak[0], "loss": done.training.last_loss, "written": len(written),
        "steps": done.training.steps, "sha256": done.manifest["weights_sha256"],
    }  # fmt: skip


def train_bare(model: str | None, spec: Any, pruning: Any, scratch: Path) -> dict[str, Any]:
    """The same begin, rows and order, and then nothing but transformers."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    from junkdna_harness.arguments import resolve_pretrained
    from junkdna_harness.compress.again import no_progress_bar
    from junkdna_harness.recover import run
    from junkdna_harness.recover.schedule import IGNORED, batches, longest, tokenize
    from junkdna_harness.recover.spec import WARMUP

    source = resolve_pretrained(model)
    seen = run.most_examples(spec)
    examples = run.load_data(spec.data, spec.fraction, spec.seed, None, seen).examples[:seen]
    trained, tokenizer = run.load(source, model or "embedded")
    begun = run.begin(trained, tokenizer, spec, pruning, {})
    if spec.adapter is not None:  # peft's own layers, without a mask
        from peft import LoraConfig, get_peft_model

        trained = get_peft_model(
            trained, LoraConfig(r=spec.rank, lora_alpha=2 * spec.rank, target_modules="all-linear")
        )
    del begun  # its masks and values
    rows, _ = tokenize(examples, tokenizer, longest(trained, spec.max_length))
    rate = spec.lr or run.default_lr(spec, source)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.pad_token or tokenizer.eos_token, "right"
    trained.config.use_cache = False
    clock = time.perf_counter()
    with no_progress_bar():
        trainer = Trainer(
            model=trained,
            args=TrainingArguments(
                output_dir=str(scratch), max_steps=spec.steps, per_device_train_batch_size=spec.batch_size, learning_rate=rate,
                lr_scheduler_type="linear", warmup_steps=WARMUP, weight_decay=0.0, seed=spec.seed, save_strategy="no",
                train_sampling_strategy="sequential", logging_steps=max(1, spec.steps // 50), report_to="none",
                disable_tqdm=True, dataloader_pin_memory=False, use_cpu=True, **spec.trainer,
            ),
            train_dataset=[rows[i] for i in batches(rows, spec.steps, spec.batch_size, spec.seed)],
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=IGNORED),
        )  # fmt: skip
        trainer.train()
    seconds, peak = time.perf_counter() - clock, peak_mb()
    digest = hashlib.sha256()
    for parameter in trained.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {
        "seconds": seconds, "peak": peak, "loss": losses[-1], "written": 0, "steps": trainer.state.global_step,
        "sha256": digest.hexdigest(),
    }  # fmt: skip


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_table(found: list[dict[str, Any]]) -> None:
    import torch
    import transformers

    print(
        f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{len(found)} rounds\n"
    )
    print(
        "| | seconds per step | of the bare Trainer | checkpoints | peak memory, MB | of the bare Trainer's |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for side in found[0]:
        runs = [row[side] for row in found]
        each = [run["seconds"] / run["steps"] for run in runs]
        ratios = [row[side]["seconds"] / row["bare"]["seconds"] for row in found]
        memory = [row[side]["peak"] / row["bare"]["peak"] for row in found]
        print(
            f"| {NAMES[side]} | {spread(each, 3)} | {spread(ratios, 2)} | {runs[0]['written']} | "
            f"{statistics.median(run['peak'] for run in runs):,.0f} | {spread(memory, 2)} |"
        )
    ours = {row[side]["sha256"] for row in found for side in row if side != "bare"}
    print(f"\nweights at the end: {', '.join(sorted(hash_[:16] for hash_ in ours))}")


def spread(values: list[float], digits: int) -> str:
    """Median, and the least and the greatest."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    main()
