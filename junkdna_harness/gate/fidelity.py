"""The gate on a text: is a compressed model's perplexity, divergence or agreement within its limit?

Judges the JSON of `junkdna fidelity`, from its sums over blocks of 256 tokens: bounds are those of a cluster-robust t interval of the
ratio of sums (Cochran 1977, ch. 6), which is the mean over tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError
from difficulty.json_files import of_known_shape, read_json
from difficulty.json_files import text_of as text_of_value
from difficulty.runs.table import some
from difficulty.stats.mean import FEW_CLUSTERS, Scale, mean_interval
from junkdna_harness.gate.policy import Policy, Rule, Severity, Verdict
from junkdna_harness.presentation.escape import one_line
from junkdna_harness.presentation.table import number_table

KIND = "junkdna-fidelity"
HOW = "Make one: junkdna fidelity COMPRESSED --against DENSE --text FILE --json f.json"

_ALLOWED = {
    "max_perplexity_ratio": (math.inf, 1.05),
    "max_kl": (math.inf, 0.05),
    "min_agreement": (1.0, 0.95),
}


LARGEST_SUM = 1e100


@dataclass(frozen=True)
class TextLimits:
    """What is allowed; None is not judged. `alpha` is the error rate of the whole decision."""

    max_perplexity_ratio: float | None = None
    max_kl: float | None = None
    min_agreement: float | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name, value in self.given.items():
            most, example = _ALLOWED[name]
            if not 0 < value <= most or not math.isfinite(value):
                within = " and at most 1" if most == 1 else ""
                raise UsageError(
                    f"--{name.replace('_', '-')} {value} is no limit. Give a number above 0{within}, e.g. {example}."
                )
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"alpha {self.alpha} is not between 0 and 0.5.")

    @property
    def given(self) -> dict[str, float]:
        """The limits that are judged."""
        return {name: value for name, value in asdict(self).items() if name != "alpha" and value is not None}


@dataclass(frozen=True)
class TextComparison:
    """One figure with its bounds (of `alpha` each) and its limit."""

    name: str
    value: float
    low: float
    high: float
    limit: float
    verdict: Verdict
    severity: Severity = "critical"
    counts_as: Verdict = (
        "inconclusive"  # its verdict, or what its rule says that an inconclusive one counts as
    )


@dataclass(frozen=True)
class TextGate:
    """The outcome: `fail` where a figure is shown to be beyond its limit, `pass` where all are shown to be within."""

    model: str
    against: str
    n_tokens: int
    n_blocks: int
    comparisons: tuple[TextComparison, ...]

    @property
    def verdict(self) -> Verdict:
        """Of all figures together."""
        found = {one.verdict for one in self.comparisons}
        return "fail" if "fail" in found else "pass" if found == {"pass"} else "inconclusive"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an interval without an end has None."""
        comparisons = [
            {
                name: None if isinstance(v, float) and not math.isfinite(v) else v
                for name, v in asdict(one).items()
            }
            for one in self.comparisons
        ]
        return {
            "verdict": self.verdict, "model": self.model, "against": self.against, "n_tokens": self.n_tokens,
            "n_blocks": self.n_blocks, "comparisons": comparisons,
        }  # fmt: skip


# Figure -> what is averaged over tokens from the sums of a block, and the scale on which it is read.
_FIGURES: dict[str, tuple[str, Scale]] = {
    "max_perplexity_ratio": ("perplexity_ratio", "perplexity"), "max_kl": ("kl_mean", "mean"), "min_agreement": ("top1_agreement", "mean"),
}  # fmt: skip


def check_text(found: Mapping[str, Any], limits: TextLimits) -> TextGate:
    """The outcome for what `read_fidelity` read.

    A figure fails where its bound at alpha / (number of limits) is beyond the limit, so that a model that is within all of them fails in
    at most alpha of texts; it passes where its bound at alpha is within, and all have to.

    Raises:
        UsageError: no limit is given.
    """
    given = limits.given
    if not given:
        raise UsageError("nothing is judged. Give --max-perplexity-ratio, --max-kl or --min-agreement.")
    blocks = {name: _sums(values) for name, values in found["blocks"].items()}
    comparisons = tuple(
        _compare(name, limit, blocks, limits.alpha, len(given)) for name, limit in given.items()
    )
    return TextGate(
        str(found["model"]), str(found["against"]), int(blocks["n"].sum()), len(blocks["n"]), comparisons
    )


def text_figures(policy: Policy, given: bool) -> list[tuple[Rule, str, float]]:
    """The limits of the policy's rules on a text; none where no text is `given` and no rule requires one.

    Raises:
        UsageError: a rule requires a text and none is given, a text is given and no rule is on it, or two rules limit the same.
    """
    figures = [(rule, name, limit) for rule in policy.on_text for name, limit in rule.limits.items()]
    if given and not figures:
        raise UsageError(
            f"--fidelity is given, and {policy.name} has no rule `of: text`. Leave it out, or add one."
        )
    if not given:
        if required := [rule for rule in policy.on_text if rule.required]:
            raise UsageError(
                f"{required[0].title} needs what was measured on a text. Give --fidelity f.json. {HOW}."
            )
        return []
    seen: dict[tuple[str, str], float] = {}
    for rule, name, limit in figures:
        if seen.setdefault((name, rule.severity), limit) != limit:
            raise UsageError(
                f"two rules contradict each other: {name} on a text is limited by {seen[name, rule.severity]:g} and by {limit:g}. Leave one out."
            )
    return figures


