"""One lm-eval result (results_*.json and its samples_*.jsonl) as tidy rows; lm_eval itself is not imported."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difficulty.errors import UsageError
from difficulty.runs.margins import gold_options, options_margin, sequence_margin
from difficulty.runs.table import COLUMNS, DENSE, MARGIN, OPTION_LOGLIK, some

Row = dict[str, Any]
_STAMP = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)$")


def find_results(folder: Path) -> list[Path]:
    """The results files below `folder`, sorted by path."""
    found = [p for p in folder.rglob("*.json") if _STAMP.search(p.stem) and not p.name.startswith("samples_")]
    return sorted(p for p in found if p.is_file())


def read_result(path: Path) -> tuple[pd.DataFrame, Row, Row, list[str]]:
    """Tidy rows, the facts of the run (a row of the runs table), its `junkdna` block, and warnings.

    Raises:
        UsageError: no results, no logged samples, or a file that is cut off (named, with its line).
    """
    results = _load_results(path)
    manifest = dict((results.get("config") or {}).get("junkdna") or {})
    identity = _identity(results, manifest)
    configs: Mapping[str, Any] = results.get("configs") or {}
    stamp = _STAMP.search(path.stem)
    warnings: list[str] = []
    rows: list[Row] = []
    missing = []
    for task in sorted(configs):
        samples = path.parent / f"samples_{task}_{stamp[1] if stamp else ''}.jsonl"
        if not samples.is_file():
            missing.append(task)
            continue
        rows.extend(_task_rows(task, configs[task], read_samples(samples), warnings))
    if missing:
        raise UsageError(
            f"{str(path)!r} has no samples for {some(missing)}. Run lm_eval with --log_samples, which logs every item."
        )
    if not rows:
        raise UsageError(
            f"{str(path)!r} holds no items. Run lm_eval with --log_samples, which logs every item."
        )
    table = pd.DataFrame(rows).assign(run=str(path), **identity)
    facts = {
        "run": str(path),
        **identity,
        "effective_bits": manifest.get("effective_bits"),
        "sparsity_all": manifest.get("sparsity_all"),
        "weights_sha256": manifest.get("weights_sha256"),
        "lm_eval_version": results.get("lm_eval_version"),
        "task_versions": json.dumps(results.get("versions") or {}, sort_keys=True),
        "manifest": json.dumps(manifest, sort_keys=True),
    }
    return table[[*COLUMNS, *(c for c in table if c not in COLUMNS)]], facts, manifest, warnings


def _load_results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(
            f"{str(path)!r} is not whole JSON ({error}). Evaluate again, or remove it."
        ) from error
    if not isinstance(results, dict) or "configs" not in results:
        raise UsageError(
            f"{str(path)!r} is not a results file of lm_eval. Name its results_*.json or their folder."
        )
    return results


def _identity(results: Mapping[str, Any], manifest: Mapping[str, Any]) -> Row:
    """What identifies the run. Without a `junkdna` block, whatever ran is taken for a dense model."""
    model = str(manifest.get("model") or results.get("model_name") or "model")
    if not manifest:
        return {"model": model, "method": DENSE, "level": 0.0, "bits": np.nan, "replicate": 0}
    method = str(manifest.get("method") or "none")
    pattern = str(manifest.get("pattern") or "")
    if ":" in pattern and pattern not in method:
        method = f"{method} {pattern}"
    level, bits = manifest.get("level"), manifest.get("bits")
    if level is None and manifest.get("kind") == "pruned":
        level = manifest.get("requested_sparsity", manifest.get("sparsity_targeted"))
    return {
        "model": model,
        "method": method,
        "level": np.nan if level is None else float(level),
        "bits": np.nan if bits is None else float(bits),
        "replicate": int(manifest.get("replicate") or 0),
    }


def read_samples(path: Path) -> list[Row]:
    """The logged samples of one task.

    Raises:
        UsageError: a line is not whole JSON, or lacks what lm_eval logs; the line is named.
    """
    samples = []
    with path.open(encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                sample = json.loads(line)
                if not isinstance(sample, dict) or "doc_hash" not in sample or "metrics" not in sample:
                    raise ValueError("no doc_hash or metrics in it")
            except ValueError as error:
                raise UsageError(
                    f"{str(path)!r}, line {number}, is not a whole sample of lm_eval ({error}). Evaluate this task again."
                ) from error
            samples.append(sample)
    return samples


def _task_rows(
    task: str, config: Mapping[str, Any], samples: list[Row], warnings: list[str]
) -> Iterator[Row]:
    metadata: Mapping[str, Any] = config.get("metadata") or {}
    output_type = str(config.get("output_type") or "")
    filters = list(dict.fromkeys(str(s.get("filter", "none")) for s in samples))
    ids = _item_ids(task, samples)
    gold = _gold(task, output_type, samples, warnings)
    for index, sample in enumerate(samples):
        chosen = str(sample.get("filter", "none"))
        common, options = _common(task, metadata, output_type, sample, ids[index])
        for metric in sample["metrics"]:
            value = _scalar(sample.get(metric))
            if value is not None:
                name = metric if len(filters) == 1 else f"{metric},{chosen}"
                yield {**common, "metric": name, "value": value}
        if chosen != filters[0]:
            continue  # log-likelihoods do not depend on the filter: one margin an item
        margin = None
        if options is not None and gold[index] is not None:
            margin = options_margin(options, gold[index])
        elif output_type == "loglikelihood" and (scores := _loglikelihoods(sample)):
            margin = sequence_margin(scores[0], common["n_symbols"])
        if margin is not None:
            yield {**common, "metric": MARGIN, "value": margin, OPTION_LOGLIK: options}


def _common(
    task: str, metadata: Mapping[str, Any], output_type: str, sample: Row, item: tuple[str, str]
) -> tuple[Row, list[float] | None]:
    """The cells that an item's rows share, and the log-likelihoods of its options where it has any."""
    doc = sample.get("doc") if isinstance(sample.get("doc"), dict) else {}
    assert isinstance(doc, dict)
    options = _loglikelihoods(sample) if output_type == "multiple_choice" else None
    if options is not None and "acc_mutual_info" in sample["metrics"]:
        options = options[: len(options) // 2]  # the second half is scored without the context
    chance = metadata.get("chance")
    if chance is None:
        chance = 1 / len(options) if options else 0.0
    cluster = doc.get(str(metadata.get("cluster_field"))) if metadata.get("cluster_field") else None
    return {
        "task": task,
        "family": str(metadata.get("family") or task),
        "axis": str(metadata.get("axis") or ""),
        "tier": int(metadata.get("tier") or 1),
        "item_id": item[0],
        "cluster_id": item[1] if cluster is None else str(cluster),
        "n_symbols": _n_symbols(metadata, doc, sample) if output_type == "loglikelihood" else 1,
        "chance": float(chance),
        "doc_id": int(sample["doc_id"]) if str(sample.get("doc_id", "")).isdigit() else -1,
        "prompt_hash": str(sample.get("prompt_hash", "")),
    }, options


def _item_ids(task: str, samples: Sequence[Row]) -> list[tuple[str, str]]:
    """(item id, cluster) of each sample. A document that the data set holds twice gives two items of one cluster."""
    seen: dict[tuple[str, str], dict[object, int]] = {}
    ids = []
    for sample in samples:
        copies = seen.setdefault((str(sample.get("filter", "none")), sample["doc_hash"]), {})
        doc_id = sample.get("doc_id")
        if doc_id in copies:
            raise UsageError(
                f"task {task!r} logged document {doc_id} ({sample['doc_hash'][:12]}) twice. "
                "Two evaluations share one samples file: keep one of them."
            )
        copies[doc_id] = len(copies)
        number = copies[doc_id]
        ids.append(
            (f"{sample['doc_hash']}#{number + 1}" if number else sample["doc_hash"], sample["doc_hash"])
        )
    return ids


def _gold(task: str, output_type: str, samples: Sequence[Row], warnings: list[str]) -> list[Any]:
    if output_type != "multiple_choice":
        return [None] * len(samples)
    gold, problem = gold_options(
        [str(s.get("target", "")) for s in samples],
        [_option_texts(s) for s in samples],
        [_loglikelihoods(s) or [] for s in samples],
        [_scalar(s.get("acc")) for s in samples],
    )
    if problem:
        warnings.append(f"task {task!r}: {problem} Its latent scale comes from accuracies instead.")
    return gold


def _loglikelihoods(sample: Row) -> list[float] | None:
    """One log-likelihood a request; lm-eval logs them as text."""
    values = []
    for response in sample.get("filtered_resps") or []:
        first = response[0] if isinstance(response, (list, tuple)) and response else response
        try:
            values.append(float(first))
        except (TypeError, ValueError):
            return None
    return values or None


def _option_texts(sample: Row) -> list[str]:
    arguments = sample.get("arguments") or {}
    listed = arguments.values() if isinstance(arguments, dict) else arguments
    return [str(a.get("arg_1", "") if isinstance(a, dict) else a[-1]).strip() for a in listed]


def _n_symbols(metadata: Mapping[str, Any], doc: Mapping[str, Any], sample: Row) -> int:
    """Answer length in symbols: what the document or task says, else the characters of the answer."""
    given = doc.get("answer_symbols", metadata.get("answer_symbols"))
    if isinstance(given, (int, float)) and given >= 1:
        return int(given)
    texts = _option_texts(sample)
    return max(1, len(texts[0])) if texts else 1


def _scalar(value: object) -> float | None:
    """A metric's value for one item as a number; None for metrics that are made of parts (word perplexity, F1 of a set)."""
    if isinstance(value, str):
        if value in ("True", "False"):
            return float(value == "True")
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, (bool, int, float)) and not math.isinf(value):
        return float(value)
    return None
