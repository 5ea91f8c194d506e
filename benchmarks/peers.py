"""`junkdna prune` and `quantize` beside llm-compressor: whole time, peak memory and perplexity of what they write.

    python benchmarks/peers.py --model DIR --text passages.jsonl --cache DIR [--methods wanda,rtn] [--before TREE]

llm-compressor runs in an environment of its own, made under `--cache` when it is not there (pip's own variables apply; a build
of torch for CPUs is enough). Both sides get the same token windows, the same settings and the same threads; a run is one process from its start
to a written checkpoint, the sides take turns, and one program reads all checkpoints to measure perplexity. Finished runs are kept under `--cache`: a call goes on where
the last one stopped, and begins no run after `--minutes`. `--before` measures the package of another checkout as a third side.
More than one of `--seeds` draws further calibration windows, and prints the paired differences in perplexity.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PEER = "llmcompressor==0.14.0.1"
TORCH = "torch==2.13.0"
JOB = Path(__file__).with_name("peers_job.py")
TREE = Path(__file__).parents[1]
# What each method is called on our command line; `peers_job.modifier` says the same to llm-compressor, which packs what it quantizes
# into codes of four bits but in "rtn dense", where it writes the values that they stand for, as ours always does.
METHODS: dict[str, list[str]] = {
    "wanda": ["prune", "--method", "wanda", "--sparsity", "0.5"],
    "wanda 2:4": ["prune", "--method", "wanda", "--pattern", "2:4"],
    "sparsegpt": ["prune", "--method", "sparsegpt", "--sparsity", "0.5"],
    "sparsegpt 2:4": ["prune", "--method", "sparsegpt", "--pattern", "2:4"],
    "gptq": ["quantize", "--method", "gptq", "--bits", "4", "--group-size", "64"],
    "rtn": ["quantize", "--method", "rtn", "--bits", "4", "--group-size", "64"],
    "rtn dense": ["quantize", "--method", "rtn", "--bits", "4", "--group-size", "64"],
    "magnitude": ["prune", "--method", "magnitude", "--sparsity", "0.5"],
}
ALONE = ("magnitude",)  # llm-compressor's prunes while a model is trained
UNCALIBRATED = ("rtn", "rtn dense", "magnitude")
OURS, BEFORE, THEIRS = "ours", "before", "llm-compressor"


def main() -> None:
    """Do the runs that are missing, and print the tables of all that are there."""
    arguments = parse()
    began = time.perf_counter()
    python = environment(arguments.cache)
    runs = Runs(arguments.cache / "runs.jsonl", setting(arguments))
    for seed in arguments.seeds:
        given = windows(arguments, seed)
        for number in range(arguments.runs):
            for method in arguments.methods:
                for side in sides(method, arguments.before):
                    if runs.find(side, method, seed, number) is not None:
                        continue
                    if time.perf_counter() - began > 60 * arguments.minutes:
                        continue
                    print(f"{method}, {side}, seed {seed}, run {number + 1} ...", file=sys.stderr, flush=True)
                    runs.add(
                        side, method, seed, number, run(arguments, side, method, seed, given, number, python)
                    )
    print_head(arguments, python)
    print_ratios(arguments, runs)
    if len(arguments.seeds) > 1:
        print_pairs(arguments, runs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="folder of a checkpoint")
    parser.add_argument(
        "--text", required=True, help="jsonl with a field 'passage' (boolq's validation split)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        required=True,
        help="folder of llm-compressor's environment and of finished runs",
    )
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument(
        "--before", type=Path, help="another checkout of this project, to be measured as well"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")], default=[0])
    parser.add_argument("--nsamples", type=int, default=8)
    parser.add_argument("--seqlen", type=int, default=256)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after these")
    arguments = parser.parse_args()
    if unknown := [method for method in arguments.methods if method not in METHODS]:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join(METHODS)}")
    arguments.cache = arguments.cache.resolve()
    return arguments


def sides(method: str, before: Path | None) -> list[str]:
    return [OURS, *([] if before is None else [BEFORE]), *([] if method in ALONE else [THEIRS])]


class Runs:
    """Finished runs in a file, a JSON object per line; those of another setting stay there and are not used."""

    def __init__(self, file: Path, setting: Mapping[str, Any]) -> None:
        self.file, self.setting = file, dict(setting)
        self.found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def add(self, side: str, method: str, seed: int, number: int, measured: dict[str, Any]) -> None:
        which = {"side": side, "method": method, "seed": seed, "run": number}
        self.found.append({**self.setting, **which, **measured})
        with self.file.open("a") as handle:
            handle.write(json.dumps(self.found[-1]) + "\n")

    def find(self, side: str, method: str, seed: int, number: int) -> dict[str, Any] | None:
        wanted = {**self.setting, "side": side, "method": method, "seed": seed, "run": number}
        return next((run for run in self.found if wanted.items() <= run.items()), None)


def setting(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a figure holds for: the model, the tokens, the threads, and the code of each checkout."""
    return {
        "model": str(Path(arguments.model).resolve()),
        "nsamples": arguments.nsamples,
        "seqlen": arguments.seqlen,
        "threads": arguments.threads,
        "code": revision(TREE),
        "code_before": None if arguments.before is None else revision(arguments.before),
    }


