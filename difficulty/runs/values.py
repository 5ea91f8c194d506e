"""One metric of one task, item by item: lm-eval logs a number, a truth value, a weighted pair, or a list of draws.

How a metric is put together is what its aggregation in the task's configuration says, else what lm-eval does for a metric
of that name. References: lm_eval/api/metrics.py (`perplexity`, `weighted_perplexity`, `bits_per_byte`, `mean`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difficulty.stats.mean import Scale

_ROLLING: Mapping[str, Scale] = {
    "word_perplexity": "perplexity",
    "byte_perplexity": "perplexity",
    "bits_per_byte": "bits",
}
_AGGREGATIONS: Mapping[str, Scale] = {
    "perplexity": "perplexity", "weighted_perplexity": "perplexity", "bits_per_byte": "bits", "mean": "mean", "nanmean": "mean",
    "acc_all": "mean",
}  # fmt: skip
# Metrics of a whole data set, whose items are pairs of right answer and prediction.
WHOLE = ("f1", "mcc", "bleu", "chrf", "ter", "brier_score", "likelihood", "matthews_corrcoef")


@dataclass(frozen=True)
class Values:
    """A metric's value per item.

    `scale` "mean": the score is the mean of `value`. "perplexity": `value` is the negative log-likelihood in nats per
    unit, `weight` the units (words, bytes, or 1), the score exp(sum of weight * value / sum of weight); "bits": the same
    mean divided by ln 2. `draws`: how many values each item had (repeated answers), 1 otherwise.
    """

    value: list[float]
    weight: list[float]
    scale: Scale
    draws: int = 1


def read_values(metric: str, raw: Sequence[Any], aggregation: str | None = None) -> Values | str:
    """The values of `metric` from what each sample holds, or why it cannot be read."""
    scale = _scale(metric, raw, aggregation)
    if scale in ("perplexity", "bits"):
        return _likelihoods(raw, scale)
    values, draws = [], 1
    for entry in raw:
        number = as_number(entry)
        if number is None and isinstance(entry, (list, tuple)) and metric not in WHOLE:
            parts = [as_number(part) for part in entry]
            known = [part for part in parts if part is not None]
            if parts and len(known) == len(parts):
                number, draws = sum(known) / len(known), max(draws, len(known))
        if number is None:
            return "it is no number per item"
        if math.isnan(number) and aggregation == "nanmean":
            return "some items have no value"
        values.append(number)
    return Values(values, [1.0] * len(values), "mean", draws)


def _scale(metric: str, raw: Sequence[Any], aggregation: str | None) -> Scale:
    if metric in _ROLLING and all(isinstance(entry, (list, tuple)) for entry in raw):
        return _ROLLING[metric]
    if aggregation is not None and aggregation in _AGGREGATIONS:
        scale = _AGGREGATIONS[aggregation]
        return scale if scale == "mean" or _are_likelihoods(raw) else "mean"
    # lambada: the item's value is its log-likelihood, at most 0; a perplexity is at least 1
    return "perplexity" if metric == "perplexity" and _are_likelihoods(raw) else "mean"


def _are_likelihoods(raw: Sequence[Any]) -> bool:
    parts = [entry[0] if isinstance(entry, (list, tuple)) and len(entry) == 2 else entry for entry in raw]
    numbers = [as_number(part) for part in parts]
    return bool(numbers) and all(number is not None and number <= 0 for number in numbers)


def _likelihoods(raw: Sequence[Any], scale: Scale) -> Values | str:
    values, weights = [], []
    for entry in raw:
        pair = entry if isinstance(entry, (list, tuple)) else (entry, 1)
        numbers = [as_number(part) for part in pair]
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None or not 0 < numbers[1] < math.inf:
            return "an item is no log-likelihood and number of units"
        values.append(-numbers[0] / numbers[1])
        weights.append(numbers[1])
    return Values(values, weights, scale)


def as_number(value: object) -> float | None:
    """A number or truth value, also as the text that JSON made of numpy's; None for anything else."""
    if isinstance(value, str):
        if value in ("True", "False"):
            return float(value == "True")
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, (bool, int, float)):
        try:
            return float(value)
        except OverflowError:  # a whole number beyond all floats
            return math.inf if value > 0 else -math.inf
    item = getattr(value, "item", None)  # a numpy scalar, in memory
    return as_number(item()) if callable(item) and getattr(value, "ndim", 1) == 0 else None


def aggregations(config: Mapping[str, Any]) -> dict[str, str]:
    """Metric -> the name of its aggregation, as the task's configuration has it."""
    listed = config.get("metric_list")
    found = {}
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, Mapping) and isinstance(entry.get("aggregation"), str):
            found[str(entry.get("metric"))] = entry["aggregation"]
    return found
