"""How long and on what the runs were trained, by their manifests: trainings of one name must be of one kind.

Two trainings that differ in their number of steps or in their rate have the same name unless `junkdna recover --name-by` was asked
to tell them apart. Read together, they would pass for two draws of one training; so their names get what they differ in. What
else they differ in has no place in a name, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from difficulty.runs.identity import LOCAL_RECONSTRUCTION, Recovery, Run
from difficulty.runs.part import Part
from difficulty.runs.replicates import NUMBERED

LENGTH = ("steps", "batch_size", "max_length", "early_stop", "trainer")  # how long, and on how much
DATA = ("data", "examples")
ADAPTER = ("rank", "alpha", "merge")
SAME_SEED = ("data_sha256",)  # a share of the data is drawn by the seed
NAMED = ("steps", "lr")  # what a name can hold

if TYPE_CHECKING:
    import pandas as pd

_Links = Sequence[Mapping[str, Any]]
_Key = tuple[str, bool, str | None]  # model, whether it is local reconstruction, adapter


def trainings_of(manifest: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What a manifest says of each training, the first one first; empty where there was none, or nothing is known.

    >>> [one["steps"] for one in trainings_of({"recovery": {"steps": 20, "before": {"steps": 10}}})]
    [10, 20]
    """
    found: list[Mapping[str, Any]] = []
    training = manifest.get("recovery")
    while isinstance(training, Mapping):
        found.insert(0, training)
        training = training.get("before")
    return tuple(found)


def trained_runs(runs: pd.DataFrame | None) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Run id -> `trainings_of` its manifest, of a table of runs; runs without trainings are left out."""
    if runs is None or "manifest" not in runs:
        return {}
    found = {}
    for run, text in zip(runs["run"], runs["manifest"], strict=True):
        manifest = json.loads(text) if isinstance(text, str) and '"recovery"' in text else {}
        if isinstance(manifest, dict) and (links := trainings_of(manifest)):
            found[str(run)] = links
    return found


def unlike(
    first: _Links, second: _Links, names: Sequence[str] = (*NAMED, *LENGTH[1:], *DATA, *ADAPTER)
) -> dict[str, tuple[Any, Any]]:
    """In what two runs' trainings differ, as far as both say it: name -> what the one and what the other had."""
    found: dict[str, tuple[Any, Any]] = {}
    for one, other in zip(reversed(first), reversed(second), strict=False):
        adapters = one.get("adapter") and other.get("adapter")
        for name in names:
            known = name in one and name in other and (name not in ADAPTER or adapters)
            values = _comparable(one, name), _comparable(other, name)
            if known and values[0] != values[1]:
                found.setdefault(name, values)
    return found


def _comparable(facts: Mapping[str, Any], name: str) -> Any:
    """A value that is the same where the training is: the length that came of it, the file without its folder."""
    if name == "max_length" and "longest_row" in facts:
        return facts["longest_row"]
    return (
        str(facts[name]).replace("\\", "/").rpartition("/")[2]
        if name == "data" and name in facts
        else facts.get(name)
    )


def in_words(differing: Mapping[str, tuple[Any, Any]]) -> str:
    """What differs, e.g. `batch_size (8 and 32)`."""
    return ", ".join(f"{name} ({_said(one)} and {_said(other)})" for name, (one, other) in differing.items())


def _said(value: Any) -> str:
    return "none" if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)


def told_apart(parts: Sequence[Part], warnings: list[str]) -> list[Part]:
    """The parts, those of trainings that differ in steps or rate with these in their names.

    Trainings of one model are named alike: where two of them differ, with the same adapter or none, all of them get it, so that a
    pruned model still finds the dense one that was trained as long. A name that a person or a store gave is kept.

    Raises:
        UsageError: runs of one name were trained otherwise in what no name holds.
    """
    wanted = _differing(parts)
    for key, values in wanted.items():
        words = " and ".join(f"{name} ({', '.join(map(_said, those))})" for name, those in values.items())
        warnings.append(
            f"trainings of {key[0]!r} differ in {words}: their names say which was which, e.g. "
            f"{str(_example(parts, key, list(values)).method)!r}. junkdna recover --name-by {','.join(values)} writes such names itself."
        )
    named = [part.named(_told(part, wanted)) if _free(part) else part for part in parts]
    refuse_unlike(named)
    return named


