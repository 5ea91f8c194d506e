"""How near the scores of a sweep in half precision are to float32: a sample of its items is asked once more, in float32.

That is done in the dense run, and in the most compressed run of each kind, whose logits are the farthest from those of any trained
model. A run's answers in half precision are there already, so what this costs is the sample alone. The same items are asked in all
runs of a plan: in each task those whose numbers have the smallest hashes, in turn over the tasks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from difficulty.runs.dtypes import Agreement
from difficulty.runs.metrics import choose_one
from difficulty.runs.rows import task_rows
from difficulty.runs.table import HIGHER_IS_BETTER, MARGIN, SCALE
from junkdna_harness.harness.requests import Document, Sample
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.suite import LIKELIHOODS, Scores, Suite

FEWEST, MOST = 100, 400  # documents of the sample
SHARE = 0.005  # of all that a sweep asks, for each run in which it is measured
TOKENS_TOGETHER = 512  # of a text: they come from one pass, so that they are taken together
TOKEN_SCORES = "token_scores"
SAME = 1e-6  # of two scores of one item


class WithFloat32:
    """A sample of the documents of a suite, and the runs of the plan in which it is asked in float32 too."""

    def __init__(self, suite: Suite, plan: Plan, model: int) -> None:
        cells = [cell for cell in plan.cells if cell.model == model]
        self.plan, self.runs = plan, frozenset(plan.run_id(cell) for cell in measured(cells))
        size = sum(map(len, suite.documents.values()))
        most = min(MOST, max(FEWEST, int(SHARE * size * len(cells))))
        self.part = suite.part(sample(suite.documents, most))

    def wanted(self, cell: PlannedRun) -> bool:
        """True where it is measured in this run."""
        return self.plan.run_id(cell) in self.runs

    def measure(self, lm: Any, scores: Scores) -> Agreement | None:
        """`scores`, which are in half precision, beside those of `lm`, which is in float32 now; None where no task has both."""
        noted = lm.junkdna
        asked, _ = self.part.ask(lm, {})
        lm.junkdna = noted  # what it says of all items, not of the sample
        changed: list[bool] = []  # by item
        requests = 0
        moves: list[float] = []
        differences: list[float] = []
        for name, wide in asked.items():
            there = {(one["doc_id"], one["filter"]): one for one in scores.samples.get(name, ())}
            narrow = [there[key] for one in wide if (key := (one["doc_id"], one["filter"])) in there]
            if len(narrow) < len(wide):
                continue  # the task failed in half precision, which the run says
            kind = self.part.documents[name][0].instances[0].request_type
            for ours, theirs in _of_documents(wide, narrow):
                (answer, logliks), (other, others) = _read(kind, ours), _read(kind, theirs)
                changed.append(answer != other)
                requests += len(ours["resps"])
                differences += [abs(a - b) for a, b in zip(logliks, others, strict=True)]
            moves += _moves(self.part.tasks[name], name, wide, narrow)
        finite = [value for value in differences if math.isfinite(value)]  # of -inf in both is no number
        if not changed:
            return None
        return Agreement(
            lm.dtype, len(changed), requests, sum(changed), sum(move < 0 for move in moves), sum(move > 0 for move in moves),
            sum(finite) / len(finite) if finite else None, max(finite, default=None),
        )  # fmt: skip


def measured(cells: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The dense run of a model's `cells`, and of each kind of compression the run that is compressed most, the first of equals."""
    found = [cell for cell in cells if cell.kind == "dense" and not cell.noise_floor][:1]
    for kind in ("prune", "checkpoint", "quantize"):
        alike = [cell for cell in cells if cell.kind == kind]
        if alike:
            found.append(max(alike, key=lambda cell: (cell.level or 0.0, -(cell.bits or 0.0))))
    return found


def sample(documents: Mapping[str, Sequence[Document]], most: int) -> dict[str, list[Document]]:
    """About `most` of the documents: of each task those with the smallest hashes, one more of every task in turn."""
    waiting = {name: _in_turn(name, listed) for name, listed in documents.items()}
    chosen: dict[str, list[Document]] = {name: [] for name in documents}
    number = 0
    while waiting and number < most:
        for name in list(waiting):
            together = next(waiting[name], None)
            if together is None:
                del waiting[name]
            elif number < most:
                chosen[name] += together
                number += len(together)
    return chosen


def _in_turn(task: str, documents: Sequence[Document]) -> Iterator[list[Document]]:
    """The documents in the order of their hashes; tokens of one piece of a text come together, the same pieces in all tasks."""
    units: dict[str, list[Document]] = {}
    for number, document in enumerate(documents):
        first = document.instances[0]
        name = f"{task} {number}"
        if first.request_type == TOKEN_SCORES:
            text, at, place = str(first.args[0]).rsplit(":", 2)
            name = f"{text} {at} {int(place) // TOKENS_TOGETHER}"
        units.setdefault(name, []).append(document)
    for name in sorted(units, key=lambda name: hashlib.sha256(name.encode()).digest()):
        yield units[name]


def _of_documents(wide: Sequence[Sample], narrow: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Both samples of each document, once: a document has a sample for each filter of its task."""
    seen = set()
    for ours, theirs in zip(wide, narrow, strict=True):
        if ours["doc_id"] not in seen:
            seen.add(ours["doc_id"])
            yield ours, theirs


def _read(kind: str, sample: Sample) -> tuple[object, list[float]]:
    """What was answered (an option, a text, whether a token is the likeliest), and the log-likelihoods of a sample."""
    answers = [responses[0] for responses in sample["resps"]]
    if kind == TOKEN_SCORES:
        return [right for right, _, _ in answers], [-loss for _, _, loss in answers]
    if kind not in LIKELIHOODS:
        return answers, []
    values = [float(one[0]) if isinstance(one, (tuple, list)) else float(one) for one in answers]
    if len(values) > 1:
        return values.index(max(values)), values
    return (answers[0][1] if isinstance(answers[0], (tuple, list)) else None), values


def _moves(task: Any, name: str, wide: Sequence[Sample], narrow: Sequence[Sample]) -> list[float]:
    """By how much each item's score got better in half precision; nothing for perplexities, which are log-likelihoods."""
    directions = task.higher_is_better()
    rows = [task_rows(name, task.dump_config(), listed, directions).rows for listed in (wide, narrow)]
    scored = [row for row in rows[0] if row["metric"] != MARGIN and SCALE not in row]
    metric = choose_one(list(dict.fromkeys(row["metric"] for row in scored)))
    before, after = (
        {row["item_id"]: float(row["value"]) for row in listed if row["metric"] == metric} for listed in rows
    )
    sign = next(
        (1 if row.get(HIGHER_IS_BETTER, True) else -1 for row in scored if row["metric"] == metric), 1
    )
    moves = (sign * (after[item] - value) for item, value in before.items() if item in after)
    return [move for move in moves if not math.isclose(move, 0, abs_tol=SAME)]
