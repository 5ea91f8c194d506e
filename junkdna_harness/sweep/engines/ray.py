"""Cells as Ray tasks: on the cluster at RAY_ADDRESS, or on a local one started for the sweep (extra `ray`)."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.engines import Failed, Finished, Loaded, Tell, Work, describe
from junkdna_harness.sweep.engines.local import open_session
from junkdna_harness.sweep.engines.pool import run_cell
from junkdna_harness.sweep.machine import available_cores
from junkdna_harness.sweep.plan import PlannedRun

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Session

RETRIES = 3  # for a worker or node that is lost; a cell that fails by itself is not repeated


@dataclass(frozen=True)
class RayEngine:
    """`workers` tasks at a time on a local cluster (None: one per core); a cluster of one's own decides by itself."""

    workers: int | None = None

    def run(self, work: Work, tell: Tell) -> None:
        """Return when every cell has finished or failed.

        Raises:
            UsageError: Ray is not installed, no cluster answers at RAY_ADDRESS, a model cannot be loaded, or it is not that
                of the runs that are known.
        """
        ray = _import_ray()
        started_here = not ray.is_initialized()
        if started_here:
            self._start(ray)
        try:
            _run_tasks(ray, work, tell)
        finally:
            if started_here:
                ray.shutdown()

    def _start(self, ray: Any) -> None:
        address = os.environ.get("RAY_ADDRESS")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if not address:
            cores = min(self.workers or available_cores(), available_cores())
            options |= {"num_cpus": cores, "include_dashboard": False}
        try:
            ray.init(address=address, **options)
        except (ConnectionError, ValueError) as error:
            raise UsageError(
                f"no Ray cluster answers at RAY_ADDRESS={address!r} ({describe(error)}). Unset it to start a local one."
            ) from error


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "engine ray needs the package ray. Run: pip install 'junkdna-harness[ray]'."
        ) from error
    return ray


def _run_tasks(ray: Any, work: Work, tell: Tell) -> None:
    machine = work.machine
    gpu = (machine.device or "").startswith("cuda") or (
        machine.device is None and ray.cluster_resources().get("GPU")
    )
    threads = machine.threads or 1
    # Ray shows a task its own GPU only.
    machine = replace(machine, device="cuda:0" if gpu else "cpu", threads=threads)
    task = ray.remote(num_cpus=threads, num_gpus=1 if gpu else 0, max_retries=RETRIES)(_run_remote)
    shared, token = ray.put(replace(work, machine=machine, more=None)), uuid.uuid4().hex
    pending = {task.remote(shared, token, cell): cell for cell in work.cells}
    try:
        while pending:
            (done, *_), _rest = ray.wait(list(pending), num_returns=1)
            cell = pending.pop(done)
            try:
                loaded, event = ray.get(done)
            except ray.exceptions.RayError as error:
                if isinstance(cause := getattr(error, "cause", None), UsageError):
                    raise UsageError(str(cause)) from error  # of the session, not of one cell
                tell(Failed(cell, describe(error)))
            else:
                tell(loaded)
                tell(event)
            if work.more and all(other.model != cell.model for other in pending.values()):
                pending |= {task.remote(shared, token, one): one for one in work.more(cell.model)}
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)


_session: tuple[tuple[str, int], Session] | None = None


def _run_remote(work: Work, token: str, cell: PlannedRun) -> tuple[Loaded, Finished | Failed]:
    """Run one cell in a Ray worker, which keeps its model and requests for the next cell of the same sweep and model."""
    global _session
    if _session is None or _session[0] != (token, cell.model):
        _session = None  # the old model's memory, before the new one needs it
        # The sweep's folder is the driver's; a worker may be on another machine, so it maps no copy from there.
        _session = (
            (token, cell.model),
            open_session(replace(work, folder=None), cell.model, None, work.machine),
        )
    session = _session[1]
    event = run_cell(session, cell)
    session.check_restored()
    return Loaded.of(session), event
