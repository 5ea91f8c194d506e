"""Inputs of the size that large studies have, drawn from `difficulty.simulate`, so that the verdicts on them mean something.

Two models in 100 runs each: dense, three sparsifiers at nine levels and a quantizer at six widths, three replicates of all but dense.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difficulty.runs import store
from difficulty.runs.table import DENSE, MARGIN, write_table
from difficulty.simulate import draw
from difficulty.simulate.world import Arm, World
from junkdna_harness.sweep.evaluated import parquet_bytes

MODELS = ("scale-a", "scale-b")
LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))
BITS = (8.0, 6.0, 5.0, 4.0, 3.0, 2.0)
REPLICATES, ITEMS = 3, 250  # items of each of 4 tiers of 5 families: 5,000
LOG_RUNS, LOG_ITEMS = 20, 500  # 10,000 samples each
WRITTEN = "f04"  # the family whose answers are texts; the others choose among options
STAMP = "2026-03-04T05-06-07.000008"
_WORDS = [
    "amber",
    "basin",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "island",
    "jungle",
    "kettle",
    "lantern",
    "meadow",
    "nectar",
    "orchard",
    "pebble",
    "quarry",
    "river",
    "saddle",
    "timber",
    "umbrella",
    "valley",
    "willow",
    "yonder",
    "zephyr",
]


def world(model: str, items: int = ITEMS, replicates: int = REPLICATES, margins: bool = True) -> World:
    """A model whose hard tiers lose more, by each method to another degree."""
    rise = tuple(3.0 * level**2 for level in LEVELS)
    arms = tuple(
        Arm(method, LEVELS, tuple(factor * loss for loss in rise), share, replicates=replicates)
        for method, factor, share in (("magnitude", 1.0, 0.2), ("wanda", 0.8, 0.2), ("random", 1.3, 0.0))
    )
    widths = Arm("rtn", bits=BITS, losses=tuple(6.0 / bits**2 for bits in BITS), replicates=replicates)
    return World((*arms, widths), families=5, items=items, margins=margins, model=model)


def tidy(made: World, seed: int) -> pd.DataFrame:
    """The world as a tidy table whose items have the ids that lm-eval gives: hashes, 64 characters long."""
    rows = draw.tidy(made, seed)
    hashes = {item: digest(item) for item in rows["item_id"].unique()}
    return rows.assign(item_id=rows["item_id"].map(hashes), cluster_id=rows["item_id"].map(hashes))


def table(path: Path, items: int = ITEMS) -> None:
    """A tidy table: a row for each of 5,000 items in each of 200 runs."""
    parts = [tidy(world(model, items, margins=False), seed) for seed, model in enumerate(MODELS)]
    write_table(pd.concat(parts, ignore_index=True), path)


def sweep(folder: Path, items: int = ITEMS) -> None:
    """A sweep's folder with 200 runs, margins, log-likelihoods, prompts and what every run answered."""
    plan: dict[str, Any] = {
        "schema": 1,
        "models": [{"pretrained": m} for m in MODELS],
        "cells": [],
        "runs": {},
    }
    for number, model in enumerate(MODELS):
        rows = tidy(world(model, items), number)
        rows = rows[(rows["family"] != WRITTEN) | (rows["metric"] != MARGIN)]
        ids = sorted(set(zip(rows["task"], rows["item_id"], strict=True)))
        documents = {key: k for k, key in enumerate(ids)}
        _shared(folder, number, documents)
        for run, own in rows.groupby("run", sort=False):
            stem = str(run).removeprefix(f"{model} ").replace(" ", "_").replace("#", "r")
            stem = f"{stem}_{number}" if number else stem
            first = own.iloc[0]
            planned = {
                "model": number, "kind": "dense" if first["method"] == DENSE else "prune", "method": first["method"],
                "level": _none(first["level"]), "bits": _none(first["bits"]), "pattern": None,
                "replicate": int(first["replicate"]), "arguments": {"method": first["method"], "seed": int(first["replicate"])},
            }  # fmt: skip
            plan["cells"].append(planned)
            plan["runs"][stem] = run
            _run(folder, stem, own, documents, number, planned)
    _write(folder / store.PLAN, json.dumps(plan, indent=1))


