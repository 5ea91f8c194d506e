"""How a statistic is written for people: p-values and intervals, the same in every output."""

from __future__ import annotations

import math
import re


def p_text(p: float | None, digits: int = 3) -> str:
    """A p-value with `digits` decimals, or the bound that it lies below; empty where there is none.

    >>> p_text(0.0421), p_text(1e-9), p_text(1e-9, digits=4)
    ('0.042', '< 0.001', '< 0.0001')
    """
    if p is None or math.isnan(p):
        return ""
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if p < least else f"{p:.{digits}f}"


def p_words(p: float | None, digits: int = 3) -> str:
    """The same within a sentence.

    >>> p_words(0.0421), p_words(1e-9)
    ('p = 0.042', 'p < 0.001')
    """
    text = p_text(p, digits)
    return "" if not text else f"p {text}" if text.startswith("<") else f"p = {text}"


def interval_text(low: float | None, high: float | None, form: str = ".4f") -> str:
    """An interval, beside its estimate or in a column of its own; empty where neither end is known.

    >>> interval_text(0.1, 0.25, "+.3f"), interval_text(0.1, float("inf"))
    ('[+0.100, +0.250]', '[0.1000, inf]')
    """
    if (
        low is None
        or high is None
        or math.isnan(low)
        or math.isnan(high)
        or (math.isinf(low) and math.isinf(high))
    ):
        return ""
    return f"[{low:{form}}, {high:{form}}]"


def estimate_text(estimate: float | None, low: float | None, high: float | None, form: str = "+.3f") -> str:
    """An estimate and its interval in one cell; empty where there is no estimate.

    >>> estimate_text(0.2, 0.1, 0.25)
    '+0.200 [+0.100, +0.250]'
    """
    if estimate is None:
        return ""
    return f"{estimate:{form}} {interval_text(low, high, form)}".rstrip()


def score_text(value: float, share: bool) -> str:
    """A score as every table has it: a share in percent with two decimals, any other metric with three.

    >>> score_text(0.98416, True), score_text(12.34567, False), score_text(float("inf"), False)
    ('98.42', '12.346', '∞')
    """
    if not math.isfinite(value):
        return "∞"
    return f"{100 * value:.2f}" if share else f"{value:.3f}"


def score_bounds(low: float | None, high: float | None, share: bool) -> str:
    """The interval of a score, in the units and digits of the score.

    >>> score_bounds(0.98141, 0.98662, True), score_bounds(None, None, True)
    ('[98.14, 98.66]', '')
    """
    if low is None or high is None:
        return ""
    return interval_text(100 * low, 100 * high, ".2f") if share else interval_text(low, high, ".3f")


def score_with_bounds(mean: float, low: float | None, high: float | None, share: bool) -> str:
    """A score with its interval, in one cell.

    >>> score_with_bounds(0.98416, 0.98141, 0.98662, True)
    '98.42 [98.14, 98.66]'
    """
    return f"{score_text(mean, share)} {score_bounds(low, high, share)}".rstrip()


def count_text(count: float) -> str:
    """A number of weights with two digits or more, and its unit.

    >>> count_text(950), count_text(1_302_560), count_text(70e6), count_text(1.4e9)
    ('950', '1.3 M', '70 M', '1.4 B')
    """
    for unit in ("", "k", "M", "B"):
        text = f"{count:.0f}" if count >= 9.95 or not unit else f"{count:.1f}"
        if float(text) < 1000:
            return f"{text} {unit}".rstrip()
        count /= 1000
    return f"{count:.1f} T"


NOISE_MARK = "≈"  # beside a difference that is no larger than the noise floor (`difficulty.runs.noise`)


def with_noise_mark(text: str, within: bool | None) -> str:
    """`text`, marked where its difference is no larger than that of two evaluations of the same weights.

    >>> with_noise_mark("+0.012", True), with_noise_mark("+0.012", None)
    ('+0.012 ≈', '+0.012')
    """
    return f"{text} {NOISE_MARK}" if within and text else text


def noise_legend(marked: bool, identical: bool = False, what: str = "") -> str:
    """What the mark means, where one is printed; that there is nothing to mark, where all scores are the same; else nothing.

    `what` names the difference that is meant, where the table shows none.

    >>> noise_legend(True)
    '≈ no larger than the difference between two evaluations of the same dense weights'
    >>> noise_legend(False)
    ''
    """
    if identical:
        return "noise floor 0: two evaluations of the same dense weights gave the same scores, so nothing is marked"
    if not marked:
        return ""
    meant = f"{what} " if what else ""
    return (
        f"{NOISE_MARK} {meant}no larger than the difference between two evaluations of the same dense weights"
    )


def natural(text: str) -> tuple[object, ...]:
    """A key that sorts names as people do: `grade 3` before `grade 10`, capitals among the others.

    >>> sorted(["grade 10", "Grade 3", "grade 1"], key=natural)
    ['grade 1', 'Grade 3', 'grade 10']
    """
    parts = re.split(r"([0-9]+)", text)  # every second part is a number
    digits = [part.lstrip("0") for part in parts[1::2]]
    sizes = [(len(part), part) for part in digits]
    words = [part.casefold() for part in parts[::2]]
    return (*(one for pair in zip(words, [*sizes, (0, "")], strict=True) for one in pair), text)
