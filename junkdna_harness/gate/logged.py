"""A decision of the gate in Weights & Biases: the verdict, and every comparison as a row."""

from __future__ import annotations

import json
from typing import Any

from junkdna_harness.tracking import Wandb

_FIRST = ("name", "kind", "severity", "rule", "metric", "verdict", "loss", "lower_bound", "upper_bound", "limit", "n_items", "baseline", "new", "p_exceeds_holm")  # fmt: skip


def log_decision(wandb: Wandb, document: str) -> None:
    """Log the outcome, given as `as_json` writes it, as one run."""
    outcome: dict[str, Any] = json.loads(document)
    new = outcome.get("new")
    name = f"check {new['run'] if isinstance(new, dict) else new or outcome.get('model', '')}".strip()
    cells = outcome.pop("cells", None) or outcome.pop("comparisons", None) or []
    with wandb.run(
        name, "check", {key: outcome.get(key) for key in ("new", "baseline", "policy", "limits")}
    ) as run:
        run.summary({key: outcome.get(key) for key in ("verdict", "exit_code", "sentence", "items_used", "missing", "notes")})  # fmt: skip
        columns = [key for key in _FIRST if any(key in cell for cell in cells)] or _FIRST
        run.table("comparisons", columns, [[cell.get(key) for key in columns] for cell in cells])
