"""Whether runs asked the same thing: equal prompts for equal items, and one version of each task.

Scores on other prompts (shots, chat template, system prompt) or another task version are scores of another test. Each
function gives a sentence for the user, or None; the caller refuses, or prints it as a note where the user allowed it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from difficulty.errors import UsageError
from difficulty.runs.dtypes import DTYPE
from difficulty.runs.part import Part
from difficulty.runs.table import some

ALLOW = "--allow-different-prompts"
_NAMED = 3  # items named in a sentence


def different_prompts(table: pd.DataFrame, other: pd.DataFrame | None = None) -> str | None:
    """A sentence where an item of `table` (and `other`) has two prompts in its runs; None where none has.

    The tables need the columns `task` and `item_id`. Without `prompt_hash`, or where it is empty, nothing is known and
    nothing is said. Hashes of two tables that were cut to other lengths are compared by what both have.
    """
    parts = [part for part in (table, other) if part is not None and "prompt_hash" in part]
    if not parts:
        return None
    known = [_known(part) for part in parts]
    lengths = [int(part["prompt_hash"].str.len().max()) for part in known if len(part)]
    prompts = pd.concat(known)
    if other is not None and lengths:
        prompts = prompts.assign(prompt_hash=prompts["prompt_hash"].str.slice(0, min(lengths)))
    prompts = prompts.drop_duplicates()
    twice = prompts[prompts.duplicated(["task", "item_id"])].drop_duplicates(["task", "item_id"])
    if not len(twice):
        return None
    names = (twice["task"] + ":" + twice["item_id"].str.slice(0, 16)).tolist()
    return (
        f"{len(names)} items were asked with different prompts in different runs: {some(names, _NAMED)}. "
        "Evaluate all runs with the same --num_fewshot, system prompt, chat template and task version, "
        f"or pass {ALLOW}."
    )


def unknown_prompts(table: pd.DataFrame, other: pd.DataFrame | None = None) -> list[str]:
    """A note where logs hold items of several runs without their prompts, so that nothing can be said of them; else nothing.

    A table without any column `prompt_hash` was not made from logs, and nothing is said.
    """
    without = tasks_without_prompts(table, other)
    if not without:
        return []
    return [
        f"whether all runs were asked the same is not known: some logs hold no prompts of {some(without, 3)}."
    ]


def tasks_without_prompts(table: pd.DataFrame, other: pd.DataFrame | None = None) -> list[str]:
    """The tasks of several runs of which some log holds no prompts, as `unknown_prompts` names them."""
    parts = [part for part in (table, other) if part is not None]
    if not any("prompt_hash" in part for part in parts) or (other is None and table["run"].nunique() < 2):
        return []
    without: set[str] = set()
    for part in parts:
        empty = (
            part["prompt_hash"].fillna("") == ""
            if "prompt_hash" in part
            else pd.Series(True, index=part.index)
        )
        without |= {str(task) for task in part.loc[empty, "task"].unique()}
    return sorted(without)


def different_settings(
    settings: Mapping[str, Mapping[str, Mapping[str, object]]], tasks: Iterable[str]
) -> str | None:
    """A sentence where the runs (name -> task -> setting -> value) evaluated one of `tasks` with other shots, chat template or
    system prompt; None where none did. For tasks whose prompts were not logged: those say more.
    """
    for task in tasks:
        seen: dict[str, dict[object, str]] = {}
        for run, of_tasks in settings.items():
            for name, value in of_tasks.get(task, {}).items():
                seen.setdefault(name, {}).setdefault(value, run)
        for name, found in seen.items():
            if len(found) > 1:
                listed = " and ".join(f"{name}={value} in {run!r}" for value, run in found.items())
                return (
                    f"task {task!r} was evaluated with {listed}. Evaluate all runs with the same --num_fewshot, system prompt and "
                    f"chat template, or pass {ALLOW}."
                )
    return None


def different_versions(versions: Mapping[str, Mapping[str, object]]) -> str | None:
    """A sentence where the runs (name -> task -> version) hold two versions of a task; None where none does."""
    seen: dict[str, dict[str, str]] = {}
    for run, tasks in versions.items():
        for task, version in tasks.items():
            if version is not None:
                seen.setdefault(task, {}).setdefault(str(version), run)
    for task, found in sorted(seen.items()):
        if len(found) > 1:
            listed = " and ".join(f"version {version} in {run!r}" for version, run in sorted(found.items()))
            return (
                f"task {task!r} has {listed}, so that their scores do not compare. Evaluate all runs with one version, "
                f"or pass {ALLOW}."
            )
    return None


def different_dtypes(parts: Iterable[Part]) -> list[str]:
    """A sentence per model some of whose runs were computed in other numbers than its dense run, as far as that is known."""
    by_model: dict[str, dict[str, list[str]]] = {}
    for part in parts:
        if dtype := part.facts.get(DTYPE):
            by_model.setdefault(part.run.model, {}).setdefault(str(dtype), []).append(str(part.run))
    return [_in_dtypes(model, found) for model, found in by_model.items() if len(found) > 1]


def _in_dtypes(model: str, found: Mapping[str, Sequence[str]]) -> str:
    listed = "; ".join(f"{dtype}: {some(list(runs), 3)}" for dtype, runs in sorted(found.items()))
    return (
        f"runs of {model!r} were computed in different dtypes ({listed}): a part of what they differ by is rounding. Evaluate dense "
        "and compressed alike."
    )


def versions_of(runs: pd.DataFrame | None) -> dict[str, dict[str, object]]:
    """Run -> task -> version, of a runs table with the column `task_versions` (JSON text); empty where there is none."""
    if runs is None or "task_versions" not in runs:
        return {}
    given = zip(runs["run"], runs["task_versions"], strict=True)
    return {str(run): json.loads(text) for run, text in given if isinstance(text, str) and text}


def require_same(sentences: Iterable[str | None], allowed: bool) -> tuple[str, ...]:
    """The sentences as notes where they are `allowed`.

    Raises:
        UsageError: there is one, and it is not allowed.
    """
    found = [sentence for sentence in sentences if sentence is not None]
    if found and not allowed:
        raise UsageError(found[0])
    return tuple(sentence.partition(" Evaluate all runs")[0] for sentence in found)


def _known(table: pd.DataFrame) -> pd.DataFrame:
    rows = table.loc[table["prompt_hash"].notna(), ["task", "item_id", "prompt_hash"]].astype(str)
    return rows[rows["prompt_hash"] != ""].drop_duplicates()
