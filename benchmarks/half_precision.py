"""What dtype=auto-cpu saves on a CPU that computes in bfloat16, and what it changes: scores, log-likelihoods, verdicts.

    python benchmarks/half_precision.py --parts embedded,embedded:1,embedded:2,smollm2,verdicts

The embedded models on difficulty_tiers, dense and magnitude at 0.5; SmolLM2-135M on the real rows of ARC-Easy in the folder named by
JUNKDNA_DATA (default ../shared/data). Both dtypes have the same weights, masks and batches, and are timed in alternation. Nothing is
downloaded. `--parts verdicts` fits one sweep in each dtype. `--force` computes in it also where the CPU imitates it.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefix_cache import read

from junkdna_harness import precision

Scored = tuple[list[float], list[int], list[list[float]]]  # per item: score, option taken, log-likelihoods


def embedded(name: str, limit: int) -> Iterator[tuple[str, Any, Callable[[], Scored]]]:
    """(state, its wrapper, what scores it) of an embedded model on difficulty_tiers."""
    from junkdna_harness.sweep import build_plan
    from junkdna_harness.sweep.machine import Machine
    from junkdna_harness.sweep.session import Session

    plan = build_plan(
        tasks="difficulty_tiers", model_args=f"pretrained={name}", dtype="auto-cpu", methods="magnitude", sparsity="0.5", limit=limit
    )  # fmt: skip
    session = Session(plan, 0, Machine(device="cpu", threads=os.cpu_count()))

    def score() -> Scored:
        found = session.suite.score(session.lm)
        samples = [sample for listed in found.samples.values() for sample in listed]
        values = [[answer[0] for (answer,) in sample["resps"]] for sample in samples]
        return (
            [sample.get("acc", sample.get("exact_match", 0.0)) for sample in samples],
            _taken(values),
            values,
        )

    for cell in plan.cells:
        with session.state.holding(cell):
            yield plan.run_id(cell), session.lm, score


def smollm2(rows: int) -> Iterator[tuple[str, Any, Callable[[], Scored]]]:
    """The same of SmolLM2-135M on ARC-Easy, as lm-eval asks it."""
    from lm_eval.api.instance import Instance

    from junkdna_harness.compress import PruneSpec, prune
    from junkdna_harness.sweep.machine import Machine
    from junkdna_harness.sweep.session import load_model

    listed = read("arc_easy/test.jsonl", rows)
    keys = [row["choices"]["label"].index(row["answerKey"]) for row in listed]
    pairs = [
        (f"Question: {row['question']}\nAnswer:", f" {text}")
        for row in listed
        for text in row["choices"]["text"]
    ]
    requests = [Instance("loglikelihood", {}, pair, 0, ("arc_easy", i, 1)) for i, pair in enumerate(pairs)]
    lm = load_model({"pretrained": "smollm2-135m", "dtype": "auto-cpu"}, Machine(device="cpu", batch_size=16))

    def score() -> Scored:
        answers = [value for value, _ in lm.loglikelihood(requests, disable_tqdm=True)]
        values = [answers[start : start + 4] for start in range(0, len(answers), 4)]
        taken = _taken(values)
        return [float(a == b) for a, b in zip(taken, keys, strict=True)], taken, values

    yield "smollm2-135m dense, arc_easy", lm, score
    prune(lm.model, PruneSpec(sparsity=0.5), tokenizer=lm.tokenizer)
    yield "smollm2-135m magnitude 0.5, arc_easy", lm, score


def _taken(values: list[list[float]]) -> list[int]:
    return [one.index(max(one)) for one in values]


def row(name: str, lm: Any, score: Callable[[], Scored], rounds: int) -> str:
    """One line of the table: seconds of both in alternation, and what differs."""
    from difficulty.runs.dtypes import Agreement

    seconds: dict[str, list[float]] = {"float32": [], lm.dtype: []}
    found: dict[str, Scored] = {}
    for number in range(rounds + 1):  # the first warms up and lays out requests
        for dtype, context in (("float32", nullcontext()), (lm.dtype, lm.computing())):
            with context:
                started = time.perf_counter()
                found[dtype] = score()
                if number:
                    seconds[dtype].append(time.perf_counter() - started)
    (scores, taken, values), (half_scores, half_taken, half_values) = found["float32"], found[lm.dtype]
    differences = [
        abs(a - b) for x, y in zip(values, half_values, strict=True) for a, b in zip(x, y, strict=True)
    ]
    agreement = Agreement(
        lm.dtype, len(scores), len(differences), sum(a != b for a, b in zip(taken, half_taken, strict=True)),
        sum(b < a for a, b in zip(scores, half_scores, strict=True)), sum(b > a for a, b in zip(scores, half_scores, strict=True)),
        sum(differences) / len(differences), max(differences),
    )  # fmt: skip
    ratios = [a / b for a, b in zip(seconds["float32"], seconds[lm.dtype], strict=True)]
    low, high = agreement.interval
    return (
        f"| {name} | {statistics.median(seconds['float32']):.2f} | {statistics.median(seconds[lm.dtype]):.2f} "
        f"| **{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) | {agreement.items:,} "
        f"| {agreement.lost} / {agreement.gained} | {agreement.changed / agreement.items:.2%} [{low:.2%}, {high:.2%}] "
        f"| {agreement.answers_changed} | {agreement.loglik_mean:.3f} | {agreement.loglik_largest:.2f} |"
    )


def verdicts(name: str, limit: int) -> Iterator[str]:
    """The headline claims of one sweep in each dtype, and how long the sweeps took."""
    from difficulty import fit, read_runs
    from junkdna_harness import sweep

    grid = {
        "methods": "magnitude,random,largest",
        "sparsity": "0.1:0.9:0.2",
        "quantize": "rtn:8,4,3,2",
        "limit": limit,
    }
    results, spent = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for dtype in ("float32", "auto-cpu"):
            started = time.perf_counter()
            sweep(Path(scratch) / dtype, model_args=f"pretrained={name}", dtype=dtype, **grid)
            spent[dtype] = time.perf_counter() - started
            results[dtype] = fit(read_runs(Path(scratch) / dtype), n_resamples=1000)
    yield f"\n{name}, {results['float32'].n_items:,} items, 20 runs: " + ", ".join(
        f"{dtype} {seconds:.0f} s" for dtype, seconds in spent.items()
    )
    yield "\n| claim | float32 | | auto-cpu | |\n| --- | --- | --- | --- | --- |"
    both = [result.headline() for result in results.values()]
    for claim in both[0]:
        cells = [f"{one[claim].verdict} | {_estimate(one[claim])}" for one in both]
        yield f"| {claim} | {' | '.join(cells)} |"


def _estimate(claim: Any) -> str:
    from difficulty.text import estimate_text

    return f"{estimate_text(claim.estimate, claim.ci_low, claim.ci_high)} {claim.unit}".strip()


def main() -> None:
    """Print one table, and the verdicts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="embedded,embedded:1,embedded:2,smollm2,verdicts")
    parser.add_argument("--limit", type=int, default=100, help="items per task of difficulty_tiers")
    parser.add_argument("--rows", type=int, default=200, help="rows of ARC-Easy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--force", action="store_true", help="compute in bfloat16 even if the CPU imitates it"
    )
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    if given.force:
        precision.native_bfloat16 = lambda: True
    print(precision.choose("cpu").why)
    print(f"{platform.machine()}, {os.cpu_count()} cores.\n", flush=True)
    parts = given.parts.split(",")
    if set(parts) != {"verdicts"}:
        print(
            "| | float32, s | bfloat16, s | ratio | items | lost / gained | another score | another answer | log-likelihoods: mean "
            "| largest |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            flush=True,
        )
    for part in parts:
        if part == "verdicts":
            for line in verdicts("embedded", given.limit):
                print(line, flush=True)
            continue
        states = smollm2(given.rows) if part == "smollm2" else embedded(part, given.limit)
        for name, lm, score in states:
            print(row(name, lm, score, given.rounds), flush=True)


if __name__ == "__main__":
    main()
