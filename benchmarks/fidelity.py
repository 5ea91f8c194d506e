"""`junkdna fidelity` beside the two bare forward passes it cannot do without: `python benchmarks/fidelity.py [MODEL]`.

Bare passes and whole measurements by turns, in one process; medians. MODEL is smollm2-135m by default. The text is the starter text
and the windows are of 512 tokens. Memory is the process's peak beyond what the two loaded models and one bare pass take.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from dataclasses import replace

import torch

from junkdna_harness.fidelity.load import load_side
from junkdna_harness.fidelity.run import How, Text
from junkdna_harness.texts.documents import read_documents

REPEATS = 5


def peak() -> float:
    """GB of this process at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def bare(text: Text, *sides: object) -> float:
    """Seconds of one forward pass of each model over every window."""
    began = time.perf_counter()
    with torch.inference_mode():
        for window in text.tokenized.windows:
            inputs = torch.from_numpy(window.inputs[None])
            for side in sides:
                side.lm.model(input_ids=inputs, use_cache=False)  # type: ignore[attr-defined]
    return time.perf_counter() - began


def main() -> None:
    """Print both times and their ratio, and the memory."""
    name = sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m"
    dense = load_side({"pretrained": name}, "cpu", "float32")
    other = load_side({"pretrained": name, "sparsity": 0.4}, "cpu", "float32")
    text = Text.of(dense.lm, read_documents(["starter"]), How(limit=1024))
    bare(text, dense, other)
    before = peak()
    passes, wholes = [], []
    for _ in range(REPEATS):
        passes.append(bare(text, dense, other))
        began = time.perf_counter()
        text.compare(dense, replace(other))
        wholes.append(time.perf_counter() - began)
    a, b = statistics.median(passes), statistics.median(wholes)
    n = len(text.tokenized.token)
    print(f"{name}: {n:,} tokens in windows of 512, float32, {torch.get_num_threads()} threads")
    print(f"two bare forward passes {a:.2f} s, fidelity {b:.2f} s, ratio {b / a:.3f} (medians of {REPEATS})")
    print(f"memory: {before:.2f} GB with both models after a bare pass, {peak():.2f} GB at most")


if __name__ == "__main__":
    main()
