"""Tasks and their requests, built once and scored at every level, exactly as `lm_eval.evaluate` would score them."""

from __future__ import annotations

import json
import logging
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.sweep.plan import Settings

Sample = dict[str, Any]
# Requests kept as tensors between levels; larger sets are laid out again at each level.
MOST_TOKENS_KEPT = 50_000_000


def find_tasks(settings: Settings, metadata: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """lm-eval's task manager and the names to load, patterns expanded.

    Our own tasks and those of --include_path are looked through first: lm-eval's index of all its tasks takes seconds.

    Raises:
        UsageError: names all unknown tasks.
    """
    key = (settings, json.dumps(dict(metadata), sort_keys=True, default=str))
    if key not in _found:
        _found[key] = _find_tasks(settings, metadata)
    return _found[key]


_found: dict[tuple[Settings, str], tuple[Any, list[str]]] = {}


def _find_tasks(settings: Settings, metadata: Mapping[str, Any]) -> tuple[Any, list[str]]:
    from lm_eval.tasks import TaskManager

    from junkdna_harness.autoload import tasks_dir

    given = [settings.include_path] if settings.include_path else []
    for lean in (True, False):
        paths = [tasks_dir(), *given] if lean else given or None
        manager = TaskManager(include_path=paths, include_defaults=not lean, metadata=dict(metadata))
        names, unknown = _match(manager, settings.tasks)
        if not unknown and not (lean and _refers_outside(manager, names)):
            return manager, names
    hints = [f"{name!r}{did_you_mean(name, manager.all_tasks)}" for name in unknown]
    raise UsageError(
        f"unknown task{'s' * (len(unknown) > 1)} {', '.join(hints)} `lm_eval ls tasks` lists what there is; "
        "--include_path adds a folder."
    )


def _match(manager: Any, asked: Sequence[str]) -> tuple[list[str], list[str]]:
    from pathlib import Path

    names, unknown = [], []
    for name in asked:
        matches = manager.match_tasks([name])
        if not matches and Path(name).is_file():
            matches = [name]
        names += matches
        if not matches:
            unknown.append(name)
    return list(dict.fromkeys(names)), unknown


def _refers_outside(manager: Any, names: Sequence[str]) -> bool:
    """True where a group names a task that this manager does not know."""
    pending, seen = list(names), set()
    while pending:
        name = pending.pop()
        entry = manager.task_index.get(name)
        if name in seen:
            continue
        seen.add(name)
        if entry is None:
            return True
        members = (entry.cfg or {}).get("task") if entry.kind.name == "GROUP" else None
        for member in members if isinstance(members, list) else []:
            child = member if isinstance(member, str) else member.get("task") or member.get("group")
            if isinstance(child, str):
                pending.append(child)
    return False


@dataclass
class Scores:
    """One level's outcome: lm-eval's samples by task, and its aggregated results."""

    samples: dict[str, list[Sample]]
    results: dict[str, Any]


@dataclass
class _Document:
    """What does not change between levels."""

    doc: Any
    instances: list[Any]
    fixed: Sample


@dataclass
class Suite:
    """Tasks with their requests; `score` evaluates the model as it is now."""

    tasks: dict[str, Any]
    groups: dict[str, Any]
    settings: Settings
    documents: dict[str, list[_Document]] = field(default_factory=dict)
    requests: dict[str, list[Any]] = field(default_factory=dict)
    _passes: list[Any] | None = None
    _tokens: list[Any] = field(default_factory=list)

    @property
    def n_requests(self) -> int:
        """Requests sent to the model at each level."""
        return sum(map(len, self.requests.values()))

    def score(self, lm: Any, progress: Callable[[int], None] | None = None) -> Scores:
        """Samples and results of `lm` as it is now.

        Raises:
            FloatingPointError: a log-likelihood is not a number.
        """
        seed_all(self.settings.seed)
        for instances in self.requests.values():
            for instance in instances:
                instance.resps, instance.filtered_resps = [], {}
        for kind, instances in self.requests.items():
            responses = self._respond(lm, kind, instances, progress)
            if kind == "loglikelihood" and (wrong := sum(math.isnan(value) for value, _ in responses)):
                raise FloatingPointError(f"{wrong} of {len(responses)} log-likelihoods are not a number")
            for response, instance in zip(responses, instances, strict=True):
                instance.resps.append(response)
        samples: dict[str, list[Sample]] = {}
        raw: dict[str, dict[tuple[str, str], list[Any]]] = {}
        with _templates_compiled_once():
            for name, task in self.tasks.items():
                task.apply_filters()
                samples[name], raw[name] = self._process(task, self.documents[name])
        return Scores(samples, self._aggregate(raw))

    def _respond(
        self, lm: Any, kind: str, instances: list[Any], progress: Callable[[int], None] | None
    ) -> list[Any]:
        if kind != "loglikelihood" or not lm._prefix_cache or not lm._own_passes():
            answers = getattr(lm, kind)(instances, disable_tqdm=True)
            if progress:
                progress(len(instances))
            return list(answers)
        from junkdna_harness.models.forward import prepare

        if self._passes is None:
            self._tokens = tokenize(lm, instances)
            batches = lm.plan_scoring(self._tokens)
            tokens = sum(len(context) + len(continuation) for _, context, continuation in self._tokens)
            self._passes = [prepare(b) for b in batches] if tokens <= MOST_TOKENS_KEPT else batches
        passes = (p if hasattr(p, "tails") else prepare(p) for p in self._passes)
        return list(lm.score(passes, self._tokens, disable_tqdm=True, progress=progress))

    def _process(
        self, task: Any, documents: list[_Document]
    ) -> tuple[list[Sample], dict[tuple[str, str], list[Any]]]:
        samples: list[Sample] = []
        raw: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for key in task.instances[0].filtered_resps:
            for document in documents:
                filtered = [instance.filtered_resps[key] for instance in document.instances]
                metrics = task.process_results(document.doc, filtered)
                sample = {
                    **document.fixed,
                    "resps": [instance.resps for instance in document.instances],
                    "filtered_resps": filtered,
                    "filter": key,
                    "metrics": list(metrics),
                    **metrics,
                }
                samples.append(sample)
                for metric, value in metrics.items():
                    raw[metric, key].append(value)
        return samples, raw

    def _aggregate(self, raw: Mapping[str, dict[tuple[str, str], list[Any]]]) -> dict[str, Any]:
        from lm_eval.evaluator_utils import _process_results

        accumulated = {
            name: {"task": task, "raw_metrics": raw[name], "logged_samples": []}
            for name, task in self.tasks.items()
        }
        # Standard errors of means are exact; others are bootstrapped, and lm-eval's 100,000 draws take minutes.
        found = _process_results(accumulated, self.groups, bootstrap_iters=1000)
        return dict(found._to_eval_results())


def build_suite(lm: Any, manager: Any, names: list[str], settings: Settings) -> Suite:
    """The suite of the tasks `names`, with lm-eval's own overrides, seeds and requests.

    Raises:
        UsageError: a task needs code or inputs that a sweep does not run, or names itself twice.
    """
    seed_all(settings.seed)
    try:
        with _without_hints():
            loaded = manager.load(names)
    except ValueError as error:
        raise UsageError(f"the tasks cannot be evaluated together: {error}") from error
    suite = Suite(loaded["tasks"], loaded.get("groups", {}), settings)
    with _templates_compiled_once():
        for name, task in suite.tasks.items():
            if getattr(task, "UNSAFE_CODE", False):
                raise UsageError(f"task {name!r} runs code that a model wrote. A sweep does not do that.")
            if getattr(task, "MULTIMODAL", False):
                raise UsageError(f"task {name!r} needs images. A sweep evaluates text tasks.")
            _override_shots(task, settings)
            _build_requests(suite, lm, name, task)
    return suite


def _override_shots(task: Any, settings: Settings) -> None:
    default = task.get_config("num_fewshot")
    if settings.num_fewshot is not None and default != 0:
        task.set_config(key="num_fewshot", value=settings.num_fewshot)
    elif settings.num_fewshot is None and default is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=settings.seed[3])


