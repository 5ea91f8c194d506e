"""A trend for people and for programs: the alarm first, then the entries, then what drifts."""

from __future__ import annotations

import json
import math
import textwrap
from typing import Any

import numpy as np

from difficulty.stats.result import Floats
from junkdna_harness.gate.history import Entry
from junkdna_harness.gate.trend import Alarm, Drift, Trend
from junkdna_harness.presentation.escape import one_line
from junkdna_harness.presentation.lines import line_width
from junkdna_harness.presentation.table import number_table

_ENTRIES = 20  # shown of a long history, beside those that raised an alarm
_DRIFTS = 8
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 20


def trend_sentence(trend: Trend) -> str:
    """The outcome in one sentence or two."""
    number, rate = len(trend.drifts), f"{100 * trend.rate:g} %"
    beyond = f" more than {trend.tolerance:g} per entry" if trend.tolerance else ""
    if not trend.alarmed:
        nearest = max(trend.drifts, key=lambda one: float(one.log_e[-1]))
        what = f"{nearest.name} loses" if number == 1 else f"any of {number} comparisons loses"
        return (
            f"no alarm: over {_entries(len(trend.entries))} since {trend.start} nothing shows that {what}{beyond} "
            f"(closest: {nearest.name}, e-value {e_text(float(nearest.log_e[-1]))} of {_threshold(trend)})."
        )
    first = trend.alarmed[0]
    alarm = first.alarms[0]
    others = f", and {len(trend.alarmed) - 1} more" if len(trend.alarmed) > 1 else ""
    return (
        f"ALARM: {first.name}{others}. It lost {_signed(alarm.loss)} over {_entries(alarm.at - alarm.since)} up to "
        f"{_where(trend.entries[alarm.at])}{beyond and ','}{beyond}: e-value {e_text(alarm.log_e)}, where {_threshold(trend)} is "
        f"reached with a chance of at most {rate} if nothing drifts."
    )


def trend_text(trend: Trend) -> str:
    """Everything for a terminal."""
    lines = textwrap.wrap(one_line(trend_sentence(trend)), line_width())
    lines += ["", *_entry_table(trend)]
    drifting = _drifting(trend)
    if drifting:
        lines += ["", *_drift_table(trend, drifting)]
    for note in trend.notes:
        lines += textwrap.wrap(f"note: {one_line(note)}", line_width(), subsequent_indent="  ")
    if trend.alarmed:
        last = max(alarm.at for one in trend.alarmed for alarm in one.alarms)
        if trend.entries[last].commit and last < len(trend.entries) - 1:
            told = f"If that loss is accepted, start anew from there: --since {_short(trend.entries[last])}"
        else:
            told = "If that loss is accepted, start anew from there with --since COMMIT once there is a later entry."
        lines += ["", *textwrap.wrap(told, line_width())]
    return "\n".join(lines)


def trend_json(trend: Trend) -> str:
    """Everything as JSON, schema 1; numbers are not rounded."""
    document = {
        "schema": 1,
        "alarm": bool(trend.alarmed),
        "exit_code": trend.exit_code,
        "sentence": trend_sentence(trend),
        "false_alarm_rate": trend.rate,
        "e_value_of_an_alarm": trend.threshold,
        "tolerance": trend.tolerance,
        "start": trend.start,
        "entries": [
            {"line": e.line, "time": e.time, "commit": e.commit, "verdict": e.verdict, "run": e.new.get("run"), "sha256": e.new.get("sha256")}
            for e in trend.entries
        ],
        "comparisons": [_drift_dict(one, trend) for one in trend.drifts],
        "notes": list(trend.notes),
    }  # fmt: skip
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def e_text(log_e: float) -> str:
    """An e-value from its logarithm.

    >>> e_text(0.0), e_text(7.0), e_text(40.0)
    ('1', '1,097', '10^17')
    """
    if log_e > math.log(1e6):
        return f"10^{log_e / math.log(10):.0f}"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def sparkline(scores: Floats) -> str:
    """The course of a score in at most 20 characters, its lowest and highest value at the ends of the scale.

    >>> import numpy as np
    >>> sparkline(np.array([3.0, 2.0, 1.0])), sparkline(np.array([1.0, 1.0]))
    ('█▅▁', '▄▄')
    """
    if len(scores) > _SPARK_WIDTH:
        scores = scores[np.linspace(0, len(scores) - 1, _SPARK_WIDTH).round().astype(int)]
    low, high = float(scores.min()), float(scores.max())
    if not high > low:
        return _SPARKS[3] * len(scores)
    steps = np.clip(((scores - low) / (high - low) * 8).astype(int), 0, 7)
    return "".join(_SPARKS[step] for step in steps)


