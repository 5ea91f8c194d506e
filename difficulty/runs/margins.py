"""The latent scale of an item: the log-odds by which a model prefers the right answer."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

# Log-probabilities are computed in float32: 1 - p below about 1e-7 cannot be told from 0, and log(1e-7) = -16.1.
_LIMIT = 16.0
_NUMPY = re.compile(r"np\.\w+\(([^()]*)\)")  # how numpy 2 writes its numbers within a list


def options_margin(loglikelihoods: Sequence[float], gold: Sequence[int]) -> float | None:
    """log-likelihood of the best right option minus that of the best wrong one, in nats; positive = chosen.

    None where every option is right, or a log-likelihood is not finite.
    """
    chosen = set(gold)
    right = [float(x) for i, x in enumerate(loglikelihoods) if i in chosen]
    wrong = [float(x) for i, x in enumerate(loglikelihoods) if i not in chosen]
    if not right or not wrong or not all(map(math.isfinite, (*right, *wrong))):
        return None
    return max(right) - max(wrong)


def sequence_margin(loglikelihood: float, n_symbols: int) -> float | None:
    """Log-odds of an answer's geometric-mean symbol probability: l - log(1 - exp(l)), l = loglikelihood / n_symbols.

    A longer answer has more chances to fail; per symbol, answers of different lengths share one scale. Clipped to
    +-16, the resolution of float32. None where the log-likelihood is not a number at most 0.
    """
    if not math.isfinite(loglikelihood) or loglikelihood > 1e-6:
        return None
    mean = loglikelihood / n_symbols
    if mean > -1e-7:
        return _LIMIT
    return float(np.clip(mean - math.log(-math.expm1(mean)), -_LIMIT, _LIMIT))


def gold_options(
    targets: Sequence[object],
    texts: Sequence[Sequence[str]],
    loglikelihoods: Sequence[Sequence[float]],
    logged: Mapping[str, Sequence[float | None]],
    lengths: Sequence[Sequence[int]] | None = None,
) -> tuple[list[list[int] | None], str]:
    """Indices of the right options of each item, and a sentence where they cannot be known.

    lm-eval logs the target as text: the option's index, its words, or a list of indices. The reading that agrees with
    what was `logged` on every item is the right one: `acc`, or, where that was not logged, `acc_norm`, which divides
    log-likelihoods by the `lengths` of the options in characters. Where two readings that differ both agree, or nothing was
    logged to tell them apart, none is taken.
    """
    metric = "acc" if any(value is not None for value in logged.get("acc", ())) else "acc_norm"
    scored = [np.asarray(scores, dtype=float) for scores in loglikelihoods]
    if metric == "acc_norm":
        counted = lengths or [[len(option) for option in options] for options in texts]
        scored = [
            scores / np.maximum(counts, 1) if len(scores) == len(counts) else scores
            for scores, counts in zip(scored, counted, strict=True)
        ]
    readings: list[list[list[int] | None]] = []
    for reading in (_as_index, _as_text):
        gold = [reading(target, options) for target, options in zip(targets, texts, strict=True)]
        if any(g is None for g in gold) or gold in readings:
            continue
        if _agrees(gold, texts, scored, logged.get(metric)):
            readings.append(gold)
    if len(readings) == 1:
        return readings[0], ""
    return [None] * len(targets), "which option is right cannot be told from its logs."


def _as_index(target: object, options: Sequence[str]) -> list[int] | None:
    value = target
    if isinstance(target, str) and target.isdecimal() and target.isascii() and len(target) < 10:
        value = int(target)
    elif isinstance(target, str):
        try:
            value = ast.literal_eval(_NUMPY.sub(r"\1", target.strip()))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    indices = list(value) if isinstance(value, (list, tuple)) else [value]
    found = []
    for index in indices:
        whole = getattr(index, "__index__", None)  # numpy's integers too
        if whole is None or isinstance(index, bool) or not 0 <= whole() < len(options):
            return None
        found.append(int(whole()))
    return found or None


def _as_text(target: object, options: Sequence[str]) -> list[int] | None:
    found = [i for i, option in enumerate(options) if option == str(target).strip()]
    return found[:1] or None


def _agrees(
    gold: Sequence[list[int] | None],
    texts: Sequence[Sequence[str]],
    scored: Sequence[np.ndarray],
    logged: Sequence[float | None] | None,
) -> bool:
    """Whether the best option of each item is right where the log says so."""
    values = logged or [None] * len(gold)
    for right, options, scores, value in zip(gold, texts, scored, values, strict=True):
        if right is None or not len(scores) or len(options) != len(scores):
            return False
        if value is not None and (
            value not in (0.0, 1.0) or (int(np.argmax(scores)) in right) != (value > 0.5)
        ):
            return False
    return True
