"""Cells as Ray tasks: on the cluster at RAY_ADDRESS, or on a local one started for the sweep (extra `ray`)."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.engines import Failed, Finished, Loaded, Noted, Tell, Work, describe
from junkdna_harness.sweep.engines.local import open_session
from junkdna_harness.sweep.engines.pool import run_cell
from junkdna_harness.sweep.machine import Machine, available_cores
from junkdna_harness.sweep.plan import PlannedRun

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Session
    from junkdna_harness.sweep.states import OpenState

RETRIES = 3  # for a worker, node or result that is lost; a cell that fails by itself is not repeated
MOST_PENDING = 256  # tasks that Ray is given at a time
POLL = 5.0  # seconds in which nothing ends, after which we look whether the cluster is still there
HEAD_PATIENCE = 20.0  # seconds for a head that does not answer; Ray gives up after 60, and ends this process


@dataclass(frozen=True)
class RayEngine:
    """`workers` tasks at a time on a local cluster (None: one per core); a cluster of one's own decides by itself.

    `open_state` says how a loaded model becomes a run; None is by compressing it. `shared`: every node sees the sweep's folder.
    """

    workers: int | None = None
    open_state: OpenState | None = None
    shared: bool = False

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
        with self.connected() as ray:
            _Cells(ray, work, tell, self.open_state, self.shared).run()

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Ray, connected to its cluster within the block. Afterwards its workers have ended, and with them the models that they held.

        Raises:
            UsageError: Ray is not installed, or no cluster answers at RAY_ADDRESS.
        """
        ray = _import_ray()
        started_here = not ray.is_initialized()
        if started_here:
            self._start(ray)
        gone = False
        try:
            yield ray
        except HeadGone:
            gone = True
            raise
        finally:
            if started_here and not gone:  # it would wait for a head that is gone
                ray.shutdown()

    def _start(self, ray: Any) -> None:
        address = os.environ.get("RAY_ADDRESS")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if not address:
            cores = min(self.workers or available_cores(), available_cores())
            options |= {"num_cpus": cores, "include_dashboard": False}
        try:  # with no address Ray would join whatever cluster somebody has started on this machine
            ray.init(address=address or "local", **options)
        except (ConnectionError, ValueError, RuntimeError) as error:  # the last: of another version
            if not address:
                raise UsageError(
                    f"no local Ray could be started ({describe(error)}). Name a cluster by RAY_ADDRESS, or take --engine local."
                ) from error
            raise UsageError(
                f"no Ray cluster answers at RAY_ADDRESS={address!r} ({describe(error)}). Unset it to start a local one."
            ) from error


class HeadGone(UsageError):
    """The head of the cluster does not come back."""


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "engine ray needs the package ray. Run: pip install 'junkdna-harness[ray]'."
        ) from error
    return ray


@dataclass
class Tasks:
    """Things to do as Ray tasks, `function` of one of them each. Ray itself retries none: where memory runs out it would do so for ever.

    `needs`: CPU and GPU of each. `ended` hears of each that ended well, with its result, `failed` of each that did not, in a line; both may
    give more to do. `note` hears a sentence where no node can take one.
    """

    ray: Any
    function: Callable[[Any], Any]
    needs: Mapping[str, int]
    ended: Callable[[Any, Any], Iterable[Any]]
    failed: Callable[[Any, str], Iterable[Any]]
    note: Callable[[str], None]
    what: str = "cells"
    waiting: deque[Any] = field(default_factory=deque)
    pending: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Ray would end a worker with a GPU after one task, and the model that it keeps for the next one with it.
        self.task = self.ray.remote(
            num_cpus=self.needs["CPU"], num_gpus=self.needs.get("GPU", 0), max_retries=0, max_calls=0
        )(self.function)
        self.lost: dict[str, int] = {}  # how often a worker or a result was lost
        self.head = _Head(self.ray)
        self.told = False

    def run(self, todo: Iterable[Any]) -> None:
        """Return when all has been done or has failed.

        Raises:
            UsageError: raised in a worker, or the cluster is gone.
        """
        self.waiting.extend(todo)
        try:
            while self.waiting or self.pending:
                self._feed()
                done, _rest = self.ray.wait(list(self.pending), num_returns=1, timeout=POLL)
                if not done:
                    self.head.check()
                    self._tell_what_is_missing()
                for reference in done:
                    self.waiting.extend(self._end(reference, self.pending.pop(reference)))
        finally:
            for reference in () if self.head.gone else self.pending:
                self.ray.cancel(reference, force=True)

    def _feed(self) -> None:
        """Keep some tasks more at Ray than it has room for; to wait for one of very many takes long."""
        while self.waiting and len(self.pending) < MOST_PENDING:
            one = self.waiting.popleft()
            self.pending[self.task.remote(one)] = one

    def _end(self, reference: Any, one: Any) -> Iterable[Any]:
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # raised by what we run there
            if isinstance(cause := getattr(error, "cause", None), UsageError):
                raise UsageError(str(cause)) from error  # of the session, not of one cell
            return self.failed(one, describe(cause or error))
        except self.ray.exceptions.LocalRayletDiedError as error:
            raise UsageError(
                "Ray has ended on the machine that this was started on. What was finished is in the folder: start the same command "
                "again when it is there, or with --engine local."
            ) from error
        except self.ray.exceptions.RayError as error:
            return self._again(one, error)
        return self.ended(one, result)

    def _again(self, one: Any, error: Exception) -> Iterable[Any]:
        """Once more for one whose worker, node or result was lost, up to `RETRIES` times."""
        self.head.check()
        times = self.lost[repr(one)] = self.lost.get(repr(one), 0) + 1
        if times <= RETRIES:
            return [one]
        return self.failed(one, f"its worker or its result was lost {times} times: {describe(error)}")

    def _tell_what_is_missing(self) -> None:
        """A sentence where no node can take one: another may join, so that is no end."""
        if self.told or any(self._has_room(node) for node in self.ray.nodes()):
            return
        self.told = True
        wanted = " and ".join(f"{number} {name}" for name, number in self.needs.items())
        self.note(f"no node of the Ray cluster has {wanted}: {self.what} wait until one joins")

    def _has_room(self, node: Mapping[str, Any]) -> bool:
        there = node["Resources"]
        return node["Alive"] and all(there.get(name, 0) >= number for name, number in self.needs.items())


