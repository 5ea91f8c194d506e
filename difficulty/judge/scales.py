"""The scales that a loss is measured on: a verdict must hold on each of them (statistics: docs/statistics.md, "Scales").

With margins: T, S and A. Without: A, C and L. The others are shown beside as a sensitivity table and decide nothing.
"""

from __future__ import annotations

SCORE = "score"  # the metric's own scale, e.g. accuracy
WITH_MARGINS = ("T", "S", "A")
WITHOUT_MARGINS = ("A", "C", "L")
SENSITIVITY = ("mean", "median", "A", "C", "L", "retention")

NAMES = {
    "T": "trimmed mean of the margins",
    "S": "margins over their spread",
    "A": "probit of accuracy",
    "C": "complementary log-log of accuracy",
    "L": "log-log of accuracy",
    "mean": "mean margin",
    "median": "median margin",
    "retention": "share of the dense score lost",
}
LINKS = {"A": "probit", "C": "cloglog", "L": "loglog"}


def deciding(margins: bool) -> tuple[str, ...]:
    """The scales that a verdict must hold on, the first being the one whose estimate is printed."""
    return WITH_MARGINS if margins else WITHOUT_MARGINS


def shown_beside(margins: bool) -> tuple[str, ...]:
    """The scales of the sensitivity table."""
    return tuple(
        name
        for name in SENSITIVITY
        if name not in deciding(margins) and (margins or name not in ("mean", "median"))
    )


def short(scale: str) -> str:
    """A scale with its name, e.g. `"T (trimmed mean of the margins)"`."""
    if scale not in NAMES:
        return " or ".join(short(one) for one in scale.split("/")) if "/" in scale else scale
    return f"{scale} ({NAMES[scale]})" if len(scale) == 1 else NAMES[scale]
