"""Sweeps: a grid of compressed states of a model, loaded once, evaluated level by level, resumable."""

from difficulty.callable_module import make_callable
from junkdna_harness.sweep.plan import Plan, PlannedRun, Settings, build_plan
from junkdna_harness.sweep.run import SweepOutcome, run_sweep
from junkdna_harness.sweep.store import Store

__all__ = ["Plan", "PlannedRun", "Settings", "Store", "SweepOutcome", "build_plan", "run_sweep"]

make_callable(__name__, "junkdna_harness.faces:sweep")
