"""Data of the item explorer: the documents whose answer flipped in some run, and who answered what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from difficulty.runs.table import DENSE
from junkdna_harness.report.build import Report
from junkdna_harness.report.comparable import comparable

MOST = 50_000  # flipped documents in one page


@dataclass(frozen=True)
class Explorer:
    """`data` is what the page's script reads; `selectable` are the runs that can be compared with a dense one."""

    data: dict[str, Any]
    selectable: list[tuple[int, str]]
    tasks: list[str]


def explorer(report: Report) -> Explorer | None:
    """The flipped documents of a report; None when nothing flipped or nothing is right or wrong.

    `data`: `runs` names; `dense` for each run the number of its model's dense run; `tasks`; `items` as
    [task number, short id, prompt, target]; `right` one digit per item for each run; `answers` for each run {item: answer}.
    """
    rows = comparable(report.items, report.metric).rows
    rows = rows[rows.groupby(["task", "metric"])["value"].transform(lambda v: v.isin((0, 1)).all())]
    if len(rows) == 0:
        return None
    wide = rows.pivot(index=["task", "item_id"], columns="run", values="value")
    facts = rows.drop_duplicates("run").set_index("run")[["model", "method"]]
    dense_of = {facts.loc[run, "model"]: run for run in facts.index if facts.loc[run, "method"] == DENSE}
    names = [str(run) for run in facts.index]
    compared = [
        run for run in names if facts.loc[run, "method"] != DENSE and facts.loc[run, "model"] in dense_of
    ]
    flipped = np.zeros(len(wide), dtype=bool)
    for run in compared:
        before = wide[dense_of[facts.loc[run, "model"]]]
        flipped |= (wide[run].notna() & before.notna() & (wide[run] != before)).to_numpy()
    if not flipped.any():
        return None
    keys = list(wide.index[flipped])[:MOST]
    values = wide.loc[keys, names].to_numpy()
    tasks = sorted({task for task, _ in keys})
    number = {task: i for i, task in enumerate(tasks)}
    asked, answers = report.documents.asked, report.documents.answers
    items = [[number[task], str(item)[:16], *asked.get((task, item), ("", ""))] for task, item in keys]
    digits = [["-" if v != v else "1" if v else "0" for v in column] for column in values.T]
    said: dict[int, dict[int, str]] = {}
    for r, run in enumerate(names):
        found = {i: answers[(run, *key)] for i, key in enumerate(keys) if (run, *key) in answers}
        if run in compared:
            before = digits[names.index(str(dense_of[facts.loc[run, "model"]]))]
            found = {i: text for i, text in found.items() if digits[r][i] != before[i]}
        if found:
            said[r] = found
    data = {
        "runs": names,
        "dense": [names.index(str(dense_of.get(facts.loc[run, "model"], run))) for run in names],
        "tasks": tasks,
        "items": items,
        "right": ["".join(column) for column in digits],
        "answers": said,
    }
    return Explorer(data, [(names.index(run), run) for run in compared], tasks)
