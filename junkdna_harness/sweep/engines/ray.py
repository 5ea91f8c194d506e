"""Cells as Ray tasks: on the cluster at RAY_ADDRESS, or on a local one started for the sweep (extra `ray`)."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.engines import Failed, Finished, Loaded, Noted, Tell, Work, describe
from junkdna_harness.sweep.engines.local import open_session
from junkdna_harness.sweep.engines.pool import run_cell
from junkdna_harness.sweep.machine import available_cores
from junkdna_harness.sweep.plan import PlannedRun

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Session

RETRIES = 3  # for a worker, node or result that is lost; a cell that fails by itself is not repeated
MOST_PENDING = 256  # tasks that Ray is given at a time
POLL = 5.0  # seconds in which nothing ends, after which we look whether the cluster is still there
HEAD_PATIENCE = 20.0  # seconds for a head that does not answer; Ray gives up after 60, and ends this process


@dataclass(frozen=True)
class RayEngine:
    """`workers` tasks at a time on a local cluster (None: one per core); a cluster of one's own decides by itself."""

    workers: int | None = None

    @property
    def elsewhere(self) -> bool:
        """True where the nodes of a cluster load the models, which may not be there for the driver: a worker refuses what is missing."""
        return bool(os.environ.get("RAY_ADDRESS"))

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
        gone = False
        try:
            tasks = _Tasks(ray, work, tell)
            try:
                tasks.run()
            finally:
                gone = tasks.head.gone
        finally:
            if started_here and not gone:  # it would wait for a head that is gone
                ray.shutdown()

    def _start(self, ray: Any) -> None:
        address = os.environ.get("RAY_ADDRESS")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if not address:
            cores = min(self.workers or available_cores(), available_cores())
            options |= {"num_cpus": cores, "include_dashboard": False}
        try:
            ray.init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:  # the last: of another version
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


@dataclass
class _Tasks:
    """The cells of a sweep as Ray tasks. Ray itself retries none: where memory runs out it would do so for ever."""

    ray: Any
    work: Work
    tell: Tell

    def __post_init__(self) -> None:
        machine = self.work.machine
        resources = self.ray.cluster_resources()
        gpu = (machine.device or "").startswith("cuda") or (machine.device is None and resources.get("GPU"))
        self.needs = {"CPU": machine.threads or 1, **({"GPU": 1} if gpu else {})}
        # Ray shows a task its own GPU only.
        machine = replace(machine, device="cuda:0" if gpu else "cpu", threads=self.needs["CPU"])
        self.task = self.ray.remote(
            num_cpus=self.needs["CPU"], num_gpus=self.needs.get("GPU", 0), max_retries=0
        )(_run_remote)
        self.shared, self.token = (
            self.ray.put(replace(self.work, machine=machine, more=None)),
            uuid.uuid4().hex,
        )
        self.waiting = deque(self.work.cells)
        self.pending: dict[Any, PlannedRun] = {}
        self.lost: dict[str, int] = {}  # run id -> how often its worker or its result was lost
        self.head = _Head(self.ray)
        self.told = False

    def run(self) -> None:
        """Return when every cell has finished or failed."""
        try:
            while self.waiting or self.pending:
                self._feed()
                done, _rest = self.ray.wait(list(self.pending), num_returns=1, timeout=POLL)
                if not done:
                    self.head.check()
                    self._tell_what_is_missing()
                for reference in done:
                    cell = self.pending.pop(reference)
                    self._end(reference, cell)
                    self._ask_for_more(cell.model)
        finally:
            for reference in () if self.head.gone else self.pending:
                self.ray.cancel(reference, force=True)

    def _feed(self) -> None:
        """Keep some tasks more at Ray than it has room for; to wait for one of very many takes long."""
        while self.waiting and len(self.pending) < MOST_PENDING:
            cell = self.waiting.popleft()
            self.pending[self.task.remote(self.shared, self.token, cell)] = cell

    def _end(self, reference: Any, cell: PlannedRun) -> None:
        try:
            loaded, event = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # raised by what we run there
            if isinstance(cause := getattr(error, "cause", None), UsageError):
                raise UsageError(str(cause)) from error  # of the session, not of one cell
            self.tell(Failed(cell, describe(cause or error)))
        except self.ray.exceptions.LocalRayletDiedError as error:
            raise UsageError(
                "Ray has ended on the machine that this sweep was started on. What was finished is in the folder: start the same command "
                "again when it is there, or with --engine local."
            ) from error
        except self.ray.exceptions.RayError as error:
            self._again(cell, error)
        else:
            self.tell(loaded)
            self.tell(event)

    def _again(self, cell: PlannedRun, error: Exception) -> None:
        """Once more for a cell whose worker, node or result was lost, up to `RETRIES` times."""
        self.head.check()
        run = self.work.plan.run_id(cell)
        self.lost[run] = self.lost.get(run, 0) + 1
        if self.lost[run] <= RETRIES:
            self.waiting.append(cell)
        else:
            self.tell(
                Failed(cell, f"its worker or its result was lost {self.lost[run]} times: {describe(error)}")
            )

    def _ask_for_more(self, model: int) -> None:
        left = (*self.pending.values(), *self.waiting)
        if self.work.more and all(cell.model != model for cell in left):
            self.waiting.extend(self.work.more(model))

    def _tell_what_is_missing(self) -> None:
        """A sentence where no node can take a cell: another may join, so that is no end."""
        if self.told or any(self._has_room(node) for node in self.ray.nodes()):
            return
        self.told = True
        wanted = " and ".join(f"{number} {name}" for name, number in self.needs.items())
        self.tell(Noted(f"no node of the Ray cluster has {wanted}: cells wait until one joins"))

    def _has_room(self, node: Mapping[str, Any]) -> bool:
        there = node["Resources"]
        return node["Alive"] and all(there.get(name, 0) >= number for name, number in self.needs.items())


class _Head:
    """The head of the cluster, without which Ray ends this process after a minute and says nothing that helps."""

    def __init__(self, ray: Any) -> None:
        self.gone = False
        self.address = str(getattr(ray.get_runtime_context(), "gcs_address", ""))  # a ray:// client has none

    def check(self) -> None:
        """Wait for a head that does not answer, for it may be started again.

        Raises:
            UsageError: it does not come back.
        """
        deadline = time.monotonic() + HEAD_PATIENCE
        while not self._answers():
            if time.monotonic() > deadline:
                self.gone = True
                raise UsageError(
                    f"the head of the Ray cluster at {self.address!r} does not answer any more. What was finished is in the folder: "
                    "start the same command again when the cluster is there, or with --engine local."
                )
            time.sleep(1)

    def _answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except ValueError:  # no address that we know how to ask
            return True
        except OSError:
            return False
        return True


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
