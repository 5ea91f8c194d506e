"""Logged samples of one task in an lm-eval output folder, row by row, each document once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from difficulty.tiers import quote

NAME = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.:-]+\.jsonl")


@dataclass(frozen=True)
class TaskLog:
    """Samples of a task: doc_hash -> row, of the first filter that was logged.

    folder: as the user named it. file, sha256: what was read. model: what was evaluated, as far as the results say.
    """

    folder: str
    task: str
    file: Path
    sha256: str
    model: str
    samples: Mapping[str, Mapping[str, Any]]


def logged_tasks(folder: str | Path) -> dict[str, Path]:
    """Task -> its samples file, the newest when a task was run more than once.

    Raises:
        UsageError: the folder is not there or has no samples.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"there is no folder {str(folder)!r}. Name the --output_path of an lm_eval run.")
    found: dict[str, Path] = {}
    for path in sorted(root.glob("**/samples_*.jsonl"), key=lambda path: path.name):
        match = NAME.fullmatch(path.name)
        if match:
            found[match["task"]] = path
    if not found:
        raise UsageError(
            f"the folder {str(folder)!r} has no samples_*.jsonl. Run lm_eval with --log_samples --output_path."
        )
    return found


def read_log(folder: str | Path, task: str) -> TaskLog:
    """The samples of a task.

    Raises:
        UsageError: the task was not logged, a document was logged twice, or a row is damaged.
    """
    files = logged_tasks(folder)
    if task not in files:
        raise UsageError(
            f"the folder {str(folder)!r} has no samples of {task!r}; it has {', '.join(sorted(files)[:8])}."
            f"{did_you_mean(task, files)}"
        )
    path = files[task]
    content = path.read_bytes()
    samples: dict[str, Mapping[str, Any]] = {}
    twice: list[str] = []
    first_filter = None
    for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            key, used = str(row["doc_hash"]), row["filter"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"line {number} of {str(path)!r} is no logged sample ({error}). Run lm_eval again."
            ) from error
        first_filter = first_filter or used
        if used != first_filter:
            continue
        if key in samples:
            twice.append(key)
        samples[key] = row
    if twice:
        raise UsageError(
            f"{len(twice)} documents were logged twice in {str(path)!r} ({quote(twice)}). Remove the copies from the data."
        )
    digest = hashlib.sha256(content).hexdigest()
    return TaskLog(str(folder), task, path, digest, _model_of(path), samples)


def _model_of(samples: Path) -> str:
    """The evaluated model, from the results file beside the samples; the folder's name when there is none."""
    for path in sorted(samples.parent.glob("results_*.json"), reverse=True):
        try:
            config = json.loads(path.read_text(encoding="utf-8")).get("config", {})
        except (OSError, ValueError):
            continue
        arguments = config.get("model_args")
        if isinstance(arguments, dict) and arguments.get("pretrained"):
            return str(arguments["pretrained"])
        if isinstance(arguments, str) and "pretrained=" in arguments:
            return arguments.split("pretrained=", 1)[1].split(",", 1)[0]
    return samples.parent.name


def log_metric(sample: Mapping[str, Any], wanted: str | None = None) -> str:
    """The metric to judge a log by: `wanted`, else acc, else exact_match, else the first.

    Raises:
        UsageError: the log has no such metric.
    """
    names = [str(name) for name in sample.get("metrics", [])]
    if wanted is not None:
        if wanted not in names:
            raise UsageError(f"the log has no metric {wanted!r}; it has {', '.join(names)}.{did_you_mean(wanted, names)}")
        return wanted
    for name in ("acc", "exact_match"):
        if name in names:
            return name
    if not names:
        raise UsageError("the log has no metrics (it was made with --predict_only). Run lm_eval again without it.")
    return names[0]


def metric_value(sample: Mapping[str, Any], metric: str) -> float:
    """The metric of one sample as a number.

    Raises:
        UsageError: the metric is kept as something else (a pair that only an aggregate makes sense of).
    """
    value = sample.get(metric)
    if isinstance(value, bool | int | float):
        return float(value)
    raise UsageError(
        f"the metric {metric!r} is not one number an item ({str(value)[:40]!r}). Choose another with --metric, e.g. acc."
    )


def margin(sample: Mapping[str, Any]) -> float:
    """How much the right answer is preferred: log-likelihood of the gold option less the best other; for one
    log-likelihood request, the log-likelihood itself, in nats.

    Raises:
        UsageError: no log-likelihoods were logged, or there is no right option among them.
    """
    values = [_log_likelihood(response) for response in sample.get("filtered_resps", [])]
    if not values or any(value is None for value in values):
        raise UsageError("dense_margin needs log-likelihoods, and this task generates text. Use dense_accuracy.")
    numbers = [value for value in values if value is not None]
    if len(numbers) == 1:
        return numbers[0]
    gold = _gold_index(sample, len(numbers))
    return numbers[gold] - max(number for index, number in enumerate(numbers) if index != gold)


def _log_likelihood(response: Any) -> float | None:
    while isinstance(response, list) and len(response) == 1:
        response = response[0]
    if isinstance(response, list) and len(response) == 2:
        try:
            return float(response[0])
        except (TypeError, ValueError):
            return None
    return None


def _gold_index(sample: Mapping[str, Any], n: int) -> int:
    """Which request is the right one."""
    target = sample.get("target")
    if isinstance(target, str) and target.lstrip("-").isdigit():
        target = int(target)
    if isinstance(target, int) and 0 <= target < n:
        return target
    if isinstance(target, str):
        arguments = sample.get("arguments", [])
        requests = list(arguments.values()) if isinstance(arguments, Mapping) else list(arguments)
        texts = [list(r.values())[1] if isinstance(r, Mapping) else r[1] for r in requests]
        matching = [index for index, text in enumerate(texts) if str(text).strip() == target.strip()]
        if len(matching) == 1:
            return matching[0]
    raise UsageError(
        f"the right option of document {str(sample.get('doc_hash'))[:12]!r} cannot be told from its log "
        f"(target {target!r}). Use dense_accuracy."
    )