def revision(tree: Path) -> str:
    """The hash of the package's files in a checkout."""
    files = sorted(path for name in ("junkdna_harness", "difficulty") for path in (tree / name).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def environment(cache: Path) -> Path:
    """The Python in which llm-compressor is installed."""
    cache.mkdir(parents=True, exist_ok=True)
    python, done = cache / "venv" / "bin" / "python", cache / "venv" / "installed.txt"
    wanted = f"{PEER} {TORCH}"
    if not done.exists() or done.read_text() != wanted:
        venv.create(cache / "venv", clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PEER, TORCH], check=True)
        done.write_text(wanted)
    return python


def variables(arguments: argparse.Namespace, tree: Path | None = None) -> dict[str, str]:
    """The environment variables of a run; `tree`: the checkout whose package runs."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    kept |= {
        "OMP_NUM_THREADS": str(arguments.threads),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return kept if tree is None else {**kept, "PYTHONPATH": str(tree)}


def answer(command: list[Any], environ: dict[str, str], cwd: Path) -> dict[str, Any]:
    """What a job of `peers_job.py` printed last."""
    done = subprocess.run(
        list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, env=environ, cwd=cwd
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def windows(arguments: argparse.Namespace, seed: int) -> Path:
    """The file of a seed's token windows, the same for all sides."""
    file = arguments.cache / f"windows_{seed}_{arguments.nsamples}x{arguments.seqlen}.json"
    if not file.exists():
        text = Path(arguments.text).resolve()
        command = [
            sys.executable,
            JOB,
            "windows",
            Path(arguments.model).resolve(),
            text,
            arguments.cache / "calibration.txt",
        ]
        command += [seed, arguments.nsamples, arguments.seqlen]
        file.write_text(json.dumps(answer(command, variables(arguments, TREE), arguments.cache)))
    return file


def run(
    arguments: argparse.Namespace, side: str, method: str, seed: int, given: Path, number: int, python: Path
) -> dict[str, Any]:
    """Whole seconds and peak memory of one process that writes a checkpoint; of the first of a kind the perplexity too."""
    model, into = Path(arguments.model).resolve(), arguments.cache / "checkpoint"
    shutil.rmtree(into, ignore_errors=True)
    if side == THEIRS:
        command = [python, JOB, "compress", method, model, given, into]
        environ = variables(arguments)
    else:
        command = [sys.executable, "-m", "junkdna_harness.cli", *METHODS[method], model, "--output", into]
        if method not in UNCALIBRATED:
            command += ["--calibration", arguments.cache / "calibration.txt", "--seed", seed]
            command += ["--nsamples", arguments.nsamples, "--seqlen", arguments.seqlen]
        environ = variables(arguments, TREE if side == OURS else arguments.before.resolve())
    measured = timed(list(map(str, command)), environ, arguments.cache)
    if side != THEIRS:
        measured["weights"] = json.loads((into / "junkdna.json").read_text())["weights_sha256"]
    if side != THEIRS and method not in UNCALIBRATED:
        told = json.loads((into / "junkdna.json").read_text())["calibration"]["tokens_sha256"]
        if told != json.loads(given.read_text())["sha256"]:
            raise SystemExit(f"{method}: other calibration windows than llm-compressor's")
    measured["bytes"] = sum(file.stat().st_size for file in into.glob("*.safetensors"))
    if number == 0:
        measured |= answer([python, JOB, "perplexity", into, given], variables(arguments), arguments.cache)
    shutil.rmtree(into)
    return measured


