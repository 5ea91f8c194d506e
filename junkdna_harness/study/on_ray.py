"""The trainings of a study as Ray tasks, in a folder that every node of the cluster sees.

Each takes the lock of its checkpoint and goes on from the last one, as a training here does. A worker that is lost is replaced.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.files import PARTIAL, write_atomic
from junkdna_harness.study.job import Job
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.running import DEVICE_MAP, gpus_of_training
from junkdna_harness.sweep.engines.ray import RayEngine, Tasks, needs_of
from junkdna_harness.sweep.machine import Machine

Say = Callable[[str], None]
Train = Callable[[StudyPlan, Path, Job], str]


@contextmanager
def a_mark(folder: Path) -> Iterator[Path]:
    """A small file in the study's folder, within the block: a node that reads it sees the folder."""
    mark = folder.absolute() / f".seen-{uuid.uuid4().hex}{PARTIAL}"
    write_atomic(mark, mark.name)
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def see(mark: Path) -> None:
    """Make sure that this process sees the folder of `mark`.

    Raises:
        UsageError: it does not, or sees another folder of that name.
    """
    try:
        seen = mark.read_text(encoding="utf-8") == mark.name
    except OSError:
        seen = False
    if not seen:
        import socket

        raise UsageError(
            f"the Ray node {socket.gethostname()!r} does not see the study's folder {str(mark.parent)!r}, where its trainings go. Give an "
            "--output that all nodes share, e.g. on NFS or Lustre, or run the study on one machine: --engine local."
        )


def check_shared(engine: RayEngine, folder: Path) -> None:
    """Make sure that every node of the cluster sees the study's folder, before a sweep of hours begins. A cluster that is started here
    has one.

    Raises:
        UsageError: a node does not.
    """
    if not engine.elsewhere:
        return
    with engine.connected() as ray, a_mark(folder) as mark:
        looks = []
        for node in (node["NodeID"] for node in ray.nodes() if node["Alive"]):
            pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            looks.append(ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=pinned)(see).remote(mark))
        for look in looks:
            try:
                ray.get(look)
            except ray.exceptions.RayTaskError as error:
                raise UsageError(str(error.cause)) from error


def train_on_ray(
    plan: StudyPlan, folder: Path, jobs: Sequence[Job], engine: RayEngine, machine: Machine | None, train: Train, say: Say,
    ended: Callable[[Job], None],
) -> None:  # fmt: skip
    """Carry out the trainings that are not finished yet; `say` hears a line of each, `ended` which it was.

    Raises:
        UsageError: an option cannot be used, a node does not see the folder, or a training could not be carried out.
    """
    if not jobs:
        return
    failed: dict[str, str] = {}
    place = folder.absolute()
    with engine.connected() as ray, a_mark(place) as mark:
        where = machine or Machine()

        def function(job: Job) -> str:
            see(mark)
            return train(plan, place, job)

        def done(job: Job, line: str) -> Iterable[Job]:
            say(line)
            ended(job)
            return ()

        def broke(job: Job, why: str) -> Iterable[Job]:
            failed[job.label(plan.recovery_method)] = why
            return ()

        # Of a model that is fitted block by block one block is on a GPU at a time.
        for gpus, some in (
            (gpus_of_training(plan.run), [job for job in jobs if not job.local]),
            (1, [job for job in jobs if job.local]),
        ):
            Tasks(ray, function, needs_of(ray, where, gpus), done, broke, say, "trainings").run(some)
    if failed:
        told = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise UsageError(
            f"{len(failed)} of {len(jobs)} trainings could not be carried out ({told}). The same command goes on with them."
        )


def map_of_training(plan: StudyPlan, job: Job) -> Any:
    """How the plan lays a model in training over its devices; None where it has one, and where blocks go there one by one."""
    return None if job.local else plan.run.get(DEVICE_MAP)