def _entry_table(trend: Trend) -> list[str]:
    lead = max(trend.drifts, key=lambda one: one.n_items)
    raised = {alarm.at for one in trend.alarmed for alarm in one.alarms}
    shown = [n for n in range(len(trend.entries)) if n >= len(trend.entries) - _ENTRIES or n in raised]
    rows = []
    for n in shown:
        entry = trend.entries[n]
        judged = next(
            (row for row in entry.comparisons if (row["name"], row["metric"]) == (lead.name, lead.metric)),
            None,
        )
        loss = "" if judged is None or judged["loss"] is None else _signed(judged["loss"])
        count = sum(any(alarm.at == n for alarm in one.alarms) for one in trend.alarmed)
        mark = "" if not count else "ALARM" if count == 1 else f"{count} ALARMS"
        rows.append(
            [_short(entry), entry.time[:10], entry.verdict, _score(lead.scores[n + 1]), loss, _signed(lead.losses[n]), e_text(lead.log_e[n]), mark]
        )  # fmt: skip
    header = ["commit", "date", "verdict", "score", "loss", "drift", "e-value", ""]
    left_out = len(trend.entries) - len(shown)
    lines = number_table(header, rows).split("\n")
    told = f"{one_line(lead.name)} ({one_line(lead.metric)}, {lead.n_items:,} items): loss against the entry's baseline, drift since {trend.start}"
    more = [f"({_entries(left_out)} before these are not shown; --json has all)"] if left_out else []
    return [*textwrap.wrap(told, line_width()), *more, *lines]


def _drifting(trend: Trend) -> list[Drift]:
    """Those with an alarm, then those whose evidence would raise one if they stood alone."""
    alone = [one for one in trend.drifts if not one.alarms and one.peak >= math.log(1 / trend.rate)]
    return [*trend.alarmed, *sorted(alone, key=lambda one: -one.peak)]


def _drift_table(trend: Trend, drifting: list[Drift]) -> list[str]:
    rows = []
    for one in drifting[:_DRIFTS]:
        at = _short(trend.entries[one.alarms[0].at]) if one.alarms else ""
        rows.append(
            [one.name, _score(one.scores[-1]),
             _signed(one.losses[-1]), e_text(one.peak), at, sparkline(one.scores)]
        )  # fmt: skip
    lines = number_table(["what drifts", "score", "drift", "peak e", "alarm", "course"], rows).split("\n")
    more = len(drifting) - _DRIFTS
    return lines + ([f"and {more} more; --json has all"] if more > 0 else [])


def _drift_dict(one: Drift, trend: Trend) -> dict[str, Any]:
    return {
        "name": one.name,
        "metric": one.metric,
        "n_items": one.n_items,
        "scores": [_finite(score) for score in one.scores],
        "drift": [_finite(loss) for loss in one.losses],
        "log_e_values": [float(value) for value in one.log_e],
        "asymptotic": one.asymptotic,
        "too_few": one.too_few,
        "alarms": [_alarm_dict(alarm, trend) for alarm in one.alarms],
    }


def _alarm_dict(alarm: Alarm, trend: Trend) -> dict[str, Any]:
    entry = trend.entries[alarm.at]
    since = trend.entries[alarm.since] if alarm.since >= 0 else None
    return {
        "entry": alarm.at, "commit": entry.commit, "time": entry.time, "loss": _finite(alarm.loss), "log_e_value": alarm.log_e,
        "since_entry": alarm.since if since else None, "since_commit": since.commit if since else None,
    }  # fmt: skip


def _short(entry: Entry) -> str:
    return one_line(entry.commit)[:9] if entry.commit else f"(line {entry.line})"


def _where(entry: Entry) -> str:
    name = f"commit {_short(entry)}" if entry.commit else f"the entry in line {entry.line}"
    return f"{name} of {one_line(entry.time)[:10]}"


def _entries(n: int) -> str:
    return f"{n} entry" if n == 1 else f"{n} entries"


def _threshold(trend: Trend) -> str:
    return e_text(math.log(trend.threshold))


def _score(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}" if abs(value) < 100 else f"{value:+.1f}"


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