def timed(command: list[str], environ: dict[str, str], cwd: Path) -> dict[str, Any]:
    """Seconds from start to end, processor seconds, and the largest resident memory in bytes of a command that must succeed."""
    log = cwd / "last.log"
    started = time.perf_counter()
    with log.open("w") as handle:
        process = subprocess.Popen(command, env=environ, cwd=cwd, stdout=handle, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{log.read_text()[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": 1024 * usage.ru_maxrss}


def print_head(arguments: argparse.Namespace, python: Path) -> None:
    told = "import torch, transformers, sys; print(torch.__version__, transformers.__version__, sys.version.split()[0])"
    mine, peers = (
        subprocess.run([one, "-c", told], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        for one in (sys.executable, python)
    )
    name = Path(arguments.model).name
    print(
        f"{name}, fp32, {arguments.nsamples} x {arguments.seqlen} calibration tokens, {platform.machine()}, {os.cpu_count()} cores, "
        f"{arguments.threads} threads, Python {mine[2]}.\n"
        f"Ours: torch {mine[0]}, transformers {mine[1]}. {PEER.replace('==', ' ')}: torch {peers[0]}, transformers {peers[1]}.\n"
    )


def spread(values: list[float]) -> str:
    """The median, and the lowest and highest where there are several."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def print_ratios(arguments: argparse.Namespace, runs: Runs) -> None:
    """Seconds, memory and perplexity of every side; ratios to llm-compressor run by run: the median and the range."""
    print(
        "| method | side | seconds | peak, GB | perplexity | seconds / llm-compressor's | peak / llm-compressor's |"
    )
    print("|---|---|---:|---:|---:|---:|---:|")
    seed = arguments.seeds[0]
    for method in arguments.methods:
        names = sides(method, arguments.before)
        rounds = [[runs.find(side, method, seed, n) for side in names] for n in range(arguments.runs)]
        whole = [[one for one in row if one is not None] for row in rounds if None not in row]
        for place, side in enumerate(names if whole else ()):
            measured = [row[place] for row in whole]
            cells = [method, side, spread([r["wall"] for r in measured])]
            cells += [spread([r["peak"] / 1e9 for r in measured]), f"{measured[0]['perplexity']:.2f}"]
            for key in ("wall", "peak"):
                peers = names[-1] == THEIRS != side
                cells.append(spread([row[place][key] / row[-1][key] for row in whole]) if peers else "")
            print(f"| {' | '.join(cells)} |")
        if len(whole) < arguments.runs:
            print(
                f"{method}: {len(whole)} of {arguments.runs} rounds are done; call again to go on",
                file=sys.stderr,
            )
    if arguments.before is not None:
        ours = [r for r in runs.found if r["side"] != THEIRS and r["seed"] == seed]
        wrote = [{r["weights"] for r in ours if r["method"] == method} for method in arguments.methods]
        if any(wrote):
            same = all(len(one) <= 1 for one in wrote)
            print(f"\nBoth checkouts write the same weights in every run: {'yes' if same else 'NO'}.")


def print_pairs(arguments: argparse.Namespace, runs: Runs) -> None:
    """Perplexities on the same calibration windows, and the mean paired difference in percent with its 95 % t interval."""
    print(
        f"\n| method | side | {' | '.join(f'seed {seed}' for seed in arguments.seeds)} | ours - theirs, % |"
    )
    print(f"|---|---|{'---:|' * len(arguments.seeds)}---|")
    for method in arguments.methods:
        if method in ALONE or method in UNCALIBRATED:
            continue
        logs: dict[str, list[float]] = {}
        for side in (OURS, THEIRS):
            found = [runs.find(side, method, seed, 0) for seed in arguments.seeds]
            logs[side] = [math.log(one["perplexity"]) for one in found if one is not None]
        if min(map(len, logs.values())) < len(arguments.seeds):
            continue
        apart = [100 * (a - b) for a, b in zip(logs[OURS], logs[THEIRS], strict=True)]
        for side in (OURS, THEIRS):
            told = interval(apart) if side == OURS else ""
            print(f"| {method} | {side} | {' | '.join(f'{math.exp(x):.2f}' for x in logs[side])} | {told} |")


def interval(values: list[float]) -> str:
    """The mean, and its 95 % interval by Student's t."""
    from scipy import stats

    mean, n = statistics.mean(values), len(values)
    half = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


if __name__ == "__main__":
    main()
