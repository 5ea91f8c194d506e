"""What a model's answers are worth: lm-eval's samples, its aggregated results, and the files that it writes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from junkdna_harness.harness.patches import bootstrapped_here
from junkdna_harness.harness.requests import Document, Sample
from junkdna_harness.harness.targets import plain
from junkdna_harness.harness.versions import one_response, scores_itself, task_key

# Standard errors of means are exact; others are bootstrapped, and lm-eval's 100,000 draws take minutes.
BOOTSTRAP_DRAWS = 1000

Raw = dict[tuple[str, str], list[Any]]  # (metric, filter) -> one value per document


def task_samples(task: Any, documents: Sequence[Document]) -> tuple[list[Sample], Raw]:
    """A task's samples, one per document and filter, and its values by metric and filter, from its answered requests.

    `documents` may be a part of the task's. The samples hold numpy's numbers as Python's own: a reader must not drop a score for
    its type.
    """
    samples: list[Sample] = []
    raw: Raw = defaultdict(list)
    with _only(task, documents):
        for document, key, filtered, metrics, more in (_by_task if scores_itself(task) else _from_outside)(
            task, documents
        ):
            samples.append(
                {
                    **document.fixed,
                    "resps": [instance.resps for instance in document.instances],
                    "filtered_resps": filtered,
                    "filter": key,
                    "metrics": list(metrics),
                    **{metric: plain(value) for metric, value in metrics.items()},
                    **more,
                }
            )
            for metric, value in metrics.items():
                raw[metric, key].append(value)
    return samples, raw


@contextmanager
def _only(task: Any, documents: Sequence[Document]) -> Iterator[None]:
    """A block in which the task has the requests of these documents alone: filters take the first answer of each, and those that were
    not asked have none."""
    whole = getattr(task, "_instances", None)
    part = [instance for document in documents for instance in document.instances]
    if whole is None or len(part) == len(whole):
        yield
        return
    task._instances = part
    try:
        yield
    finally:
        task._instances = whole


# (document, filter, its filtered responses, its values by metric, more to be logged)
_Scored = tuple[Document, str, list[Any], Mapping[str, Any], Mapping[str, Any]]


def _from_outside(task: Any, documents: Sequence[Document]) -> Iterator[_Scored]:
    """As the evaluator of lm-eval 0.4 does."""
    task.apply_filters()
    for key in task.instances[0].filtered_resps:
        for document in documents:
            filtered = [instance.filtered_resps[key] for instance in document.instances]
            yield document, key, filtered, task.process_results(document.doc, filtered), {}


def _by_task(task: Any, documents: Sequence[Document]) -> Iterator[_Scored]:
    """As the evaluator of lm-eval 0.5 does: the scorers of the task hold its scores, which are also aggregated there."""
    task.process_instances()
    for scorer in task.scorers:
        for document in documents:
            doc_id = document.fixed["doc_id"]
            filtered = [
                one_response(i.filtered_resps.get(scorer.name, i.resps[0]), i.repeats)
                for i in document.instances
            ]
            scores = scorer.raw_docs[doc_id].scores if doc_id in scorer.raw_docs else {}
            repeats = {metric: plain(values) for metric, values in scores.items() if len(values) > 1}
            more = {"scores_per_repeat": repeats} if repeats else {}
            yield document, scorer.name, filtered, scorer.reduced_docs.get(doc_id) or {}, more


def aggregate(tasks: Mapping[str, Any], groups: Mapping[str, Any], raw: Mapping[str, Raw]) -> dict[str, Any]:
    """lm-eval's results of the tasks that `raw` holds, and of those groups all of whose tasks it holds.

    A group of which a task is missing gets no row: its mean would be that of other tasks than its name says.
    """
    whole = {
        name: group
        for name, group in groups.items()
        if all(task_key(task) in raw for task in group.get_all_tasks())
    }
    return _results({name: (tasks[name], raw[name]) for name in raw}, whole, BOOTSTRAP_DRAWS)


def task_facts(
    tasks: Mapping[str, Any], groups: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, Any]:
    """lm-eval's configuration, version, shots and groups of the tasks; `sizes` are the documents evaluated of each."""
    found = _results({name: (task, {}) for name, task in tasks.items()}, {}, 0)
    names = ("configs", "versions", "n-shot", "higher_is_better", "n-samples")
    facts = {name: found[name] for name in names}
    facts["group_subtasks"] = {name: group.child_names for name, group in groups.items()}
    for name, size in sizes.items():
        facts["n-samples"][name]["effective"] = size
    result: dict[str, Any] = json.loads(json_text(facts))
    return result


def _results(tasks: Mapping[str, tuple[Any, Raw]], groups: Mapping[str, Any], draws: int) -> dict[str, Any]:
    from lm_eval.evaluator_utils import _process_results

    accumulated = {
        name: {"task": task, "raw_metrics": raw, "logged_samples": []} for name, (task, raw) in tasks.items()
    }
    with bootstrapped_here():
        return dict(_process_results(accumulated, dict(groups), bootstrap_iters=draws)._to_eval_results())


def averaged_metrics(task: Any) -> tuple[list[str], list[str]]:
    """A task's metrics that are means over its documents, and those that are not (F1 of a set, perplexity, ...).

    Only of the first is the size-weighted mean over parts of a task the value of the whole.
    """
    from lm_eval.api.metrics import mean

    functions: Mapping[str, Any] = task.aggregation()
    means = [str(name) for name, function in functions.items() if function is mean]
    return means, [str(name) for name in functions if str(name) not in means]


def scored_by_own_code(task: Any) -> bool:
    """True where a task's score of a document is not lm-eval's accuracy of an option or a text.

    It brings a `process_results`, in its file or as a method of its class, or measures perplexity.
    """
    if task.OUTPUT_TYPE == "loglikelihood_rolling" or task.config.process_results is not None:
        return True
    method = type(task).process_results
    return not str(method.__module__).startswith("lm_eval.api.")


def json_text(value: Any) -> str:
    """`value` as JSON, with lm-eval's way of writing what JSON does not have."""
    from lm_eval.utils import handle_non_serializable

    return json.dumps(value, default=handle_non_serializable, ensure_ascii=False)
