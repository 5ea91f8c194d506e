"""The items behind a loss: what was asked, what was wanted, and what each run answered.

Which items are shown does not hang on their order in a file: where items are right or wrong, those that were lost are taken from
every task in turn, within a task in the order of a hash of their ids, so that the same runs always show the same ones. Other
metrics show the items that lost most. Texts are read a second time, and only those that are shown are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difficulty.runs.asked import Asked, asked, documents
from difficulty.runs.lm_eval_log import is_results
from difficulty.runs.read import Runs, read_runs
from difficulty.stats.paired_loss import SAME
from difficulty.stats.result import Floats
from junkdna_harness.gate.pairs import Paired

SHOWN = 5  # items of one comparison
PROMPT = 600  # characters of a prompt that are kept: its end, where the question is
ANSWER = 300  # and of an answer: its beginning
Key = tuple[str, str]  # task, item
Texts = Callable[[Collection[Key]], Mapping[Key, Asked]]  # what is known of some items of a run


@dataclass(frozen=True)
class Flip:
    """One item that a run lost (or, where flips are limited, changed); a text is None where it is not known."""

    task: str
    item: str
    before: float
    after: float
    prompt: str | None = None
    wanted: str | None = None
    answer_before: str | None = None
    answer: str | None = None

    @property
    def known(self) -> bool:
        """Whether anything is known beside the scores."""
        return self.prompt is not None


@dataclass(frozen=True)
class Lost:
    """An item that is shown: `old` is its id in the baseline, which may be cut."""

    task: str
    item: str
    old: str
    before: float
    after: float


def lost_items(
    pairs: Mapping[str, Paired],
    cells: Mapping[str, NDArray[np.intp]],
    higher_is_better: bool,
    either_way: bool = False,
    most: int = SHOWN,
) -> tuple[Lost, ...]:
    """Up to `most` items that got worse (with `either_way`: that changed) among `cells`.

    `pairs`: task -> its items in both runs. `cells`: task -> positions of items in the baseline.
    """
    chosen = [(pairs[key], at) for key, at in cells.items() if key in pairs]
    found = [_worst(pair, _losses(pair, at, higher_is_better, either_way)) for pair, at in chosen]
    if not all(np.isin(np.concatenate([pair.before, pair.after]), (0, 1)).all() for pair, _ in chosen):
        largest = sorted((entry for task in found for entry in task), key=lambda entry: entry[:2])
        return tuple(lost for _, _, lost in largest[:most])
    # The task that lost most begins; ties in the order of the tasks' names.
    found.sort(key=lambda task: (-len(task), task[0][2].task if task else ""))
    turns = [entry[2] for turn in zip_longest(*found) for entry in turn if entry is not None]
    return tuple(turns[:most])


def with_texts(lost: Iterable[Lost], new: Mapping[Key, Asked], old: Mapping[Key, Asked]) -> tuple[Flip, ...]:
    """The items with what is known of them in both runs."""
    flips = []
    for one in lost:
        now, then = new.get((one.task, one.item)), old.get((one.task, one.old))
        asked_of = now or then
        flips.append(
            Flip(
                one.task,
                one.item,
                one.before,
                one.after,
                None if asked_of is None else _end(asked_of.prompt),
                None if asked_of is None else _start(asked_of.target),
                None if then is None else _start(then.answer),
                None if now is None else _start(now.answer),
            )
        )
    return tuple(flips)


class Logged:
    """What the logs, sweep or table at a path hold of the items of its runs; nothing where it is a baseline file.

    The path is read when texts are asked for, and once for several runs of which the same items are.
    """

    def __init__(self, path: str | Path, labels: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self._labels = labels
        self._read: dict[frozenset[Key], dict[str, dict[Key, Asked]]] = {}

    def of(self, run: str) -> Texts:
        """The texts of one run, by its id as `read_runs` gives it."""
        return lambda wanted: self._texts(frozenset(wanted)).get(run, {})

    def _texts(self, wanted: frozenset[Key]) -> dict[str, dict[Key, Asked]]:
        """Run -> the texts of the items that are wanted."""
        is_baseline = self.path.is_file() and self.path.suffix == ".json" and not is_results(self.path)
        if not wanted or is_baseline:
            return {}
        if wanted not in self._read:
            found = read_runs([self.path], labels=self._labels, keep=_only({item for _, item in wanted}))
            self._read[wanted] = {run: _texts_of(found, run, wanted) for run in found.names}
        return self._read[wanted]


def _only(items: Collection[str]) -> Callable[[Mapping[str, Any]], Asked | None]:
    """What keeps the texts of these items alone."""
    hashes = {item.partition("#")[0] for item in items}
    return lambda sample: asked(sample) if sample.get("doc_hash") in hashes else None


def _texts_of(found: Runs, run: str, wanted: Collection[Key]) -> dict[Key, Asked]:
    rows = found.rows(run)
    if "prompt" in rows:
        shown = documents(rows[rows["item_id"].isin([item for _, item in wanted])], found)
        return {
            key: Asked(prompt, target, shown.answer(run, *key) or "")
            for key, (prompt, target) in shown.asked.items()
        }
    kept = ((task, item, found.kept.get((run, task), {}).get(item)) for task, item in wanted)
    return {(task, item): text for task, item, text in kept if text is not None}


def _losses(pair: Paired, positions: NDArray[np.intp], higher: bool, either_way: bool) -> Floats:
    """What each of the pair's items lost, 0 where it is not among `positions` or did not change."""
    loss = pair.before - pair.after if higher else pair.after - pair.before
    loss = np.abs(loss) if either_way else loss
    if pair.weights is not None:
        loss = loss * pair.weights
    return np.where(np.isin(pair.at_old, positions) & (loss > SAME), loss, 0.0)


def _worst(pair: Paired, losses: Floats) -> list[tuple[float, bytes, Lost]]:
    """The items that lost anything: (-loss, hash of the id, item), the largest loss first."""
    found = []
    for at in np.flatnonzero(losses):
        item, old = pair.new.item_ids[pair.at_new[at]], pair.old.item_ids[pair.at_old[at]]
        lost = Lost(pair.old.task, item, old, float(pair.before[at]), float(pair.after[at]))
        found.append((-float(losses[at]), sha256(item.encode()).digest(), lost))
    return sorted(found, key=lambda entry: entry[:2])


def _end(text: str) -> str:
    return text if len(text) <= PROMPT else "…" + text[-PROMPT:]


def _start(text: str) -> str:
    return text if len(text) <= ANSWER else text[:ANSWER] + "…"