def _free(part: Part) -> bool:
    """Whether a part has a name that was made from its manifest."""
    return part.run.method.recovered and part.run.known_by not in (*NUMBERED, "label")


def _key(run: Run, recovery: Recovery) -> _Key:
    """What is compared: trainings of a model with one adapter. Steps of local reconstruction are those of each block."""
    return run.model, recovery.arm == LOCAL_RECONSTRUCTION, recovery.adapter


def _links(part: Part) -> list[tuple[Recovery, Mapping[str, Any]]]:
    """The trainings in a part's name, the last one first, each with what its manifest says."""
    return list(
        zip(reversed(part.run.method.recoveries), reversed(trainings_of(part.manifest)), strict=False)
    )


def _differing(parts: Sequence[Part]) -> dict[_Key, dict[str, list[Any]]]:
    """What some trainings must be told apart by, and their names do not all say: key -> name -> its values, sorted."""
    seen: dict[_Key, dict[str, set[Any]]] = {}
    unsaid: set[tuple[_Key, str]] = set()
    for part in filter(_free, parts):
        for recovery, facts in _links(part):
            key = _key(part.run, recovery)
            for name in NAMED:
                if (value := _fact(recovery, facts, name)) is None:
                    continue
                seen.setdefault(key, {}).setdefault(name, set()).add(value)
                if getattr(recovery, name) is None:
                    unsaid.add((key, name))
    found = {
        key: {
            name: sorted(values) for name, values in by.items() if len(values) > 1 and (key, name) in unsaid
        }
        for key, by in seen.items()
    }
    return {key: by for key, by in found.items() if by}


def _fact(recovery: Recovery, facts: Mapping[str, Any], name: str) -> Any:
    """Steps or rate of one training, by its name, else by its manifest; None where neither says it, or no name can hold it."""
    value = getattr(recovery, name)
    if value is None:
        value = facts.get(name)
    plain = (
        isinstance(value, int) and value > 0
        if name == "steps"
        else isinstance(value, float) and 0 < value < 1
    )
    return value if plain and not isinstance(value, bool) else None


def _told(part: Part, wanted: Mapping[_Key, Iterable[str]]) -> Run:
    """The run with what is wanted in its name."""
    recoveries = list(part.run.method.recoveries)
    for back, (recovery, facts) in enumerate(_links(part), start=1):
        names = wanted.get(_key(part.run, recovery), ())
        said = {name: _fact(recovery, facts, name) for name in names}
        recoveries[-back] = replace(
            recovery, **{name: value for name, value in said.items() if value is not None}
        )
    return replace(part.run, method=replace(part.run.method, recoveries=tuple(recoveries)))


def _example(parts: Sequence[Part], key: _Key, names: Sequence[str]) -> Run:
    own = (p for p in parts if _free(p) and any(_key(p.run, recovery) == key for recovery, _ in _links(p)))
    return _told(next(own), {key: names})


def refuse_unlike(parts: Sequence[Part]) -> None:
    """Runs that would be replicates of each other, or one run, and were trained otherwise.

    Raises:
        UsageError: names two of them, and in what they differ.
    """
    first: dict[Run, Part] = {}
    for part in parts:
        home = first.setdefault(replace(part.run, replicate=0), part)
        differing = unlike(trainings_of(home.manifest), trainings_of(part.manifest))
        if differing:
            advice = (
                f"give each a name of its own with junkdna recover --name-by {','.join(name for name in NAMED if name in differing)}"
                if set(differing) <= set(NAMED)
                else "read them apart, or call one of them otherwise with junkdna label FOLDER --method NAME"
            )
            raise UsageError(
                f"{home.source} and {part.source} would count as draws of one training, {str(replace(part.run, replicate=0))!r}, and differ in "
                f"more than their seed: {in_words(differing)}. {advice[0].upper()}{advice[1:]}."
            )


def broken_down(parts: Sequence[Part]) -> list[str]:
    """A sentence on each run whose training broke down, so that it had fewer steps than its name or its manifest says."""
    found = []
    for part in parts:
        for one in trainings_of(part.manifest):
            if one.get("failed") is True:
                found.append(
                    f"the training of {str(part.run)!r} broke down: its weights are those of before, not after {_said(one.get('steps'))} steps."
                )
    return found
