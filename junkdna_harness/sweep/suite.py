"""Tasks and their requests, built once and scored at every level, exactly as `lm_eval.evaluate` would score them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from difficulty.errors import UsageError
from difficulty.visible import visible
from junkdna_harness.border import TaskRefused
from junkdna_harness.harness import results
from junkdna_harness.harness.patches import templates_compiled_once
from junkdna_harness.harness.requests import Document, Sample, build_documents, seed_all, tokenize
from junkdna_harness.harness.tasks import load_tasks, none_left
from junkdna_harness.harness.versions import needs_images
from junkdna_harness.presentation.escape import first_line
from junkdna_harness.sweep.plan import Settings

logger = logging.getLogger(__name__)

# Requests kept as tensors between levels; larger sets are laid out again at each level.
MOST_TOKENS_KEPT = 50_000_000
LIKELIHOODS = ("loglikelihood", "loglikelihood_rolling")
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Scores:
    """One level's outcome: lm-eval's samples by task, its aggregated results, and why a task has none of them."""

    samples: dict[str, list[Sample]]
    results: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class Suite:
    """Tasks with their requests; `score` evaluates the model as it is now.

    `failed`: tasks that could not be loaded or built, name -> why; they are in none of the other fields.
    """

    tasks: dict[str, Any]
    groups: dict[str, Any]
    settings: Settings
    documents: dict[str, list[Document]] = field(default_factory=dict)
    requests: dict[str, list[Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    _owners: dict[str, list[str]] = field(default_factory=dict)  # the task of each request
    _passes: list[Any] | None = None
    _tokens: list[Any] = field(default_factory=list)

    @property
    def n_requests(self) -> int:
        """Requests sent to the model at each level."""
        return sum(map(len, self.requests.values()))

    def add(self, name: str, documents: list[Document]) -> None:
        """Take in a task's documents."""
        self.documents[name] = documents
        for document in documents:
            for instance in document.instances:
                kind = instance.request_type
                self.requests.setdefault(kind, []).extend([instance] * instance.repeats)
                self._owners.setdefault(kind, []).extend([name] * instance.repeats)

    def score(self, lm: Any, progress: Progress | None = None) -> Scores:
        """Samples and results of `lm` as it is now. A task that cannot be run is left out of both and named.

        Raises:
            FloatingPointError: a log-likelihood is not a number: the model is broken, whatever the task.
            UsageError: no task could be run.
        """
        failed = dict(self.failed)
        return self._scored(*self.ask(lm, failed, progress), failed)

    def score_each(
        self,
        lm: Any,
        holding: Callable[[str], AbstractContextManager[None]],
        progress: Progress | None = None,
    ) -> Scores:
        """The same, where `lm` is another model for each task, while `holding(task)` makes it that. Each task is asked by itself, as
        `lm_eval` would ask it of its model.

        Raises:
            FloatingPointError: a log-likelihood is not a number.
            UsageError: no task could be run.
        """
        failed = dict(self.failed)
        samples: dict[str, list[Sample]] = {}
        raw: dict[str, results.Raw] = {}
        for name, part in self._parts.items():
            with holding(name):
                answered, values = part.ask(lm, failed, progress)
            samples, raw = {**samples, **answered}, {**raw, **values}
        return self._scored(samples, raw, failed)

    @cached_property
    def _parts(self) -> dict[str, Suite]:
        """Each task as a suite of its own."""
        return {name: self.part({name: documents}) for name, documents in self.documents.items()}

    def _scored(
        self, samples: dict[str, list[Sample]], raw: dict[str, results.Raw], failed: dict[str, str]
    ) -> Scores:
        found = self._aggregate(raw, failed)
        if not raw:
            raise UsageError(none_left(failed))
        return Scores({name: samples[name] for name in raw}, found, failed)

    def ask(
        self, lm: Any, failed: dict[str, str], progress: Progress | None = None
    ) -> tuple[dict[str, list[Sample]], dict[str, results.Raw]]:
        """Samples and values by task, of `lm` as it is now; a task that cannot be run joins those that `failed`.

        Raises:
            FloatingPointError: a log-likelihood is not a number.
        """
        seed_all(self.settings.seed)
        for instances in self.requests.values():
            for instance in instances:
                instance.resps, instance.filtered_resps = [], {}
        for kind in self.requests:
            self._answer(lm, kind, failed, progress)
        samples: dict[str, list[Sample]] = {}
        raw: dict[str, results.Raw] = {}
        with templates_compiled_once():
            for name, task in self.tasks.items():
                if name not in failed:
                    with _named(name, failed, "its answers cannot be scored"):
                        samples[name], raw[name] = results.task_samples(task, self.documents[name])
        return samples, raw

    def part(self, documents: Mapping[str, list[Document]]) -> Suite:
        """A suite of these documents alone, which are some of this one's, and share their requests with it."""
        tasks = {name: task for name, task in self.tasks.items() if documents.get(name)}
        found = Suite(tasks, {}, self.settings)
        for name in tasks:
            found.add(name, documents[name])
        return found

    def _answer(self, lm: Any, kind: str, failed: dict[str, str], progress: Progress | None) -> None:
        """Ask all requests of one kind; where that raises, ask them task by task, and name those that raise."""
        instances, owners = self.requests[kind], self._owners[kind]
        told = 0

        def tell(answered: int) -> None:
            nonlocal told
            told += answered
            if progress:
                progress(answered)

        try:
            answers = self._respond(lm, kind, instances, tell)
        except Exception as error:
            if _concerns_the_run(error):
                raise
            logger.info("%s requests: %s; asked again task by task", kind, visible(first_line(error)))
        else:
            _keep(kind, instances, answers)
            return
        for name in dict.fromkeys(owner for owner in owners if owner not in failed):
            part = [instance for instance, owner in zip(instances, owners, strict=True) if owner == name]
            with _named(name, failed, "the model cannot answer it"):
                _keep(kind, part, list(getattr(lm, kind)(part, disable_tqdm=True)))
        tell(len(instances) - told)

    def _respond(self, lm: Any, kind: str, instances: list[Any], progress: Progress) -> list[Any]:
        shares = getattr(
            lm, "_prefix_cache", False
        )  # models of others do not share what requests have in common
        if kind != "loglikelihood" or not shares or not lm._own_passes():
            answers = getattr(lm, kind)(instances, disable_tqdm=True)
            progress(len(instances))
            return list(answers)
        from junkdna_harness.models.forward import prepare

        if self._passes is None:
            self._tokens = tokenize(lm, instances)
            lm.note_lengths(instances, self._tokens)
            batches = lm.plan_scoring(self._tokens)
            tokens = sum(len(context) + len(continuation) for _, context, continuation in self._tokens)
            self._passes = [prepare(b) for b in batches] if tokens <= MOST_TOKENS_KEPT else batches
        passes = (p if hasattr(p, "tails") else prepare(p) for p in self._passes)
        return list(lm.score(passes, self._tokens, disable_tqdm=True, progress=progress))

    def _aggregate(self, raw: dict[str, results.Raw], failed: dict[str, str]) -> dict[str, Any]:
        """lm-eval's results; a task whose metric cannot be aggregated is taken out of `raw`, and named."""
        try:
            return results.aggregate(self.tasks, self.groups, raw)
        except Exception as error:
            whole = error
        for name in list(raw):
            with _named(name, failed, "its scores cannot be aggregated"):
                results.aggregate(self.tasks, {}, {name: raw[name]})
            if name in failed:
                del raw[name]
        if not set(failed) - set(self.failed):
            raise whole  # each task alone can be: the fault is not a task's
        return results.aggregate(self.tasks, self.groups, raw)


