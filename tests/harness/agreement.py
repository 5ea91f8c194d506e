"""Does a sweep agree with lm-eval itself, in the version that is installed? Run as `python -m tests.harness.agreement FOLDER`.

Prints one JSON object: the version, and what differs (nothing, where all is well).
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

GROUP = "difficulty_tiers_facts_open"
TASKS = ("own_choice", "own_rolling", "own_repeats", GROUP, "own_tiers")


def main(folder: str) -> None:
    """Evaluate the same tasks both ways, and tiers built from one of them."""
    from importlib.metadata import version

    from junkdna_harness.tiers.build import plan_tiers, write_tiers
    from tests.harness.own_tasks import write_tasks

    tasks = write_tasks(Path(folder))
    plan = plan_tiers(
        "own_choice", "context_length", 2, include_path=str(tasks), min_items=1, name="own_tiers"
    )
    write_tiers(plan, tasks / "tiers")
    theirs, ours = evaluated(tasks), swept(tasks)
    print(
        json.dumps(
            {
                "version": version("lm-eval"),
                "differences": differences(theirs, ours),
                "tasks": sorted(ours[0]),
            }
        )
    )


def evaluated(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(results, samples) of lm-eval itself on our wrapper."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from junkdna_harness.autoload import install, tasks_dir

    install()
    manager = TaskManager(include_path=[tasks_dir(), str(folder)], include_defaults=False)
    found = lm_eval.simple_evaluate(
        "junkdna-pruned", "method=magnitude,sparsity=0.5", list(TASKS), limit=4, task_manager=manager, device="cpu",
        bootstrap_iters=0,
    )  # fmt: skip
    assert found is not None
    return {**found["results"], **found.get("groups", {})}, found["samples"]


def swept(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of a sweep, read from its export."""
    from junkdna_harness.sweep import build_plan, run_sweep
    from junkdna_harness.sweep.engines.local import LocalEngine
    from junkdna_harness.sweep.export import export

    plan = build_plan(
        tasks=",".join(TASKS), methods="magnitude", sparsity="0.5", limit=4, include_path=str(folder)
    )
    assert run_sweep(plan, folder / "sweep", engine=LocalEngine(workers=1)).exit_code == 0
    export(folder / "sweep", folder / "export")
    found = json.loads(next((folder / "export").rglob("*magnitude*/**/results_*.json")).read_text())
    samples: dict[str, list[Any]] = {}
    for path in (folder / "export").rglob("*magnitude*/**/samples_*.jsonl"):
        task = path.name.removeprefix("samples_").rsplit("_", 1)[0]
        samples[task] = [json.loads(line) for line in path.read_text().splitlines()]
    return {**found["results"], **found.get("groups", {})}, samples


def differences(theirs: tuple[dict[str, Any], ...], ours: tuple[dict[str, Any], ...]) -> list[str]:
    """What is not equal: rows, metrics, samples."""
    found = []
    if set(theirs[0]) != set(ours[0]):
        found.append(f"rows: {sorted(set(theirs[0]) ^ set(ours[0]))}")
    for name in set(theirs[0]) & set(ours[0]):
        for metric, value in theirs[0][name].items():
            if (
                isinstance(value, float)
                and "stderr" not in metric
                and not near(value, ours[0][name].get(metric))
            ):
                found.append(f"{name} {metric}: {value} and {ours[0][name].get(metric)}")
    if set(theirs[1]) != set(ours[1]):
        found.append(f"samples: {sorted(set(theirs[1]) ^ set(ours[1]))}")
    for name in set(theirs[1]) & set(ours[1]):
        rows = {(s["doc_id"], s["filter"]): s for s in ours[1][name]}
        for sample in theirs[1][name]:
            row = rows.get((sample["doc_id"], sample["filter"]), {})
            for key in ("doc_hash", "prompt_hash", "target_hash", "metrics", *sample["metrics"]):
                if not near(sample[key], row.get(key)):
                    found.append(f"{name} {sample['doc_id']} {key}: {sample[key]} and {row.get(key)}")
    return found


def near(a: Any, b: Any) -> bool:
    """Equal, numbers to rounding, at any depth."""
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(near, a, b))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4)
    return bool(a == b)


if __name__ == "__main__":
    main(sys.argv[1])
