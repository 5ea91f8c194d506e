"""Names that are different and look the same, which a reader of a table must know."""

from __future__ import annotations

import pandas as pd

from difficulty.visible import look_alikes

_NAMES = {"model": "models", "method": "methods", "task": "tasks", "family": "families", "metric": "metrics"}


def names_alike(table: pd.DataFrame) -> list[str]:
    """A sentence for each group of names of one column that differ in nothing an eye would see."""
    told = []
    for column, what in _NAMES.items():
        names = [str(name) for name in table[column].unique()]
        told += [
            f"{len(group)} {what} look alike and are not the same: {', '.join(map(ascii, group))}."
            for group in look_alikes(names)
        ]
    return told
