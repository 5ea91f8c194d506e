"""Ask, look, and stop: one gate from the loaded model to its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.runs.noise import pool
from difficulty.runs.table import LOOKED, some
from junkdna_harness.gate.baseline import to_json
from junkdna_harness.gate.behind import no_texts
from junkdna_harness.gate.flips import Texts
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.pairs import same_dtypes
from junkdna_harness.gate.planned import PlannedComparison, plan_comparisons
from junkdna_harness.gate.policy import Limits, Policy
from junkdna_harness.gate.rule import counted, nothing_to_judge
from junkdna_harness.gate.simple import policy_of
from junkdna_harness.gate.walk import Compared, Integers, Stop, Walk
from junkdna_harness.harness.requests import Sample
from junkdna_harness.models.base import JunkDNALM
from junkdna_harness.presentation.escape import first_line
from junkdna_harness.sequential.answers import Answers
from junkdna_harness.sequential.loading import Candidate
from junkdna_harness.sequential.prepared import Prepared, Prompting, prepare
from junkdna_harness.sequential.store import DEFAULT, SAMPLES, Batch, Folder, fingerprint, sha256_of
from junkdna_harness.sweep.evaluated import parquet_bytes

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How the gate is run. `seed`: of the order. `out`: the folder, by default `junkdna_gate/` and a name made of what is judged."""

    prompting: Prompting = field(default_factory=Prompting)
    seed: int = 0
    max_items: int | None = None
    every_rule: bool = False
    out: Path | None = None
    allow_different_prompts: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 1:
            raise UsageError(f"--max-items {self.max_items} asks nothing. Give a number of at least 1.")
        if self.seed < 0:
            raise UsageError(
                f"--seed {self.seed} is no seed of the order. Give a whole number of at least 0."
            )


@dataclass(frozen=True)
class Finished:
    """A gate that has ended: `walk` knows what was asked and found. `seconds`: spent on asking, also by runs that were cut off.

    `new`: the run with the items that were asked; None where nothing was asked, as something is missing. `texts`: what of these items was
    asked and answered.
    """

    candidate: Candidate
    baseline: RunItems
    policy: Policy
    planned: tuple[PlannedComparison, ...]
    prepared: Prepared
    walk: Walk
    stopped: Stop
    seconds: float
    new: RunItems | None
    notes: tuple[str, ...]
    folder: Path | None
    texts: Texts = no_texts


