"""Does a compressed model lose more than it may? Pass, fail or inconclusive, for every tier of difficulty.

>>> from junkdna_harness.gate import Limits, check, read_baseline, read_run
>>> result = check(read_run("runs/new"), read_baseline("baseline.json"), Limits(max_drop=0.02))
>>> result.verdict
'pass'
"""

from __future__ import annotations

from difficulty.stats.paired_loss import PairedLoss, paired_loss
from junkdna_harness.gate.baseline import RunItems, TaskItems, read_baseline, read_run, to_json
from junkdna_harness.gate.policy import Limits, Policy, Rule
from junkdna_harness.gate.policy_file import read_policy
from junkdna_harness.gate.rule import Comparison, Gate, check

__all__ = [
    "Comparison",
    "Gate",
    "Limits",
    "PairedLoss",
    "Policy",
    "Rule",
    "RunItems",
    "TaskItems",
    "check",
    "paired_loss",
    "read_baseline",
    "read_policy",
    "read_run",
    "to_json",
]
