"""The outcome of the gate for programs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from junkdna_harness.gate.policy_file import to_dict
from junkdna_harness.gate.rule import POWER, SURE, Comparison, Gate
from junkdna_harness.gate.words import needed, sentence


def as_json(gate: Gate, exit_code: int) -> str:
    """The outcome as JSON; numbers are not rounded, and infinite ones are null."""
    document = {
        "schema": 1,
        "verdict": gate.verdict,
        "exit_code": exit_code,
        "sentence": sentence(gate),
        "identical": gate.identical,
        "items_used": sum(len(task.item_ids) for name, task in gate.new.tasks.items() if name == task.task),
        "policy": to_dict(gate.policy),
        "new": {"run": gate.new.name, **gate.new.about},
        "baseline": {"run": gate.baseline.name, **gate.baseline.about},
        "cells": [_as_dict(one, gate.alpha) for one in gate.comparisons],
        "text": [{key: _finite(value) for key, value in asdict(one).items()} for one in gate.text],
        "missing": list(gate.missing),
        "notes": list(gate.notes),
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _as_dict(one: Comparison, alpha: float) -> dict[str, Any]:
    low, high = one.loss.bounds(alpha)
    # Looked at after each batch, a comparison has a reason of its own for being open.
    advised = one.verdict == "inconclusive" and one.open is None
    return {
        "name": one.name,
        "scope": one.scope,
        "where": dict(one.planned.where),
        "family": one.family,
        "tier": one.tier,
        "kind": one.planned.kind,
        "severity": one.severity,
        "rule": one.planned.rule.name,
        "metric": one.metric,
        "n_items": one.loss.n_items,
        "n_clusters": one.loss.n_clusters,
        "baseline": one.loss.before,
        "new": _finite(one.loss.after),
        "loss": _finite(one.loss.loss),
        "lower_bound": _finite(low),
        "upper_bound": _finite(high),
        "limit": one.limit,
        "lost": one.loss.lost,
        "gained": one.loss.gained,
        "p_exceeds": one.p_exceeds,
        "p_exceeds_holm": one.p_holm,
        "p_below": one.p_below,
        "verdict": one.verdict,
        "counts_as": one.counts_as,
        "items_to_decide": one.items_to_decide(alpha) if advised else None,
        "items_to_decide_95": one.items_to_decide(alpha, SURE) if advised else None,
        "detectable_loss": one.detectable(alpha) if advised else None,
        "noise_floor": None if one.noise is None else _finite(one.noise.size),
        "within_noise": one.within_noise,
        "power": POWER,
        "reason": needed([one], alpha) if one.verdict == "inconclusive" else None,
        "flips": [asdict(flip) for flip in one.flips],
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