def run_gate(
    candidate: Candidate, baseline: RunItems, limits: Limits | Policy, options: Options | None = None, tell: Tell | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Finished:  # fmt: skip
    """Ask `candidate` as few of the baseline's items as the verdict needs. `tell` is given a line after each look, `progress` the
    number of items asked, of all.

    Raises:
        UsageError: the tasks are not those of the baseline, the folder is that of another gate, or the model cannot answer.
    """
    options = options or Options()
    policy = limits if isinstance(limits, Policy) else policy_of(limits, baseline)
    planned = plan_comparisons(baseline, policy)
    if required := [rule for rule in policy.on_text if rule.required]:
        raise UsageError(
            f"{required[0].title} is on a text, and junkdna gate asks tasks alone. Judge it with junkdna check --fidelity, in a policy of "
            "its own, or say `required: false`."
        )
    if not planned:
        raise UsageError(nothing_to_judge(policy))
    notes = [*baseline.notes, *(f"not judged: {rule.title}, as no text is asked" for rule in policy.on_text)]
    wanted = {key: at for one in planned for key, at in one.cells.items()}
    warnings = _quieted(candidate.lm)
    prepared = prepare(
        candidate.lm, baseline, wanted, counted(baseline, planned, policy), options.prompting,
        {**candidate.arguments, **options.metadata}, options.allow_different_prompts,
    )  # fmt: skip
    walk = Walk(
        prepared.items, [compared(one, prepared, baseline) for one in planned], options.seed, policy.alpha, options.every_rule,
        options.max_items,
    )  # fmt: skip
    hopeless = _hopeless(walk, planned, policy.alpha)
    notes += [*prepared.notes, *hopeless]
    if tell is not None and hopeless:
        tell(f"note: {hopeless[0]}")
    if prepared.missing:
        return Finished(
            candidate,
            baseline,
            policy,
            tuple(planned),
            prepared,
            walk,
            "missing",
            0.0,
            None,
            tuple(notes),
            None,
        )
    identity = _identity(candidate, baseline, planned, policy, prepared, options.seed)
    path = options.out or Path(DEFAULT) / fingerprint(identity)
    with Folder(path, identity).held() as folder:
        asking = _Asking(candidate, baseline, prepared, walk, folder, tell, progress)
        new = asking.all()
        folder.check_held()
        write_atomic(path / SAMPLES, parquet_bytes(asking.answers.table.assign(**{LOOKED: True})))
    notes += [*candidate.who.notes, *warnings, *same_dtypes(new, baseline)]
    assert walk.stopped is not None
    return Finished(
        candidate, baseline, policy, tuple(planned), prepared, walk, walk.stopped, asking.seconds, new,
        tuple(dict.fromkeys(notes)), path, asking.answers.texts,
    )  # fmt: skip


def compared(one: PlannedComparison, prepared: Prepared, baseline: RunItems) -> Compared:
    """A comparison with the places of its items among all that can be asked."""
    places = np.concatenate([prepared.places[key][at] for key, at in one.cells.items()])
    noise = pool(baseline.tasks[key].noise for key in one.cells)
    return Compared(
        places[places >= 0], one.limit, one.kind, one.scale, one.higher_is_better, one.rule.critical, one.bounded,
        None if noise is None or one.kind == "flips" else noise.within,
    )  # fmt: skip


class _Asking:
    """The batches of one gate, asked or read from its folder."""

    def __init__(
        self, candidate: Candidate, baseline: RunItems, prepared: Prepared, walk: Walk, folder: Folder, tell: Tell | None,
        progress: Callable[[float, float], None] | None = None,
    ) -> None:  # fmt: skip
        self.candidate, self.baseline, self.prepared = candidate, baseline, prepared
        self.walk, self.folder, self.tell, self.progress = walk, folder, tell, progress
        self.answers = Answers(prepared, baseline, candidate.who)
        self.seconds = 0.0

    def all(self) -> RunItems:
        """The run, after everything that was needed was asked."""
        walk, number = self.walk, 0
        while walk.stopped is None:
            number += 1
            known = self.folder.batch(number)
            batch = walk.next_batch(None if known is None else known.until)
            found = self._read(number, batch, known) if known is not None else self._ask(number, batch)
            self.seconds += found.seconds
            walk.take(batch, self.answers.add(batch, self._whole(found.samples)))
            if (
                (walk.stopped == "items" or (number == 1 and self._alike))
                and self._same_weights
                and walk.all_equal
            ):
                walk.pass_as_the_same()
            if self.tell is not None:
                self.tell(_line(walk))
        if number == 0:
            raise UsageError("--max-items is less than the items of the first cluster. Give a larger number.")
        return self.answers.run(dtype=self.candidate.dtype)

    @property
    def _alike(self) -> bool:
        """Whether nothing is known that answers of equal weights could differ by: another name may have another tokenizer."""
        same_name = self.candidate.who.run.model == self.baseline.about.get("model")
        return same_name and self.candidate.plain and self.prepared.alike

    @property
    def _same_weights(self) -> bool:
        about = self.candidate.who.run
        key = (
            self.candidate.weights_sha256,
            str(about.method),
            about.level,
            about.bits,
            self.candidate.dtype,
        )
        return key[0] is not None and key == self.baseline.answer_key

    def _ask(self, number: int, batch: Integers) -> Batch:
        """Ask the model, and keep what it answered."""
        documents = self.prepared.documents(batch)
        started = time.perf_counter()
        failed: dict[str, str] = {}
        try:
            part = self.prepared.suite.part(documents)
            samples, _ = part.ask(self.candidate.lm, failed, self._moving(len(batch), part.n_requests))
        except FloatingPointError as error:
            raise UsageError(f"the model is broken: {first_line(error)}.") from error
        if failed:
            task, why = next(iter(failed.items()))
            raise UsageError(f"task {task!r} of the baseline cannot be asked: {why}")
        seconds = time.perf_counter() - started
        self.folder.write(number, Batch(self.walk.until, seconds, self.prepared.names(batch), samples))
        kept = self.folder.batch(number)  # what is judged is what a run that goes on would read
        assert kept is not None
        return kept

    def _moving(self, items: int, requests: int) -> Callable[[int], None]:
        """What tells how many items are asked while a batch of `items` is, which makes so many requests."""
        answered, before, whole = 0, self.walk.n_asked, self.walk.n_all

        def tell(count: int) -> None:
            nonlocal answered
            answered += count
            if self.progress is not None and requests:
                self.progress(before + items * answered / requests, whole)

        return tell

    def _read(self, number: int, batch: Integers, known: Batch) -> Batch:
        if known.items != self.prepared.names(batch):
            raise UsageError(
                f"batch {number} in {str(self.folder.path)!r} holds other items than this gate asks there. Give another folder with --out."
            )
        return known

    def _whole(self, samples: Mapping[str, Any]) -> dict[str, list[Sample]]:
        """Kept samples with what does not depend on the model."""
        found = {}
        for task, listed in samples.items():
            fixed = {
                document.fixed["doc_id"]: document.fixed for document in self.prepared.suite.documents[task]
            }
            found[task] = [{**fixed[one["doc_id"]], **one} for one in listed]
        return found


def _identity(
    candidate: Candidate, baseline: RunItems, planned: list[PlannedComparison], policy: Policy, prepared: Prepared, seed: int
) -> dict[str, Any]:  # fmt: skip
    rules = [
        [
            one.name,
            one.kind,
            one.metric,
            one.limit,
            one.rule.severity,
            {key: at.tolist() for key, at in one.cells.items()},
        ]
        for one in planned
    ]
    prompts = {
        task: [[c["item_id"], c["prompt_hash"]] for c in cells] for task, cells in prepared.cells.items()
    }
    return {
        "model": f"{candidate.who.run} ({candidate.wrapper})",
        "weights": candidate.key,
        "baseline": sha256_of(to_json(baseline)),
        "policy": sha256_of([policy.alpha, rules]),
        "seed": seed,
        "prompts": sha256_of(prompts),
        "task_versions": dict(prepared.versions),
    }


def _hopeless(walk: Walk, planned: list[PlannedComparison], alpha: float) -> list[str]:
    """A note on critical comparisons that cannot pass, whatever the model answers, told before it is asked."""
    named = [
        one.name
        for one, how in zip(planned, walk.comparisons, strict=True)
        if one.rule.critical and not how.can_pass(walk.items, alpha)
    ]
    if not named:
        return []
    return [
        f"cannot pass here, even if every answer is equal: {some(named, 4)}. Their items are too few for their limits, or too many of them "
        "share a cluster; give a wider limit, or severity: advisory"
    ]


def _quieted(lm: Any) -> list[str]:
    """Keep a model of ours from saying the same after each batch. What it warns of comes into the list that is returned."""
    warnings: list[str] = []
    if isinstance(lm, JunkDNALM):

        def tell(sentence: str) -> None:
            kind, _, text = sentence.partition(": ")
            if kind == "warning" and text not in warnings:
                warnings.append(text)

        lm.tell = tell  # type: ignore[method-assign]
    return warnings


def _line(walk: Walk) -> str:
    judge = walk.judge
    decided = len(judge.standings) - len(judge.open)
    return f"look {judge.looks}: {walk.n_asked:,} of {walk.n_all:,} items, {decided} of {len(judge.standings)} comparisons decided"
