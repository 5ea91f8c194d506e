"""A sweep's folder in lm-eval's own layout: results_*.json and samples_*.jsonl, written by lm-eval's own tracker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.harness.written_log import write_log
from junkdna_harness.output_folder import output_folder
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.store import Store


def export(folder: Path, out: Path) -> list[Path]:
    """The folders written, one per finished run: OUT/<run>/<model>/results_<time>.json and samples_<task>_<time>.jsonl.

    Raises:
        UsageError: no sweep there, nothing finished, OUT is not empty, or a name that lm-eval can name no file after.
        StorageError: the disk is full or fails. OUT appears whole or not at all.
    """
    store = Store(folder)
    plan = store.plan()
    if plan is None:
        raise UsageError(f"{str(folder)!r} holds no sweep. Name the folder given to sweep --output.")
    cells = store.finished(plan)
    if not cells:
        raise UsageError(f"the sweep in {str(folder)!r} has no finished run yet.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{str(out)!r} exists and is not empty. Name a new folder.")
    for model in sorted({cell.model for cell in cells}):
        if problem := store.suite_problem(model):
            raise UsageError(
                f"the sweep in {str(folder)!r} is damaged: {problem}. Start the same sweep again: it writes it again."
            )
    manifests = {manifest.get("planned", manifest["run"]): manifest for manifest in store.manifests()}
    with output_folder(out) as home:
        for cell in cells:
            results = results_of(store, plan, cell, manifests[plan.run_id(cell)])
            target = home / plan.file_name(cell)
            write_log(target, "junkdna-sweep", plan.model_name(cell), results, _samples(store, plan, cell))
    return [out / plan.file_name(cell) for cell in cells]


def results_of(store: Store, plan: Plan, cell: PlannedRun, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A run's results as lm-eval's `simple_evaluate` gives them, without samples."""
    results = {name: value for name, value in manifest["results"].items() if value}
    settings = plan.settings
    config = {
        "model": "junkdna-sweep",
        "model_args": {**plan.models[cell.model], **cell.arguments},
        "batch_size": manifest["batch_size"],
        "device": manifest["device"],
        "limit": settings.limit,
        "random_seed": settings.seed[0],
        "numpy_seed": settings.seed[1],
        "torch_seed": settings.seed[2],
        "fewshot_seed": settings.seed[3],
        "junkdna": manifest["manifest"],
    }
    return {
        **results,
        **store.task_facts(cell.model),
        "config": config,
        "lm_eval_version": manifest["lm_eval_version"],
    }


def _samples(store: Store, plan: Plan, cell: PlannedRun) -> dict[str, list[dict[str, Any]]]:
    items = store.items(cell.model).set_index(["task", "doc_id"])
    documents = dict(zip(items.index, items.to_dict("records"), strict=True))
    samples: dict[str, list[dict[str, Any]]] = {}
    for row in store.responses(plan, cell).to_dict("records"):
        item = documents[row["task"], row["doc_id"]]
        metrics = json.loads(row["metrics"])
        samples.setdefault(row["task"], []).append(
            {
                "doc_id": row["doc_id"],
                "doc": json.loads(item["doc"]),
                "target": item["target"],
                "arguments": json.loads(item["arguments"]),
                "resps": json.loads(row["resps"]),
                "filtered_resps": json.loads(row["filtered_resps"]),
                "filter": row["filter"],
                "metrics": list(metrics),
                "doc_hash": item["doc_hash"],
                "prompt_hash": item["prompt_hash"],
                "target_hash": item["target_hash"],
                **metrics,
            }
        )
    return samples
