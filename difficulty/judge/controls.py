"""What a recovered run is compared with: the dense model that was trained as long, and the run before its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from difficulty.judge.series import Condition
from difficulty.runs.identity import (
    DENSE,
    DENSE_FREEZING,
    DENSE_TRANSFER,
    LOCAL_RECONSTRUCTION,
    Method,
    Recovery,
)
from difficulty.runs.trained import ADAPTER, DATA, LENGTH, SAME_SEED, in_words, unlike

# Run id -> what its manifest says of each of its trainings.
Trained = Mapping[str, Sequence[Mapping[str, Any]]]
UNTRAINED = (
    "It is compared with the dense model itself, untrained: local reconstruction only seeks the dense model's outputs again, so "
    "there is no dense model trained as long."
)


@dataclass(frozen=True)
class Control:
    """The dense model trained as long: its place among the conditions, and a `remark` where its training differed."""

    at: int
    remark: str = ""


def recovered_from_pruned(condition: Condition) -> bool:
    """Whether a pruned model was trained, so that there is something to recover from.

    Not the dense model trained on, and not one whose weights were only frozen: these are controls.
    """
    done = condition.done
    return (
        condition.kind == "recovered"
        and done.before.base != DENSE
        and any(recovery.arm != DENSE_FREEZING for recovery in done.recoveries)
    )


def control_of(conditions: Sequence[Condition], done: Method) -> Control | None:
    """The dense model with as many trainings of the same shares, steps and rates: with the same adapters, else with none.

    Local reconstruction has no counterpart: after it alone, it is the dense model itself.
    """
    wanted = control_method(done)
    found = _find(conditions, wanted, 0.0)
    if found is not None:
        return Control(found, UNTRAINED if not wanted.recoveries else "")
    plain = replace(wanted, recoveries=tuple(replace(r, adapter=None) for r in wanted.recoveries))
    found = _find(conditions, plain, 0.0)
    if found is None:
        return None
    return Control(
        found, f"The dense model was trained without the adapter ({plain}), as there is no run of {wanted}."
    )


def control_method(done: Method) -> Method:
    """The method of the dense model that was trained as `done` was."""
    trained = [r for r in done.recoveries if r.arm != LOCAL_RECONSTRUCTION]
    return Method(
        DENSE, None,
        tuple(Recovery(DENSE_TRANSFER, False, r.adapter, r.share, r.steps, r.lr) for r in trained),
    )  # fmt: skip


def trained_otherwise(trained: Trained, recovered: Sequence[str], control: Sequence[str]) -> tuple[str, str]:
    """(why the dense model was not trained as long, what else is to be known), each "" where nothing is, by the runs' manifests.

    Runs of one seed must have seen the same data; an adapter that is not the same is told.
    """
    for run in recovered:
        own = _with_counterpart(trained.get(run, ()))
        for other in control:
            against = trained.get(other, ())
            adapters = [tuple(one.get("adapter") for one in links) for links in (own, against)]
            names = (*LENGTH, *DATA, *(["lr"] if adapters[0] == adapters[1] else []))
            if _seeds(own) == _seeds(against):
                names = (*names, *SAME_SEED)
            if differing := unlike(own, against, names):
                return f"the dense model was trained otherwise: {in_words(differing)}", ""
            if differing := unlike(own, against, ADAPTER):
                return "", f"The adapters differ: {in_words(differing)}."
    return "", ""


def _with_counterpart(links: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The trainings that the dense model has as well."""
    return [one for one in links if one.get("arm") != LOCAL_RECONSTRUCTION]


def _seeds(links: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [one.get("seed") for one in links]


def untrained(conditions: Sequence[Condition], condition: Condition) -> int | None:
    """The condition that a recovered one was trained from, if it was evaluated too: same level, bits and pattern."""
    return _find(conditions, condition.done.before, condition.level, condition.bits)


def _find(
    conditions: Sequence[Condition], done: Method, level: float, bits: float = float("nan")
) -> int | None:
    for k, condition in enumerate(conditions):
        same_bits = condition.bits == bits or (condition.bits != condition.bits and bits != bits)
        if condition.done == done and abs(condition.level - level) < 1e-9 and same_bits:
            return k
    return None
