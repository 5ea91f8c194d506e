"""Cells as Ray tasks: on the cluster at RAY_ADDRESS, or on a local one started for the sweep (extra `ray`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.engines import Event, Tell, describe, ready
from junkdna_harness.sweep.engines.local import run_cell
from junkdna_harness.sweep.machine import Machine, available_cores
from junkdna_harness.sweep.plan import Cell, Plan

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Session

RETRIES = 3  # for a worker or node that is lost; a cell that fails by itself is not repeated


@dataclass(frozen=True)
class RayEngine:
    """`workers` tasks at a time on a local cluster (None: one a core); a cluster of one's own decides by itself."""

    workers: int | None = None

    def run(self, plan: Plan, cells: Sequence[Cell], machine: Machine, scratch: Path, tell: Tell) -> None:
        """Return when every cell has finished or failed.

        Raises:
            UsageError: Ray is not installed, or no cluster answers at RAY_ADDRESS.
        """
        ray = _import_ray()
        started_here = not ray.is_initialized()
        if started_here:
            self._start(ray)
        try:
            _run_tasks(ray, plan, cells, machine, tell)
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


def _run_tasks(ray: Any, plan: Plan, cells: Sequence[Cell], machine: Machine, tell: Tell) -> None:
    gpu = (machine.device or "").startswith("cuda") or (
        machine.device is None and ray.cluster_resources().get("GPU")
    )
    threads = machine.threads or 1
    machine = replace(
        machine, device="cuda:0" if gpu else "cpu", threads=threads
    )  # Ray shows a task its own GPU only
    task = ray.remote(num_cpus=threads, num_gpus=1 if gpu else 0, max_retries=RETRIES)(_run_remote)
    shared = ray.put(plan)
    pending = {task.remote(shared, machine, cell): cell for cell in cells}
    loaded: set[int] = set()
    while pending:
        (done, *_), _rest = ray.wait(list(pending), num_returns=1)
        cell = pending.pop(done)
        try:
            facts, event = ray.get(done)
        except ray.exceptions.RayError as error:
            tell(Event("failed", cell, error=describe(error)))
            continue
        if cell.model not in loaded:
            loaded.add(cell.model)
            tell(facts)
        tell(event)


_session: tuple[str, Session] | None = None


def _run_remote(plan: Plan, machine: Machine, cell: Cell) -> tuple[Event, Event]:
    """Run one cell in a Ray worker, which keeps its model and requests for the next cell of the same model."""
    global _session
    key = f"{plan.models[cell.model]} {plan.settings} {machine}"
    if _session is None or _session[0] != key:
        from junkdna_harness.sweep.session import Session

        _session = None  # the old model's memory, before the new one needs it
        _session = (key, Session(plan, cell.model, machine))
    session = _session[1]
    event = run_cell(session, cell)
    session.check_restored()
    return ready(session, cell.model), event
