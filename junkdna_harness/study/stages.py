"""The stages of a study, each resumable by itself: sweep, recover, evaluate what was recovered."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import MANIFEST
from difficulty.runs.identity import DENSE_TRANSFER
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.precision import AUTO_CPU
from junkdna_harness.presentation.progress import Meter
from junkdna_harness.recover.alone import alone
from junkdna_harness.study.asked import DTYPE
from junkdna_harness.study.checkpoints import check_same_start, finished_manifest
from junkdna_harness.study.job import Job
from junkdna_harness.study.on_ray import map_of_training, train_on_ray
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.engines.pool import SMALL_MODEL_BYTES, can_fork, end_with
from junkdna_harness.sweep.engines.ray import RayEngine
from junkdna_harness.sweep.fingerprint import glance
from junkdna_harness.sweep.machine import Machine, available_cores, keep_freed_memory, threads_of_each
from junkdna_harness.sweep.plan import Plan, PlannedRun, build_plan
from junkdna_harness.sweep.store import Store

Say = Callable[[str], None]
TRAINED_DTYPE = "float32"  # whatever the checkpoint's own


def models_of(plan: StudyPlan) -> list[dict[str, Any]]:
    """Each model's arguments, with those of calibration, which all share."""
    shared = {**plan.model_args, **plan.calibration_arguments()}
    return [{"pretrained": name, **shared} for name in plan.pretrained]


def sweep_plan(plan: StudyPlan) -> Plan:
    """The grid of the study as a sweep."""
    return build_plan(
        plan.tasks, models_of(plan), plan.methods, plan.sparsity, plan.patterns, plan.quantize, plan.replicates,
        match_loss=plan.controls or False, refine=plan.refine, refine_levels=plan.refine_levels, limit=plan.limit,
        num_fewshot=plan.num_fewshot, include_path=plan.include_path,
    )  # fmt: skip


def tokens_plan(plan: StudyPlan) -> Plan:
    """The grid of the texts, whose tokens are asked, as a sweep of its own."""
    return build_plan(
        None, models_of(plan), plan.text_methods or plan.methods, plan.text_sparsity or plan.sparsity, None,
        plan.text_quantize or plan.quantize, plan.replicates, match_loss=plan.controls or False, limit=plan.text_limit, text=plan.text,
    )  # fmt: skip


def checkpoint(folder: Path, plan: StudyPlan, job: Job) -> Path:
    """Where a training's result lies."""
    return folder / "checkpoints" / job.folder(plan.recovery_method, len(plan.pretrained))


def is_trained(output: Path) -> bool:
    """True where a training has come to its end: its folder appears in one piece."""
    return (output / MANIFEST).is_file()


def train_all(
    plan: StudyPlan,
    folder: Path,
    say: Say,
    engine: LocalEngine | RayEngine | None = None,
    machine: Machine | None = None,
    meter: Meter | None = None,
) -> list[Job]:
    """The trainings that broke down (their last good weights are kept), after running those not yet finished. `meter` shows their steps.

    As many at a time as the engine has workers; where nobody says, small models are trained one per core, others one after another. With
    Ray as many as the cluster has room for.
    """
    waiting = [job for job in plan.jobs() if not is_trained(checkpoint(folder, plan, job))]
    steps = _Steps(meter or Meter("recovery"), plan, waiting)
    if isinstance(engine, RayEngine):
        train_on_ray(plan, folder, waiting, engine, machine, train_one, say, steps.finish)
        waiting = []
    asked = engine.workers if engine is not None else None
    workers = max(1, min(asked or _workers(plan, len(waiting)), len(waiting)))
    if workers > 1:
        # Forked, they need not import all anew; but a process that has used threads or a GPU cannot be forked.
        forks = asked is None and can_fork()
        context = multiprocessing.get_context("fork" if forks else "spawn")
        threads = threads_of_each(workers)
        told = context.SimpleQueue()
        with ProcessPoolExecutor(
            workers, context, initializer=_start, initargs=(threads, os.getpid(), told)
        ) as pool:
            left = {pool.submit(_train_and_tell, plan, folder, job) for job in waiting}
            while left:
                ended, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
                while not told.empty():
                    steps.hear(*told.get())
                for future in ended:
                    say(future.result())
    else:
        for job in waiting:
            say(train_one(plan, folder, job, partial(steps.hear, job)))
    manifests = {job: finished_manifest(checkpoint(folder, plan, job)) for job in plan.jobs()}
    return [job for job, manifest in manifests.items() if manifest["recovery"]["failed"]]


def check_trained(plan: StudyPlan, folder: Path) -> None:
    """Refuse to go on where the trainings that are there, and the sweep, are not of one model and one text.

    Raises:
        UsageError: names what differs.
    """
    store = Store(folder / "sweep")
    grid = store.need_plan()
    runs = {manifest["run"]: manifest for manifest in store.manifests()}
    swept: dict[tuple[int, float], str] = {}
    for model, name in enumerate(plan.pretrained):
        taken = store.fingerprint(grid, model)
        if taken is not None and taken.files is not None and taken.files != glance(grid.models[model]):
            raise UsageError(
                f"the files of model {name!r} have changed since it was swept into {str(folder)!r}: what is trained now "
                "would be another model. Bring back what it was, or give another --output."
            )
        held = TRAINED_DTYPE if grid.models[model].get(DTYPE) == AUTO_CPU else taken and taken.dtype
        if held != TRAINED_DTYPE:
            continue
        for cell in (cell for cell in grid.cells if cell.model == model):
            starts = cell.kind == "dense" or (cell.method == plan.recovery_method and cell.pattern is None)
            if starts and cell.level is not None and cell.replicate == 0 and grid.run_id(cell) in runs:
                swept[model, cell.level] = str(runs[grid.run_id(cell)]["weights_sha256"])
    trained = [(job, checkpoint(folder, plan, job)) for job in plan.jobs()]
    check_same_start([(job, output) for job, output in trained if is_trained(output)], swept)


