"""Difficulty from logged runs: how well the dense model did on each document, over one or more runs.

A tier that is made from the very answers it will judge falls under regression to the mean: its hard items are in
part those that the model got wrong by bad luck, and any other run, compressed or not, does better on them. So with
two or more runs one half makes the tiers and the other half is named as the one to judge with (cross-fitting).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from difficulty.cut.tiers import Harder, quote
from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.identity import Method, Run
from difficulty.runs.metrics import are_log_likelihoods, choose_one, higher_is_better, scale_of
from difficulty.runs.provenance import Maker
from difficulty.runs.read import Runs, read_runs
from difficulty.runs.table import MARGIN, some

DENSE_RULES = ("dense_accuracy", "dense_margin")
TOLD_APART = 4  # items of a tier whose prompts tell the run that made it from one that was kept back


@dataclass(frozen=True)
class LoggedRun:
    """The one run in a folder. folder: as the user named it. model: what was evaluated."""

    folder: str
    run: str
    model: str
    read: Runs = field(repr=False)

    def metrics(self, task: str) -> list[str]:
        """The metrics of a task, margins last, in the order logged.

        Raises:
            UsageError: the task was not logged.
        """
        rows = self.read.table
        tasks = list(dict.fromkeys(rows["task"]))
        if task not in tasks:
            raise UsageError(
                f"{self.folder!r} has no samples of {task!r}; it has {some(tasks)}.{did_you_mean(task, tasks)}"
            )
        names = list(dict.fromkeys(rows.loc[rows["task"] == task, "metric"]))
        return sorted(names, key=lambda name: name == MARGIN)

    def scores(self, task: str, metric: str) -> dict[str, float]:
        """Item id -> value of the metric.

        Raises:
            UsageError: the task or the metric was not logged.
        """
        names = self.metrics(task)
        if metric not in names:
            hint = (
                " Margins need log-likelihoods; use dense_accuracy for generated text."
                if metric == MARGIN
                else ""
            )
            raise UsageError(
                f"{self.folder!r} has no metric {metric!r} for {task!r}; it has {', '.join(names)}."
                f"{hint or did_you_mean(metric, names)}"
            )
        rows = self.rows(task, metric)
        return dict(zip(rows["item_id"], rows["value"].astype(float), strict=True))

    @property
    def state(self) -> Run:
        """Which run it is."""
        row = self.read.runs.iloc[0]
        method = Method.parse(str(row["method"]))
        return Run(str(row["model"]), method, row["level"], row["bits"], int(row["replicate"]))

    @property
    def weights_sha256(self) -> str | None:
        """The hash of its weights, where it was logged."""
        found = self.read.runs["weights_sha256"].iloc[0]
        return found if isinstance(found, str) else None

    def same_state(self, other: LoggedRun) -> bool:
        """True where both are evaluations of one state of one model."""
        shared = self.weights_sha256 is not None and self.weights_sha256 == other.weights_sha256
        return shared or self.state == other.state

    def prompts(self, task: str, metric: str) -> dict[str, str]:
        """Item id -> hash of what was asked; empty where it was not logged."""
        rows = self.rows(task, metric)
        asked = (
            zip(rows["item_id"], rows["prompt_hash"].astype(str), strict=True)
            if "prompt_hash" in rows
            else ()
        )
        return {item: text for item, text in asked if text}

    def rows(self, task: str, metric: str) -> pd.DataFrame:
        """The tidy rows of one metric of a task."""
        rows = self.read.table
        return rows[(rows["task"] == task) & (rows["metric"] == metric)]

    def samples_sha256(self, task: str) -> str:
        """A sha256 of the files that hold the samples of a task, for the record."""
        digest = hashlib.sha256()
        facts = self.read.tasks.get((self.run, task))
        for path in facts.files if facts else ():
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()


def read_log(folder: str | Path) -> LoggedRun:
    """The one run in a folder.

    Raises:
        UsageError: there is none, it has no samples, or there are several runs.
    """
    read = read_runs(folder)
    if len(read.names) != 1:
        raise UsageError(
            f"{str(folder)!r} holds {len(read.names)} runs ({some(read.names)}). Name the folder of one run."
        )
    return LoggedRun(str(folder), read.names[0], str(read.runs["model"].iloc[0]), read)


@dataclass(frozen=True)
class RunScores:
    """Scores of the documents, doc_hash -> mean over the runs that make the tiers.

    kept_back: the same from the runs that do not (empty without cross-fitting). made_by, judge_with: those runs.
    held_out: tier -> (mean that made it, mean of the runs kept back), filled in when the tiers are known.
    warning: what the user must know about these scores, or an empty string. harder: which end of the scores is the harder
    one, None where nobody says which way the metric is better. notes: what was found while reading.
    """

    scores: Mapping[str, float]
    kept_back: Mapping[str, float]
    made_by: tuple[LoggedRun, ...]
    judge_with: tuple[LoggedRun, ...]
    task: str
    metric: str
    warning: str
    harder: Harder | None = "low"
    notes: tuple[str, ...] = ()
    held_out: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def source(self) -> dict[str, Any]:
        """What is written into the assignment about where the scores come from."""
        describe = [
            {
                "folder": log.folder,
                **maker.to_dict(),
                "samples_sha256": log.samples_sha256(self.task),
            }
            for log, maker in zip(self.made_by, self.makers(), strict=True)
        ]
        return {
            "metric": self.metric,
            "cross_fitted": bool(self.judge_with),
            "made_by": describe,
            "judge_with": [
                {"folder": log.folder, **Maker(log.state, log.weights_sha256).to_dict()}
                for log in self.judge_with
            ],
        }

    def makers(self, items: Sequence[str] = ()) -> list[Maker]:
        """The runs that made the tiers, as a tier's metadata name them, one for each of `made_by`.

        Where an evaluation of the same state was kept back, its prompts tell the two apart: those of the first few of `items`
        (a tier's, in the order in which they are evaluated) on which they differ.
        """
        found = []
        for log in self.made_by:
            kept_back = [other for other in self.judge_with if log.same_state(other)]
            told: dict[str, str] = {}
            if kept_back and items:
                mine = log.prompts(self.task, self.metric)
                others = [other.prompts(self.task, self.metric) for other in kept_back]
                apart = (
                    key
                    for key in items
                    if key in mine and all(o.get(key) not in (None, mine[key]) for o in others)
                )
                told = {key: mine[key] for key in islice(apart, TOLD_APART)}
            found.append(Maker(log.state, log.weights_sha256, bool(kept_back), told))
        return found


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
        metric = choose_one([name for name in logs[0].metrics(task) if name != MARGIN])
    if metric is None:
        raise UsageError(
            f"{logs[0].folder!r} has no score of any item of {task!r}. Log the run again with --log_samples."
        )
    for log in logs:
        _same_documents(log, task, metric, hashes)
    split = len(logs) > 1 if cross_fit is None else cross_fit
    order = list(range(len(logs)))
    random.Random(seed).shuffle(order)
    makers = sorted(order[: (len(logs) + 1) // 2]) if split else order
    made_by = [logs[i] for i in sorted(makers)]
    judges = [logs[i] for i in range(len(logs)) if i not in makers]
    return RunScores(
        harder=_harder(logs, task, metric),
        notes=_notes(logs, task, metric),
        scores=_means(made_by, task, metric, hashes),
        kept_back=_means(judges, task, metric, hashes) if judges else {},
        made_by=tuple(made_by),
        judge_with=tuple(judges),
        task=task,
        metric=metric,
        warning="" if split else _regression_warning(made_by),
    )


def _harder(logs: Sequence[LoggedRun], task: str, metric: str) -> Harder | None:
    """The end of the scores at which the model does worse: "high" for a perplexity or an error rate.

    Raises:
        UsageError: the runs put the metric together in different ways.
    """
    rows = [log.rows(task, metric) for log in logs]
    if len({scale_of(part) for part in rows}) > 1:
        raise UsageError(
            f"{metric} of {task!r} is logged in another way in one of the --scores runs (with and without weights), so that it "
            "cannot be averaged over them. Evaluate all with the same version of lm-eval."
        )
    if any(are_log_likelihoods(part) for part in rows):
        raise UsageError(
            f"{metric} of {task!r} is 0 or less, which no perplexity is: its items seem to be log-likelihoods. Choose another --metric."
        )
    higher = higher_is_better(pd.concat(rows))
    return None if higher is None else "low" if higher else "high"


def _notes(logs: Sequence[LoggedRun], task: str, metric: str) -> tuple[str, ...]:
    notes = [note for log in logs for note in log.read.warnings]
    others = [name for name in logs[0].metrics(task) if name not in (metric, MARGIN)]
    if metric != MARGIN and others:
        notes.append(f"{task}: scored by {metric}; also logged: {some(others)} (--metric chooses).")
    return tuple(dict.fromkeys(notes))


def _same_documents(log: LoggedRun, task: str, metric: str, hashes: Sequence[str]) -> None:
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


def _means(logs: Sequence[LoggedRun], task: str, metric: str, hashes: Sequence[str]) -> dict[str, float]:
    tables = [_by_document(log, task, metric) for log in logs]
    return {key: sum(table[key] for table in tables) / len(tables) for key in hashes}


def _by_document(log: LoggedRun, task: str, metric: str) -> dict[str, float]:
    """doc_hash -> score; the copies of a document ("hash#2") count as one, by their mean."""
    copies: dict[str, list[float]] = {}
    for item, value in log.scores(task, metric).items():
        copies.setdefault(item.partition("#")[0], []).append(value)
    return {item: sum(values) / len(values) for item, values in copies.items()}


def _regression_warning(logs: Sequence[LoggedRun]) -> str:
    models = sorted({log.model for log in logs})
    return (
        f"these tiers are made from the answers of {', '.join(models)}. If you judge that very model, or a compressed "
        "copy, with them, expect regression to the mean: part of the hard tier is bad luck, which the next run does not "
        "repeat, and a tier at the floor cannot fall. Use the scores of another model, or two runs (other seeds, "
        "prompts or numbers of shots), of which one half then makes the tiers and the other judges."
    )