@contextmanager
def _named(name: str, failed: dict[str, str], what: str) -> Iterator[None]:
    """A block in which an error is written down as the failure of one task, in a sentence, and goes no further."""
    try:
        yield
    except Exception as error:
        if _concerns_the_run(error):
            raise
        failed[name] = f"{what}: {first_line(error)}"


def _concerns_the_run(error: Exception) -> bool:
    """True for what is no task's fault: a model that answers with NaN, and what only the user can put right."""
    return isinstance(error, (FloatingPointError, UsageError)) and not isinstance(error, TaskRefused)


def _keep(kind: str, instances: list[Any], answers: list[Any]) -> None:
    if kind in LIKELIHOODS:
        values = [answer[0] if isinstance(answer, tuple) else answer for answer in answers]
        if wrong := sum(math.isnan(value) for value in values):
            raise FloatingPointError(f"{wrong} of {len(values)} log-likelihoods are not a number")
        if kind == "loglikelihood" and values and all(value == -math.inf for value in values):
            raise FloatingPointError(
                f"all {len(values)} log-likelihoods are minus infinity: the logits overflow"
            )
    for answer, instance in zip(answers, instances, strict=True):
        instance.resps.append(answer)


def build_suite(lm: Any, manager: Any, names: list[str], settings: Settings) -> Suite:
    """The suite of the tasks `names`, with lm-eval's own overrides, seeds and requests.

    A task that cannot be loaded or built is left out, and named in `failed`.

    Raises:
        UsageError: a task needs code or inputs that a sweep does not run, names itself twice, or none is left.
    """
    seed_all(settings.seed)
    loaded = load_tasks(manager, names)
    refuse_tasks(loaded.tasks)
    suite = Suite(loaded.tasks, loaded.groups, settings, failed=dict(loaded.failed))
    with templates_compiled_once():
        for name, task in loaded.tasks.items():
            with _named(name, suite.failed, "its requests cannot be built"):
                suite.add(name, build_documents(task, lm, settings))
    suite.tasks = {name: task for name, task in loaded.tasks.items() if name in suite.documents}
    if not suite.tasks:
        raise UsageError(none_left(suite.failed))
    return suite


def refuse_tasks(tasks: Mapping[str, Any]) -> None:
    """Refuse tasks that a sweep does not ask.

    Raises:
        UsageError: one runs code of a model, or needs images.
    """
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False):
            raise UsageError(f"task {name!r} runs code that a model wrote. A sweep does not do that.")
        if needs_images(task):
            raise UsageError(f"task {name!r} needs images. A sweep evaluates text tasks.")
