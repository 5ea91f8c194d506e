"""From the samples of one task to tidy rows: every metric that is one number per item, and the margin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.margins import gold_options, options_margin, sequence_margin
from difficulty.runs.provenance import TIERS_FROM, cell
from difficulty.runs.samples import (
    Sample,
    item_ids,
    loglikelihoods,
    only_predicted,
    option_texts,
    requests,
    short,
    with_filters,
)
from difficulty.runs.table import HIGHER_IS_BETTER, MARGIN, OPTION_LOGLIK, SCALE, WEIGHT
from difficulty.runs.values import Values, aggregations, as_number, read_values

Row = dict[str, Any]
Keep = Callable[[Mapping[str, Any]], Any]


@dataclass
class TaskRows:
    """One task of one run: its tidy rows without the run's identity, what was kept of each item, and what to say."""

    rows: list[Row]
    kept: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # "{tasks}" stands for the name


def task_rows(
    task: str,
    config: Mapping[str, Any],
    samples: Sequence[Sample],
    higher_is_better: Mapping[str, Any] | None = None,
    keep: Keep | None = None,
) -> TaskRows:
    """The rows of one task. `higher_is_better`: metric -> direction, from the results. `keep`: what to keep of a sample.

    Raises:
        UsageError: nothing was scored, or the samples are those of two evaluations.
    """
    if not samples or only_predicted(samples):
        why = "it was evaluated with --predict_only" if samples else "its samples file is empty"
        raise UsageError(f"task {task!r} has no score of any item: {why}. Evaluate it again without that.")
    samples = with_filters(samples, config, task)
    found = TaskRows([])
    ids = item_ids(task, samples)
    filters = list(dict.fromkeys(str(s.get("filter", "none")) for s in samples))
    at = {
        name: [i for i, s in enumerate(samples) if str(s.get("filter", "none")) == name] for name in filters
    }
    first = at[filters[0]]  # log-likelihoods do not depend on the filter
    answers = _answers(task, config, [samples[i] for i in first], found.notes)
    chances = {ids[i][0]: answer.chance for i, answer in zip(first, answers, strict=True)}
    common = _common_cells(task, config, samples, ids, chances)
    directions = {str(k): v for k, v in (higher_is_better or {}).items() if isinstance(v, bool)}
    for name in filters:
        _add_metrics(
            found, task, [samples[i] for i in at[name]], [common[i] for i in at[name]],
            f",{name}" if len(filters) > 1 else "", directions, aggregations(config),
        )  # fmt: skip
    for i, answer in zip(first, answers, strict=True):
        margin = answer.margin
        if answer.sequence is not None:
            margin = sequence_margin(answer.sequence, common[i]["n_symbols"])
        if margin is not None:
            found.rows.append({**common[i], "metric": MARGIN, "value": margin, OPTION_LOGLIK: answer.options})
    if keep is not None:
        found.kept = {ids[i][0]: keep(samples[i]) for i in first}
    return found


def asked_cells(task: str, config: Mapping[str, Any], samples: Sequence[Sample]) -> list[Row]:
    """The cells of each item (ids, clusters, tier, hash of the prompt, ...) that are known before anything was answered.

    `samples`: one per document, as lm-eval would log it, but without answers. They are the same when it has answered, but for
    `chance`.
    """
    return _common_cells(task, config, samples, item_ids(task, samples), {})


def _add_metrics(
    found: TaskRows, task: str, samples: Sequence[Sample], common: Sequence[Row], ending: str,
    directions: Mapping[str, bool], readable: Mapping[str, str],
) -> None:  # fmt: skip
    """The rows of every metric of one filter; what is no number per item is told in the notes."""
    for metric in dict.fromkeys(name for sample in samples for name in sample["metrics"]):
        having = [i for i, sample in enumerate(samples) if metric in sample["metrics"]]
        values = read_values(metric, [samples[i][metric] for i in having], readable.get(metric))
        if isinstance(values, str):
            found.notes.append(f"{metric} of {{tasks}} is not read: {values}.")
            continue
        if len(having) < len(samples):
            found.notes.append(f"{metric} of {{tasks}} was logged for {len(having)} of {len(samples)} items.")
        if values.draws > 1:
            found.notes.append(
                f"{metric} of {{tasks}} has several draws per item; an item's score is their mean."
            )
        cells = [common[i] for i in having]
        found.rows += _metric_rows(cells, metric + ending, values, directions.get(metric))


