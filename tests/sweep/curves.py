"""An engine whose models lose what a curve says: sweeps of many rounds without a model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from difficulty.runs.halves import in_calibration_half
from difficulty.runs.table import COLUMNS
from junkdna_harness.sweep.engines import Failed, Finished, Loaded, Started, Tell, Work
from junkdna_harness.sweep.evaluated import Evaluated, parquet_bytes
from junkdna_harness.sweep.fingerprint import Fingerprint
from junkdna_harness.sweep.plan import Plan, PlannedRun

ITEMS = 60  # of each family's tier
Curve = Callable[[float], float]


class Killed(BaseException):
    """The sweep's process ends."""


@dataclass
class CurveEngine:
    """Method -> what its margins lose at a sparsity, in log-odds, on the calibration half; `others` is lost on the other half.

    A curve that gives NaN is a run that fails. `dies_after` runs the sweep is killed: before the next one begins or, with
    `at_once`, as soon as the last is stored. `draws`: replicate -> what it loses more.
    """

    curves: Mapping[str, Curve]
    others: float = 0.0
    margins: bool = True
    dies_after: int | None = None
    at_once: bool = False
    draws: Mapping[int, float] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    starts: int = 0
    loaded: int = 0

    def run(self, work: Work, tell: Tell) -> None:
        """As an engine of one process does it."""
        self.starts += 1
        for model, cells in work.by_model().items():
            self.loaded += 1
            items = parquet_bytes(pd.DataFrame({"task": ["t"], "doc_id": [0], "doc": ["{}"], "arguments": ["[]"], "target": [""]}))  # fmt: skip
            facts = {"versions": {}, "configs": {}, "n-shot": {}}
            tell(Loaded(model, items, facts, Fingerprint(weights_sha256="0" * 64), {}, 1))
            waiting = deque(cells)
            while waiting:
                if len(self.ran) == self.dies_after:
                    raise Killed
                cell = waiting.popleft()
                tell(Started(cell))
                tell(self._run(work.plan, cell))
                self.ran.append(work.plan.run_id(cell))
                if self.at_once and len(self.ran) == self.dies_after:
                    raise Killed
                if not waiting and work.more:
                    waiting.extend(work.more(model))

    def _run(self, plan: Plan, cell: PlannedRun) -> Finished | Failed:
        lost = 0.0 if cell.kind == "dense" else self.curves[cell.method](cell.level or 0.0)
        if np.isnan(lost):
            return Failed(cell, "FloatingPointError: the answers are not numbers")
        rows = self._rows(
            lost + (0 if cell.kind == "dense" else self.draws.get(cell.replicate, 0.0)), cell.kind == "dense"
        )
        identity = {
            "run": plan.run_id(cell), "model": plan.model_name(cell), "method": cell.table_method, "level": cell.level,
            "bits": np.nan, "replicate": cell.replicate,
        }  # fmt: skip
        table = rows.assign(**identity)[list(COLUMNS)]
        manifest: dict[str, Any] = {
            **{k: v for k, v in identity.items() if k != "bits"}, "bits": None, "seconds": {}, "schema": 1,
            "results": {"results": {}, "groups": {}}, "group_sizes": [], "manifest": {"seed": cell.replicate},
            "effective_bits": None, "weights_sha256": None,
            "made_of": {"record": "identity.json", "arguments": dict(cell.arguments)},
        }  # fmt: skip
        responses = parquet_bytes(pd.DataFrame({"task": ["t"], "doc_id": [0]}))
        return Finished(cell, Evaluated(parquet_bytes(table), responses, manifest))

    def _rows(self, lost: float, dense: bool) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        parts = []
        for family in ("a", "b"):
            for tier in (1, 2, 3):
                ids = [f"{family}{tier} {i}" for i in range(ITEMS)]
                margins = rng.normal(4 - tier, 1, ITEMS)
                half = in_calibration_half(ids)
                now = margins - np.where(half, lost, 0.0 if dense else self.others)
                scores = {"acc": (now > 0).astype(float), **({"margin": now} if self.margins else {})}
                parts += [
                    pd.DataFrame(
                        {
                            "task": f"{family}_t{tier}", "family": family, "axis": "", "tier": tier, "item_id": ids,
                            "cluster_id": ids, "metric": metric, "value": values, "n_symbols": 1, "chance": 0.0,
                        }
                    )
                    for metric, values in scores.items()
                ]  # fmt: skip
        return pd.concat(parts, ignore_index=True)
