"""What `junkdna check` and `junkdna gate` share: options that say what may be lost, the baseline, and how an outcome is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

import typer

from difficulty.errors import UsageError

if TYPE_CHECKING:
    from junkdna_harness.gate import Gate, RunItems
    from junkdna_harness.gate.policy import Limits, Policy


class Inconclusive(str, Enum):
    """What an inconclusive outcome counts as."""

    exit3 = "exit3"
    fail = "fail"
    passes = "pass"


EXIT_CODES = {Inconclusive.exit3: 3, Inconclusive.fail: 1, Inconclusive.passes: 0}

POLICY = Annotated[
    Path | None,
    typer.Option(
        "--policy", help="Rules on what may be lost, in YAML: overall, by task, family, tier or any column."
    ),
]
MAX_DROP = Annotated[
    list[str] | None,
    typer.Option(
        "--max-drop",
        help="Largest loss allowed, in the metric's units: 0.02 for all; tier4=0.05, FAMILY=0.05, TASK=0.05 or FAMILY,tier4=0.05 "
        "for a part (may be repeated). Default 0.02 if no limit is given.",
    ),
]
MAX_RELATIVE_DROP = Annotated[
    float | None,
    typer.Option(
        "--max-relative-drop",
        help="Largest loss allowed, as a share of the baseline's score (of 0.1 below that), e.g. 0.05.",
    ),
]
METRIC = Annotated[
    str | None,
    typer.Option(
        "--metric", help="Metric to judge by; by default acc, else exact_match, else what the task has."
    ),
]
LOWER_IS_BETTER = Annotated[
    list[str] | None,
    typer.Option(
        "--lower-is-better",
        help="A metric where more is worse, whatever the results or its name say (may be repeated).",
    ),
]
HIGHER_IS_BETTER = Annotated[
    list[str] | None,
    typer.Option(
        "--higher-is-better",
        help="A metric where more is better, whatever the results or its name say (may be repeated).",
    ),
]
BY = Annotated[
    str | None,
    typer.Option("--by", help="The finest split that is judged: tier (default), family or overall."),
]
ALPHA = Annotated[
    float | None, typer.Option("--alpha", help="Error rate of the joint decision, each way. Default 0.05.")
]
INCONCLUSIVE = Annotated[
    Inconclusive,
    typer.Option(
        "--inconclusive",
        help="What an inconclusive outcome counts as: its own exit code 3, a fail or a pass.",
    ),
]


NOISE_FLOOR = Annotated[
    Path | None,
    typer.Option(
        "--noise-floor",
        help="A second evaluation of the baseline's model, e.g. in another batch size: a loss no larger than what the two differ by "
        "is never a fail. Default: the second dense run of a baseline that is a sweep with one.",
    ),
]


def limits_of(
    policy: Path | None, max_drop: Sequence[str] | None, max_relative_drop: float | None, alpha: float | None, by: str | None,
    lower_is_better: Sequence[str] | None, higher_is_better: Sequence[str] | None,
) -> Limits | Policy:  # fmt: skip
    """What the options say may be lost.

    Raises:
        UsageError: a limit is none, the policy cannot be read, or it is given beside options that set the same.
    """
    from junkdna_harness.gate.policy import DEFAULT_DROP, Limits
    from junkdna_harness.gate.policy_file import read_policy
    from junkdna_harness.gate.simple import parse_drops

    if policy is not None:
        beside: dict[str, Any] = {
            "--max-drop": max_drop, "--max-relative-drop": max_relative_drop, "--alpha": alpha, "--by": by,
            "--lower-is-better": lower_is_better, "--higher-is-better": higher_is_better,
        }  # fmt: skip
        if wrong := [name for name, value in beside.items() if value not in (None, [])]:
            raise UsageError(
                f"{wrong[0]} and --policy both say what may be lost. Write it into {str(policy)!r}, or leave one out."
            )
        return read_policy(policy)
    everywhere, parts = parse_drops(list(max_drop or ()))
    default = DEFAULT_DROP if everywhere is None and max_relative_drop is None else everywhere
    return Limits(
        default, max_relative_drop, 0.05 if alpha is None else alpha, tuple(lower_is_better or ()),
        by or "tier", tuple(higher_is_better or ()), parts,  # type: ignore[arg-type]
    )  # fmt: skip


def metrics_of(limits: Limits | Policy) -> tuple[str, ...]:
    """The metrics that rules name, which are to be read beside those that tasks are judged by."""
    from junkdna_harness.gate.policy import Policy

    return limits.metrics if isinstance(limits, Policy) else ()


@overload
def baseline_of(
    against: Path,
    run: str | None,
    metric: str | None,
    label: Sequence[str] | None,
    also: Sequence[str],
    noise_floor: Path | None = None,
) -> RunItems: ...
@overload
def baseline_of(
    against: Path | None,
    run: str | None,
    metric: str | None,
    label: Sequence[str] | None,
    also: Sequence[str],
    noise_floor: Path | None = None,
) -> RunItems | None: ...
def baseline_of(
    against: Path | None, run: str | None, metric: str | None, label: Sequence[str] | None, also: Sequence[str],
    noise_floor: Path | None = None,
) -> RunItems | None:  # fmt: skip
    """The baseline, with the noise floor that a second evaluation shows.

    Raises:
        UsageError: one of the two cannot be read, or they are not of one model.
    """
    from junkdna_harness.gate.baseline import read_baseline
    from junkdna_harness.gate.noise import with_noise_of

    if against is None:
        if noise_floor is not None:
            raise UsageError("--noise-floor is of a baseline. Give --against BASELINE too, or leave it out.")
        return None
    baseline = read_baseline(against, run, metric, label or [], also)
    if noise_floor is None:
        return baseline
    return with_noise_of(baseline, read_baseline(noise_floor, None, metric, label or [], also))


def exit_code_of(outcome: Gate, inconclusive: Inconclusive) -> int:
    """What the command ends with."""
    return EXIT_CODES[inconclusive] if outcome.verdict == "inconclusive" else outcome.exit_code


def finish(
    outcome: Gate, code: int, inconclusive: Inconclusive, document: str, json_file: Path | None, junit_xml: Path | None,
    everything: bool, further: Iterable[str] = (),
) -> None:  # fmt: skip
    """Write the outcome where it is wanted, and tell it. `document`: it as JSON."""
    from difficulty.files import write_atomic
    from junkdna_harness.gate.junit import junit_xml as as_junit
    from junkdna_harness.gate.printed import tell

    if json_file is not None and str(json_file) != "-":
        write_atomic(json_file, document)
    if junit_xml is not None:
        write_atomic(junit_xml, as_junit(outcome, inconclusive is Inconclusive.fail))
    tell(outcome, code, document if str(json_file) == "-" else None, everything, further)
