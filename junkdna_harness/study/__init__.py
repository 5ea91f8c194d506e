"""The whole paper on one model: sweep, recovery, verdicts, report."""

from __future__ import annotations

from junkdna_harness.study.asked import make_plan, shipped
from junkdna_harness.study.plan import Job, StudyPlan
from junkdna_harness.study.run import StudyOutcome, run_study

__all__ = ["Job", "StudyOutcome", "StudyPlan", "make_plan", "run_study", "shipped"]
