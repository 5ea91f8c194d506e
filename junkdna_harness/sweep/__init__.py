"""Sweeps: a grid of compressed states of a model, loaded once, evaluated level by level, resumable."""

from junkdna_harness.sweep.plan import Cell, Plan, Settings, build_plan
from junkdna_harness.sweep.run import SweepOutcome, run_sweep
from junkdna_harness.sweep.store import Store

__all__ = ["Cell", "Plan", "Settings", "Store", "SweepOutcome", "build_plan", "run_sweep"]
