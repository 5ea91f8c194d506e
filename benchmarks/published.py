"""Published perplexities beside what this package measures, for the models and settings of `published.yaml`.

    python benchmarks/published.py                        # the table, with what has been measured
    python benchmarks/published.py llama-2-7b --device cuda --output measured.json

Model, C4 and WikiText-2 come from the hub. `--model`, `--text` and `--calibration` put files in their place.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import yaml

PLAN = Path(__file__).with_name("published.yaml")
NSAMPLES = 128


def main() -> None:
    """Print the plan, or run one model's rows and print both numbers."""
    arguments = parse()
    plan: dict[str, dict[str, Any]] = yaml.safe_load(PLAN.read_text())
    if arguments.name is None:
        for name, entry in plan.items():
            print_table(name, entry, {row["name"]: row["measured"] for row in entry["rows"]})
        return
    if arguments.name not in plan:
        raise SystemExit(f"{arguments.name!r} is not in {PLAN.name}. Choose one of {', '.join(plan)}.")
    entry = plan[arguments.name]
    try:
        measured = run(entry, arguments)
    except ConnectionError as error:
        raise SystemExit(
            f"{error}. Give --text and --calibration files where the hub cannot be reached."
        ) from error
    print_table(arguments.name, entry, measured)
    if arguments.output:
        Path(arguments.output).write_text(json.dumps({arguments.name: measured}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help="a model of published.yaml")
    parser.add_argument("--device", default=None)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rows", help="names of rows, joined by commas; default all")
    parser.add_argument("--output", help="JSON of what was measured")
    parser.add_argument("--model", help="a folder in place of the hub's model")
    parser.add_argument("--text", help="a text file in place of WikiText-2's test split")
    parser.add_argument("--calibration", help="a text or jsonl file in place of C4")
    parser.add_argument("--seqlen", type=int, help="in place of the plan's")
    parser.add_argument("--nsamples", type=int, default=NSAMPLES)
    return parser.parse_args()


def run(entry: dict[str, Any], arguments: argparse.Namespace) -> dict[str, float]:
    """Perplexities by row; the model is loaded anew for each, for pruning is in place."""
    from junkdna_harness.compress.loading import Source, load

    wanted = arguments.rows.split(",") if arguments.rows else [row["name"] for row in entry["rows"]]
    seqlen = arguments.seqlen or entry["seqlen"]
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        calibration = arguments.calibration or c4(Path(folder) / "c4.jsonl")
        text = Path(arguments.text).read_text() if arguments.text else wikitext()
        for row in entry["rows"]:
            if row["name"] not in wanted:
                continue
            model, tokenizer = load(
                Source(arguments.model or entry["model"], arguments.dtype, arguments.device)
            )
            compress(model, tokenizer, row, calibration, seqlen, arguments.nsamples)
            found[row["name"]] = perplexity(model, tokenizer, text, seqlen)
            print(f"{row['name']}: {found[row['name']]:.2f} (published {row['published']})", flush=True)
            del model
    return found


def compress(
    model: Any, tokenizer: Any, row: dict[str, Any], calibration: str, seqlen: int, nsamples: int
) -> None:
    """What a row of the plan says, in place."""
    from junkdna_harness.compress import PruneSpec, QuantSpec, prune, quantize

    given = dict(row["arguments"])
    if given["method"] == "none":
        return
    given |= {"calibration": calibration, "nsamples": nsamples, "seqlen": seqlen}
    if row.get("quantize"):
        quantize(model, QuantSpec.from_strings(given), tokenizer)
    else:
        prune(model, PruneSpec.from_strings(given), tokenizer)


def perplexity(model: Any, tokenizer: Any, text: str, seqlen: int) -> float:
    """As in the authors' code: windows side by side, what is left over at the end dropped, no token predicted across windows."""
    import torch

    ids = tokenizer(text, return_tensors="pt").input_ids
    windows = ids[:, : ids.shape[1] // seqlen * seqlen].view(-1, seqlen)
    device = model.get_input_embeddings().weight.device
    total = 0.0
    with torch.no_grad():
        for window in windows:
            logits = model(window[None].to(device), use_cache=False).logits[0, :-1].float()
            total += float(torch.nn.functional.cross_entropy(logits, window[1:].to(device)))
    return math.exp(total / len(windows))


def wikitext() -> str:
    """WikiText-2, raw, test split."""
    from datasets import load_dataset

    return "\n\n".join(load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1", split="test")["text"])


def c4(path: Path) -> str:
    """C4's first file, which the authors draw from, as a jsonl file."""
    from datasets import load_dataset

    rows = load_dataset(
        "allenai/c4", data_files={"train": "en/c4-train.00000-of-01024.json.gz"}, split="train"
    )
    rows.select_columns("text").to_json(path)
    return f"{path}:text"


def print_table(name: str, entry: dict[str, Any], measured: dict[str, float | None]) -> None:
    print(f"\n{name}: {entry['model']}, windows of {entry['seqlen']} tokens; {entry['source']}\n")
    print("| | published | measured | |\n|---|---:|---:|---|")
    for row in entry["rows"]:
        value = measured.get(row["name"])
        if value is None:
            print(f"| {row['name']} | {row['published']} | not yet run | |")
            continue
        off = value / row["published"] - 1
        held = (
            "holds"
            if abs(off) <= row["tolerance"]
            else f"off by {off:+.1%}, tolerance {row['tolerance']:.1%}"
        )
        print(f"| {row['name']} | {row['published']} | {value:.2f} | {held} |")


if __name__ == "__main__":
    main()
