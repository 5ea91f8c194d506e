"""What a gate can decide before it is run, as text and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from junkdna_harness.gate.planned import PlannedComparison
from junkdna_harness.gate.power import POWER, SURE, Outlook, Prospect
from junkdna_harness.presentation.lines import line_width
from junkdna_harness.presentation.table import Column, table_text


def power_text(found: Outlook, alpha: float) -> str:
    """Comparisons that are alike are one row."""
    lines = [
        *_wrapped(_premise(found)),
        "",
    ]
    rows = list(_alike(found.prospects))
    several = len({one.planned.metric for one in found.prospects}) > 1
    lines.append(table_text(_COLUMNS, [_row(group, several) for group in rows]))
    clustered = any(one.effective < one.planned.n_items for one in found.prospects)
    lines += [
        "",
        *_wrapped(
            f"(+n): n more of the same numbers. passes: how often the items that there are show an equal model to lose less than the limit (at {100 * alpha:g} %). "
            f"sees: the smallest true loss that fails in {100 * POWER:g} % of runs, corrected for all comparisons."
            + (" Items of one cluster count once, as if they always fared alike." if clustered else "")
        ),
    ]
    advice = [line for group in rows for line in _advice(group, found.prospects, several)]
    lines += ["", *advice] if advice else []
    if found.joint is not None:
        lines += [
            "",
            *_wrapped(
                f"All critical comparisons together: an equal model passes in {_percent(found.joint)} of runs."
            ),
        ]
    return "\n".join(lines)


def power_json(found: Outlook, alpha: float) -> str:
    """Every comparison with its numbers; what is not known is null."""
    document = {
        "kind": "junkdna-power",
        "schema": 1,
        "alpha": alpha,
        "discordance_measured": found.measured,
        "joint_power": found.joint,
        "comparisons": [
            {
                "name": one.planned.name,
                "metric": one.planned.metric,
                "kind": one.planned.kind,
                "severity": one.planned.rule.severity,
                "limit": one.planned.limit,
                "n_items": one.planned.n_items,
                "effective_items": one.effective,
                "discordance": one.discordance,
                "items_80": one.items[POWER],
                "items_95": one.items[SURE],
                "power": one.passes,
                "detectable_loss": one.sees,
                "limit_that_passes": one.wider,
            }
            for one in found.prospects
        ],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _premise(found: Outlook) -> str:
    shares = sorted({one.discordance for one in found.prospects if one.discordance is not None})
    if not shares:
        return "Nothing is known of how a second evaluation of the same model differs. Give --noise-floor."
    span = _share(shares[0]) if len(shares) == 1 else f"{_share(shares[0])} to {_share(shares[-1])}"
    if found.measured:
        return f"Of an equal model {span} of the answers change, as the baseline's second evaluation has it."
    how = "a guess: give --discordance, or --noise-floor to measure it" if found.guessed else "as given"
    return f"Of an equal model {span} of the answers change ({how})."


def _alike(prospects: Sequence[Prospect]) -> Iterable[list[Prospect]]:
    ordered = sorted(
        enumerate(prospects), key=lambda one: (str(one[1].planned.rule.title), repr(one[1].numbers), one[0])
    )
    groups = [
        [one for _, one in listed]
        for _, listed in groupby(ordered, key=lambda one: (one[1].planned.rule.title, one[1].numbers))
    ]
    order = {id(one): number for number, one in enumerate(prospects)}
    return sorted(groups, key=lambda group: order[id(group[0])])


_COLUMNS = [
    Column("comparison", told=False),
    *(Column(name, "number") for name in ("items", "limit", "items to pass in 80 %", "in 95 %")),
    *(Column(name, "number", told=False) for name in ("passes", "sees")),
    Column("", "text"),
]


def _row(group: Sequence[Prospect], several: bool) -> list[str]:
    one = group[0]
    return [
        _name(group, several), f"{one.planned.n_items:,}", f"{one.planned.limit:.3g}", _items(one.items[POWER]), _items(one.items[SURE]),
        "?" if one.passes is None else _percent(one.passes), "?" if one.sees is None else f"{one.sees:.3g}",
        "" if one.planned.rule.critical else "advisory",
    ]  # fmt: skip


def _name(group: Sequence[Prospect], several: bool) -> str:
    """The first one's name, and how many more there are."""
    return _told(group[0], several) + (f" (+{len(group) - 1})" if len(group) > 1 else "")


def _told(one: Prospect, several: bool) -> str:
    """Its name, with the metric where there are `several`."""
    return one.planned.name + (f" ({one.planned.metric})" if several else "")


def _advice(group: Sequence[Prospect], prospects: Sequence[Prospect], several: bool) -> list[str]:
    """What makes an undecided comparison decided, each way with its number."""
    one = group[0]
    if one.decided:
        return []
    what = _told(one, several) + (f" and {len(group) - 1} more" if len(group) > 1 else "")
    if one.passes is None:
        return _wrapped(
            f"{what}: {one.planned.metric} is unbounded, and how it varies is not known. Give --noise-floor.",
            "- ",
        )
    ways = []
    if (n := one.items[POWER]) is not None:
        ways.append(f"{n:,} items (there are {one.planned.n_items:,})")
    if one.wider is not None:
        ways.append(f"a limit of {one.wider:.3g}")
    if (coarser := _coarser(one.planned, prospects)) is not None:
        ways.append(f"judging {coarser.planned.name} as a whole ({_percent(coarser.passes or 0.0)})")
    return _wrapped(
        f"{what}: " + (", or ".join(ways) if ways else "no number of items decides it") + ".", "- "
    )


def _coarser(planned: PlannedComparison, prospects: Sequence[Prospect]) -> Prospect | None:
    """A decided comparison of the whole family."""
    if planned.value("family") is None or planned.scope == "family":
        return None
    for other in prospects:
        one = other.planned
        if (
            one.scope == "family"
            and one.value("family") == planned.value("family")
            and one.metric == planned.metric
            and other.decided
        ):
            return other
    return None


def _wrapped(text: str, mark: str = "") -> list[str]:
    return textwrap.wrap(
        text, line_width(), initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False
    )


def _items(n: int | None) -> str:
    return "-" if n is None else f"{n:,}"


def _share(share: float) -> str:
    return f"{100 * share:.2g} %"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share < 0.995 or share == 1 else ">99 %"
