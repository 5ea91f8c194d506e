"""The outcome of the gate for people, programs, CI dashboards and the summary page of a GitHub job."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from difficulty.errors import UsageError
from difficulty.runs.table import some
from difficulty.stats.paired_loss import UNBOUNDED_ITEMS
from difficulty.text import interval_text, p_text, with_noise_mark
from junkdna_harness.gate.items import RunItems
from junkdna_harness.gate.policy_file import to_dict
from junkdna_harness.gate.rule import POWER, Comparison, Gate
from junkdna_harness.presentation.escape import markdown_cell

# Characters that XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARK = {"pass": "✅", "fail": "❌", "inconclusive": "❔"}


def sentence(gate: Gate) -> str:
    """The outcome in one line, with the worst one or what would decide."""
    bad = [one for one in gate.comparisons if one.verdict == "fail"]
    undecided = [one for one in gate.comparisons if one.verdict == "inconclusive"]
    if gate.identical:
        items = sum(len(task.item_ids) for name, task in gate.new.tasks.items() if name == task.task)
        return f"PASS: the weights are the same (sha256 {str(gate.new.weights_sha256)[:12]}…) and every answer is equal, on {items:,} items."
    if gate.verdict == "pass":
        worst = max(gate.comparisons, key=lambda c: c.loss.bounds(gate.alpha)[1] - c.limit)
        high = worst.loss.bounds(gate.alpha)[1]
        return (
            f"PASS: in each of {len(gate.comparisons)} comparisons the loss is below its limit "
            f"(closest: {worst.name}, at most {_signed(high)} of {worst.limit:.4g} allowed)."
        )
    if gate.verdict == "fail":
        parts = []
        if gate.missing:
            parts.append("missing from the new run: " + some(gate.missing))
        if bad:
            worst = max(bad, key=lambda c: c.loss.loss - c.limit)
            parts.append(
                f"{len(bad)} of {len(gate.comparisons)} comparisons lost more than allowed "
                f"(worst: {worst.name}, {_score(worst.loss.before)} -> {_score(worst.loss.after)}, limit {worst.limit:.4g})"
            )
        return "FAIL: " + "; ".join(parts) + "."
    return (
        f"INCONCLUSIVE: {len(undecided)} of {len(gate.comparisons)} comparisons have too few items to tell: "
        + needed(undecided, gate.alpha)
    )


def needed(comparisons: list[Comparison], alpha: float) -> str:
    """How many items would decide the comparisons that are open, and which have too few of an unbounded metric."""
    few = [one for one in comparisons if one.loss.too_few]
    if few:
        return _too_few(few)
    wanted = [(one.items_to_decide(alpha), one) for one in comparisons]
    known = [(n, one) for n, one in wanted if n is not None]
    if not known:
        return (
            "their loss lies at the limit itself, so that no number of items decides. Choose another limit."
        )
    most, one = max(known, key=lambda pair: pair[0] / pair[1].loss.n_items)
    return (
        f"about {most:,} items would decide {one.name} with {100 * POWER:g} % power, if the loss is as it was seen "
        f"(it has {one.loss.n_items:,})."
    )


def _too_few(comparisons: list[Comparison]) -> str:
    one = min(comparisons, key=lambda one: one.loss.n_clusters)
    have = f"{one.loss.n_items:,} items"
    if one.loss.n_clusters < one.loss.n_items:
        have += f" in {one.loss.n_clusters:,} clusters"
    others = f", as {len(comparisons) - 1} more" if len(comparisons) > 1 else ""
    return (
        f"{one.name} has {have} of {one.metric}{others}; an unbounded metric needs {UNBOUNDED_ITEMS} to pass."
    )


def human(gate: Gate) -> str:
    """Table and outcome as plain text, the outcome last."""
    lines = [f"new       {describe(gate.new)}", f"baseline  {describe(gate.baseline)}", ""]
    names = [one.name for one in gate.comparisons] or [""]
    width = max(10, *(len(name) for name in names))
    sure = f"{100 * (1 - gate.alpha):g} % bounds"
    wide = max(8, *(len(_loss(one)) for one in gate.comparisons)) if gate.comparisons else 8
    lines.append(
        f"{'':{width}}  {'metric':<12} {'items':>6} {'baseline':>8} {'new':>8} {'loss':>{wide}}  {sure:<18} {'limit':>7}  {'p (Holm)':>8}  verdict"
    )
    for one in gate.comparisons:
        low, high = one.loss.bounds(gate.alpha)
        lines.append(
            f"{one.name:<{width}}  {one.metric[:12]:<12} {one.loss.n_items:>6} {_score(one.loss.before):>8} "
            f"{_score(one.loss.after):>8} {_loss(one):>{wide}}  {_interval(low, high):<18} "
            f"{one.limit:>7.4g}  {p_text(one.p_holm, 4):>8}  {one.verdict}"
        )
    lines += [f"missing: {item}" for item in gate.missing] + [f"note: {note}" for note in gate.notes]
    return "\n".join([*lines, "", sentence(gate)])


def as_json(gate: Gate, exit_code: int) -> str:
    """The outcome as JSON; numbers are not rounded, and infinite ones are null."""
    document = {
        "schema": 1,
        "verdict": gate.verdict,
        "exit_code": exit_code,
        "sentence": sentence(gate),
        "policy": to_dict(gate.policy),
        "new": {"run": gate.new.name, **gate.new.about},
        "baseline": {"run": gate.baseline.name, **gate.baseline.about},
        "cells": [_as_dict(one, gate.alpha) for one in gate.comparisons],
        "missing": list(gate.missing),
        "notes": list(gate.notes),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _as_dict(one: Comparison, alpha: float) -> dict[str, Any]:
    low, high = one.loss.bounds(alpha)
    return {
        "name": one.name,
        "scope": one.scope,
        "family": one.family,
        "tier": one.tier,
        "metric": one.metric,
        "n_items": one.loss.n_items,
        "n_clusters": one.loss.n_clusters,
        "baseline": one.loss.before,
        "new": _finite(one.loss.after),
        "loss": _finite(one.loss.loss),
        "lower_bound": _finite(low),
        "upper_bound": _finite(high),
        "limit": one.limit,
        "lost": one.loss.lost,
        "gained": one.loss.gained,
        "p_exceeds": one.p_exceeds,
        "p_exceeds_holm": one.p_holm,
        "p_below": one.p_below,
        "verdict": one.verdict,
        "items_to_decide": one.items_to_decide(alpha) if one.verdict == "inconclusive" else None,
        "noise_floor": None if one.noise is None else _finite(one.noise.size),
        "within_noise": one.within_noise,
        "power": POWER,
        "reason": needed([one], alpha) if one.verdict == "inconclusive" else None,
    }


def junit_xml(gate: Gate, inconclusive_fails: bool) -> str:
    """One test case per comparison and one for each missing thing; an inconclusive one is skipped, or fails if asked."""
    cases: list[ET.Element] = []
    for item in gate.missing:
        case = ET.Element("testcase", classname="junkdna.missing", name=_xml(item))
        ET.SubElement(case, "failure", message=_xml(f"missing from the new run: {item}"))
        cases.append(case)
    for one in gate.comparisons:
        case = ET.Element(
            "testcase", classname=_xml(f"junkdna.{one.scope}"), name=_xml(f"{one.name} ({one.metric})")
        )
        message = _sentence_of(one, gate.alpha)
        if one.verdict == "fail" or (one.verdict == "inconclusive" and inconclusive_fails):
            ET.SubElement(case, "failure", message=_xml(message))
        elif one.verdict == "inconclusive":
            ET.SubElement(case, "skipped", message=_xml(message))
        cases.append(case)
    failures = sum(case.find("failure") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    suite = ET.Element(
        "testsuite",
        name="junkdna check",
        tests=str(len(cases)),
        failures=str(failures),
        errors="0",
        skipped=str(skipped),
    )
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def markdown(gate: Gate) -> str:
    """The outcome as GitHub markdown: the sentence, then what did not pass, then everything folded away."""
    sure = f"{100 * (1 - gate.alpha):g} % bounds"
    header = (
        f"| | items | baseline | new | loss | {sure} | limit | verdict |\n|:--|--:|--:|--:|--:|:-:|--:|:--|\n"
    )

    def rows(comparisons: list[Comparison]) -> str:
        text = ""
        for one in comparisons:
            low, high = one.loss.bounds(gate.alpha)
            text += (
                f"| {markdown_cell(one.name)} | {one.loss.n_items} | {_score(one.loss.before)} | {_score(one.loss.after)} "
                f"| {_loss(one)} | {_interval(low, high)} | {one.limit:.4g} "
                f"| {_MARK[one.verdict]} {one.verdict} |\n"
            )
        return text

    text = f"## {_MARK[gate.verdict]} junkdna check: {gate.verdict}\n\n{markdown_cell(sentence(gate))}\n\n"
    text += (
        f"New: {markdown_cell(describe(gate.new))}. Baseline: {markdown_cell(describe(gate.baseline))}.\n\n"
    )
    text += "".join(f"- missing: {markdown_cell(item)}\n" for item in gate.missing)
    text += "".join(f"- note: {markdown_cell(note)}\n" for note in gate.notes) + "\n"
    bad = [one for one in gate.comparisons if one.verdict != "pass"]
    if bad:
        text += header + rows(bad) + "\n"
    count = len(gate.comparisons)
    return (
        text
        + f"<details><summary>All {count} comparisons</summary>\n\n{header}{rows(list(gate.comparisons))}\n</details>\n"
    )


def add_step_summary(gate: Gate) -> None:
    """Append to the job summary where a GitHub workflow has set GITHUB_STEP_SUMMARY; else do nothing.

    Raises:
        UsageError: the variable names a file that cannot be written.
    """
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    try:
        with Path(target).open("a", encoding="utf-8") as handle:
            handle.write(markdown(gate))
    except OSError as error:
        raise UsageError(
            f"GITHUB_STEP_SUMMARY {target!r} cannot be written: {error.strerror}. Unset it or name a writable file."
        ) from error


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


def _sentence_of(one: Comparison, alpha: float) -> str:
    low, high = one.loss.bounds(alpha)
    text = (
        f"{one.name}: {one.metric} {_score(one.loss.before)} -> {_score(one.loss.after)} on {one.loss.n_items} items, "
        f"loss {_loss(one)} {_interval(low, high)}, limit {one.limit:.4g}"
    )
    return text + (f"; {needed([one], alpha)}" if one.verdict == "inconclusive" else "")


def _loss(one: Comparison) -> str:
    return with_noise_mark(_signed(one.loss.loss), one.within_noise)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _score(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.1f}"


def _interval(low: float, high: float) -> str:
    ends = [abs(end) for end in (low, high) if math.isfinite(end)]
    return interval_text(low, high, "+.4f" if max(ends, default=0.0) < 100 else "+.1f")


def _signed(value: float) -> str:
    return f"{value:+.4f}" if abs(value) < 100 else f"{value:+.1f}"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
