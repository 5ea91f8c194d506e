"""A study in Weights & Biases, when it has ended: every evaluation, every training and the verdicts, in one group."""

from __future__ import annotations

import json

from junkdna_harness.recover.logged import log_finished
from junkdna_harness.recover.save import LOG
from junkdna_harness.report.logged import log_verdicts
from junkdna_harness.study.checkpoints import finished_manifest
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.run import StudyOutcome
from junkdna_harness.study.stages import checkpoint, is_trained
from junkdna_harness.study.verdicts import TOKENS
from junkdna_harness.sweep.logged import log_run
from junkdna_harness.sweep.store import Store
from junkdna_harness.tracking import Wandb


def log_study(wandb: Wandb, plan: StudyPlan, outcome: StudyOutcome) -> None:
    """Log what a study came to, also what earlier calls did of it. Trainings run in processes of their own, so none is logged before."""
    folder = outcome.folder
    wandb.arguments = {"group": folder.name, **wandb.arguments}
    with wandb.guarded():
        for stage in ("sweep", TOKENS, "recovered"):
            store = Store(folder / stage)
            if (grid := store.plan()) is None:
                continue
            for cell, manifest in zip(store.finished(grid), store.manifests(), strict=True):
                log_run(wandb, store, grid, cell, manifest)
        for job in plan.jobs():
            made = checkpoint(folder, plan, job)
            if is_trained(made):
                rows = [json.loads(line) for line in (made / LOG).read_text(encoding="utf-8").splitlines()]
                log_finished(
                    wandb,
                    job.folder(plan.recovery_method, len(plan.pretrained)),
                    finished_manifest(made),
                    rows,
                )
    with wandb.run(f"study {folder.name}", "study", {"plan": plan.to_dict()}) as run:
        log_verdicts(run, outcome.verdicts.fits, outcome.verdicts.over)
        run.summary({"failed": outcome.failed, "seconds": outcome.seconds})
