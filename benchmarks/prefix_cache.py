"""Four-option multiple choice on SmolLM2-135M, scored with shared contexts and as lm-eval's `hf` scores it.

    python benchmarks/prefix_cache.py [--pretrained smollm2-135m] [--rows 60] [--repeats 3] [--sets arc_easy mmlu]

Reads the real rows of ARC-Easy, OpenBookQA and MMLU in the folder named by JUNKDNA_DATA (default ../shared/data). Prompts
are those of lm-eval's tasks: a question and full-text answers (ARC, OpenBookQA), letters as answers (MMLU, 0 and 5 shots).
The first rows of MMLU are of one subject, so that all share its examples. How the figure changes with the data's layout
is shown by `tier`: the ready-made tiers of MMLU, whose rows are drawn by a seed from all 57 subjects, in their own order.
Both sides take turns; seconds are medians, the ratio is given with its smallest and largest.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

Pairs = list[tuple[str, str]]
DATA = Path(os.environ.get("JUNKDNA_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def read(name: str, rows: int) -> list[dict[str, Any]]:
    """The first rows of a benchmark that have four options."""
    listed = [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").split("\n") if line]
    four = [
        row
        for row in listed
        if len(row["choices"].get("text", ()) if isinstance(row["choices"], dict) else row["choices"]) == 4
    ]
    return four[:rows]


def arc(rows: int) -> Pairs:
    """arc_easy, as lm-eval asks it."""
    return [
        (f"Question: {row['question']}\nAnswer:", f" {option}")
        for row in read("arc_easy/test.jsonl", rows)
        for option in row["choices"]["text"]
    ]


def openbookqa(rows: int) -> Pairs:
    """openbookqa, as lm-eval asks it."""
    return [
        (row["question_stem"], f" {option}")
        for row in read("openbookqa/test.jsonl", rows)
        for option in row["choices"]["text"]
    ]


def mmlu_question(row: dict[str, Any]) -> str:
    """The question with its lettered options."""
    options = "".join(f"{letter}. {option}\n" for letter, option in zip("ABCD", row["choices"], strict=True))
    return f"{row['question'].strip()}\n{options}Answer:"


def mmlu(rows: int, shots: int, full_text: bool = False) -> Pairs:
    """mmlu with the subject's fixed examples in front; answers are letters, or their texts (mmlu_continuation)."""
    examples = read("mmlu/dev.jsonl", 10_000)
    pairs = []
    for row in read("mmlu/test.jsonl", rows):
        subject = row["subject"]
        header = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
        for example in [e for e in examples if e["subject"] == subject][:shots]:
            header += f"{mmlu_question(example)} {'ABCD'[int(example['answer'])]}\n\n"
        options = row["choices"] if full_text else list("ABCD")
        pairs += [(header + mmlu_question(row), f" {option}") for option in options]
    return pairs


def tier(lm: Any, name: str, shots: int) -> Pairs:
    """The requests of a ready-made tier or group, in the order in which lm-eval asks them."""
    from junkdna_harness.harness.tasks import find_tasks
    from junkdna_harness.sweep import build_plan
    from junkdna_harness.sweep.suite import build_suite

    os.environ.setdefault("JUNKDNA_DATA", str(DATA))
    plan = build_plan(tasks=name, methods="magnitude", sparsity="0.5", num_fewshot=shots)
    manager, names = find_tasks(plan.settings.tasks, plan.settings.include_path, plan.metadata(0))
    return [
        request.args for request in build_suite(lm, manager, names, plan.settings).requests["loglikelihood"]
    ]


def scored(lm: Any, pairs: Pairs, prefix_cache: bool) -> tuple[float, list[tuple[float, bool]]]:
    """Seconds and answers."""
    from lm_eval.api.instance import Instance

    requests = [Instance("loglikelihood", {}, pair, 0, ("task", i, 1)) for i, pair in enumerate(pairs)]
    lm._prefix_cache = prefix_cache
    started = time.perf_counter()
    answers = lm.loglikelihood(requests, disable_tqdm=True)
    return time.perf_counter() - started, answers


def compared(lm: Any, pairs: Pairs, repeats: int) -> tuple[list[float], list[float], float, int]:
    """Seconds of `hf` and of shared scoring, the largest difference of a log-likelihood, and how many argmaxes differ."""
    hf, shared = [], []
    for _ in range(repeats):
        seconds, expected = scored(lm, pairs, False)
        hf.append(seconds)
        seconds, found = scored(lm, pairs, True)
        shared.append(seconds)
    worst = max(abs(a[0] - b[0]) for a, b in zip(found, expected, strict=True))
    return hf, shared, worst, sum(a[1] != b[1] for a, b in zip(found, expected, strict=True))


def arguments(description: str | None, repeats: int) -> argparse.ArgumentParser:
    """What every measurement of scoring is asked for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pretrained", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=repeats)
    return parser


def load(given: argparse.Namespace) -> Any:
    """The model that is named, in float32 on the CPU, with no word of its own."""
    logging.disable(logging.WARNING)
    from junkdna_harness.sweep.machine import Machine
    from junkdna_harness.sweep.session import load_model

    return load_model(
        {"pretrained": given.pretrained, "dtype": "float32"},
        Machine(device="cpu", batch_size=given.batch_size),
    )


def main() -> None:
    """Print one table."""
    parser = arguments(__doc__, repeats=1)
    parser.add_argument("--sets", nargs="+", default=[""], help="only sets whose names contain one of these")
    given = parser.parse_args()
    lm = load(given)
    few = max(1, given.rows // 4)
    sets: dict[str, Callable[[], Pairs]] = {
        "arc_easy, full-text options": lambda: arc(given.rows),
        "openbookqa, full-text options": lambda: openbookqa(given.rows),
        "mmlu, 0-shot, full-text options": lambda: mmlu(given.rows, 0, full_text=True),
        "mmlu, 0-shot, letters": lambda: mmlu(given.rows, 0),
        f"mmlu, 5-shot, letters, {few} rows of one subject": lambda: mmlu(few, 5),
        "tier: difficulty_tiers_mmlu_margin_t1, 5-shot": lambda: tier(
            lm, "difficulty_tiers_mmlu_margin_t1", 5
        ),
        "tiers: difficulty_tiers_mmlu_margin, 5-shot": lambda: tier(lm, "difficulty_tiers_mmlu_margin", 5),
    }
    print("## Shared-prefix scoring\n\n`python benchmarks/prefix_cache.py`\n")
    print(
        f"{given.pretrained}, fp32, batch size {given.batch_size}, {given.rows} rows a set, {given.repeats} repeats."
    )
    print(f"{platform.machine()}, {os.cpu_count()} cores.\n")
    print("| | hf, s | shared, s | ratio | largest difference of a log-likelihood | different argmax |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    scored(lm, openbookqa(4), True)  # the check of the cache, and warm caches
    for name, pairs in sets.items():
        if not any(part in name for part in given.sets):
            continue
        hf, shared, worst, flips = compared(lm, pairs(), given.repeats)
        ratios = [a / b for a, b in zip(hf, shared, strict=True)]
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
        print(
            f"| {name} | {median(hf):.1f} | {median(shared):.1f} | {median(hf) / median(shared):.2f}{spread} "
            f"| {worst:.1e} | {flips} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
