"""The documents behind the numbers: what was asked, what was wanted, and what each run answered.

They come with the runs (`read_runs(..., keep=asked)`): from the samples that lm_eval logged or from a sweep's store. A
table may carry them too, in the columns `prompt`, `target` and `answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from difficulty.runs.samples import requests

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.runs.read import Runs

LONGEST = 4000  # characters of a prompt that are kept: its end, where the question is


@dataclass(frozen=True, slots=True)
class Asked:
    """One item in one run, as texts for the eye. `scored`: nothing was written, `answer` is what the run held for likeliest."""

    prompt: str
    target: str
    answer: str
    scored: bool = False


@dataclass(frozen=True)
class Documents:
    """`asked`: (task, item) -> (prompt, target); `answers`: (run, task) -> item -> answer; `scored`: tasks in which no run wrote one."""

    asked: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    answers: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    scored: frozenset[str] = frozenset()

    def answer(self, run: str, task: str, item: str) -> str | None:
        """What a run answered; None where it is not known."""
        return self.answers.get((run, task), {}).get(item)


class AskedOnce:
    """`asked` for many runs: texts that are equal are kept once, as the prompts of an item are in all runs."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def __call__(self, sample: Mapping[str, Any]) -> Asked:
        """What is shown of a logged sample."""
        found = asked(sample)
        once = self._texts.setdefault
        prompt, target, answer = (once(text, text) for text in (found.prompt, found.target, found.answer))
        return Asked(prompt, target, answer, found.scored)


def asked(sample: Mapping[str, Any]) -> Asked:
    """What is shown of a logged sample."""
    pairs = [pair for pair in requests(sample) if len(pair) >= 2]
    prompt = _shorten(_text(pairs[0][0])) if pairs else ""
    return Asked(prompt, _wanted(sample, pairs), *_answer(sample, pairs))


def documents(items: pd.DataFrame, read: Runs) -> Documents:
    """The documents of the runs in `items`, as far as they were kept. Nothing kept is no error: it gives none."""
    wanted: dict[tuple[str, str], tuple[str, str]] = {}
    answers: dict[tuple[str, str], dict[str, str]] = {}
    if "prompt" in items:
        _from_columns(items, wanted, answers)
    shown = {str(run) for run in items["run"].unique()}
    written = {task for (_, task), kept in read.kept.items() if not all(one.scored for one in kept.values())}
    for (run, task), kept in read.kept.items():
        for item, found in kept.items():
            if (task, item) not in wanted:
                wanted[task, item] = found.prompt, found.target
        if run in shown:
            answers.setdefault((run, task), {}).update({item: found.answer for item, found in kept.items()})
    return Documents(wanted, answers, frozenset(task for _, task in read.kept) - written)


def _from_columns(
    items: pd.DataFrame,
    wanted: dict[tuple[str, str], tuple[str, str]],
    answers: dict[tuple[str, str], dict[str, str]],
) -> None:
    rows = items[items["prompt"].notna()].drop_duplicates(["run", "task", "item_id"])
    columns = [
        rows[c] if c in rows else [None] * len(rows)
        for c in ("run", "task", "item_id", "prompt", "target", "answer")
    ]
    for run, task, item, prompt, target, answer in zip(*columns, strict=True):
        wanted.setdefault((task, item), (_shorten(prompt), _text(target)))
        if isinstance(answer, str):
            answers.setdefault((run, task), {})[item] = _shorten(answer)


def _wanted(sample: Mapping[str, Any], pairs: list[list[Any]]) -> str:
    """The wanted answer. lm-eval logs some targets as an option's number: then the option, unless the number is one itself."""
    target = _text(sample.get("target"))
    options = [_text(pair[1]).strip() for pair in pairs]
    if len(set(options)) < 2 or target.strip() in options or not (target.isascii() and target.isdecimal()):
        return target
    number = int(target) if len(target) < 10 else len(options)
    return options[number] if number < len(options) else target


def _answer(sample: Mapping[str, Any], pairs: list[list[Any]]) -> tuple[str, bool]:
    """What the run answered: the option it preferred, the text it wrote, or whether the wanted text came first.

    The second value is whether texts were only scored.
    """
    responses = sample.get("filtered_resps") or []
    first = [r[0] if isinstance(r, (list, tuple)) and r else r for r in responses]
    if len(first) > 1 and len(pairs) >= len(first):
        try:
            scores = [float(value) for value in first]
        except (TypeError, ValueError):
            return _shorten(_text(first[0])), False
        return _text(pairs[scores.index(max(scores))][1]).strip(), True
    if len(responses) == 1 and isinstance(responses[0], (list, tuple)) and len(responses[0]) == 2:
        greedy = str(responses[0][1]) == "True"
        wanted = _text(pairs[0][1]).strip() if pairs else ""
        other = f"another text (log-likelihood of the wanted one: {float(responses[0][0]):.2f})"
        return wanted if greedy else other, True
    return (_shorten(_text(first[0])) if first else ""), False


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else "…" + text[-LONGEST:]