def _metric_rows(common: Sequence[Row], metric: str, values: Values, higher: bool | None) -> list[Row]:
    rows = []
    for cells, value, weight in zip(common, values.value, values.weight, strict=True):
        row = {**cells, "metric": metric, "value": value}
        if higher is not None:
            row[HIGHER_IS_BETTER] = higher
        if values.scale != "mean":
            row |= {WEIGHT: weight, SCALE: values.scale}
        rows.append(row)
    return rows


def _common_cells(
    task: str, config: Mapping[str, Any], samples: Sequence[Sample], ids: Sequence[tuple[str, str]],
    chances: Mapping[str, float],
) -> list[Row]:  # fmt: skip
    """The cells that all rows of a sample share."""
    metadata = _metadata(config)
    output_type = str(config.get("output_type") or "")
    tier = _tier(task, metadata)
    made = cell(metadata.get(TIERS_FROM), f"task {task!r}")
    more = {TIERS_FROM: made} if made else {}
    cells = []
    for sample, (item, cluster) in zip(samples, ids, strict=True):
        doc = sample.get("doc")
        doc = doc if isinstance(doc, Mapping) else {}
        named = doc.get(str(metadata.get("cluster_field"))) if metadata.get("cluster_field") else None
        doc_id = str(sample.get("doc_id", ""))
        cells.append(
            {
                "task": task,
                "family": str(metadata.get("family") or task),
                "axis": str(metadata.get("axis") or ""),
                "tier": tier,
                "item_id": item,
                "cluster_id": cluster if named is None else str(named),
                "n_symbols": _n_symbols(metadata, doc, sample) if output_type == "loglikelihood" else 1,
                "chance": chances.get(item, 0.0),
                "doc_id": int(doc_id) if doc_id.isdecimal() and len(doc_id) < 19 else -1,
                "prompt_hash": prompt_hash(sample),
                **more,
            }
        )
    return cells


def _metadata(config: Mapping[str, Any]) -> Mapping[str, Any]:
    given = config.get("metadata")
    return given if isinstance(given, Mapping) else {}


def _tier(task: str, metadata: Mapping[str, Any]) -> int:
    """The tier that the task's metadata names, 1 without one.

    Raises:
        UsageError: it is no whole number of at least 1.
    """
    given = metadata.get("tier")
    number = 1.0 if given is None else as_number(given)
    if isinstance(given, bool) or number is None or not number >= 1 or number != int(min(number, 2.0**31)):
        raise UsageError(
            f"task {task!r} has tier={short(given)} in its metadata. Write a whole number there, 1 for the easiest."
        )
    return int(number)


def _given_chance(task: str, metadata: Mapping[str, Any]) -> float | None:
    """The chance level that the task's metadata names, if it does.

    Raises:
        UsageError: it is no number in [0, 1).
    """
    given = metadata.get("chance")
    number = None if given is None else as_number(given)
    if given is not None and (isinstance(given, bool) or number is None or not 0 <= number < 1):
        raise UsageError(
            f"task {task!r} has chance={short(given)} in its metadata. Write a number from 0 to below 1 there."
        )
    return number


