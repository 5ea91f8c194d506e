"""Perplexity, time and memory of sparsifiers and quantizers, beside plain implementations of the published algorithms.

    python benchmarks/compress.py --model DIR --text passages.jsonl [--table quantizers] [--methods gptq 4,awq 4]

Each method runs in a process of its own, so that its peak memory is its own. The peers (`plain_wanda`, `plain_sparsegpt`)
follow the authors' published code as closely as one Llama allows: one layer after the other, one statistic per layer, one
sample a forward pass. Processor seconds are compared, because wall time depends on who else uses the machine.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

HELD_OUT = slice(800, 860)
CALIBRATION = slice(0, 700)
SPARSIFIERS: dict[str, dict[str, Any]] = {
    **{name: {"method": name} for name in ("random", "magnitude", "wanda", "ria", "sparsegpt")},
    "wanda-owl": {"method": "wanda", "allocation": "owl"},
    "wanda-alphapruning": {"method": "wanda", "allocation": "alphapruning"},
    "layers 0.1": {"method": "layers", "sparsity": 0.1},
    "layers 0.2": {"method": "layers", "sparsity": 0.2},
}
QUANTIZERS: dict[str, dict[str, Any]] = {
    "rtn 8": {"method": "rtn", "bits": 8},
    "fp8": {"method": "fp8"},
    "fp8-e5m2": {"method": "fp8-e5m2"},
    "rtn 4": {"method": "rtn", "bits": 4},
    "gptq 4": {"method": "gptq", "bits": 4},
    "gptq 4 act_order": {"method": "gptq", "bits": 4, "act_order": True},
    "awq 4": {"method": "awq", "bits": 4},
    "nvfp4": {"method": "nvfp4"},
    "mxfp4": {"method": "mxfp4"},
    "nf4": {"method": "nf4"},
    "rtn 3": {"method": "rtn", "bits": 3},
    "gptq 3": {"method": "gptq", "bits": 3},
    "gptq 3 act_order": {"method": "gptq", "bits": 3, "act_order": True},
    "awq 3": {"method": "awq", "bits": 3},
    "kv 8": {"method": "kv", "bits": 8},
    "kv 4": {"method": "kv", "bits": 4},
    "kv 2": {"method": "kv", "bits": 2},
    "W8A8": {"scheme": "W8A8"},
    "FP8_DYNAMIC": {"scheme": "FP8_DYNAMIC"},
    "W4A16KV4": {"scheme": "W4A16KV4"},
}
TABLES = {"sparsifiers": SPARSIFIERS, "quantizers": QUANTIZERS}
OURS = {**SPARSIFIERS, **QUANTIZERS}
PEERS = {"wanda": "plain_wanda", "sparsegpt": "plain_sparsegpt"}


def main() -> None:
    """Run every method in a process of its own and print the tables."""
    arguments = parse()
    if arguments.only:
        print(json.dumps(run_one(arguments)))
        return
    peers = PEERS.values() if arguments.table == "sparsifiers" else ()
    names = (
        ("dense", *TABLES[arguments.table], *peers)
        if arguments.methods is None
        else arguments.methods.split(",")
    )
    runs = {name: in_process(arguments, name) for name in names}
    print(f"`python {shlex.join(sys.argv)}`\n")
    at = f"sparsity {arguments.sparsity}, " if arguments.table == "sparsifiers" else ""
    print(
        f"{Path(arguments.model).name}, {at}{arguments.nsamples} x {arguments.seqlen} "
        f"calibration tokens, fp32, {torch.get_num_threads()} thread(s), {platform.machine()}, torch {torch.__version__}\n"
    )
    print_table(runs)
    if arguments.table == "sparsifiers" and arguments.methods is None:
        print_claims(runs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--text", required=True, help="jsonl with a field 'passage' (boolq's validation split)"
    )
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--nsamples", type=int, default=32)
    parser.add_argument("--seqlen", type=int, default=256)
    parser.add_argument("--table", choices=TABLES, default="sparsifiers")
    parser.add_argument("--methods", help="these alone, of either table")
    parser.add_argument("--only", choices=["dense", *OURS, *PEERS.values()], help=argparse.SUPPRESS)
    return parser.parse_args()


def in_process(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--only", name, "--model", arguments.model, "--text", arguments.text]
    command += ["--sparsity", str(arguments.sparsity), "--nsamples", str(arguments.nsamples)]
    command += ["--seqlen", str(arguments.seqlen)]
    print(f"{name} ...", file=sys.stderr, flush=True)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def run_one(arguments: argparse.Namespace) -> dict[str, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from junkdna_harness.compress import PruneSpec, QuantSpec, find_targets, measure, prune, quantize
    from junkdna_harness.compress.calibration import load_calibration

    rows = [json.loads(line)["passage"] for line in Path(arguments.text).read_text().split("\n") if line]
    text = Path(f"/tmp/junkdna-benchmark-{time.time_ns()}.txt")
    text.write_text("\n\n".join(rows[CALIBRATION]))
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    for (
        parameter
    ) in model.parameters():  # read every page in, so that the file's mapping is not counted as ours
        parameter.data = parameter.data.clone()
    size = {"nsamples": arguments.nsamples, "seqlen": arguments.seqlen}
    ids = load_calibration(str(text), tokenizer, model, **size).ids
    reset_peak()
    before, cpu, wall = resident(), time.process_time(), time.perf_counter()
    bits = 16.0
    if arguments.only in SPARSIFIERS:
        what = {"sparsity": arguments.sparsity, **SPARSIFIERS[arguments.only]}
        bits = prune(model, PruneSpec(calibration=str(text), **size, **what), tokenizer).effective_bits
    elif arguments.only in QUANTIZERS:
        rounding = QuantSpec(**QUANTIZERS[arguments.only])
        if rounding.calibrated:
            rounding = replace(rounding, calibration=str(text), **size)
        bits = quantize(model, rounding, tokenizer).effective_bits
    elif arguments.only == "plain_wanda":
        plain(model, ids, WandaLayer, arguments.sparsity)
    elif arguments.only == "plain_sparsegpt":
        plain(model, ids, SparseGPTLayer, arguments.sparsity)
    cpu, wall, peak = time.process_time() - cpu, time.perf_counter() - wall, peak_resident() - before
    text.unlink()
    targets = find_targets(model)
    if arguments.only in PEERS.values():
        bits = measure(model).effective_bits
    return {
        "bits": bits,
        "perplexity": perplexity(model, tokenizer, rows[HELD_OUT]),
        "zeros": sum(int((t.weight == 0).sum()) for t in targets) / sum(t.numel for t in targets),
        "cpu": cpu,
        "wall": wall,
        "extra": peak,
        "model": 4 * sum(p.numel() for p in model.parameters()),
        "block": 4 * sum(p.numel() for p in model.model.layers[0].parameters()),
        # distinct inputs of a Llama block: attention, its output, feed-forward, its output
        "hessians": 4 * (3 * model.config.hidden_size**2 + model.config.intermediate_size**2),
    }


@torch.no_grad()
def perplexity(model: Any, tokenizer: Any, passages: list[str]) -> float:
    """On 8 windows of 512 tokens of text that calibration never saw."""
    ids = tokenizer("\n\n".join(passages), return_tensors="pt").input_ids
    ids = ids[:, : ids.shape[1] // 512 * 512].view(-1, 512)[:8]
    return math.exp(float(model(ids, labels=ids).loss))


def resident() -> int:
    return _status("VmRSS")


def peak_resident() -> int:
    return _status("VmHWM")


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def print_table(runs: dict[str, dict[str, Any]]) -> None:
    print(
        "| method | perplexity | zeros | effective bits | CPU s | wall s | peak beyond the model, MB | peak / (model + block + Hessians) |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, run in runs.items():
        limit = run["model"] + run["block"] + run["hessians"]
        ratio = (run["model"] + run["extra"]) / limit
        print(
            f"| {name.replace('plain_', 'plain ')} | {run['perplexity']:.2f} | {run['zeros']:.4f} | {run['bits']:.2f} | {run['cpu']:.1f} | "
            f"{run['wall']:.1f} | {run['extra'] / 1e6:.0f} | {ratio:.2f} |"
        )


def print_claims(runs: dict[str, dict[str, Any]]) -> None:
    order = [runs[name]["perplexity"] for name in ("sparsegpt", "wanda", "magnitude", "random")]
    held = order[0] <= order[1] < order[2] < order[3]
    print(f"\nsparsegpt <= wanda < magnitude < random in perplexity: {'yes' if held else 'NO'}.")
    for ours, peer in PEERS.items():
        faster = runs[peer]["cpu"] / runs[ours]["cpu"]
        print(f"{ours}: {faster:.2f} times as fast as the plain implementation.")


class WandaLayer:
    """A layer of the plain Wanda: the running mean of squared inputs, then a sort of every row."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer, self.samples = layer, 0
        self.scaler = torch.zeros(layer.weight.shape[1])

    def add_batch(self, inputs: torch.Tensor) -> None:
        rows = inputs.reshape(-1, inputs.shape[-1]).t()
        self.scaler *= self.samples / (self.samples + 1)
        self.samples += 1
        self.scaler += torch.norm(rows, p=2, dim=1) ** 2 / self.samples

    def prune(self, sparsity: float) -> None:
        weight = self.layer.weight.data
        metric = weight.abs() * self.scaler.reshape(1, -1).sqrt()
        order = torch.sort(metric, dim=-1, stable=True)[1]
        mask = torch.zeros_like(metric, dtype=torch.bool)
        mask.scatter_(1, order[:, : int(weight.shape[1] * sparsity)], True)
        weight[mask] = 0


