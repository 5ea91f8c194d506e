"""Runs put in order: for each method its levels, replicates together, with the memory that each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from difficulty.runs.identity import Kind, Method, Run
from difficulty.runs.running import leaves_weights
from difficulty.runs.table import DENSE

FULL_BITS = 16.0  # what a weight of the dense model is counted with
MASK_BITS = 1.0  # a bit per weight says which weights are kept
PRIMARY = "magnitude"  # the hypothesis is about small weights


@dataclass(frozen=True)
class Condition:
    """One level of one method; `columns` are its replicates' columns in the panel.

    `method`: the name of the series it belongs to; `done`: what was done to the weights at this level.
    """

    method: str
    kind: Kind
    done: Method
    level: float  # sparsity; NaN for quantized
    bits: float  # nominal; NaN for pruned
    effective_bits: float
    columns: tuple[int, ...]
    replicates: tuple[int, ...]  # the replicate number of each column

    @property
    def severity(self) -> float:
        """What the levels of a method are ordered by: sparsity, or the share of 16 bits that is gone."""
        return self.level if self.kind != "quantized" else 1 - self.effective_bits / FULL_BITS


@dataclass(frozen=True)
class Series:
    """The levels of one method from mild to severe; `at` are indices into the list of conditions (0 is dense)."""

    method: str
    kind: Kind
    levels: tuple[float, ...]  # severity
    at: tuple[int, ...]


def conditions(runs: pd.DataFrame, effective_bits: Mapping[str, float]) -> list[Condition]:
    """The conditions of a panel's runs, the dense one first. `effective_bits`: run id -> bits, where known."""
    grouped: dict[tuple[Kind, str, float, float], list[int]] = {}
    done: dict[tuple[Kind, str, float, float], Method] = {}
    dense = []
    for column, row in enumerate(runs.itertuples()):
        if row.dense:
            dense.append(column)
        elif str(row.method) != DENSE:
            run = Run("", Method.parse(str(row.method)), row.level, row.bits)
            key = (run.kind, series_name(run), _key(row.level), _key(row.bits))
            grouped.setdefault(key, []).append(column)
            done.setdefault(key, run.method)
    numbers = [int(r) for r in runs["replicate"].fillna(0)] if "replicate" in runs else [0] * len(runs)
    found = [
        Condition(
            DENSE,
            "dense",
            Method(DENSE),
            0.0,
            np.nan,
            FULL_BITS,
            tuple(dense),
            tuple(numbers[c] for c in dense),
        )
    ]
    for key, columns in grouped.items():
        kind, name, level, bits = key
        known = [effective_bits[r] for r in runs["run"].iloc[columns] if r in effective_bits]
        nominal = FULL_BITS if leaves_weights(name) else nominal_bits(kind, level, bits)
        counted = float(np.mean(known)) if known else nominal
        value, width = (np.nan if x < 0 else x for x in (level, bits))
        drawn = tuple(numbers[c] for c in columns)
        found.append(Condition(name, kind, done[key], value, width, counted, tuple(columns), drawn))
    return found


def series_name(run: Run) -> str:
    """The name under which a run's levels are judged together; recovered runs of each width of weights by themselves."""
    if run.kind == "recovered" and run.bits is not None:
        return f"{run.series} {run.bits:.10g} bits"
    return run.series


def _key(value: float) -> float:
    return -1.0 if np.isnan(value) else round(float(value), 9)


def nominal_bits(kind: str, level: float, bits: float) -> float:
    """Bits per weight where no run says: 16 for each kept weight and 1 for the mask, or the nominal bits."""
    width = bits if bits > 0 else FULL_BITS
    if kind == "quantized":
        return width
    return width * (1 - max(level, 0.0)) + (MASK_BITS if level > 0 else 0.0)


def series_of(found: list[Condition], kinds: tuple[Kind, ...] = ("pruned", "quantized")) -> list[Series]:
    """Each method's series, the primary one first, then pruning before quantization, and this before what leaves weights alone.

    P4 is read off the first quantizer: one of weights where there is any, and of these the one with the most widths, since a single
    width has no range of losses; names decide where that leaves several.
    """
    methods: dict[tuple[Kind, str], list[int]] = {}
    for at, condition in enumerate(found):
        if condition.kind in kinds:
            methods.setdefault((condition.kind, condition.method), []).append(at)
    listed = []
    for (kind, method), indices in methods.items():
        ordered = sorted(indices, key=lambda i: found[i].severity)
        listed.append(Series(method, kind, tuple(found[i].severity for i in ordered), tuple(ordered)))
    return sorted(
        listed,
        key=lambda s: (
            s.method != PRIMARY, s.kind, leaves_weights(s.method), -len(s.at) if s.kind == "quantized" else 0, s.method
        ),
    )  # fmt: skip
