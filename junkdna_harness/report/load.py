"""Runs for reports and for the gate: the tidy table, what is known about each run, and its documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run model method level bits replicate task family axis tier item_id cluster_id metric value n_symbols chance"
).split()
DOCUMENT_COLUMNS = ("prompt", "target", "answer")


@dataclass(frozen=True)
class Loaded:
    """`items` is the tidy table; `runs` has a row a run where known; `documents` prompt, target and answer."""

    items: pd.DataFrame
    runs: pd.DataFrame
    documents: pd.DataFrame
    sources: tuple[str, ...] = field(default=())

    def versions_of(self, run: str | None) -> dict[str, str]:
        """Task name -> version as lm-eval wrote it, for one run (or the only one); empty when not recorded."""
        rows = self.runs
        if "task_versions" not in rows or len(rows) == 0:
            return {}
        if run is not None:
            rows = rows[rows["run"].astype(str) == run]
        return as_mapping(rows["task_versions"].iloc[0]) if len(rows) else {}


def as_mapping(value: object) -> dict[str, str]:
    """A cell that holds a mapping, as a dict or as JSON; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return {}
    return {str(k): str(v) for k, v in value.items() if v is not None} if isinstance(value, Mapping) else {}
