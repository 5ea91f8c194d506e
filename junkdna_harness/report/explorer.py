"""Data of the item explorer: the documents whose answer flipped in some run, and who answered what.

The page holds it in pieces, which its script reads when they are needed: documents by some hundreds, answers by run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from difficulty.runs.table import DENSE
from junkdna_harness.report.comparable import comparable

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.runs.asked import Documents
    from junkdna_harness.report.build import Report

# Characters of prompts, targets and answers in one page: with these it opens in a second or two, also on a phone.
MOST_TEXT = 40_000_000
_PIECE = 500_000  # characters of the documents in one piece
_ID = 16  # characters of an item's id that are shown
Key = tuple[str, str]  # task, item


@dataclass(frozen=True)
class Explorer:
    """What the page's script reads. `selectable` are the runs that can be compared with a dense one.

    `head`: `runs` names; `dense` for each run the number of its model's dense run; `tasks`; `ends` for each task the number of the
    first document after its own; `pieces` the same for each piece of documents; `losers` for each document how many runs lost it;
    `scored` for each task whether texts were scored and none was written.
    `documents`: for each piece its `texts`, and columns `id`, `prompt`, `target` of ids and of numbers of texts. `answers`: for each run
    `right`, a digit per document, its `texts`, and the columns `at`, `said`: a document and the number of its answer.
    `left_out`: documents that flipped and are not there.
    """

    head: dict[str, Any]
    documents: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    selectable: list[tuple[int, str]]
    tasks: list[str]
    left_out: int


def explorer(report: Report, most_text: float = MOST_TEXT) -> Explorer | None:
    """The flipped documents of a report; None when nothing flipped or nothing is right or wrong.

    Beyond `most_text` characters documents are left out, those that most runs lost last.
    """
    rows = comparable(report.items, report.options.metric).rows
    rows = rows[rows.groupby(["task", "metric"])["value"].transform(lambda v: v.isin((0, 1)).all())]
    if len(rows) == 0:
        return None
    wide = rows.pivot(index=["task", "item_id"], columns="run", values="value")
    facts = rows.drop_duplicates("run").set_index("run")[["model", "method"]]
    names = [str(run) for run in facts.index]
    dense = _dense_runs(facts)
    compared = [r for r, run in enumerate(names) if facts["method"].iloc[r] != DENSE and dense[r] != r]
    values = wide[names].to_numpy()
    flipped = _flips(values, dense, compared)
    there = flipped.any(axis=1)
    if not there.any():
        return None
    keys = list(wide.index[there])
    values, flipped = values[there], flipped[there]
    losers = (flipped & (values == 0)).sum(axis=1)
    kept = _within(report.documents, keys, names, flipped, losers, most_text)
    keys, values, flipped = [keys[i] for i in kept], values[kept], flipped[kept]
    counts = Counter(task for task, _ in keys)  # in the order of the documents
    pieces, ends = _pieces(keys, report.documents)
    head = {
        "runs": names,
        "dense": dense,
        "tasks": list(counts),
        "ends": np.cumsum(list(counts.values())).tolist(),
        "pieces": ends,
        "losers": losers[kept].tolist(),
        "scored": [task in report.documents.scored for task in counts],
    }
    shown = [
        flipped[:, r] if r in set(compared) else np.ones(len(keys), dtype=bool) for r in range(len(names))
    ]
    answers = [_answers(report.documents, run, keys, values[:, r], shown[r]) for r, run in enumerate(names)]
    selectable = [(r, names[r]) for r in compared]
    return Explorer(head, pieces, answers, selectable, list(counts), int(there.sum()) - len(kept))


def _dense_runs(facts: pd.DataFrame) -> list[int]:
    """For each run the number of its model's dense run; its own where there is none."""
    dense_of = {
        model: r
        for r, (model, method) in enumerate(facts.itertuples(index=False, name=None))
        if method == DENSE
    }
    return [dense_of.get(model, r) for r, model in enumerate(facts["model"])]


def _flips(values: np.ndarray, dense: Sequence[int], compared: Sequence[int]) -> np.ndarray:
    """Where a run answers otherwise than its dense run, shape (n_items, n_runs)."""
    found = np.zeros(values.shape, dtype=bool)
    for r in compared:
        before = values[:, dense[r]]
        found[:, r] = ~np.isnan(values[:, r]) & ~np.isnan(before) & (values[:, r] != before)
    return found


def _within(
    shown: Documents, keys: Sequence[Key], names: Sequence[str], flipped: np.ndarray, losers: np.ndarray, most_text: float
) -> list[int]:  # fmt: skip
    """The documents that fit, in their order. Those that most runs lost are taken first."""
    sizes = np.array([_ID + sum(map(len, shown.asked.get(key, ()))) for key in keys])
    for r, run in enumerate(names):
        for i in flipped[:, r].nonzero()[0]:
            sizes[i] += len(shown.answer(run, *keys[int(i)]) or "")
    if sizes.sum() <= most_text:
        return list(range(len(keys)))
    order = np.argsort(-losers, kind="stable")
    return sorted(order[np.cumsum(sizes[order]) <= most_text].tolist())


def _pieces(keys: Sequence[Key], shown: Documents) -> tuple[list[dict[str, Any]], list[int]]:
    """The documents in pieces, and the number of the first document after each."""
    pieces, ends = [], []
    some: list[Key] = []
    size = 0
    for number, key in enumerate(keys, 1):
        some.append(key)
        size += _ID + sum(map(len, shown.asked.get(key, ())))
        if size >= _PIECE or number == len(keys):
            asked = [shown.asked.get(one, ("", "")) for one in some]
            texts, codes = _once(text for pair in asked for text in pair)
            ids = [str(item)[:_ID] for _, item in some]
            pieces.append({"texts": texts, "id": ids, "prompt": codes[::2], "target": codes[1::2]})
            ends.append(number)
            some, size = [], 0
    return pieces, ends


def _answers(
    shown: Documents, run: str, keys: Sequence[Key], values: np.ndarray, wanted: np.ndarray
) -> dict[str, Any]:
    """What one run answered: a digit for each document, and the answers that are wanted, as far as they are known."""
    found = [
        (int(i), said) for i in wanted.nonzero()[0] if (said := shown.answer(run, *keys[int(i)])) is not None
    ]
    texts, codes = _once(said for _, said in found)
    right = "".join("-" if v != v else "1" if v else "0" for v in values.tolist())
    return {"right": right, "texts": texts, "at": [i for i, _ in found], "said": codes}


def _once(texts: Iterable[str]) -> tuple[list[str], list[int]]:
    """The texts that there are, each once, and for each one given its number."""
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(text, len(numbers)) for text in texts]
    return list(numbers), codes
