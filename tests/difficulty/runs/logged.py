"""Folders as lm-eval writes them, made from plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STAMP = "2026-03-04T05-06-07.000008"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def generated(i: int, prompt: str = "", filter: str = "none", **metrics: Any) -> dict[str, Any]:
    """One item of a generate_until (or rolling) task."""
    prompt = prompt or f"prompt {i}"
    return {
        "doc_id": i, "doc": {"n": i}, "target": "0", "filter": filter, "metrics": list(metrics), **metrics,
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}}, "resps": [["x"]], "filtered_resps": ["x"],
        "doc_hash": digest(str(i)), "prompt_hash": digest(prompt), "target_hash": digest("0"),
    }  # fmt: skip


def chosen(
    i: int, scores: Sequence[float], target: Any, options: Sequence[str] = (), **metrics: Any
) -> dict[str, Any]:
    """One item of a multiple_choice task; acc is filled in where no metric is given and the target is an index."""
    if not metrics:
        metrics = {"acc": float(max(range(len(scores)), key=scores.__getitem__) == target)}
    row = generated(i, **metrics)
    texts = options or [f"option{k}" for k in range(len(scores))]
    row["arguments"] = {
        f"gen_args_{k}": {"arg_0": f"q{i}", "arg_1": f" {text}"} for k, text in enumerate(texts)
    }
    row["filtered_resps"] = [[str(x), "False"] for x in scores]
    row["target"] = target if isinstance(target, str) else str(target)
    return row


def write_log(
    folder: Path, tasks: Mapping[str, Sequence[Mapping[str, Any]]], output_type: str = "generate_until", *,
    model: str = "m", model_args: Any = None, higher: Mapping[str, bool] | None = None, shots: int = 0,
    config: Mapping[str, Any] | None = None, block: Mapping[str, Any] | None = None, stamp: str = STAMP, **top: Any,
) -> Path:  # fmt: skip
    """`folder`, with one run of `tasks` (name -> samples) in it. `top` goes into the results as it is."""
    home = folder / model.replace("/", "__")
    home.mkdir(parents=True, exist_ok=True)
    sizes = {t: len({(s["doc_id"], s["doc_hash"]) for s in samples}) for t, samples in tasks.items()}
    results = {
        "results": {t: {"alias": t} for t in tasks},
        "configs": {t: {"task": t, "output_type": output_type, **(config or {})} for t in tasks},
        "versions": dict.fromkeys(tasks, 1.0), "n-shot": dict.fromkeys(tasks, shots),
        "n-samples": {t: {"original": n, "effective": n} for t, n in sizes.items()},
        "higher_is_better": {t: dict(higher or {}) for t in tasks},
        "config": {"model": "hf", "model_args": model_args or {"pretrained": model}, **({"junkdna": dict(block)} if block else {})},
        "model_name": model, "lm_eval_version": "0.4.13", **top,
    }  # fmt: skip
    (home / f"results_{stamp}.json").write_text(json.dumps(results))
    for task, samples in tasks.items():
        lines = "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples)
        (home / f"samples_{task}_{stamp}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def samples_of(folder: Path, task: str, model: str = "m") -> Path:
    """The samples file of a task."""
    return folder / model / f"samples_{task}_{STAMP}.jsonl"


def results_of(folder: Path, model: str = "m") -> Path:
    """The results file."""
    return folder / model / f"results_{STAMP}.json"