class _Steps:
    """The steps of all trainings that are to be done, as they are told of, in one meter."""

    def __init__(self, meter: Meter, plan: StudyPlan, jobs: Sequence[Job]) -> None:
        self.meter, self.plan, self.whole = meter, plan, sum(job.steps for job in jobs)
        self.stage, self.at = meter.what, dict.fromkeys(map(repr, jobs), 0)
        meter.unit = "steps"

    def hear(self, job: Job, step: int, most: int, told: str) -> None:
        """One training has come to `step` of `most`; a local reconstruction, whose steps are those of all blocks, to a share of them."""
        self.at[repr(job)] = step * job.steps // most if job.local else step
        what = f"{self.stage}: {job.label(self.plan.recovery_method)}"
        self.meter.move(sum(self.at.values()), self.whole, what, f"step {step:,} of {most:,}, {told}")

    def finish(self, job: Job) -> None:
        """One training has ended that told of no step before."""
        self.hear(job, job.steps, job.steps, "done")


def train_one(
    plan: StudyPlan, folder: Path, job: Job, told: Callable[[int, int, str], None] | None = None
) -> str:
    """A line that says what one training did, after doing it; `told` hears each step, of how many, with loss and learning rate."""
    with alone(checkpoint(folder, plan, job)) as check:
        return _train(plan, folder, job, check, told)


def _train_and_tell(plan: StudyPlan, folder: Path, job: Job) -> str:
    """The same in a worker, which tells the study of about one step per second."""
    last = time.monotonic()

    def tell(step: int, most: int, text: str) -> None:
        nonlocal last
        if step == most or time.monotonic() - last >= 1.0:
            last = time.monotonic()
            _told.put((job, step, most, text))

    return train_one(plan, folder, job, tell)


def _train(
    plan: StudyPlan,
    folder: Path,
    job: Job,
    check: Callable[[], None],
    told: Callable[[int, int, str], None] | None,
) -> str:
    import torch

    from junkdna_harness.recover.checkpoints import StillAlone
    from junkdna_harness.recover.progress import Shown
    from junkdna_harness.recover.run import recover_here

    output, pretrained = checkpoint(folder, plan, job), plan.pretrained[job.model]
    name = job.label(plan.recovery_method) + (f" of {pretrained}" if len(plan.pretrained) > 1 else "")
    if is_trained(output):  # by a worker that outlived its study for a moment
        return f"{name}: trained already"

    if not torch.cuda.is_available():
        keep_freed_memory()
    pruning = {"method": plan.recovery_method, "sparsity": job.level, **plan.calibration_arguments()}
    spec = None if job.arm == DENSE_TRANSFER else PruneSpec.from_strings(pruning)
    shown = (Shown(told),) if told is not None else ()
    callbacks = (StillAlone(check), *shown)
    done = recover_here(
        pretrained,
        output,
        plan.recover_spec(job),
        spec,
        callbacks=callbacks,
        device_map=map_of_training(plan, job),
    )
    training = done.training
    losses = (
        "" if training.last_loss is None else f", loss {training.first_loss:.3g} -> {training.last_loss:.3g}"
    )
    stopped = f" ({training.stopped})" if training.stopped else ""
    return (
        f"{name}: {training.steps} steps, {training.tokens:,} tokens in "
        f"{training.seconds:.0f} s{losses}{stopped}"
    )


def recovered_plan(plan: StudyPlan) -> Plan:
    """The trained checkpoints as cells of a sweep over the original model, so that they share its items and its name.

    Those that were trained in one way on one task each are one cell, which names the checkpoint of each task. Paths are relative to
    the study's folder, which may be moved.
    """
    base = sweep_plan(plan)
    runs: dict[Job, dict[str | None, str]] = {}
    for job in plan.jobs():
        runs.setdefault(replace(job, task=None), {})[job.task] = str(checkpoint(Path(), plan, job))
    cells = tuple(
        PlannedRun(
            job.model, "checkpoint", str(job.method(plan.recovery_method)), job.level, None, None, job.replicate,
            {"pretrained": folders if plan.per_task else folders[None], "method": "none"},
        )
        for job, folders in runs.items()
    )  # fmt: skip
    recovered = Plan(base.models, cells, base.settings)
    recovered.check()
    return recovered


def _workers(plan: StudyPlan, jobs: int) -> int:
    """Trainings at a time: one per core for small models on a CPU, else one."""
    import torch

    sizes = [_bytes_of(name) for name in plan.pretrained]
    if torch.cuda.is_available() or not all(0 < size < SMALL_MODEL_BYTES for size in sizes):
        return 1
    return max(1, min(available_cores(), jobs))


def _bytes_of(pretrained: str) -> int:
    folder = Path(resolve_pretrained(pretrained))
    return (
        sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else sys.maxsize
    )


_told: Any = None  # of a worker: the queue by which it tells of its steps


def _start(threads: int, parent: int, told: Any) -> None:
    """A worker's beginning: its share of the threads, and an end when its parent ends."""
    import torch

    global _told
    _told = told
    torch.set_num_threads(threads)
    end_with(parent)
