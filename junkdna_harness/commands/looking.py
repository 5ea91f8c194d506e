"""What `fit` and `report` do beside judging: log that they looked at a sweep's folder, and say what was registered before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from difficulty.visible import visible_json

if TYPE_CHECKING:
    from pathlib import Path

    from difficulty.judge.fit import FitResult
    from difficulty.judge.prereg import Prereg
    from difficulty.runs.read import Runs


def log(
    folders: Iterable[Path], command: str, fits: Sequence[FitResult], options: Mapping[str, Any]
) -> list[str]:
    """Log one look at each folder; notes where a log could not be written. `options`: those that a verdict depends on."""
    from dataclasses import asdict
    from importlib.metadata import version

    from difficulty.runs.looks import log_look

    verdicts = {one.model: {name: claim.verdict for name, claim in one.headline().items()} for one in fits}
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    rules = asdict(fits[0].rules) if fits else {}
    notes = [
        log_look(folder, command, version("junkdna-harness"), options=given, rules=rules, verdicts=verdicts)
        for folder in folders
    ]
    return [note for note in notes if note]


def read_prereg_of(path: Path, read: Runs) -> Prereg:
    """The preregistration that the runs are held against.

    Raises:
        UsageError: it cannot be read, was edited, or is of another study.
    """
    from difficulty.judge.prereg import read_prereg, require_same_study

    prereg = read_prereg(path)
    require_same_study(prereg, read.table["model"].unique(), read.table["task"].unique())
    return prereg


def departures_of(
    prereg: Prereg, fits: Sequence[FitResult], read: Runs, folders: Sequence[Path], resamples: int
) -> list[str]:
    """The departures of each fit, which was asked for `resamples`; with several models each sentence names its own."""
    from importlib.metadata import version

    from difficulty.judge.departures import departures, facts_of

    files = [folder / "plan.json" for folder in folders]
    plans = [json.loads(file.read_text("utf-8")) for file in files if file.is_file()] or [None]
    found = []
    for one, plan in product(fits, plans):
        facts = facts_of(one, version("junkdna-harness"), read.table, plan, resamples)
        head = f"{one.model}: " if len(fits) > 1 else ""
        found += [head + sentence for sentence in departures(prereg, facts)]
    return list(dict.fromkeys(found))


def with_prereg(text: str, prereg: Prereg, found: Sequence[str]) -> str:
    """The JSON of a fit with the preregistration and the departures from it."""
    document = json.loads(text)
    document["prereg"] = {
        "file": prereg.path, "registered": prereg.registered, "sha256": prereg.sha256, "departures": list(found),
    }  # fmt: skip
    return visible_json(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def prereg_lines(prereg: Prereg, found: Sequence[str]) -> list[str]:
    """What a person reads of it."""
    head = f"{prereg.path}, registered {prereg.registered} (sha256 {prereg.sha256[:12]}...)"
    if not found:
        return [f"preregistration: no departure from {head}."]
    count = f"{len(found)} departure{'s' * (len(found) > 1)}"
    return [f"preregistration: {count} from {head}:", *(f"  departure: {sentence}" for sentence in found)]
