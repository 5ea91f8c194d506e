"""The outcome of the gate for a person at a terminal: as wide as it is, the worst first, the verdict last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from junkdna_harness.gate.fidelity import TextComparison
from junkdna_harness.gate.flips import Flip
from junkdna_harness.gate.policy import Verdict
from junkdna_harness.gate.rule import Comparison, Gate
from junkdna_harness.gate.words import (
    ORDER,
    advice,
    describe,
    evidence,
    interval,
    loss,
    nearness,
    score,
    sentence,
    signed,
    unknown,
    worst_first,
)
from junkdna_harness.presentation.escape import one_line
from junkdna_harness.presentation.lines import Line, cut, folded, line_width

STYLE = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_INDENT = "    "
MOST = 12  # comparisons of the first verdict in a table that are listed unless all are asked for
MOST_BESIDE = 4  # and of the next: what is open matters less where something failed
_HEADER = ("items", "baseline", "new", "loss", "bounds", "limit")


def human(gate: Gate, everything: bool = False) -> list[Line]:
    """What did not pass (with `everything`: all of it), what is missing, notes, some items behind the worst, and the outcome."""
    lines = _lines(describe(gate.new), "          ", first="new       ")
    lines += _lines(describe(gate.baseline), "          ", first="baseline  ")
    lines += _table(gate, gate.critical, "", everything)
    lines += _texts([one for one in gate.text if one.severity == "critical"])
    lines += _table(gate, gate.advisory, " (advisory: decides nothing)", everything)
    lines += _texts([one for one in gate.text if one.severity == "advisory"])
    if gate.missing or gate.notes:
        lines.append([])
    for item in gate.missing:
        lines += _lines(f"missing: {item}", _INDENT, STYLE["fail"])
    for note in gate.notes:
        lines += _lines(f"note: {note}", _INDENT, "dim")
    lines += _behind_the_worst(gate)
    return [*lines, [], *_lines(sentence(gate), "", STYLE[gate.verdict])]


def _lines(text: str, indent: str = _INDENT, style: str = "", first: str = "") -> list[Line]:
    """A paragraph, folded, `first` before its first line; what is not ours in it is made harmless."""
    return [[(line, style)] for line in folded(one_line(text), None, indent, first)]


def _table(gate: Gate, comparisons: Sequence[Comparison], what: str, everything: bool) -> list[Line]:
    """One block for each verdict, with a heading; passed comparisons in one line unless all are asked for."""
    if not comparisons:
        return []
    ranked = worst_first(comparisons, gate.alpha)
    several = len({one.metric for one in gate.comparisons}) > 1
    rows = {id(one): _numbers(one, gate.alpha) for one in ranked}
    header = (*_HEADER[:4], f"{100 * (1 - gate.alpha):g} % bounds", _HEADER[5])
    widths = [max(len(row[i]) for row in [header, *rows.values()]) for i in range(len(header))]
    room = max(12, line_width() - sum(widths) - len(widths))
    lines: list[Line] = []
    most = MOST
    for verdict in ORDER:
        mine = [one for one in ranked if one.verdict == verdict]
        if not mine or (verdict == "pass" and not everything):
            continue
        lines += [[], *_heading(verdict, what, header, widths, room)]
        for one in mine if everything else mine[:most]:
            name = one.name + (f" ({one.metric})" if several else "")
            cells = "".join(f" {cell:>{width}}" for cell, width in zip(rows[id(one)], widths, strict=True))
            *above, last = folded(
                one_line(name), room
            )  # a name that is too long for its column stands above its numbers
            lines += [[(piece, STYLE[verdict])] for piece in above]
            lines.append([(last + " " * (room - cell_len(last)), STYLE[verdict]), (cells, "")])
            if verdict != "pass":
                lines += _lines(_detail(one, gate.alpha), _INDENT, "dim", _INDENT)
        if len(mine) > most and not everything:
            more = f"… and {len(mine) - most} more, less far (--all lists them)"
            lines.append([(more, STYLE[verdict])])
        most = MOST_BESIDE
    passed = [one for one in ranked if one.verdict == "pass"]
    if passed and not everything:
        told = _folded_away(passed, what, gate, alone=len(passed) == len(ranked) and not what)
        lines += [[], *_lines(told, _INDENT, STYLE["pass"])]
    return lines


def _heading(
    verdict: Verdict, what: str, header: Sequence[str], widths: Sequence[int], room: int
) -> list[Line]:
    """The verdict and, beside it where there is room, the names of the columns."""
    title = verdict.upper() + what
    cells = "".join(f" {cell:>{width}}" for cell, width in zip(header, widths, strict=True))
    if len(title) > room:
        return [[(title, STYLE[verdict])], [(" " * room + cells, "dim")]]
    return [[(title.ljust(room), STYLE[verdict]), (cells, "dim")]]


def _numbers(one: Comparison, alpha: float) -> tuple[str, ...]:
    bounds = interval(*one.loss.bounds(alpha))
    return (
        str(one.loss.n_items),
        score(one.loss.before) if one.planned.kind == "drop" else "",
        score(one.loss.after) if one.planned.kind == "drop" else "",
        loss(one),
        bounds,
        f"{one.limit:.4g}",
    )


def _detail(one: Comparison, alpha: float) -> str:
    """What was counted; for an open comparison, what would decide it."""
    text = evidence(one)
    if one.verdict != "inconclusive":
        return text
    counts = {"fail": "; counts as a fail", "pass": "; counts as a pass"}.get(one.counts_as, "")
    return f"{text}{counts}; {advice(one, alpha)}"


def _folded_away(passed: Sequence[Comparison], what: str, gate: Gate, alone: bool) -> str:
    """What passed, in a line; where nothing else decides (`alone`), the outcome names the closest one."""
    number = "1 comparison passes" if len(passed) == 1 else f"{len(passed)} comparisons pass"
    closest = "" if alone or gate.identical else f", closest: {nearness(passed[0], gate.alpha)}"
    return f"{number}{what}{closest} (--all lists {'it' if len(passed) == 1 else 'them'})"


def _texts(comparisons: Sequence[TextComparison]) -> list[Line]:
    lines: list[Line] = [[]] if comparisons else []
    for one in sorted(comparisons, key=lambda one: ORDER.index(one.verdict)):
        advisory = " (advisory)" if one.severity == "advisory" else ""
        told = f"{one.name} on the text: {score(one.value)} {_bounds(one)}, limit {one.limit:g}: {one.verdict}{advisory}"
        lines += _lines(told, _INDENT, STYLE[one.verdict])
    return lines


def _bounds(one: TextComparison) -> str:
    return f"[{signed(one.low)}, {signed(one.high)}]"


def _behind_the_worst(gate: Gate) -> list[Line]:
    """Items of the worst comparison that has any; those of the others are in the JSON."""
    ranked = [*worst_first(gate.critical, gate.alpha), *worst_first(gate.advisory, gate.alpha)]
    worst = next((one for one in ranked if one.flips), None)
    if worst is None:
        return []
    changed = "changed" if worst.planned.kind == "flips" else "were lost"
    title = f"{len(worst.flips)} of the {worst.loss.lost:,} items of {worst.name} that {changed} (of all comparisons: --json)"
    lines: list[Line] = [[], *_lines(title, _INDENT, "bold")]
    for number, flip in enumerate(worst.flips, 1):
        lines += _flip(number, flip)
    if said := unknown(worst.flips):
        lines += _lines(said, _INDENT, "dim")
    return lines


def _flip(number: int, flip: Flip) -> list[Line]:
    item = cut(one_line(flip.item), 14)
    scores = (
        "" if {flip.before, flip.after} <= {0.0, 1.0} else f", {score(flip.before)} -> {score(flip.after)}"
    )
    head = f"{number}  {cut(one_line(flip.task), line_width() - 40)}, item {item}{scores}"
    lines: list[Line] = [[(head, "bold")]]
    told = (
        ("asked", flip.prompt, True, ""),
        ("wanted", flip.wanted, False, "green"),
        ("baseline", flip.answer_before, False, ""),
        ("new", flip.answer, False, "red"),
    )
    for what, text, end, style in told:
        if text is not None:
            label = f"   {what:<9} "
            lines.append(
                [
                    (label, "dim"),
                    (cut(" ".join(one_line(text).split()), line_width() - len(label), end), style),
                ]
            )
    return lines
