"""What the name of a metric says: which way is better, and how its items are averaged. Used only where nobody said it.

A name is taken apart into whole words, without lm-eval's filter behind the comma: "exact_match,get-answer" is "exact" and
"match", and the "wer" in its filter is no word error rate. A name without a known word, or with words of both kinds, says
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from difficulty.errors import UsageError
from difficulty.stats.mean import Scale

NO_SCORE = "bypass"  # what lm-eval's --predict_only logs in place of a metric

_HIGHER = {
    "acc", "accuracy", "exact", "match", "em", "f1", "contains", "mcc", "mc1", "mc2", "correct", "right", "pass", "recall",
    "precision", "auc", "auroc", "map", "ndcg", "mrr", "bleu", "sacrebleu", "chrf", "rouge", "meteor", "bertscore", "comet",
    "pearson", "spearman", "kendall", "correlation", "kappa", "jaccard", "iou", "reward", "success", "loglikelihood", "margin",
}  # fmt: skip
_LOWER = {
    "perplexity", "ppl", "bits", "bpb", "bpc", "loss", "nll", "brier", "wer", "cer", "ter", "mer", "error", "errors", "latency",
    "mse", "rmse", "mae", "distance", "divergence", "kl", "ece", "mismatch", "wrong", "incorrect",
}  # fmt: skip
# Metrics without a limit on one side, or counted up to 100: values of all items within [0, 1] do not make them shares.
_UNBOUNDED = {
    "perplexity", "ppl", "bits", "bpb", "bpc", "loss", "nll", "loglikelihood", "latency", "mse", "rmse", "mae", "distance",
    "divergence", "kl", "reward", "margin", "wer", "cer", "ter", "bleu", "sacrebleu", "chrf",
}  # fmt: skip
_NUMBERED = re.compile(r"(rouge|bleu|chrf|pass|f|acc|recall|precision|ndcg)(\d+|l|lsum)?")


def direction(metric: str) -> bool | None:
    """True where higher is better by the metric's name, False where lower is, None where the name does not say."""
    words = _words(metric)
    higher = any(word in _HIGHER or _numbered(word) in _HIGHER for word in words)
    lower = any(word in _LOWER for word in words)
    return None if higher == lower else higher


def bounded(metric: str) -> bool | None:
    """False where the metric's name says that it can leave [0, 1]; None where the values must tell."""
    return False if _UNBOUNDED.intersection(_words(metric)) else None


def declared(values: Iterable[Any]) -> set[bool]:
    """What the cells of a column `higher_is_better` say; empty ones say nothing.

    Raises:
        UsageError: one is neither true nor false.
    """
    said: set[bool] = set()
    for value in values:
        if pd.isna(value):
            continue
        if value not in (True, False):
            raise UsageError(
                f"higher_is_better={value!r} is neither true nor false. Write true, false, or nothing."
            )
        said.add(bool(value))
    return said


def scale(metric: str, weighted: bool) -> Scale:
    """How items of `metric` are read: nats per unit of weight as perplexity or bits, where they carry weights; else the mean."""
    words = _words(metric)
    if not weighted:
        return "mean"
    if {"perplexity", "ppl"} & set(words):
        return "perplexity"
    return "bits" if {"bits", "bpb", "bpc"} & set(words) else "mean"


def same_metric(metric: str, named: str) -> bool:
    """Whether `named` (by a person) is `metric`: with its filter, or without one for all filters."""
    return named in (metric, metric.partition(",")[0])


def _words(metric: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", metric.partition(",")[0].lower()) if word]


def _numbered(word: str) -> str:
    """`rouge` for `rouge2` and `rougel`; the word itself where it is no such name."""
    found = _NUMBERED.fullmatch(word)
    return found[1] if found else word
