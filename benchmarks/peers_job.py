"""One job of `peers.py`, run by it in a process of its own: token windows, a checkpoint by llm-compressor, or a perplexity.

    python benchmarks/peers_job.py windows MODEL TEXT CALIBRATION SEED NSAMPLES SEQLEN     (the caller's environment)
    PEER/bin/python benchmarks/peers_job.py compress METHOD MODEL WINDOWS INTO             (llm-compressor's)
    PEER/bin/python benchmarks/peers_job.py perplexity CHECKPOINT WINDOWS                  (llm-compressor's: it reads both sides)

Each prints one JSON object as its last line.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

CALIBRATION = slice(0, 700)  # the rows of the text, as in compress.py
HELD_OUT = slice(800, 860)
WINDOWS, WINDOW = 8, 512  # held-out text: as many windows of as many tokens


def windows(model: str, text: str, calibration: str, seed: str, nsamples: str, seqlen: str) -> dict[str, Any]:
    """The calibration windows as `junkdna` cuts them from the file `calibration` (written here), and held-out ones."""
    from junkdna_harness.compress.calibration import load_calibration
    from junkdna_harness.compress.loading import Source, load_skeleton, load_tokenizer

    rows = [json.loads(line)["passage"] for line in Path(text).read_text().split("\n") if line]
    Path(calibration).write_text("\n\n".join(rows[CALIBRATION]))
    source = Source(model)
    tokenizer = load_tokenizer(source)
    size = {"nsamples": int(nsamples), "seqlen": int(seqlen), "seed": int(seed)}
    found = load_calibration(calibration, tokenizer, load_skeleton(source), **size)
    held = tokenizer("\n\n".join(rows[HELD_OUT]), verbose=False)["input_ids"]
    return {
        "calibration": found.ids.tolist(),
        "sha256": hashlib.sha256(found.ids.contiguous().numpy().tobytes()).hexdigest(),
        "held_out": [held[i * WINDOW : (i + 1) * WINDOW] for i in range(WINDOWS)],
    }


def modifier(method: str) -> Any:
    """llm-compressor's modifier for a method of `peers.METHODS`."""
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier

    ignore = ["re:.*lm_head"]
    name, _, pattern = method.partition(" ")
    if name in ("wanda", "sparsegpt"):
        made = {"wanda": WandaPruningModifier, "sparsegpt": SparseGPTModifier}[name]
        return made(sparsity=0.5, mask_structure=pattern or "0:0", targets=["Linear"], ignore=ignore)
    # Groups of 64, for 128 does not divide the 576 features of SmolLM2-135M; not symmetric, as `junkdna` rounds by default.
    weights = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group", "group_size": 64}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    if name == "gptq":
        return GPTQModifier(config_groups=groups, ignore=ignore, actorder=None)
    return QuantizationModifier(config_groups=groups, ignore=ignore)


def compress(method: str, model: str, given: str, into: str) -> dict[str, Any]:
    """A checkpoint in the folder `into`, as `oneshot` writes it where it is told nothing else."""
    from llmcompressor import oneshot

    calibration: dict[str, Any] = {}
    if method.partition(" ")[0] != "rtn":
        from datasets import Dataset

        ids = json.loads(Path(given).read_text())["calibration"]
        calibration = {
            "dataset": Dataset.from_dict(
                {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
            ),
            "num_calibration_samples": len(ids),
            "max_seq_length": len(ids[0]),
            "shuffle_calibration_samples": False,
        }
    packed = method != "rtn dense"
    oneshot(model=model, recipe=[modifier(method)], output_dir=into, save_compressed=packed, **calibration)
    return {}


def perplexity(checkpoint: str, given: str) -> dict[str, Any]:
    """The perplexity of a checkpoint on the held-out windows, in fp32."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    ids = torch.tensor(json.loads(Path(given).read_text())["held_out"])
    with torch.inference_mode():
        losses = [float(model(row[None], labels=row[None]).loss) for row in ids]
    return {"perplexity": math.exp(sum(losses) / len(losses))}


if __name__ == "__main__":
    job = {"windows": windows, "compress": compress, "perplexity": perplexity}[sys.argv[1]]
    print(json.dumps(job(*sys.argv[2:])))