def prompt_hash(sample: Mapping[str, Any]) -> str:
    """What was asked, as 16 hexadecimal digits: lm-eval's hash of the prompt, and the options or generation settings.

    lm-eval's own `prompt_hash` covers the first request's context alone. Empty where neither was logged.
    """
    asked = requests(sample)
    given = sample.get("prompt_hash")
    if not asked:
        return str(given or "")
    if not given:
        given = hashlib.sha256(str(asked[0][0] if asked[0] else "").encode()).hexdigest()
    rest = [request[1:] for request in asked]
    text = json.dumps([str(given), rest], sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class _Answer:
    """How an item was answered: its chance level, the log-likelihoods of its options with the margin, or of its answer."""

    chance: float = 0.0
    margin: float | None = None
    options: list[float] | None = None
    sequence: float | None = None


def _answers(
    task: str, config: Mapping[str, Any], samples: Sequence[Sample], notes: list[str]
) -> list[_Answer]:
    output_type = str(config.get("output_type") or "")
    metadata = _metadata(config)
    given = _given_chance(task, metadata)
    if given is None and "chance" in metadata:
        why = metadata.get("chance_unknown")
        notes.append(
            f"{{tasks}}: the chance level is not known{f' ({str(why)[:80]})' if why else ''} and counted as 0."
        )
        given = 0.0
    if output_type == "loglikelihood":
        scores = [loglikelihoods(sample) for sample in samples]
        return [_Answer(given or 0.0, sequence=s[0] if s else None) for s in scores]
    if output_type != "multiple_choice":
        return [_Answer(given or 0.0)] * len(samples)
    options = [_options(sample) for sample in samples]
    texts = [option_texts(s)[: len(o or [])] for s, o in zip(samples, options, strict=True)]
    logged = {
        name: [as_number(s.get(name)) if name in s["metrics"] else None for s in samples]
        for name in ("acc", "acc_norm")
    }
    delimiter = len(str(config.get("target_delimiter", " ")))
    lengths = [
        [len(str(r[-1])) - delimiter if r else 0 for r in requests(s)][: len(o or [])]
        for s, o in zip(samples, options, strict=True)
    ]
    gold, problem = gold_options(
        [s.get("target", "") for s in samples], texts, [o or [] for o in options], logged, lengths
    )
    if problem:
        notes.append(f"{{tasks}}: {problem} The latent scale comes from accuracies instead.")
    if given is None and _are_shares(samples):
        notes.append(
            "{tasks}: the score is a share, not right or wrong, so the chance level is not 1 / options; it is not known and "
            "counted as 0. Write it into the task's metadata as chance."
        )
        given = 0.0
    return [
        _Answer(
            _chance(o, g) if given is None else given,
            None if o is None or g is None else options_margin(o, g),
            o,
        )
        for o, g in zip(options, gold, strict=True)
    ]


def _are_shares(samples: Sequence[Sample]) -> bool:
    """Whether the items' scores are shares rather than right or wrong, as mc2's are: by acc or acc_norm, else by any metric."""
    names = dict.fromkeys(name for sample in samples for name in sample["metrics"])
    judged = [name for name in ("acc", "acc_norm") if name in names] or list(names)
    values = (
        as_number(sample.get(name)) for sample in samples for name in judged if name in sample["metrics"]
    )
    return any(value not in (None, 0.0, 1.0) for value in values)


def _chance(options: Sequence[float] | None, gold: Sequence[int] | None) -> float:
    """How often a blind choice is right: the share of options that are."""
    if not options:
        return 0.0
    return (1 if gold is None else len(set(gold))) / len(options)


def _options(sample: Mapping[str, Any]) -> list[float] | None:
    found = loglikelihoods(sample)
    if found is not None and "acc_mutual_info" in sample["metrics"]:
        return found[: len(found) // 2]  # the second half is scored without the context
    return found


def _n_symbols(metadata: Mapping[str, Any], doc: Mapping[str, Any], sample: Mapping[str, Any]) -> int:
    """Answer length in symbols: what the document or task says, else the characters of the answer."""
    given = doc.get("answer_symbols", metadata.get("answer_symbols"))
    if isinstance(given, (int, float)) and given >= 1:
        return int(given)
    texts = option_texts(sample)
    return max(1, len(texts[0])) if texts else 1
