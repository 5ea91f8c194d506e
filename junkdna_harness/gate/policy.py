"""What may be lost, and where: the rules of a policy. Plain values, checked as they are made; no file is read here.

A rule selects items by the columns of the tidy table and limits what may be lost on them. A selector with a pattern (`*`, `?`,
`[a-c]`) is judged for each value that matches, each in a comparison of its own; one without is judged for that value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from difficulty.errors import UsageError
from difficulty.runs.direction import same_metric
from difficulty.stats.mean import Scale

Severity = Literal["critical", "advisory"]
Verdict = Literal["pass", "fail", "inconclusive"]
By = Literal["overall", "family", "tier"]
SEVERITIES = ("critical", "advisory")
OUTCOMES = ("inconclusive", "fail", "pass")
SPLITS = ("tier", "family", "overall")
SELECTORS = ("task", "family", "tier", "axis")  # further columns stand under `where`
# Limit -> what it is, the range that it lies in, an example.
TASK_LIMITS = {
    "max_drop": ("a loss in the metric's units", 0.0, math.inf, "0.02 for two points"),
    "max_relative_drop": ("a share of the baseline's score", 0.0, math.inf, "0.05 for 5 %"),
    "max_flips": ("a share of items", 0.0, 1.0, "0.05 for 5 %"),
    "max_perplexity_ratio": ("a ratio of perplexities", 1.0, math.inf, "1.05"),
}
TEXT_LIMITS = {
    "max_perplexity_ratio": TASK_LIMITS["max_perplexity_ratio"],
    "max_kl": ("a divergence in nats", 0.0, math.inf, "0.05"),
    "min_agreement": ("a share of tokens", 0.0, 1.0, "0.95"),
}
LIMITS = (*TASK_LIMITS, "max_kl", "min_agreement")
LOW_BASELINE = 0.1
DEFAULT_DROP = 0.02
_ONLY_ON_TEXT = ("max_kl", "min_agreement")


@dataclass(frozen=True)
class Rule:
    """One rule. At least one limit is set; on tasks, of `max_drop`, `max_relative_drop` and `max_perplexity_ratio` the smallest holds.

    `where`: (column, pattern) pairs. `low_baseline`: below this score of a metric between 0 and 1, a relative limit is taken of
    this score, as a share of nearly nothing could never be told from noise. `inconclusive`: what an inconclusive comparison of
    this rule counts as. `required`: whether it is an error when the rule matches nothing.

    Raises:
        UsageError: a value is out of range, or no limit is set.
    """

    max_drop: float | None = None
    max_relative_drop: float | None = None
    max_flips: float | None = None
    max_perplexity_ratio: float | None = None
    max_kl: float | None = None
    min_agreement: float | None = None
    where: tuple[tuple[str, str], ...] = ()
    metric: str | None = None
    name: str | None = None
    of: Literal["tasks", "text"] = "tasks"
    low_baseline: float = LOW_BASELINE
    severity: Severity = "critical"
    inconclusive: Verdict = "inconclusive"
    required: bool = True

    def __post_init__(self) -> None:
        allowed = TEXT_LIMITS if self.of == "text" else TASK_LIMITS
        given = self.limits
        if not given:
            raise UsageError(f"{self.title} sets no limit. Give one of {', '.join(allowed)}.")
        for name, value in given.items():
            if name not in allowed:
                raise UsageError(
                    f"{self.title}: {name} is not a limit on {self.of}. Give {', '.join(allowed)}."
                )
            check_limit(name, value)
        if not 0 <= self.low_baseline < math.inf:
            raise UsageError(
                f"{self.title}: low_baseline {self.low_baseline} is no score. Give a number of at least 0, e.g. 0.1."
            )
        _one_of(self.title, "severity", self.severity, SEVERITIES)
        _one_of(self.title, "inconclusive", self.inconclusive, OUTCOMES)
        if self.of == "text" and (self.where or self.metric):
            raise UsageError(
                f"{self.title} is on a text, which has no tasks or metrics to select. Leave its selectors out."
            )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: value for name in LIMITS if (value := getattr(self, name)) is not None}

    @property
    def critical(self) -> bool:
        """Whether it takes part in the verdict."""
        return self.severity == "critical"

    @property
    def title(self) -> str:
        """What messages call it."""
        if self.name is not None:
            return f"the rule {self.name!r}"
        chosen = ", ".join(f"{column} {pattern}" for column, pattern in self.where)
        return f"the rule on {chosen or ('a text' if self.of == 'text' else 'all items')}"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is compared on tasks: a drop, a share of flips, or both."""
        if self.of == "text":
            return ()
        drops = any(name != "max_flips" for name in self.limits)
        return (*(("drop",) if drops else ()), *(("flips",) if self.max_flips is not None else ()))

    def limit(self, kind: Kind, before: float, scale: Scale, bounded: bool | None) -> float:
        """The largest loss allowed, in the metric's units (a share of items for flips), where the baseline scored `before`.

        None of its limits may be for another scale (`gate.planned` looks).
        """
        if kind == "flips":
            assert self.max_flips is not None
            return self.max_flips
        found = [] if self.max_drop is None else [self.max_drop]
        if self.max_relative_drop is not None:
            found.append(self.max_relative_drop * self.relative_to(before, scale, bounded))
        if self.max_perplexity_ratio is not None and scale == "perplexity":
            found.append((self.max_perplexity_ratio - 1) * before)
        return min(found)

    def relative_to(self, before: float, scale: Scale, bounded: bool | None) -> float:
        """The score that a relative limit is a share of: the baseline's, but for a low one `low_baseline`."""
        guarded = scale == "mean" and bounded is not False
        return max(abs(before), self.low_baseline) if guarded else abs(before)


