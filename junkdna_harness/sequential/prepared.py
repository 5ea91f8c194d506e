"""What would be asked: the baseline's tasks with their requests, matched item by item with the baseline before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from difficulty.errors import UsageError
from difficulty.runs.rows import Row, asked_cells
from difficulty.runs.same import different_settings, require_same
from difficulty.runs.table import some
from difficulty.stats.clusters import linked_codes
from junkdna_harness.gate.items import RunItems, TaskItems
from junkdna_harness.gate.pairs import (
    Paired,
    pair_items,
    same_prompts,
    same_versions,
    tasks_without_prompts,
    unknown_prompts,
)
from junkdna_harness.gate.walk import Integers, Items
from junkdna_harness.harness.requests import Document, Sample
from junkdna_harness.harness.tasks import find_tasks
from junkdna_harness.sweep.settings import Settings
from junkdna_harness.sweep.suite import Suite, build_suite
from junkdna_harness.sweep.tables import task_facts

_HOW = "Give the baseline's --num-fewshot, --apply-chat-template and --system-instruction, or write the baseline again."


@dataclass(frozen=True)
class Prompting:
    """How items are asked, where that is not to be as in the baseline; names and meanings are those of lm-eval's options."""

    num_fewshot: int | None = None
    apply_chat_template: bool | str | None = None
    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    include_path: str | None = None
    seed: tuple[int | None, ...] = (0, 1234, 1234, 1234)


@dataclass(frozen=True)
class Prepared:
    """Tasks that are ready to be asked, and their items that the baseline has.

    `keys`: what the baseline holds (a task, or a task by a further metric), in the order in which items are numbered: `offsets[k]` is the
    number of the first item of key k. `places`: key -> the number of each of the baseline's items, -1 where the task has it no longer.
    `at`: of each item, its document in its task. `cells`: task -> of each document what is known of it before it is asked. `missing`:
    what must be there, and is not. `alike`: every item is known to be asked just as in the baseline.
    """

    suite: Suite = field(repr=False)
    items: Items = field(repr=False)
    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    offsets: tuple[int, ...]
    places: Mapping[str, Integers] = field(repr=False)
    at: Integers = field(repr=False)
    cells: Mapping[str, Sequence[Row]] = field(repr=False)
    versions: Mapping[str, str]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    alike: bool = True

    def documents(self, batch: Integers) -> dict[str, list[Document]]:
        """The documents of some items, by task; tasks and documents in their own order, as lm-eval asks them."""
        found: dict[str, set[int]] = {}
        for number in np.sort(batch):
            key = int(np.searchsorted(self.offsets, number, side="right")) - 1
            found.setdefault(self.tasks[key], set()).add(int(self.at[number]))
        return {task: [self.suite.documents[task][i] for i in sorted(at)] for task, at in found.items()}

    def names(self, batch: Integers) -> tuple[str, ...]:
        """What is asked for some items: task and item id."""
        return tuple(
            f"{task}:{self.ids(task)[document.fixed['doc_id']]}"
            for task, listed in self.documents(batch).items()
            for document in listed
        )

    def ids(self, task: str) -> dict[int, str]:
        """The item of each document of a task, by its number in the data set."""
        return {int(cell["doc_id"]): str(cell["item_id"]) for cell in self.cells[task]}


def prepare(
    lm: Any, baseline: RunItems, wanted: Mapping[str, Integers], must: Mapping[str, Integers], prompting: Prompting,
    metadata: Mapping[str, Any], allow_different_prompts: bool = False,
) -> Prepared:  # fmt: skip
    """The tasks of the baseline's keys that are `wanted`, ready to be asked of `lm`. `must`: key -> positions of the items that have to be
    there.

    Raises:
        UsageError: a task is unknown or cannot be built, is another version, or would be asked with other prompts than in the baseline.
    """
    keys = [key for key in baseline.tasks if key in wanted or key in must]
    names = list(dict.fromkeys(baseline.tasks[key].task for key in keys))
    suite = _suite(lm, baseline, names, prompting, metadata)
    facts = task_facts(suite)
    versions = {name: str(v) for name, v in facts["versions"].items() if v not in (None, "N/A")}
    cells = {name: _cells(name, suite) for name in names}
    olds = {key: replace(baseline.tasks[key], weights=None) for key in keys}
    asked = {key: _items(old, cells[old.task], versions.get(old.task)) for key, old in olds.items()}
    sentences: list[str | None] = [*same_versions(RunItems("now", {}, asked), replace(baseline, tasks=olds))]
    pairs: dict[str, Paired] = {}
    missing, notes = [], []
    for key, old in olds.items():
        pairs[key], gone, told = pair_items(asked[key], old, must.get(key))
        missing += gone
        notes += [note for note in told if " are not in the baseline " not in note]
    listed = list(pairs.values())
    sentences.append(_other_prompts(listed))
    sentences.append(_other_settings(listed, baseline, facts))
    other = [*require_same(sentences, allow_different_prompts), *unknown_prompts(listed)]
    return replace(
        _numbered(suite, baseline, pairs, cells, versions, missing, [*notes, *other]), alike=not other
    )


def _suite(
    lm: Any, baseline: RunItems, names: Sequence[str], prompting: Prompting, metadata: Mapping[str, Any]
) -> Suite:
    """The tasks with the requests that the baseline was asked. Where its shots are not a task's own, that task is built with them."""
    manager, found = find_tasks(names, prompting.include_path, dict(metadata))
    settings = _settings(baseline, names, prompting)
    suite = _built(lm, manager, found, settings)
    if prompting.num_fewshot is None:
        shots = task_facts(suite)["n-shot"]
        other: dict[int, list[str]] = {}
        for name in names:
            wanted = baseline.settings.get(name, {}).get("num_fewshot")
            if isinstance(wanted, int) and wanted != shots.get(name):
                other.setdefault(wanted, []).append(name)
        for number, listed in other.items():
            again = _built(lm, manager, listed, replace(settings, num_fewshot=number))
            suite = _joined(suite, again)
    if lacking := [name for name in names if name not in suite.tasks]:
        raise UsageError(
            f"task{'s' * (len(lacking) > 1)} {some(lacking)} of the baseline cannot be found by that name here. --include-path adds a folder."
        )
    return suite


