"""Difficulty from logged runs: how well the dense model did on each document, over one or more runs.

A tier that is made from the very answers it will judge falls under regression to the mean: its hard items are in
part those that the model got wrong by bad luck, and any other run, compressed or not, does better on them. So with
two or more runs one half makes the tiers and the other half is named as the one to judge with (cross-fitting).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from difficulty.cut.tiers import quote
from difficulty.errors import UsageError
from difficulty.runs.table import MARGIN
from junkdna_harness.tiers.runlog import RunLog, read_log, samples_sha256

DENSE_RULES = ("dense_accuracy", "dense_margin")


@dataclass(frozen=True)
class RunScores:
    """Scores of the documents, doc_hash -> mean over the runs that make the tiers.

    kept_back: the same from the runs that do not (empty without cross-fitting). made_by, judge_with: those runs.
    held_out: tier -> (mean that made it, mean of the runs kept back), filled in when the tiers are known.
    warning: what the user must know about these scores, or an empty string.
    """

    scores: Mapping[str, float]
    kept_back: Mapping[str, float]
    made_by: tuple[RunLog, ...]
    judge_with: tuple[RunLog, ...]
    task: str
    metric: str
    warning: str
    held_out: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def source(self) -> dict[str, Any]:
        """What is written into the assignment about where the scores come from."""
        describe = [
            {
                "folder": log.folder,
                "model": log.model,
                "samples_sha256": samples_sha256(log.folder, self.task),
            }
            for log in self.made_by
        ]
        return {
            "metric": self.metric,
            "made_by": describe,
            "judge_with": [{"folder": log.folder, "model": log.model} for log in self.judge_with],
        }


def dense_scores(
    folders: Sequence[str | Path],
    task: str,
    rule: str,
    *,
    hashes: Sequence[str],
    cross_fit: bool | None = None,
    metric: str | None = None,
    seed: int = 0,
) -> RunScores:
    """Scores of the documents `hashes` from the logged runs of `task` in `folders`.

    Args:
        rule: dense_accuracy (mean of `metric`) or dense_margin (mean log-likelihood margin, nats).
        cross_fit: one half of the runs makes the scores and the other is kept back. None: when there are two or more.

    Raises:
        UsageError: a run lacks documents or has others, or cross-fitting was asked of a single run.
    """
    names = [str(folder) for folder in folders]
    if len(set(names)) < len(names):
        raise UsageError(f"--scores names {quote(names)}, one of them twice. Name each run once.")
    if cross_fit and len(names) < 2:
        raise UsageError(
            "--cross-fit needs two or more --scores folders (other seeds, prompts or numbers of shots): one half makes "
            "the tiers, the other judges."
        )
    logs = [read_log(folder) for folder in folders]
    if rule == "dense_margin":
        metric = MARGIN
    elif metric is None:
        metric = logs[0].default_metric(task)
    for log in logs:
        _same_documents(log, task, metric, hashes)
    split = len(logs) > 1 if cross_fit is None else cross_fit
    order = list(range(len(logs)))
    random.Random(seed).shuffle(order)
    makers = sorted(order[: (len(logs) + 1) // 2]) if split else order
    made_by = [logs[i] for i in sorted(makers)]
    judges = [logs[i] for i in range(len(logs)) if i not in makers]
    return RunScores(
        scores=_means(made_by, task, metric, hashes),
        kept_back=_means(judges, task, metric, hashes) if judges else {},
        made_by=tuple(made_by),
        judge_with=tuple(judges),
        task=task,
        metric=metric,
        warning="" if split else _regression_warning(made_by),
    )


def _same_documents(log: RunLog, task: str, metric: str, hashes: Sequence[str]) -> None:
    scored = _by_document(log, task, metric)
    wanted = set(hashes)
    strange = [key for key in scored if key not in wanted]
    missing = [key for key in hashes if key not in scored]
    if strange:
        raise UsageError(
            f"{len(strange)} of {len(scored)} documents in {log.folder!r} are not in the task ({quote(strange)}): "
            "the scores are of other documents. Log the run again with the same data and task version."
        )
    if missing:
        raise UsageError(
            f"{log.folder!r} has no score for {len(missing)} of {len(hashes)} documents ({quote(missing)}). "
            "Log the run without --limit."
        )


def _means(logs: Sequence[RunLog], task: str, metric: str, hashes: Sequence[str]) -> dict[str, float]:
    tables = [_by_document(log, task, metric) for log in logs]
    return {key: sum(table[key] for table in tables) / len(tables) for key in hashes}


def _by_document(log: RunLog, task: str, metric: str) -> dict[str, float]:
    """doc_hash -> score; the copies of a document ("hash#2") count as one."""
    return {item.partition("#")[0]: value for item, value in log.scores(task, metric).items()}


def _regression_warning(logs: Sequence[RunLog]) -> str:
    models = sorted({log.model for log in logs})
    return (
        f"these tiers are made from the answers of {', '.join(models)}. If you judge that very model, or a compressed "
        "copy, with them, expect regression to the mean: part of the hard tier is bad luck, which the next run does not "
        "repeat, and a tier at the floor cannot fall. Use the scores of another model, or two runs (other seeds, "
        "prompts or numbers of shots), of which one half then makes the tiers and the other judges."
    )
