"""Which runs of ours stand beside a series of the paper: the same task and treatment, or a stand-in that is named, or nothing.

Tasks: those of the paper where the study has them (all that a panel names, so that two series are not compared on different
footing), else tiers of its own: the easiest of every family for an easy task, the hardest for a hard one. Treatment: the same
method, training and share of data; where a figure trains after pruning, the pruned model itself stands beside it too, as a stand-in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from difficulty.runs.identity import LOCAL_RECONSTRUCTION, SPARSE_TRANSFER, Method, Recovery
from junkdna_harness.study.against.curve import Curve
from junkdna_harness.study.against.known import BLEU, EASY, HARD, TASKS
from junkdna_harness.study.against.ours import Ours
from junkdna_harness.study.against.points import Series
from junkdna_harness.study.against.roles import Role, role_of

# Tasks of ours that are tasks of the paper, by the families that hold them.
_WITHIN = {
    "sentence_t1": "SST-2", "sentence_t2": "CoLA", "similarity_t1": "QQP", "similarity_t2": "STS-B", "inference_t1": "QNLI",
    "inference_t2": "RTE", "commonsense_t1": "WinoGrande", "commonsense_t2": "CSQA", "arithmetic_t1": "MAWPS", "arithmetic_t2": "SVAMP",
}  # fmt: skip
_GROUPS = re.compile(r"(?:families|finetune)_([a-z]+_t\d)$")
_BOOK, _LANGUAGE = "open_closed_book", "language"
_FACTS = {EASY: "facts_open", HARD: "facts_closed"}


@dataclass(frozen=True)
class Counterpart:
    """Curves of ours for one series: as drawn (`raw`) and with chance taken off. `what`: tasks and treatment in words.

    `stand_in`: what they stand in for, in words; empty where they are the same as the paper's. `trained`: whether as the paper trains.
    """

    raw: Curve
    corrected: Curve
    what: str
    stand_in: str
    n_items: int
    trained: bool = True


@dataclass(frozen=True)
class _Tasks:
    """Tasks of ours, in `words`, and shorter for a legend (`tag`)."""

    names: tuple[str, ...]
    words: str
    tag: str
    stand_in: str = ""


def counterparts(ours: Ours, panel: Sequence[Series], series: Series) -> list[Counterpart] | str:
    """What of ours stands beside a series of a panel, the nearest first; or why nothing does."""
    role = role_of(series)
    tasks = _tasks(ours, panel, role)
    if isinstance(tasks, str):
        return tasks
    found = []
    arms = [role.arm]
    compared = len({role_of(one).arm for one in panel}) > 1
    if role.arm == SPARSE_TRANSFER and role.share == 1 and not compared and not _over_shares(panel):
        arms.append(None)
    for arm in arms:
        one = _treated(ours, tasks, role, arm)
        if one is not None:
            found.append(one)
    return found or _nothing(role)


def _over_shares(panel: Sequence[Series]) -> bool:
    return len({role_of(one).share for one in panel}) > 1


def _tasks(ours: Ours, panel: Sequence[Series], role: Role) -> _Tasks | str:
    """The tasks of ours for a series, or why there are none."""
    if role.book:
        return _book(ours, role.difficulty)
    if role.task is not None and role.task.kind == BLEU:
        return _languages(ours, role.difficulty)
    wanted = {r.task.name for r in map(role_of, panel) if r.task is not None}
    there = {name: _named(ours, name) for name in wanted}
    if role.task is not None and all(there.values()):
        names = there[role.task.name]
        return _Tasks(names, ", ".join(names), role.task.name)
    of = f"for {role.task.name}" if role.task is not None else "for the paper's task"
    if _over_shares(panel) or role.share < 1 or not role.difficulty:
        return _Tasks(
            tuple(ours.tasks.index),
            f"all {len(ours.tasks)} tasks",
            "all tasks",
            f"all tasks of the study {of}",
        )
    return _tier(ours, role.difficulty, of)


def _named(ours: Ours, name: str) -> tuple[str, ...]:
    """The study's tasks that are the paper's task `name`."""
    words = next(task.names for task in TASKS if task.name == name)
    found = []
    for task in map(str, ours.tasks.index):
        grouped = _GROUPS.search(task.lower())
        parts = re.split(r"[^a-z0-9]+", task.lower())
        if (grouped and _WITHIN.get(grouped[1]) == name) or any(word in parts for word in words):
            found.append(task)
    return tuple(found)


def _book(ours: Ours, difficulty: str) -> _Tasks | str:
    tier = 1 if difficulty == EASY else 2
    within = ours.tasks[(ours.tasks["axis"] == _BOOK) & (ours.tasks["tier"] == tier)]
    if len(within):
        names = tuple(map(str, within.index))
        trivia = all("trivia" in name for name in names)
        return _Tasks(
            names,
            ", ".join(names),
            f"{'open' if tier == 1 else 'closed'} book",
            "" if trivia else "other questions for TriviaQA",
        )
    own = ours.tasks[ours.tasks["family"] == _FACTS[difficulty]]
    if len(own):
        return _Tasks(
            tuple(map(str, own.index)),
            _FACTS[difficulty],
            _FACTS[difficulty],
            f"made-up facts ({_FACTS[difficulty]}) for TriviaQA",
        )
    return (
        "the study asks nothing with and without the book (difficulty_tiers_memory, or difficulty_tiers_book)"
    )


def _languages(ours: Ours, difficulty: str) -> _Tasks | str:
    within = ours.tasks[ours.tasks["axis"] == _LANGUAGE]
    if not len(within):
        return "the study has no translation, nor tiers by language"
    tier = within["tier"].min() if difficulty == EASY else within["tier"].max()
    names = tuple(map(str, within.index[within["tier"] == tier]))
    return _Tasks(
        names,
        ", ".join(names),
        f"language tier {tier}",
        "questions in languages that are much and little read, for translation",
    )


def _tier(ours: Ours, difficulty: str, of: str) -> _Tasks | str:
    """The easiest tier of every family that has several, or the hardest."""
    several = ours.tasks.groupby("family", observed=True)["tier"].transform("nunique") > 1
    tasks = ours.tasks[several]
    if not len(tasks):
        return "the study has no task of the paper's, and no family with several tiers to stand in"
    by_family = tasks.groupby("family", observed=True)["tier"]
    end = by_family.transform("min" if difficulty == EASY else "max")
    names = tuple(map(str, tasks.index[tasks["tier"] == end]))
    which = "tier 1" if difficulty == EASY else "the hardest tier"
    families = tasks["family"].nunique()
    return _Tasks(names, f"{which} of {families} families", which, f"{which} of {families} families {of}")


def _treated(ours: Ours, tasks: _Tasks, role: Role, arm: str | None) -> Counterpart | None:
    """The curve of some tasks under the method and training that are wanted; None where there is no such run."""
    method = _method(ours, role, arm)
    if method is None:
        return None
    training = method.recoveries[-1] if method.recoveries else None
    levels = ours.levels(method, role.pattern)
    dense = ours.dense(training)
    yardstick = []
    if training is not None and not dense:
        dense, yardstick = ours.dense(), ["the untrained dense model for the trained one"]
    label = f"ours: {method}, {tasks.tag}"
    raw, corrected = ours.curves(label, tasks.names, levels, dense)
    if not raw.levels:
        return None
    untrained = ["before training for after it"] if arm is None and role.arm is not None else []
    stand_in = [part for part in (tasks.stand_in, *untrained, *yardstick) if part]
    return Counterpart(
        raw,
        corrected,
        f"{tasks.words}; {method}",
        "; ".join(stand_in),
        ours.n_items(tasks.names),
        arm == role.arm,
    )


def _method(ours: Ours, role: Role, arm: str | None) -> Method | None:
    """The study's method for a role: of several trainings the longest, without adapter before with one, at its lowest rate."""
    fitting = [
        method
        for method in ours.methods
        if method.base == role.method
        and ours.levels(method, role.pattern)
        and _trained_as(method, arm, role.share)
    ]
    return min(fitting, key=_preferred, default=None)


def _trained_as(method: Method, arm: str | None, share: float) -> bool:
    if arm is None:
        return not method.recoveries
    if len(method.recoveries) != 1:
        return False
    one: Recovery = method.recoveries[0]
    return one.arm == arm != LOCAL_RECONSTRUCTION and not one.kept and abs(one.share - share) < 1e-6


def _preferred(method: Method) -> tuple[bool, int, float, str]:
    if not method.recoveries:
        return False, 0, 0.0, str(method)
    one = method.recoveries[-1]
    return one.adapter is not None, -(one.steps or 0), one.lr or 0.0, str(method)


def _nothing(role: Role) -> str:
    training = "" if role.arm is None else f" with {role.arm.replace('_', ' ')}"
    share = "" if role.share == 1 else f" on {100 * role.share:g} % of the data"
    levels = "N:M patterns" if role.pattern else "sparsities"
    return f"the study has no runs of {role.method}{training}{share} at {levels} (or a dense score that is at chance)"
