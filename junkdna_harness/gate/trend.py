"""Does the model get worse from entry to entry of a history? Evidence that may be looked at after every commit.

Each comparison of the newest entry is followed from the start (what the first entry's baseline scored) over all entries, on the same
items. An alarm is raised where its e-value reaches m / rate for m comparisons: if there is no drift, the chance that any of them ever
raises one is at most `rate` (`difficulty.stats.drift` has the e-value and what it supposes). After an alarm its evidence starts anew at
the entry that raised it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difficulty.errors import UsageError
from difficulty.runs.direction import bounded
from difficulty.runs.table import some
from difficulty.stats.drift import LARGE_SAMPLE, drift_evidence
from difficulty.stats.mean import in_nats_or_units, read_on, weighted_mean
from difficulty.stats.result import Floats
from junkdna_harness.gate.decision import cells_from_json
from junkdna_harness.gate.history import Entry, History


@dataclass(frozen=True)
class Alarm:
    """A comparison whose evidence reached the threshold: at which entry, counted from the entry `since` (-1: the first baseline)."""

    at: int
    since: int
    loss: float
    log_e: float


@dataclass(frozen=True)
class Drift:
    """One comparison over all entries. `scores`: the start first, then one per entry; `losses`: since the start, worse is positive.

    `log_e`: the evidence after each entry, since the last alarm before it. `asymptotic`: an e-value in large samples alone;
    `too_few`: of a score without a limit on fewer than 200 items or clusters, so that nothing can be said.
    """

    name: str
    metric: str
    n_items: int
    scores: Floats
    losses: Floats
    log_e: Floats
    alarms: tuple[Alarm, ...]
    asymptotic: bool = False
    too_few: bool = False

    @property
    def peak(self) -> float:
        """The largest log e-value."""
        return float(self.log_e.max())


@dataclass(frozen=True)
class Trend:
    """All comparisons of a history. `start`: what the evidence starts from, in words."""

    entries: tuple[Entry, ...]
    drifts: tuple[Drift, ...]
    start: str
    rate: float
    tolerance: float
    notes: tuple[str, ...] = field(default=())

    @property
    def threshold(self) -> float:
        """The e-value that raises an alarm."""
        return len(self.drifts) / self.rate

    @property
    def alarmed(self) -> tuple[Drift, ...]:
        """The comparisons with an alarm, the first one first; of one entry that which lost most."""
        return tuple(
            sorted(
                (one for one in self.drifts if one.alarms),
                key=lambda one: (one.alarms[0].at, -one.alarms[0].loss),
            )
        )

    @property
    def exit_code(self) -> int:
        """0 no alarm, 1 an alarm."""
        return 1 if self.alarmed else 0


def trend(history: History, rate: float = 0.05, since: str | None = None, tolerance: float = 0.0) -> Trend:
    """Every comparison of the newest entry over the history. `since`: a commit (or the first characters of it) to start from.

    `tolerance`: the loss per entry that is no drift, in the metric's units.

    Raises:
        UsageError: a value out of range, no entry of that commit, or nothing that can be followed.
    """
    if not 0 < rate < 1:
        raise UsageError(f"--false-alarm-rate {rate:g} is no rate. Give a number between 0 and 1, e.g. 0.05.")
    if not 0 <= tolerance < math.inf:
        raise UsageError(
            f"--tolerance {tolerance:g} is no loss. Give a number of at least 0, e.g. 0.0005 per commit."
        )
    entries, start, what = _from(history, since)
    outcomes = _known(np.vstack([start, *(entry.outcomes for entry in entries)]))
    followed = _followed(entries[-1])
    if not followed:
        raise UsageError(
            f"the newest entry of {history.path!r} has no comparison of a drop. Judge by a policy with max_drop or max_relative_drop."
        )
    drifts = [_drift(row, outcomes, history, math.log(len(followed) / rate), tolerance) for row in followed]
    notes = [*history.notes]
    few = [one.name for one in drifts if one.too_few]
    if few:
        notes.append(
            f"nothing can be said of {some(few, 3)}: a score without a limit needs {LARGE_SAMPLE} items or clusters"
        )
    if any(one.asymptotic and not one.too_few for one in drifts):
        notes.append("the e-values of scores without a limit hold in large samples alone (asymptotic)")
    return Trend(entries, tuple(drifts), what, rate, tolerance, tuple(notes))


def _from(history: History, since: str | None) -> tuple[tuple[Entry, ...], Floats, str]:
    """The entries that are judged, what they start from, and that in words."""
    entries = history.entries
    if since is None:
        if np.isnan(history.start).all():
            return entries, entries[0].outcomes, "the first entry"
        return entries, history.start, "the first entry's baseline"
    found = [n for n, entry in enumerate(entries) if entry.commit and entry.commit.startswith(since)]
    commits = list(dict.fromkeys(str(entries[n].commit) for n in found))
    if not since or len(commits) != 1:
        known = list(dict.fromkeys(entry.commit[:9] for entry in reversed(entries) if entry.commit))
        why = f"is the beginning of {len(commits)} commits" if len(commits) > 1 else "is no commit"
        raise UsageError(
            f"--since {since!r} {why} in {history.path!r}. There are: {some(known) or 'entries without a commit alone'}."
        )
    at = found[-1]
    if at == len(entries) - 1:
        raise UsageError(
            f"--since {since!r} is the newest entry of {history.path!r}, and none came after it. Name an earlier one."
        )
    return entries[at + 1 :], entries[at].outcomes, f"commit {commits[0][:9]}"


def _known(outcomes: Floats) -> Floats:
    """With what each item scored last where an entry did not ask it; before it was first asked, with that first score."""
    found = outcomes.copy()
    for t in range(1, len(found)):
        found[t] = np.where(np.isnan(found[t]), found[t - 1], found[t])
    for t in range(len(found) - 2, -1, -1):
        found[t] = np.where(np.isnan(found[t]), found[t + 1], found[t])
    return found


def _followed(entry: Entry) -> list[Mapping[str, Any]]:
    """The comparisons of a drop, each once: severities of the same are judged together."""
    drops = [row for row in entry.comparisons if row["kind"] == "drop"]
    return list({(row["cells"], row["metric"]): row for row in reversed(drops)}.values())[::-1]


def _drift(
    row: Mapping[str, Any], outcomes: Floats, history: History, threshold: float, tolerance: float
) -> Drift:
    suite = history.suite
    cells = cells_from_json(row["cells"], suite)
    tasks = [task for task in suite.tasks if task.key in cells]
    at = np.concatenate([suite.starts[task.key] + cells[task.key] for task in tasks])
    at_known = at[~np.isnan(outcomes[0, at])]  # items that no entry has asked are left out
    if not len(at_known):
        raise UsageError(
            f"no entry of {history.path!r} has asked an item of {row['name']}. Leave its rule out of the policy."
        )
    groups = np.concatenate([np.full(len(cells[task.key]), n) for n, task in enumerate(tasks)])[
        ~np.isnan(outcomes[0, at])
    ]
    scale, higher = tasks[0].scale, tasks[0].higher_is_better
    weights = _weights(history, at_known)
    raw = in_nats_or_units(outcomes[:, at_known], scale)
    limitless = (
        scale != "mean" or bounded(tasks[0].metric) is False or weights is not None or not _within(raw)
    )
    signed = raw if higher else (-raw if limitless else 1 - raw)
    scores = np.array([read_on(weighted_mean(values, weights), scale) for values in raw])
    losses = (scores[0] - scores[1:]) * (1 if higher else -1)
    units = None if suite.clusters is None else suite.clusters[at_known]
    allowed = math.log1p(tolerance / scores[0]) if scale == "perplexity" else tolerance
    log_e, alarms = _evidence(
        signed, units, groups, allowed, weights, False if limitless else None, threshold, scores, higher
    )
    n_units = len(at_known) if units is None else len(np.unique(units))
    return Drift(
        str(row["name"]), str(row["metric"]), len(at_known), scores, losses, log_e, alarms, limitless, limitless and n_units < LARGE_SAMPLE
    )  # fmt: skip


def _evidence(
    signed: Floats, units: NDArray[np.intp] | None, groups: NDArray[np.intp], tolerance: float, weights: Floats | None,
    bounded: bool | None, threshold: float, scores: Floats, higher: bool,
) -> tuple[Floats, tuple[Alarm, ...]]:  # fmt: skip
    """Log e-values after each entry, from the last alarm before it, and the alarms."""
    found = np.zeros(len(signed) - 1)
    alarms: list[Alarm] = []
    start = 0
    while start < len(found):
        part = drift_evidence(signed[start:], units, groups, tolerance, weights, bounded)
        crossed = np.flatnonzero(part >= threshold)
        if not len(crossed):
            found[start:] = part
            break
        stop = start + int(crossed[0])
        found[start : stop + 1] = part[: crossed[0] + 1]
        loss = float(scores[start] - scores[stop + 1]) * (1 if higher else -1)
        alarms.append(Alarm(stop, start - 1, loss, float(found[stop])))
        start = stop + 1
    return found, tuple(alarms)


def _weights(history: History, at: NDArray[np.intp]) -> Floats | None:
    if all(task.weights is None for task in history.suite.tasks):
        return None
    parts: Sequence[Floats] = [
        np.ones(t.n_items) if t.weights is None else t.weights for t in history.suite.tasks
    ]
    chosen = np.concatenate(parts)[at]
    return None if (chosen == chosen[0]).all() else chosen


def _within(values: Floats) -> bool:
    return bool(values.min() >= 0 and values.max() <= 1)
