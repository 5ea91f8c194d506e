"""The outcome of the gate as GitHub markdown, for the summary page of a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from junkdna_harness.gate.flips import Flip
from junkdna_harness.gate.rule import Comparison, Gate
from junkdna_harness.gate.words import (
    advice,
    describe,
    evidence,
    interval,
    loss,
    score,
    sentence,
    unknown,
    worst_first,
)
from junkdna_harness.presentation.escape import markdown_cell

MARK = {"pass": "✅", "fail": "❌", "inconclusive": "❔"}
BEHIND = 3  # comparisons whose items are shown
_LEFT_OUT = "\n… cut here: what is left is in the JSON.\n"


def markdown(gate: Gate, most: int | None = None) -> str:
    """The sentence, what did not pass with the items behind it, then everything folded away. At most `most` bytes of UTF-8."""
    head = f"## {MARK[gate.verdict]} junkdna check: {gate.verdict}\n\n{markdown_cell(sentence(gate))}\n\n"
    head += (
        f"New: {markdown_cell(describe(gate.new))}. Baseline: {markdown_cell(describe(gate.baseline))}.\n\n"
    )
    ranked = [*worst_first(gate.critical, gate.alpha), *worst_first(gate.advisory, gate.alpha)]
    parts = [
        head,
        *(f"- missing: {markdown_cell(item)}\n" for item in gate.missing),
        *_texts(gate),
        *_table(gate, [one for one in ranked if one.verdict != "pass"]),
    ]
    for one in [one for one in ranked if one.flips][:BEHIND]:
        parts += _items(one)
    notes = [f"- note: {markdown_cell(note)}\n" for note in gate.notes]
    parts += ["\n", *notes] if notes else []
    summary = f"\n<details><summary>All {len(ranked)} comparisons</summary>\n"
    folded = [summary, *_table(gate, ranked), "\n</details>\n"]
    whole = "".join((*parts, *folded))
    if most is None or len(whole.encode()) <= most:
        return whole
    # The folded table goes first: a page that ended within it would never close the fold.
    return _within(parts, most)


def _within(parts: Iterable[str], most: int) -> str:
    """As many of the parts as fit, and a line that says that there are more."""
    left = most - len(_LEFT_OUT.encode())
    kept = []
    for part in parts:
        left -= len(part.encode())
        if left < 0:
            break
        kept.append(part)
    return "".join(kept) + _LEFT_OUT if most >= len(_LEFT_OUT.encode()) else ""


def _table(gate: Gate, comparisons: Sequence[Comparison]) -> list[str]:
    """A table in parts: its head, then one row each."""
    if not comparisons:
        return []
    sure = f"{100 * (1 - gate.alpha):g} % bounds"
    advisory = any(one.severity == "advisory" for one in comparisons)
    names = ["", "items", "baseline", "new", "loss", sure, "limit", "verdict", "why"]
    marks = [":--", "--:", "--:", "--:", "--:", ":-:", "--:", ":--", ":--"]
    rows = [f"\n{_row(names)}{_row(marks)}"]
    for one in comparisons:
        flips = one.planned.kind == "flips"
        cells = [
            one.name,
            str(one.loss.n_items),
            "" if flips else score(one.loss.before),
            "" if flips else score(one.loss.after),
            loss(one),
            interval(*one.loss.bounds(gate.alpha)),
            f"{one.limit:.4g}",
            f"{MARK[one.verdict]} {one.verdict}" + (f" ({one.severity})" if advisory else ""),
            _why(one, gate.alpha),
        ]
        rows.append(_row([markdown_cell(cell) for cell in cells]))
    return rows


def _why(one: Comparison, alpha: float) -> str:
    return f"{evidence(one)}; {advice(one, alpha)}" if one.verdict == "inconclusive" else evidence(one)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _texts(gate: Gate) -> list[str]:
    return [
        f"- {MARK[one.verdict]} {markdown_cell(one.name)} on the text: {score(one.value)}, limit {one.limit:g} "
        f"({one.verdict}, {one.severity})\n"
        for one in gate.text
    ]


def _items(one: Comparison) -> list[str]:
    changed = "changed" if one.planned.kind == "flips" else "were lost"
    title = f"\n**{len(one.flips)} of the {one.loss.lost:,} items of {markdown_cell(one.name)} that {changed}**\n\n"
    if not any(flip.known for flip in one.flips):
        return [f"{title}{unknown(one.flips)}: {', '.join(_item(flip) for flip in one.flips)}.\n"]
    names = ["item", "asked", "wanted", "baseline", "new"]
    parts = [title + _row(names) + _row([":--"] * len(names))]
    for flip in one.flips:
        texts = (flip.prompt, flip.wanted, flip.answer_before, flip.answer)
        parts.append(_row([_item(flip), *(markdown_cell(text or "") for text in texts)]))
    said = unknown(one.flips)
    return [*parts, f"\n{said}.\n" if said else ""]


def _item(flip: Flip) -> str:
    scores = (
        "" if {flip.before, flip.after} <= {0.0, 1.0} else f", {score(flip.before)} → {score(flip.after)}"
    )
    return f"{markdown_cell(flip.task)} {markdown_cell(flip.item[:12])}{scores}"
