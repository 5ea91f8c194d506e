"""What a gate found, as `check` tells it, and what it cost."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, fields, replace
from typing import Any

from difficulty.runs.noise import pool
from difficulty.runs.table import some
from difficulty.stats.betting import confidence_sequence
from difficulty.stats.paired_loss import UNBOUNDED_ITEMS, PairedLoss
from difficulty.stats.sequential import asymptotic_confidence_sequence
from junkdna_harness.gate.behind import no_texts, with_flips
from junkdna_harness.gate.flips import Texts
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.json_output import as_json
from junkdna_harness.gate.policy import Verdict
from junkdna_harness.gate.remarks import remarks
from junkdna_harness.gate.rule import Comparison, Gate, joint
from junkdna_harness.gate.sequential_rule import LOOKING, Question, Standing, best_at
from junkdna_harness.gate.walk import STOPPED
from junkdna_harness.presentation.amounts import time_span
from junkdna_harness.sequential.run import Finished

_VARYING = (
    "seconds",
    "created",
    "sparsity_by_module",
)  # of a model's block: what two loads of it may differ in, and what is long


@dataclass(frozen=True)
class LossSoFar(PairedLoss):
    """A loss on the items that were asked, with bounds that hold at all looks together."""

    ends: tuple[float, float] = (-math.inf, math.inf)

    def bounds(self, alpha: float = 0.05) -> tuple[float, float]:
        """The one-sided bounds at the gate's error rate, whatever `alpha`: they were made at that rate."""
        return self.ends


@dataclass(frozen=True)
class Outcome:
    """The gate as `check` has it, and how it was come to."""

    gate: Gate
    finished: Finished
    numbers: tuple[int, ...]  # of the comparisons, among those that were planned

    @property
    def items_used(self) -> int:
        """Items that were asked."""
        return self.finished.walk.n_asked

    @property
    def items_all(self) -> int:
        """Items of the baseline that feed some comparison."""
        return self.finished.walk.n_all

    @property
    def looks(self) -> int:
        """How often the comparisons were judged."""
        return self.finished.walk.judge.looks

    @property
    def seconds_saved(self) -> float:
        """An estimate: what the items that were not asked would have taken at the rate of those that were."""
        used = self.items_used
        return self.finished.seconds * (self.items_all - used) / used if used else 0.0

    @property
    def further(self) -> list[str]:
        """What was asked, why it ended, and what that cost, in sentences."""
        end, used, every = self.finished, self.items_used, self.items_all
        looks = self.looks
        told = []
        if end.stopped == "same":
            told.append(f"every answer equal on {used:,} asked; same weights")
        share = f"{100 * used / max(every, 1):.1f} %"
        told.append(
            f"items used {used:,} of {every:,} ({share}), {looks} look{'s' * (looks != 1)}: {STOPPED[end.stopped]}"
        )
        if used:
            told[-1] += f"; asked in {time_span(end.seconds)}"
        if 0 < used < every:
            told[-1] += f", about {time_span(self.seconds_saved)} saved by the rate so far"
        if end.folder is not None:
            told.append(f"answers: {end.folder}")
        return told

    def to_json(self, exit_code: int) -> str:
        """The document of `check`, with what was asked and at which look each comparison was decided."""
        end, judge = self.finished, self.finished.walk.judge
        document = json.loads(as_json(self.gate, exit_code))
        for cell, number in zip(document["cells"], self.numbers, strict=True):
            standing = judge.standings[number]
            cell |= {
                "items_used": len(end.walk.used(number)),
                "items_all": len(end.walk.comparisons[number].at),
                "decided_at_look": standing.look,
                "evidence": "asymptotic" if standing.asymptotic else "exact",
            }
            cell["items_to_decide"] = None
        document |= {
            "model": _model(end),
            "items_used": self.items_used,
            "items_all": self.items_all,
            "looks": judge.looks,
            "stopped": end.stopped,
            "stopped_because": STOPPED[end.stopped],
            "seed": end.walk.seed,
            "seconds": round(end.seconds, 3),
            "seconds_saved": round(self.seconds_saved, 3),
        }
        return json.dumps(document, indent=2, allow_nan=False, default=list) + "\n"


def outcome_of(finished: Finished, baseline_texts: Texts = no_texts) -> Outcome:
    """The outcome of a gate that has ended, with the items behind what did not pass; `baseline_texts`: what the baseline's log holds of them."""
    walk, new = finished.walk, finished.new
    run = finished.candidate.who.run
    if new is None:
        about = {
            "model": run.model,
            "method": str(run.method),
            "level": run.level,
            "bits": run.bits,
            "replicate": run.replicate,
        }
        new = RunItems(str(run), about, {})
    new = replace(new, weights_sha256=finished.candidate.weights_sha256)
    numbers = tuple(n for n in range(len(finished.planned)) if len(walk.used(n)))
    comparisons = [_comparison(finished, number) for number in numbers]
    beside = Counter(one.rule.severity for one in finished.planned)
    comparisons = [replace(one, among=beside[one.severity]) for one in comparisons]
    identical = finished.stopped == "same"
    notes = [
        *finished.notes,
        *remarks(comparisons, finished.policy.alpha),
        *_asymptotic(comparisons, finished, numbers),
        *_unasked(finished, numbers),
    ]
    verdict = _verdict(finished, comparisons, numbers)
    gate = Gate(
        verdict, tuple(comparisons), finished.prepared.missing, tuple(dict.fromkeys(notes)), finished.policy, new,
        finished.baseline, identical=identical,
    )  # fmt: skip
    return Outcome(with_flips(gate, finished.texts, baseline_texts), finished, numbers)