def needs_of(ray: Any, machine: Machine, gpus: int | None = None) -> dict[str, int]:
    """What a task is to have: `gpus` (by default one) where the machine is to be one with GPUs, or the cluster has some."""
    there = ray.cluster_resources().get("GPU")
    with_gpu = (machine.device or "").startswith("cuda") or (machine.device is None and there)
    return {"CPU": machine.threads or 1, **({"GPU": gpus or 1} if with_gpu else {})}


@dataclass
class _Cells:
    """The cells of a sweep as Ray tasks."""

    ray: Any
    work: Work
    tell: Tell
    open_state: OpenState | None
    shared: bool

    def run(self) -> None:
        """Return when every cell has finished or failed."""
        needs = needs_of(self.ray, self.work.machine, self.work.machine.gpus)
        # Ray shows a task its own GPUs only.
        machine = replace(
            self.work.machine, device="cuda:0" if "GPU" in needs else "cpu", threads=needs["CPU"]
        )
        # The sweep's folder is the driver's; a worker may be on another machine, so it maps no copy from there.
        folder = self.work.folder if self.shared else None
        told = replace(self.work, machine=machine, more=None, folder=folder and folder.absolute())
        shared, token, opener = self.ray.put(told), uuid.uuid4().hex, self.open_state
        ray = self.ray

        def function(cell: PlannedRun) -> tuple[Loaded, Finished | Failed]:
            return _run_remote(ray.get(shared), token, cell, opener)

        self.tasks = Tasks(
            ray, function, needs, self._ended, self._failed, lambda text: self.tell(Noted(text))
        )
        self.tasks.run(self.work.cells)

    def _ended(self, cell: PlannedRun, result: tuple[Loaded, Finished | Failed]) -> Iterable[PlannedRun]:
        for event in result:
            self.tell(event)
        return self._more(cell.model)

    def _failed(self, cell: PlannedRun, error: str) -> Iterable[PlannedRun]:
        self.tell(Failed(cell, error))
        return self._more(cell.model)

    def _more(self, model: int) -> Iterable[PlannedRun]:
        left = (*self.tasks.pending.values(), *self.tasks.waiting)
        return self.work.more(model) if self.work.more and all(cell.model != model for cell in left) else ()


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
                raise HeadGone(
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


def _run_remote(
    work: Work, token: str, cell: PlannedRun, open_state: OpenState | None
) -> tuple[Loaded, Finished | Failed]:
    """Run one cell in a Ray worker, which keeps its model and requests for the next cell of the same sweep and model."""
    global _session
    if _session is None or _session[0] != (token, cell.model):
        _session = None  # the old model's memory, before the new one needs it
        _session = ((token, cell.model), open_session(work, cell.model, open_state, work.machine))
    session = _session[1]
    event = run_cell(session, cell)
    session.check_restored()
    return Loaded.of(session), event
