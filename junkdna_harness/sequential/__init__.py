"""The gate that asks only as many items as its verdict needs.

A model is loaded once and asked the tasks of a baseline, with lm-eval's own requests and scoring. The order and the rule by which it
stops, and why stopping costs no error, are in `gate.walk` and `gate.sequential_rule`, which know nothing of models.

>>> from junkdna_harness.gate import Limits, read_baseline
>>> from junkdna_harness.sequential import load, outcome_of, run_gate
>>> outcome = outcome_of(run_gate(load("embedded", arguments={"sparsity": 0.8}), read_baseline("dense"), Limits()))
>>> outcome.gate.verdict, outcome.items_used, outcome.items_all
('fail', 200, 16000)
"""

from __future__ import annotations

from junkdna_harness.sequential.loading import Candidate, load
from junkdna_harness.sequential.outcome import Outcome, outcome_of
from junkdna_harness.sequential.prepared import Prompting
from junkdna_harness.sequential.run import Finished, Options, run_gate

__all__ = ["Candidate", "Finished", "Options", "Outcome", "Prompting", "load", "outcome_of", "run_gate"]