Kind = Literal["drop", "flips"]


@dataclass(frozen=True)
class Policy:
    """Rules that are judged together. `alpha`: the error rate of the joint decision, each way.

    `required`: patterns of tasks that both runs must hold. `lower_is_better`, `higher_is_better` name metrics (with or without
    their filter) and count more than what the runs or the names say. `name`: the file, in messages.

    Raises:
        UsageError: there is no rule, `alpha` is no error rate, or a metric is named both ways.
    """

    rules: tuple[Rule, ...]
    alpha: float = 0.05
    required: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()
    higher_is_better: tuple[str, ...] = ()
    name: str = "the policy"

    def __post_init__(self) -> None:
        if not self.rules:
            raise UsageError(
                f"{self.name} has no rules. Give at least one, e.g. `rules: [{{max_drop: 0.02}}]`."
            )
        if not 0 < self.alpha < 0.5:
            raise UsageError(
                f"alpha {self.alpha} is not an error rate. Give a number between 0 and 0.5, e.g. 0.05."
            )
        for metric in self.higher_is_better:
            if any(
                same_metric(metric, other) or same_metric(other, metric) for other in self.lower_is_better
            ):
                raise UsageError(
                    f"{metric!r} is named by both higher_is_better and lower_is_better. Give one of them."
                )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that rules name, each once."""
        return tuple(dict.fromkeys(rule.metric for rule in self.rules if rule.metric is not None))

    @property
    def on_tasks(self) -> tuple[Rule, ...]:
        """The rules on tasks."""
        return tuple(rule for rule in self.rules if rule.of == "tasks")

    @property
    def on_text(self) -> tuple[Rule, ...]:
        """The rules on a text."""
        return tuple(rule for rule in self.rules if rule.of == "text")


@dataclass(frozen=True)
class Limits:
    """The same limits in every comparison: the simple case, without a policy file.

    `max_drop` in the metric's units, `max_relative_drop` as a share of the baseline's score; with both, the smaller holds. `by` is
    the finest split that is judged. `at`: other values of `max_drop` for a family, a tier or a task, e.g. `{"tier4": 0.05}`.
    """

    max_drop: float | None = DEFAULT_DROP
    max_relative_drop: float | None = None
    alpha: float = 0.05
    lower_is_better: tuple[str, ...] = ()
    by: By = "tier"
    higher_is_better: tuple[str, ...] = ()
    at: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_drop is None and self.max_relative_drop is None and not self.at:
            raise UsageError("no limit is set. Give --max-drop, e.g. 0.02, or --max-relative-drop.")
        for name in ("max_drop", "max_relative_drop"):
            if (value := getattr(self, name)) is not None:
                check_limit(name, value, "--" + name.replace("_", "-"))
        if self.by not in SPLITS:
            raise UsageError(f"--by {self.by!r} is not a split. Choose from {', '.join(SPLITS)}.")
        if not 0 < self.alpha < 0.5:
            raise UsageError(
                f"--alpha {self.alpha} is not an error rate. Give a number between 0 and 0.5, e.g. 0.05."
            )


def splits(by: By) -> list[tuple[tuple[str, str], ...]]:
    """The selectors of what is judged: overall, each tier over all families, each family, each tier of each family."""
    tier, family = ("tier", "*"), ("family", "*")
    found: list[tuple[tuple[str, str], ...]] = [(), (tier,), (family,), (family, tier)]
    return found[: {"overall": 1, "family": 3, "tier": 4}[by]]


def check_limit(name: str, value: float, shown: str | None = None) -> None:
    """Refuse a limit that is none.

    Raises:
        UsageError: it is out of range.
    """
    what, low, high, example = {**TASK_LIMITS, **TEXT_LIMITS}[name]
    if not (low <= value <= high and math.isfinite(value)):
        between = f"at least {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
        raise UsageError(
            f"{shown or name} {value} is not {what}. Give a number of {between}, e.g. {example}."
        )


def _one_of(title: str, key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{title}: {key} {value!r} is not known. Choose from {', '.join(allowed)}.")
