"""The outcome of the gate in words and numbers, the same for every output: the worst comparison first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from difficulty.runs.table import some
from difficulty.stats.paired_loss import UNBOUNDED_ITEMS
from difficulty.text import interval_text, p_words, with_noise_mark
from junkdna_harness.gate.fidelity import TextComparison
from junkdna_harness.gate.flips import Flip
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.policy import Verdict
from junkdna_harness.gate.rule import POWER, SURE, Comparison, Gate

# What did not pass comes first, and of that what decides.
ORDER: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")
_UNASKED = "a comparison of which nothing was asked"


def sentence(gate: Gate) -> str:
    """The outcome in one line, with the worst comparison or what would decide."""
    if gate.verdict == "fail":
        return "FAIL: " + ("; ".join(_reasons(gate)) or f"{_UNASKED} counts as a fail by its rule") + "."
    if gate.verdict == "inconclusive":
        undecided = open_comparisons(gate)
        if not undecided and all(one.counts_as != "inconclusive" for one in critical_texts(gate)):
            return f"INCONCLUSIVE: {_UNASKED} is open (see the notes)."
        told = f"{len(undecided)} of {len(gate.critical)} comparisons have too few items to tell: "
        told += needed(undecided, gate.alpha) if undecided else ""
        on_text = [one for one in critical_texts(gate) if one.counts_as == "inconclusive"]
        if on_text:
            told = f"{told} " if undecided else ""
            told += f"more text is needed to tell {some([one.name for one in on_text])}."
        return f"INCONCLUSIVE: {told}"
    if gate.identical:
        return (
            f"PASS: every answer equal, and the weights are the same ({len(gate.comparisons)} comparisons)."
        )
    if not gate.critical:
        return "PASS: no rule on these items is critical, so that nothing of them can fail."
    closest = worst_first(gate.critical, gate.alpha)[0]
    judged = len(gate.critical)
    what = f"in each of {judged} comparisons" if judged > 1 else "in the only comparison"
    loose = [one for one in gate.critical if one.verdict != "pass"]
    but = f" {len(loose)} of them inconclusive, which counts as a pass;" if loose else ""
    return f"PASS: {what} the loss is below its limit;{but} closest: {nearness(closest, gate.alpha)}."


def _reasons(gate: Gate) -> list[str]:
    parts = []
    if gate.missing:
        parts.append("missing from the new run: " + some(gate.missing))
    bad = [one for one in worst_first(gate.critical, gate.alpha) if one.counts_as == "fail"]
    shown = [one for one in bad if one.verdict == "fail"]
    if shown:
        worst = shown[0]
        change = f"{score(worst.loss.before)} -> {score(worst.loss.after)}"
        if worst.planned.kind == "flips":
            change = f"{worst.loss.lost:,} of {worst.loss.n_items:,} answers changed"
        parts.append(
            f"{len(shown)} of {len(gate.critical)} comparisons lost more than allowed "
            f"(worst: {worst.name}, {change}, limit {worst.limit:.4g})"
        )
    if len(bad) > len(shown):
        parts.append(f"{len(bad) - len(shown)} inconclusive, which counts as a fail by its rule")
    for one in critical_texts(gate):
        if one.counts_as == "fail":
            parts.append(f"{one.name} is {score(one.value)} on the text, limit {one.limit:g}")
    return parts


def open_comparisons(gate: Gate) -> list[Comparison]:
    """The critical comparisons that leave the verdict open, the worst first."""
    return [one for one in worst_first(gate.critical, gate.alpha) if one.counts_as == "inconclusive"]


def critical_texts(gate: Gate) -> list[TextComparison]:
    """The comparisons on a text that decide."""
    return [one for one in gate.text if one.severity == "critical"]


def worst_first(comparisons: Iterable[Comparison], alpha: float) -> list[Comparison]:
    """What failed, by how many times its limit it lost; what is open and what passed, by how near its bound is to the limit."""

    def key(one: Comparison) -> tuple[int, float, float]:
        size = one.loss.loss if one.verdict == "fail" else one.loss.bounds(alpha)[1]
        times = size / one.limit if one.limit > 0 else math.copysign(math.inf, size) if size else 0.0
        return ORDER.index(one.verdict), -times, one.limit - size

    return sorted(comparisons, key=key)


def needed(comparisons: Sequence[Comparison], alpha: float) -> str:
    """How many items would decide the comparisons that are open, and which have too few of an unbounded metric."""
    if looked := [one.open for one in comparisons if one.open is not None]:
        return looked[0]
    few = [one for one in comparisons if one.loss.too_few]
    if few:
        return _too_few(few)
    wanted = [(one.items_to_decide(alpha), one) for one in comparisons]
    known = [(n, one) for n, one in wanted if n is not None]
    if not known:
        return "their loss lies at the limit, or so near to it that a million items would not decide. Choose another limit."
    most, one = max(known, key=lambda pair: pair[0] / pair[1].loss.n_items)
    return (
        f"about {most:,} items would decide {one.name} with {100 * POWER:g} % power, if the loss is as it was seen "
        f"(it has {one.loss.n_items:,})."
    )


def _too_few(comparisons: Sequence[Comparison]) -> str:
    one = min(comparisons, key=lambda one: one.loss.n_clusters)
    have = f"{one.loss.n_items:,} items"
    if one.loss.n_clusters < one.loss.n_items:
        have += f" in {one.loss.n_clusters:,} clusters"
    others = f", as {len(comparisons) - 1} more" if len(comparisons) > 1 else ""
    return (
        f"{one.name} has {have} of {one.metric}{others}; an unbounded metric needs {UNBOUNDED_ITEMS} to pass."
    )


def advice(one: Comparison, alpha: float) -> str:
    """What would decide an open comparison, beside its name."""
    if one.open is not None:
        return one.open.removeprefix(f"{one.name} was ").removesuffix(".")
    if one.loss.too_few:
        return f"an unbounded metric needs {UNBOUNDED_ITEMS} items to pass"
    items = items_wanted(one, alpha)
    if items is None:
        told = "the loss lies at the limit, or so near that a million items would not decide: another limit would"
    else:
        told = (
            f"about {items[0]:,} items would decide ({100 * POWER:g} % power; {100 * SURE:g} %: {items[1]:,})"
        )
    seen = one.detectable(alpha)
    return told if seen is None else f"{told}; these see a loss from {seen:.3g} on"


def items_wanted(one: Comparison, alpha: float) -> tuple[int, int] | None:
    """The items that decide a loss as seen with 80 and with 95 % power; None where no number does."""
    likely, sure = (one.items_to_decide(alpha, power) for power in (POWER, SURE))
    return None if likely is None or sure is None else (likely, sure)


def nearness(one: Comparison, alpha: float) -> str:
    """How near a comparison came to its limit."""
    return f"{one.name}, at most {signed(one.loss.bounds(alpha)[1])} of {one.limit:.4g} allowed"


def of_comparison(one: Comparison, alpha: float) -> str:
    """One comparison in a line of its own, with what would decide it."""
    text = (
        f"{one.name}: {one.metric} {score(one.loss.before)} -> {score(one.loss.after)} on {one.loss.n_items} items, "
        f"loss {loss(one)} {interval(*one.loss.bounds(alpha))}, limit {one.limit:.4g}"
    )
    if one.planned.kind == "flips":
        text = (
            f"{one.name}: {one.loss.lost:,} of {one.loss.n_items:,} answers changed, {score(one.loss.loss)} "
            f"{interval(*one.loss.bounds(alpha))}, limit {one.limit:.4g}"
        )
    return text + (f"; {needed([one], alpha)}" if one.verdict == "inconclusive" else "")


def evidence(one: Comparison) -> str:
    """What was counted, and how sure a fail is."""
    if one.planned.kind == "flips":
        counted = f"{one.loss.lost:,} of {one.loss.n_items:,} answers changed"
    else:
        counted = f"{one.loss.lost:,} items lost, {one.loss.gained:,} gained"
    sure = f"{p_words(one.p_holm, 4)}, Holm over {one.among}" if one.among > 1 else p_words(one.p_holm, 4)
    return f"{one.metric}: {counted}" + (f"; {sure}" if one.verdict == "fail" else "")


def unknown(flips: Sequence[Flip]) -> str:
    """What the runs do not hold of these items, in a sentence; empty where all is known."""
    if not any(flip.known for flip in flips):
        return "neither run holds what was asked and answered: give the folders of the evaluations to see it"
    if all(flip.answer_before is None for flip in flips):
        return "the baseline holds no answers (a baseline file keeps scores alone): give the folder of its evaluation to see them"
    if all(flip.answer is None for flip in flips):
        return "the new run holds no answers: give the folder of its evaluation to see them"
    return ""


def describe(run: RunItems) -> str:
    """A run in words: model, method and level."""
    about = run.about
    level, bits = about.get("level"), about.get("bits")
    how = str(about.get("method"))
    if isinstance(level, (int, float)) and how != "dense":
        how += f" at sparsity {level:g}"
    if isinstance(bits, (int, float)):
        how += f" at {bits:g} bits"
    return f"{about.get('model')}, {how} (run {run.name})"


def loss(one: Comparison) -> str:
    """The loss, marked where it is within the noise floor."""
    return with_noise_mark(signed(one.loss.loss), one.within_noise)


def score(value: float) -> str:
    """A score in at most eight characters or so."""
    return _plain(value, "")


def signed(value: float) -> str:
    """A difference of scores."""
    return _plain(value, "+")


def interval(low: float, high: float) -> str:
    """Two bounds in as many digits as the larger one needs."""
    ends = [abs(end) for end in (low, high) if math.isfinite(end)]
    return interval_text(low, high, "+" + _form(max(ends, default=0.0)))


def _plain(value: float, sign: str) -> str:
    return f"{value:{sign}{_form(abs(value))}}"


def _form(size: float) -> str:
    return ".4f" if size < 100 else ".1f" if size < 1e5 else ".2e"
