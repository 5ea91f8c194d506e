"""A gate's outcome with the items behind what did not pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from difficulty.runs.asked import Asked
from junkdna_harness.gate.flips import Key, Logged, Texts, lost_items, with_texts
from junkdna_harness.gate.pairs import Paired, pair_items
from junkdna_harness.gate.rule import Gate


def no_texts(wanted: Collection[Key]) -> Mapping[Key, Asked]:
    """What a run says of its items where it holds nothing but scores."""
    return {}


def with_flips(gate: Gate, new: Texts = no_texts, baseline: Texts = no_texts) -> Gate:
    """The outcome, with up to five items for each comparison that did not pass.

    `new`, `baseline`: what the runs hold of some items (`flips.Logged`); neither is asked where everything passed.
    """
    open_ = [one for one in gate.comparisons if one.verdict != "pass"]
    keys = {key for one in open_ for key in one.planned.cells if key in gate.new.tasks}
    pairs: dict[str, Paired] = {
        key: pair_items(gate.new.tasks[key], gate.baseline.tasks[key], None)[0] for key in keys
    }
    lost = {
        id(one): lost_items(
            pairs, one.planned.cells, one.planned.higher_is_better, one.planned.kind == "flips"
        )
        for one in open_
    }
    shown = [item for items in lost.values() for item in items]
    now = new({(item.task, item.item) for item in shown}) if shown else {}
    then = baseline({(item.task, item.old) for item in shown}) if shown else {}
    comparisons = tuple(
        replace(one, flips=with_texts(lost[id(one)], now, then)) if id(one) in lost else one
        for one in gate.comparisons
    )
    return replace(gate, comparisons=comparisons)


def with_logged_flips(gate: Gate, new: str | Path, against: str | Path, labels: Sequence[str] = ()) -> Gate:
    """The same, with the texts that lie where the two runs were read."""
    logged = Logged(new, labels)
    before = logged if Path(new) == Path(against) else Logged(against, labels)
    return with_flips(gate, logged.of(gate.new.name), before.of(gate.baseline.name))
