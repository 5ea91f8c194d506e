"""Verdicts are not built on a guess: two runs that are taken for dense because nothing says otherwise, and that differ."""

from __future__ import annotations

import numpy as np
import pandas as pd

from difficulty.errors import UsageError
from difficulty.judge.panel import Panel
from difficulty.runs.identity import GUESS

_SAME = 1e-6  # scores that differ by no more than this are those of one model


def require_no_rivals(panel: Panel, runs: pd.DataFrame | None) -> tuple[str, ...]:
    """A sentence where the dense run of `panel` is a guess; nothing where it is known. `runs`: the runs table, if there is one.

    Raises:
        UsageError: another run is taken for dense too, and its scores or its weights are others: one of them is not dense.
    """
    if runs is None or "known_by" not in runs:
        return ()
    facts = runs.drop_duplicates("run").set_index("run")
    names = panel.runs["run"].astype(str).tolist()
    guessed = [name in facts.index and facts.at[name, "known_by"] == GUESS for name in names]
    if not guessed[0]:
        return ()
    dense = names[0]
    for column in range(1, len(names)):
        if guessed[column] and (
            _other_weights(facts, dense, names[column])
            or not np.allclose(panel.score[:, 0], panel.score[:, column], rtol=_SAME, atol=_SAME)
        ):
            raise UsageError(
                f"{dense!r} and {names[column]!r} are both taken for dense, as nothing says what was done to their models, and they "
                "differ: verdicts would stand on a guess. Say what they are with junkdna label FOLDER --method METHOD --sparsity "
                "LEVEL, or --method dense."
            )
    return (
        f"the verdicts stand on a guess: nothing says what was done to the model of {dense!r}, which is taken for dense. Settle it "
        "with junkdna label FOLDER --method dense.",
    )


def _other_weights(facts: pd.DataFrame, one: str, other: str) -> bool:
    if "weights_sha256" not in facts:
        return False
    first, second = facts.at[one, "weights_sha256"], facts.at[other, "weights_sha256"]
    return isinstance(first, str) and isinstance(second, str) and first != second