def _build_requests(suite: Suite, lm: Any, name: str, task: Any) -> None:
    from lm_eval.evaluator_utils import get_sample_size

    settings = suite.settings
    template = settings.apply_chat_template
    multiturn = bool(template) if settings.fewshot_as_multiturn is None else settings.fewshot_as_multiturn
    limit = get_sample_size(task, settings.limit)
    with _quiet():
        task.build_all_requests(
            limit=limit,
            rank=0,
            world_size=1,
            system_instruction=settings.system_instruction,
            apply_chat_template=bool(template),
            fewshot_as_multiturn=multiturn,
            chat_template=lm.apply_chat_template if template else None,
            tokenizer_name=lm.tokenizer_name if template else "",
        )
    by_document: dict[int, list[Any]] = defaultdict(list)
    for instance in task.instances:
        by_document[instance.doc_id].append(instance)
        suite.requests.setdefault(instance.request_type, []).extend([instance] * instance.repeats)
    documents = []
    for doc_id, doc in task.doc_iterator(rank=0, limit=limit, world_size=1):
        instances = sorted(by_document[doc_id], key=lambda instance: instance.idx)
        documents.append(_Document(doc, instances, _fixed_part(task, doc_id, doc, instances)))
    suite.documents[name] = documents


def _fixed_part(task: Any, doc_id: int, doc: Any, instances: list[Any]) -> Sample:
    """The part of lm-eval's sample that does not depend on the model."""
    from lm_eval.utils import handle_non_serializable, hash_string

    target = task.doc_to_target(doc)
    text = json.dumps(instances[0].doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return {
        "doc_id": doc_id,
        "doc": doc,
        "target": target,
        "arguments": [instance.args for instance in instances],
        "doc_hash": hash_string(text),
        "prompt_hash": hash_string(instances[0].arguments[0]),
        "target_hash": hash_string(str(target)),
    }


def tokenize(lm: Any, instances: list[Any]) -> list[Any]:
    """The requests as `lm` would hand them to `_loglikelihood_tokens`."""
    caught: list[Any] = []

    def catch(requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        caught.extend(requests)
        return [(0.0, False)] * len(requests)

    lm._loglikelihood_tokens = catch  # in front of the method of the class, for this one call
    try:
        lm.loglikelihood(instances, disable_tqdm=True)
    finally:
        del lm._loglikelihood_tokens
    return caught


def seed_all(seeds: Sequence[int | None]) -> None:
    """Seed as `lm_eval --seed` does, so that tasks that sample give what a separate call gives."""
    import numpy as np
    from lm_eval.utils import set_torch_seed

    if seeds[0] is not None:
        random.seed(seeds[0])
    if seeds[1] is not None:
        np.random.seed(seeds[1])
    if seeds[2] is not None:
        set_torch_seed(seeds[2])


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar for each of many small tasks."""
    import lm_eval.api.task as module

    bar = module.tqdm
    module.tqdm = lambda iterable=None, **_: iterable
    try:
        yield
    finally:
        module.tqdm = bar


@contextmanager
def _templates_compiled_once() -> Iterator[None]:
    """lm-eval compiles a task's Jinja template again for every document, which takes longer than rendering it."""
    from functools import lru_cache

    from lm_eval.utils import env

    env.from_string = lru_cache(maxsize=1000)(env.from_string)  # in front of the class's method
    try:
        yield
    finally:
        del env.from_string


@contextmanager
def _without_hints() -> Iterator[None]:
    """Leave out lm-eval's hint, once a task, that a data set of one's own takes arguments."""
    logger = logging.getLogger("lm_eval.api.task")

    def keep(record: logging.LogRecord) -> bool:
        return "Custom kwargs can be passed" not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
