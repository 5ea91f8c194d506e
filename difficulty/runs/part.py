"""One run as it was found in one place, before what belongs together is put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difficulty.runs.identity import Method, Run
from difficulty.runs.table import NOISE_FLOOR

DATA_ROWS = "data_rows"  # of a task's metadata: where its training and its test rows come from, in words


@dataclass(frozen=True)
class TaskFacts:
    """How one task was evaluated: its version, number of shots, the sample files, what else decides the prompts, and, where the
    task says it, where its training and its test rows come from."""

    version: str | None = None
    num_fewshot: int | None = None
    files: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    data_rows: str | None = None


def data_rows_in(config: object) -> str | None:
    """What a task's configuration says of where its rows come from; None where it says nothing."""
    metadata = config.get("metadata") if isinstance(config, Mapping) else None
    found = metadata.get(DATA_ROWS) if isinstance(metadata, Mapping) else None
    return found if isinstance(found, str) else None


@dataclass(frozen=True)
class Part:
    """The rows of one run from one source.

    `facts`: effective_bits, sparsity_all, weights_sha256, lm_eval_version, matched, n_weights, dtype where known. `kept`: task -> item id ->
    what the reader was asked to keep.
    """

    source: str
    run: Run
    rows: pd.DataFrame = field(repr=False)
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def named(self, run: Run) -> Part:
        """The same rows as those of `run`."""
        return replace(self, run=run, rows=self.rows.assign(**cells_of(run)))


def weights_in(block: Mapping[str, Any]) -> int | None:
    """How many weights the whole model has, by a `junkdna` block or manifest; None where it does not say.

    Of packed codes, in which zeros cannot be counted, the block counts what is stored: less than the model's weights.
    """
    return None if block.get("sparsity_all") is None else count_of(block.get("weights_all"))


def count_of(value: Any) -> int | None:
    """`value` as a number of weights; None where it is no whole number above 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def cells_of(run: Run) -> dict[str, Any]:
    """The cells of the tidy table that identify a run."""
    return {
        "run": str(run),
        "model": run.model,
        "method": str(run.method),
        "level": np.nan if run.level is None else run.level,
        "bits": np.nan if run.bits is None else run.bits,
        "replicate": run.replicate,
        **({NOISE_FLOOR: True} if run.noise_floor else {}),
    }


def run_of_cells(row: Mapping[str, Any], **more: Any) -> Run:
    """The run that the identifying cells of a table row stand for."""
    again = row.get(NOISE_FLOOR, False)
    return Run(
        str(row["model"]), Method.parse(str(row["method"])), _number(row["level"]), _number(row["bits"]),
        int(row["replicate"]), noise_floor=not pd.isna(again) and bool(again), **more,
    )  # fmt: skip


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