def _built(lm: Any, manager: Any, names: Sequence[str], settings: Settings) -> Suite:
    suite = build_suite(lm, manager, list(names), settings)
    if suite.failed:
        name, why = next(iter(suite.failed.items()))
        raise UsageError(f"task {name!r} of the baseline cannot be asked: {why}")
    return suite


def _joined(suite: Suite, again: Suite) -> Suite:
    """`suite`, with the tasks of `again` in the place of its own."""
    joined = Suite({**suite.tasks, **again.tasks}, {}, suite.settings)
    for name in joined.tasks:
        joined.add(name, (again if name in again.tasks else suite).documents[name])
    return joined


def _settings(baseline: RunItems, names: Sequence[str], prompting: Prompting) -> Settings:
    """The settings of the evaluation: the user's, else the baseline's as far as it knows them, else the tasks' own."""
    known = [baseline.settings.get(name, {}) for name in names]
    template, multiturn = prompting.apply_chat_template, prompting.fewshot_as_multiturn
    if template is None:
        template = any(one.get("chat_template_sha") for one in known)
    if multiturn is None and template and known:
        said = {str(one["fewshot_as_multiturn"]) for one in known if "fewshot_as_multiturn" in one}
        multiturn = said == {"True"} if said else None
    if prompting.system_instruction is None and any(one.get("system_instruction_sha") for one in known):
        raise UsageError(
            "the baseline was asked with a system prompt, of which it keeps the hash alone. Give that prompt: --system-instruction TEXT."
        )
    return Settings(
        tuple(names), num_fewshot=prompting.num_fewshot, seed=prompting.seed, apply_chat_template=template,
        fewshot_as_multiturn=multiturn, system_instruction=prompting.system_instruction, include_path=prompting.include_path,
    )  # fmt: skip


def _cells(name: str, suite: Suite) -> list[Row]:
    samples: list[Sample] = [{**d.fixed, "filter": "none", "metrics": []} for d in suite.documents[name]]
    return asked_cells(name, suite.tasks[name].dump_config(), samples)


def _items(old: TaskItems, cells: Sequence[Row], version: str | None) -> TaskItems:
    """A task as the gate sees it, before it has values."""
    return replace(
        old,
        item_ids=tuple(str(cell["item_id"]) for cell in cells),
        values=np.zeros(len(cells)),
        clusters=tuple(str(cell["cluster_id"]) for cell in cells),
        prompts=tuple(str(cell["prompt_hash"]) for cell in cells),
        version=version,
        id_length=None,
        weights=None,
        noise=None,
    )


def _other_prompts(pairs: list[Paired]) -> str | None:
    found = same_prompts(pairs)
    if found is None:
        return None
    items = found.partition(" items were asked with different prompts in different runs: ")
    return f"{items[0]} items would be asked with other prompts than in the baseline: {items[2].partition('. ')[0]}. {_HOW}"


def _other_settings(pairs: list[Paired], baseline: RunItems, facts: Mapping[str, Any]) -> str | None:
    """A sentence where prompts are not known, and shots would be others than the baseline's."""
    shots = {
        name: {"num_fewshot": value} for name, value in facts["n-shot"].items() if isinstance(value, int)
    }
    before = {
        name: {key: value for key, value in one.items() if key == "num_fewshot"}
        for name, one in baseline.settings.items()
    }
    return different_settings(
        {"this evaluation": shots, "the baseline": before}, tasks_without_prompts(pairs)
    )


def _numbered(
    suite: Suite, baseline: RunItems, pairs: Mapping[str, Paired], cells: Mapping[str, Sequence[Row]],
    versions: Mapping[str, str], missing: Sequence[str], notes: Sequence[str],
) -> Prepared:  # fmt: skip
    """All items of all keys, numbered; clusters are numbered once, over all of them."""
    named = [pair.clusters for pair in pairs.values()]
    codes = linked_codes([c for old, _ in named for c in old], [c for _, new in named for c in new])
    places, offsets, start = {}, [], 0
    first: dict[str, int] = {}  # of each task's documents
    weights, documents = [], []
    for key, pair in pairs.items():
        where = np.full(len(pair.old.item_ids), -1, dtype=np.intp)
        where[list(pair.at_old)] = np.arange(start, start + len(pair.at_old))
        places[key] = where
        offsets.append(start)
        start += len(pair.at_old)
        given = baseline.tasks[key].weights
        weights.append(np.ones(len(pair.at_old)) if given is None else given[list(pair.at_old)])
        before = first.setdefault(pair.old.task, sum(len(cells[name]) for name in first))
        documents.append(before + np.asarray(pair.at_new, dtype=np.intp))
    weighted = any(baseline.tasks[key].weights is not None for key in pairs)
    items = Items(
        np.concatenate([pair.before for pair in pairs.values()]), codes, np.concatenate(weights) if weighted else None,
        np.concatenate(documents),
    )  # fmt: skip
    at = np.concatenate([np.asarray(pair.at_new, dtype=np.intp) for pair in pairs.values()])
    tasks = tuple(pair.old.task for pair in pairs.values())
    return Prepared(
        suite,
        items,
        tuple(pairs),
        tasks,
        tuple(offsets),
        places,
        at,
        cells,
        versions,
        tuple(missing),
        tuple(notes),
    )
