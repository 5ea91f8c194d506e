"""What a recovered run is compared with: the dense model that was trained as long, and the run before its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from difficulty.judge.series import Condition
from difficulty.runs.identity import DENSE, DENSE_FREEZING, DENSE_TRANSFER, Method, Recovery


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
    """The dense model with as many trainings on the same shares of the data: with the same adapters, else with none."""
    wanted = control_method(done)
    found = _find(conditions, wanted, 0.0)
    if found is not None:
        return Control(found)
    plain = replace(wanted, recoveries=tuple(replace(r, adapter=None) for r in wanted.recoveries))
    found = _find(conditions, plain, 0.0)
    if found is None:
        return None
    return Control(
        found, f"The dense model was trained without the adapter ({plain}), as there is no run of {wanted}."
    )


def control_method(done: Method) -> Method:
    """The method of the dense model that was trained as `done` was."""
    return Method(
        DENSE, None, tuple(Recovery(DENSE_TRANSFER, False, r.adapter, r.share) for r in done.recoveries)
    )


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