class SparseGPTLayer:
    """A layer of the plain SparseGPT: its own Hessian, blocks of 128 columns, damping 0.01."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer, self.samples = layer, 0
        self.hessian = torch.zeros(layer.weight.shape[1], layer.weight.shape[1])

    def add_batch(self, inputs: torch.Tensor) -> None:
        rows = inputs.reshape(-1, inputs.shape[-1]).t()
        self.hessian *= self.samples / (self.samples + 1)
        self.samples += 1
        rows = math.sqrt(2 / self.samples) * rows.float()
        self.hessian += rows.matmul(rows.t())

    def prune(self, sparsity: float, blocksize: int = 128, damp: float = 0.01) -> None:
        weight, hessian = self.layer.weight.data.clone().float(), self.hessian
        dead = torch.diag(hessian) == 0
        hessian[dead, dead] = 1
        weight[:, dead] = 0
        index = torch.arange(weight.shape[1])
        hessian[index, index] += damp * torch.mean(torch.diag(hessian))
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        inverse = torch.linalg.cholesky(inverse, upper=True)
        for first in range(0, weight.shape[1], blocksize):
            last = min(first + blocksize, weight.shape[1])
            columns, new = weight[:, first:last].clone(), torch.zeros(weight.shape[0], last - first)
            errors, local = torch.zeros_like(columns), inverse[first:last, first:last]
            scores = columns**2 / torch.diag(local).reshape(1, -1) ** 2
            threshold = torch.sort(scores.flatten())[0][int(scores.numel() * sparsity)]
            mask = scores <= threshold
            for i in range(last - first):
                kept = columns[:, i].clone()
                kept[mask[:, i]] = 0
                error = (columns[:, i] - kept) / local[i, i]
                columns[:, i:] -= error.unsqueeze(1).matmul(local[i, i:].unsqueeze(0))
                errors[:, i], new[:, i] = error, kept
            weight[:, first:last] = new
            weight[:, last:] -= errors.matmul(inverse[first:last, last:])
        self.layer.weight.data = weight


class _Stop(Exception):
    pass


@torch.no_grad()
def plain(
    model: Any, ids: torch.Tensor, kind: type[WandaLayer] | type[SparseGPTLayer], sparsity: float
) -> None:
    """The published loop, for a Llama."""
    layers = model.model.layers
    inputs = torch.zeros(len(ids), ids.shape[1], model.config.hidden_size)
    seen: dict[str, Any] = {"i": 0}

    def catch(hidden: torch.Tensor, **kwargs: Any) -> None:
        inputs[seen["i"]] = hidden
        seen["i"] += 1
        seen["kwargs"] = kwargs
        raise _Stop

    forward, layers[0].forward = layers[0].forward, catch
    for sample in ids:
        try:
            model(sample.unsqueeze(0), use_cache=False)
        except _Stop:
            continue
    layers[0].forward = forward
    outputs = torch.zeros_like(inputs)
    for layer in layers:
        wrapped = {name: kind(m) for name, m in layer.named_modules() if isinstance(m, nn.Linear)}
        handles = [
            w.layer.register_forward_hook(lambda _, args, out, w=w: w.add_batch(args[0]))
            for w in wrapped.values()
        ]
        for i in range(len(ids)):
            outputs[i] = layer(inputs[i].unsqueeze(0), **seen["kwargs"])[0]
        for handle in handles:
            handle.remove()
        for one in wrapped.values():
            one.prune(sparsity)
        for i in range(len(ids)):
            outputs[i] = layer(inputs[i].unsqueeze(0), **seen["kwargs"])[0]
        inputs, outputs = outputs, inputs


if __name__ == "__main__":
    main()
