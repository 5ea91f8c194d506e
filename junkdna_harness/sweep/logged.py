"""The runs of a sweep in Weights & Biases: one run there for each that is evaluated, with lm-eval's own tables, grouped by the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from junkdna_harness.sweep.engines import Event, Extended, Finished, Tell
from junkdna_harness.sweep.export import results_of
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.store import Store
from junkdna_harness.tracking import Wandb

# What charts are drawn over: beside the whole manifest, at the top of the config.
_AXES = (
    "kind", "method", "pattern", "level", "bits", "replicate", "seed", "quantizer", "group_size", "effective_bits", "effective_bits_all",
    "sparsity_targeted", "sparsity_all", "weights_sha256",
)  # fmt: skip


class Logged:
    """A listener that logs what another one hears."""

    def __init__(self, plan: Plan, folder: str | Path, wandb: Wandb, listener: Tell | None = None) -> None:
        self.plan, self.store, self.wandb, self.listener = plan, Store(folder), wandb, listener

    def hear(self, event: Event) -> None:
        """Pass the event on, then log the run that it brings."""
        if self.listener is not None:
            self.listener(event)
        if isinstance(event, Extended):
            self.plan = event.plan
        elif isinstance(event, Finished):
            log_run(self.wandb, self.store, self.plan, event.cell, event.result.manifest)


def log_run(wandb: Wandb, store: Store, plan: Plan, cell: PlannedRun, manifest: Mapping[str, Any]) -> None:
    """Log one run that the store holds."""
    if wandb.broken:
        return
    with wandb.guarded():
        results = results_of(store, plan, cell, manifest)
        block = manifest["manifest"]
        axes = {name: block[name] for name in _AXES if block.get(name) is not None}
        config = {"model": plan.model_name(cell), "run": manifest["run"], **axes, "junkdna": block}
        with wandb.run(str(manifest["run"]), "evaluation", config, store.folder.name) as run:
            run.results(results)
            run.summary({"seconds": sum(manifest["seconds"].values())})