def _verdict(finished: Finished, comparisons: list[Comparison], numbers: tuple[int, ...]) -> Verdict:
    """That of `check`, where comparisons of which nothing was asked are inconclusive too."""
    verdict = joint(comparisons, bool(finished.prepared.missing))
    if finished.stopped == "same":
        return verdict
    unasked = {
        one.rule.inconclusive
        for number, one in enumerate(finished.planned)
        if number not in numbers and one.rule.critical
    }
    if verdict == "fail" or "fail" in unasked:
        return "fail"
    return "inconclusive" if "inconclusive" in {verdict, *unasked} else "pass"


def _unasked(finished: Finished, numbers: tuple[int, ...]) -> list[str]:
    """A note on the comparisons that are open as the budget ended before any of their items."""
    named = [one.name for n, one in enumerate(finished.planned) if n not in numbers]
    if not named or finished.stopped in ("same", "missing"):
        return []
    return [f"nothing was asked of {some(named, 4)}: {STOPPED[finished.stopped]}"]


def _comparison(finished: Finished, number: int) -> Comparison:
    """A comparison on the items that it was last judged on."""
    walk, planned = finished.walk, finished.planned[number]
    standing, question = walk.judge.standings[number], walk.judge.questions[number]
    at = walk.used(number)
    loss = walk.comparisons[number].loss(walk.items, walk.after, at)
    if standing.asymptotic:
        loss = replace(loss, bounded=False)
    ends = _bounds(loss, finished.policy.alpha, question, standing, planned.before)
    if len(at) == len(walk.comparisons[number].at):
        low, high = loss.bounds((1 - LOOKING) * finished.policy.alpha)
        ends = max(ends[0], low), min(ends[1], high)
    so_far = LossSoFar(**{f.name: getattr(loss, f.name) for f in fields(PairedLoss)}, ends=ends)
    noise = pool(finished.baseline.tasks[key].noise for key in planned.cells)
    why = None
    if standing.verdict == "inconclusive":
        n = len(walk.comparisons[number].at)
        why = f"{planned.name} was judged on {len(at):,} of its {n:,} items"
        if standing.asymptotic and standing.units < UNBOUNDED_ITEMS:
            why += (
                f", and an unbounded metric ({planned.metric}) needs {UNBOUNDED_ITEMS} that are independent"
            )
        why += "."
    return Comparison(
        planned, so_far, standing.p_exceeds, standing.p_below, standing.p_holm, standing.verdict, noise=noise, open=why
    )  # fmt: skip


def _bounds(
    loss: PairedLoss, alpha: float, question: Question, standing: Standing, baseline: float
) -> tuple[float, float]:
    """Bounds of the loss in the metric's units, each wrong at some look with the share of `alpha` that is spent on looking, at most."""
    if not standing.asymptotic:
        return confidence_sequence(loss.sums, loss.sizes, LOOKING * alpha, question.largest, question.lowest)
    low, high = asymptotic_confidence_sequence(loss.sums, loss.sizes, LOOKING * alpha, best_at(question))
    if loss.scale != "perplexity":
        return low, high
    low, high = (baseline * math.expm1(end) if end < 709 else math.inf for end in (low, high))
    return low, high


def _asymptotic(comparisons: list[Comparison], finished: Finished, numbers: tuple[int, ...]) -> list[str]:
    """A note where evidence is asymptotic."""
    named = sorted(
        {
            one.metric
            for one, number in zip(comparisons, numbers, strict=True)
            if finished.walk.judge.standings[number].asymptotic
        }
    )
    if not named:
        return []
    return [
        f"{', '.join(named)} can leave [0, 1]: the evidence on it is asymptotic, from {UNBOUNDED_ITEMS} independent items on"
    ]


def _model(finished: Finished) -> dict[str, Any]:
    candidate = finished.candidate
    block = {name: value for name, value in candidate.who.manifest.items() if name not in _VARYING}
    return {
        "model": candidate.who.run.model,
        "wrapper": candidate.wrapper,
        "arguments": {
            name: value
            for name, value in candidate.arguments.items()
            if isinstance(value, (str, int, float, bool, type(None)))
        },
        "dtype": candidate.dtype,
        "weights_sha256": candidate.weights_sha256,
        "junkdna": block,
    }
