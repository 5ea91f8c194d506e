"""What was drawn by lot: another mask, calibration sample or training would have given other numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from difficulty.judge.series import Condition
from difficulty.runs.running import of_weights

NOTHING_DRAWN = frozenset({
    "dense", "magnitude", "largest", "rtn", "fp8", "fp8-e5m2", "mxfp4", "nvfp4", "nf4", "bitsandbytes", "torchao", "torchao-int8", "gguf", ""
})  # fmt: skip
MASK_DRAWN = frozenset({"random", "experts-random"})
_NM = re.compile(r"_\d+:\d+$")  # how a step before the last has its pattern
OWL, ALPHAPRUNING = (
    "owl",
    "alphapruning",
)  # shares of blocks: the first from calibration text, the second from weights alone


def drawn_by_lot(condition: Condition) -> tuple[str, ...]:
    """What was drawn for a condition: "mask", "calibration", "training"; nothing for magnitude, largest, rtn and other formats.

    A method that is not known here is taken for one that needs calibration data.
    """
    found = [kind for name in condition.done.base.split("+") for kind in _drawn(name)]
    if condition.done.recovered:
        found.append("training")
    return tuple(dict.fromkeys(found))


def _drawn(name: str) -> list[str]:
    """Of one step: its method, with its allocation, and what is rounded while the model runs."""
    method, static = of_weights(_NM.sub("", name))
    text = static or method.endswith(f"-{OWL}")
    method = method.removesuffix(f"-{OWL}").removesuffix(f"-{ALPHAPRUNING}")
    if method in MASK_DRAWN:
        return ["mask", "calibration"] if text else ["mask"]
    known = method in NOTHING_DRAWN or method.startswith(("gguf-", "bnb-"))
    return ["calibration"] if text or not known else []


def common_replicates(conditions: Sequence[Condition]) -> int:
    """The number of replicates that all of some conditions have: what a spread between replicates can be known from."""
    return len(set(conditions[0].replicates).intersection(*(c.replicates for c in conditions)))


def for_this(conditions: Iterable[Condition], n_replicates: int) -> str:
    """`"for this mask and training"` where one draw of them was evaluated; nothing where none was drawn, or several were."""
    if n_replicates > 1:
        return ""
    kinds = list(dict.fromkeys(kind for condition in conditions for kind in drawn_by_lot(condition)))
    return f"for this {' and '.join(kinds)}" if kinds else ""


def plural(conditions: Iterable[Condition]) -> str:
    """What replicates are called: `"masks"`, `"calibrations"`, `"trainings"`, or `"replicates"` where several kinds are mixed."""
    kinds = {kind for condition in conditions for kind in drawn_by_lot(condition)}
    return f"{kinds.pop()}s" if len(kinds) == 1 else "replicates"
