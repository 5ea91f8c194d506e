"""The whole paper on one model: sweep, recovery, verdicts, report."""

from __future__ import annotations

from junkdna_harness.study.plan import PRESETS, Job, StudyPlan, make_plan
from junkdna_harness.study.run import StudyOutcome, run_study

__all__ = ["PRESETS", "Job", "StudyOutcome", "StudyPlan", "make_plan", "run_study"]