def _shared(folder: Path, number: int, documents: dict[tuple[str, str], int]) -> None:
    """The items of a model, its tasks, and what all its runs were made with."""
    rows = []
    for (task, item), k in documents.items():
        prompt, options = prompt_of(k), options_of(k)
        arguments = (
            [[prompt, {"until": ["\n"]}]] if task.startswith(WRITTEN) else [[prompt, o] for o in options]
        )
        rows.append(
            {
                "task": task, "item_id": item, "doc_id": k, "prompt": prompt, "answers": options, "target": "0",
                "doc": json.dumps({"prompt": prompt, "choices": options}), "arguments": json.dumps(arguments), "doc_hash": item,
            }
        )  # fmt: skip
    tasks = sorted({task for task, _ in documents})
    facts = {"n-shot": dict.fromkeys(tasks, 0), "versions": dict.fromkeys(tasks, 1.0)}
    end = store.suffix(number)
    _write(folder / f"items{end}.parquet", parquet_bytes(pd.DataFrame(rows)))
    _write(folder / f"tasks{end}.json", json.dumps(facts, indent=1))
    files = {name: store.file_sha256(folder / name) for name in (f"items{end}.parquet", f"tasks{end}.json")}
    taken = {"schema": 1, "dtype": "float32", "items": dict.fromkeys(tasks, digest("items"))}
    record = {"fingerprint": taken, "files": files}
    _write(folder / f"identity{end}.json", json.dumps(record, indent=1))


def _run(
    folder: Path, stem: str, own: pd.DataFrame, documents: dict[tuple[str, str], int], number: int, planned: dict[str, Any]
) -> None:  # fmt: skip
    """One run: its samples, its responses, and its manifest, which is written last."""
    doc_ids = np.array([documents[key] for key in zip(own["task"], own["item_id"], strict=True)])
    logliks = [
        [m - 5.0, -5.0] if k == MARGIN else None for k, m in zip(own["metric"], own["value"], strict=True)
    ]
    samples = own.assign(
        doc_id=doc_ids, prompt_hash=[digest(prompt_of(k))[:16] for k in doc_ids], higher_is_better=True, option_loglik=logliks
    )  # fmt: skip
    right = own[own["metric"] == "acc"].set_index("item_id")["value"]
    margins = own[own["metric"] == MARGIN].set_index("item_id")["value"]
    rows = []
    for (task, item), k in documents.items():
        good = bool(right[item])
        answer: Any = (
            [[round(margins[item] - 5, 6), good], [-5.0, not good]] if item in margins.index else None
        )
        answer = answer or [text_of(k) if good else text_of(k, stem)]
        told = json.dumps(answer)
        rows.append(
            {"task": task, "doc_id": k, "filter": "none", "resps": told, "filtered_resps": told, "metrics": f'{{"acc": {right[item]}}}'}
        )  # fmt: skip
    content = {store.SAMPLES: parquet_bytes(samples), store.RESPONSES: parquet_bytes(pd.DataFrame(rows))}
    for kind, data in content.items():
        _write(store.table_path(folder, kind, stem), data)
    manifest = {
        "schema": 1, "run": str(own["run"].iloc[0]), "model": MODELS[number],
        **{name: planned[name] for name in ("method", "level", "bits", "replicate")},
        "effective_bits": planned["bits"] or 16 * (1 - planned["level"]) + (1 if planned["level"] else 0),
        "sparsity_all": planned["level"] or 0.0, "weights_sha256": digest(stem), "lm_eval_version": "0.4.13",
        "task_versions": dict.fromkeys(sorted(own["task"].unique()), 1.0),
        "manifest": {"method": planned["method"], "seed": planned["replicate"], "sparsity_all": planned["level"], "weights_all": 10**9},
        "made_of": {"record": f"identity{store.suffix(number)}.json", "arguments": planned["arguments"]},
        "files": {kind: hashlib.sha256(data).hexdigest() for kind, data in content.items()},
    }  # fmt: skip
    _write(store.manifest_path(folder, stem), json.dumps(manifest, indent=1))


