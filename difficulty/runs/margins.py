"""The latent scale of an item: the log-odds by which a model prefers the right answer."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence

import numpy as np

# Log-probabilities are computed in float32: 1 - p below about 1e-7 cannot be told from 0, and log(1e-7) = -16.1.
_LIMIT = 16.0


def options_margin(loglikelihoods: Sequence[float], gold: Sequence[int]) -> float | None:
    """log-likelihood of the best right option minus that of the best wrong one, in nats; positive = chosen.

    None where every option is right, or a log-likelihood is not finite.
    """
    scores = np.asarray(loglikelihoods, dtype=float)
    right = np.zeros(len(scores), dtype=bool)
    right[list(gold)] = True
    if right.all() or not right.any() or not np.isfinite(scores).all():
        return None
    return float(scores[right].max() - scores[~right].max())


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
    targets: Sequence[str],
    texts: Sequence[Sequence[str]],
    loglikelihoods: Sequence[Sequence[float]],
    accuracy: Sequence[float | None],
) -> tuple[list[list[int] | None], str]:
    """Indices of the right options of each item, and a sentence where they cannot be known.

    lm-eval logs the target as text: the option's index, its words, or a list of indices. The reading that agrees with
    the logged accuracy on every item is the right one.
    """
    for reading in (_as_index, _as_text):
        gold = [reading(target, options) for target, options in zip(targets, texts, strict=True)]
        if any(g is None for g in gold):
            continue
        if all(
            _agrees(g, scores, acc) for g, scores, acc in zip(gold, loglikelihoods, accuracy, strict=True)
        ):
            return gold, ""
    return [None] * len(targets), "which option is right cannot be told from its logs."


def _as_index(target: str, options: Sequence[str]) -> list[int] | None:
    try:
        value = ast.literal_eval(target.strip())
    except (ValueError, SyntaxError):
        return None
    indices = list(value) if isinstance(value, (list, tuple)) else [value]
    if indices and all(
        isinstance(i, int) and not isinstance(i, bool) and 0 <= i < len(options) for i in indices
    ):
        return indices
    return None


def _as_text(target: str, options: Sequence[str]) -> list[int] | None:
    found = [i for i, option in enumerate(options) if option == target.strip()]
    return found[:1] or None


def _agrees(gold: list[int] | None, scores: Sequence[float], accuracy: float | None) -> bool:
    if gold is None or not len(scores):
        return False
    return accuracy is None or (int(np.argmax(scores)) in gold) == (accuracy > 0.5)