def compare_text(found: Mapping[str, Any], rule: Rule, name: str, alpha: float, among: int) -> TextComparison:
    """One limit of a rule on what `read_fidelity` read: a fail is judged at alpha / `among`, a pass at alpha."""
    blocks = {key: _sums(values) for key, values in found["blocks"].items()}
    one = _compare(name, rule.limits[name], blocks, alpha, among)
    counts = rule.inconclusive if one.verdict == "inconclusive" else one.verdict
    return replace(one, severity=rule.severity, counts_as=counts)


def _sums(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Sums over blocks; None, which stands for a number without bounds in JSON, is infinite."""
    return np.asarray([math.inf if value is None else value for value in values], dtype=float)


def _compare(name: str, limit: float, blocks: Mapping[str, Any], alpha: float, limits: int) -> TextComparison:
    figure, scale = _FIGURES[name]
    sums = {
        "perplexity_ratio": blocks["loss"] - blocks["loss_dense"], "kl_mean": blocks["kl"], "top1_agreement": blocks["top1"]
    }[figure]  # fmt: skip
    if not np.isfinite(sums).all():  # the model gives no probability to what the dense one expects
        return TextComparison(figure, math.inf, math.inf, math.inf, limit, "fail")
    # Where few blocks disagree at all, their variance says little: the bound is then that of the share of blocks that may.
    few = figure == "top1_agreement" and int((sums < blocks["n"]).sum()) < FEW_CLUSTERS
    bounded = None if few else False
    within, beyond = (
        mean_interval(
            sums / blocks["n"], weights=blocks["n"], scale=scale, confidence=1 - 2 * a, bounded=bounded
        )
        for a in (alpha, alpha / limits)
    )
    known = within.n_clusters > 1
    low, high = (within.low, within.high) if known else (-math.inf, math.inf)
    if figure == "top1_agreement":
        passes, fails = low >= limit, known and beyond.high < limit
    else:
        passes, fails = high <= limit, known and beyond.low > limit
    verdict: Verdict = "fail" if fails else "pass" if passes else "inconclusive"
    return TextComparison(figure, within.mean, low, high, limit, verdict)


def read_fidelity(path: str | Path, run: str | None = None) -> dict[str, Any]:
    """One comparison of the JSON that `junkdna fidelity --json` wrote; `run` names one of a grid's.

    Raises:
        UsageError: it is no such file, holds several runs and none is named, or its blocks are damaged.
    """
    name = str(path)
    found = read_json(path, "the file of a text", f"{HOW}.")
    runs = found.get("runs", [found]) if isinstance(found, dict) else []
    runs = (
        [one for one in runs if isinstance(one, dict) and one.get("kind") == KIND]
        if isinstance(runs, list)
        else []
    )
    if not runs:
        raise UsageError(f"{name!r} is no file of junkdna fidelity. {HOW}.")
    names = [str(one.get("model")) for one in runs]
    if run is not None:
        runs = [one for one in runs if one.get("model") == run]
    if len(runs) != 1:
        told = f"there is no run {run!r}" if run is not None else "there are several runs"
        raise UsageError(f"{name!r}: {told}. Give --run, one of {some(names)}.")
    chosen: dict[str, Any] = runs[0]
    with of_known_shape(path, "the file of a text", f"{HOW}."):
        text_of_value(chosen, "model")
        text_of_value(chosen, "against")
        _check_blocks(chosen, name)
    return chosen


def _check_blocks(found: Mapping[str, Any], name: str) -> None:
    blocks = found.get("blocks")
    blocks = blocks if isinstance(blocks, dict) else {}
    try:
        table = np.asarray([_sums(blocks.get(key, ())) for key in ("n", "loss_dense", "loss", "kl", "top1")])
    except (TypeError, ValueError):  # lists of unequal length, or no numbers
        table = np.zeros((5, 0))
    whole = table.ndim == 2 and table.shape[1] > 0 and not np.isnan(table).any()
    # A model may give no probability to what the text says, and its losses then have no bound; the others are numbers.
    good = (
        whole
        and bool(np.isfinite(table[[0, 1, 4]]).all())
        and bool((table[0] > 0).all())
        and not _beyond(table)
    )
    if not good:
        raise UsageError(f"{name!r} is damaged: its sums over blocks are not whole. {HOW}.")


def _beyond(table: NDArray[np.float64]) -> bool:
    """True where a sum is so large that its square is none: no text has it."""
    return bool((np.isfinite(table) & (np.abs(table) > LARGEST_SUM)).any())


def text_of(gate: TextGate) -> str:
    """The outcome for people."""
    rows = [
        (one.name, f"{one.value:.4g}", f"[{one.low:.4g}, {one.high:.4g}]", f"{one.limit:g}", one.verdict)
        for one in gate.comparisons
    ]
    table = number_table(("figure", "value", "bounds", "limit", ""), rows)
    words = {
        "pass": "PASS: every figure is shown to be within its limit.",
        "fail": "FAIL: a figure is shown to be beyond its limit.",
        "inconclusive": "INCONCLUSIVE: too little text to tell. Give more.",
    }
    head = f"{one_line(gate.model)} against {one_line(gate.against)}: {gate.n_tokens:,} tokens in {gate.n_blocks:,} blocks"
    return f"{head}\n\n{table}\n\n{words[gate.verdict]}"