def logs(folder: Path, items: int = LOG_ITEMS) -> None:
    """lm-eval's folders of 20 runs on 10,000 items each, written answers, as `lm_eval --log_samples` leaves them."""
    made = world("logged", items, replicates=1)
    arms = [replace(arm, levels=arm.levels[:6], losses=arm.losses[:6]) for arm in made.arms[:3]]
    rows = tidy(replace(made, arms=(*arms, replace(made.arms[3], bits=(4.0,), losses=(0.4,)))), 0)
    rows = rows[rows["metric"] == "acc"]
    for run, own in list(rows.groupby("run", sort=False))[:LOG_RUNS]:
        first = own.iloc[0]
        block = {
            "kind": "dense" if first["method"] == DENSE else "quantized" if first["bits"] == first["bits"] else "pruned",
            "method": first["method"], "model": "logged", "seed": 0, "level": _none(first["level"]), "bits": _none(first["bits"]),
            "sparsity_targeted": _none(first["level"]), "sparsity_all": _none(first["level"]),
        }  # fmt: skip
        _log(folder / str(run).replace(" ", "_"), own, {k: v for k, v in block.items() if v is not None})


def _log(folder: Path, own: pd.DataFrame, block: dict[str, Any]) -> None:
    tasks = {str(task): part for task, part in own.groupby("task", sort=True)}
    metadata = {
        task: {"version": 1.0, "family": part["family"].iloc[0], "tier": int(part["tier"].iloc[0])} for task, part in tasks.items()
    }  # fmt: skip
    results = {
        "results": {task: {"alias": task} for task in tasks},
        "configs": {t: {"task": t, "output_type": "generate_until", "metadata": metadata[t]} for t in tasks},
        "versions": dict.fromkeys(tasks, 1.0), "n-shot": dict.fromkeys(tasks, 0),
        "n-samples": {t: {"original": len(part), "effective": len(part)} for t, part in tasks.items()},
        "higher_is_better": {t: {"exact_match": True} for t in tasks},
        "config": {"model": "junkdna-pruned", "model_args": {"pretrained": "logged"}, "junkdna": block},
        "model_name": "logged", "lm_eval_version": "0.4.13",
    }  # fmt: skip
    _write(folder / "logged" / f"results_{STAMP}.json", json.dumps(results))
    for task, part in tasks.items():
        lines = []
        for doc_id, (item, value) in enumerate(zip(part["item_id"], part["value"], strict=True)):
            k = doc_id + 1000 * int(task[1:3]) + 100_000 * int(task[-2:])
            prompt, answer = prompt_of(k), text_of(k) if value else text_of(k, folder.name)
            lines.append(
                json.dumps(
                    {
                        "doc_id": doc_id, "doc": {"question": prompt}, "target": text_of(k),
                        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {"until": ["\n"]}}}, "resps": [[answer]],
                        "filtered_resps": [answer], "filter": "none", "metrics": ["exact_match"], "exact_match": value,
                        "doc_hash": item, "prompt_hash": digest(prompt), "target_hash": digest(text_of(k)),
                    }
                )
            )  # fmt: skip
        _write(folder / "logged" / f"samples_{task}_{STAMP}.jsonl", "\n".join(lines) + "\n")


def prompt_of(k: int) -> str:
    """The prompt of a document: 60 words and its number."""
    words = [_WORDS[(k * 7 + j * (k % 11 + 1)) % len(_WORDS)] for j in range(60)]
    return " ".join(words) + f".\nQuestion {k}: which of these comes first?\nAnswer:"


def options_of(k: int) -> list[str]:
    """The right option and a wrong one."""
    return [f" the {_WORDS[k % len(_WORDS)]}", f" the {_WORDS[(k + 1) % len(_WORDS)]}"]


def text_of(k: int, by: str = "") -> str:
    """A written answer: the wanted one, or a wrong one of a run."""
    words = [_WORDS[(k * 3 + j * (len(by) + 1)) % len(_WORDS)] for j in range(24)]
    return f"{'No' if by else 'Yes'}, {by} {' '.join(words)} ({k})"


def digest(text: str) -> str:
    """sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _none(value: Any) -> float | None:
    return float(value) if value == value else None


def _write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
