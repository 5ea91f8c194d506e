"""A pool of worker processes on this machine, each with a session, that take runs as they become free."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.engines import Failed, Finished, Loaded, Progress, Started, Tell, describe
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import PlannedRun

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Session

# Small models gain nothing from several threads in one operation, and nearly all from several processes.
SMALL_MODEL_BYTES = 200_000_000
PROGRESS_SECONDS = 0.5

Open = Callable[[Machine], "Session"]


@dataclass(frozen=True)
class _Free:
    """A worker asks for a run."""


@dataclass(frozen=True)
class _Fault:
    """A worker ends because something is wrong with more than one run; `usage` where the user can mend it."""

    error: str
    usage: bool = False


def can_fork() -> bool:
    """True where a process with a loaded model may be forked: on Linux. Nothing may have used a pool of threads before."""
    return sys.platform == "linux"


def run_cell(
    session: Session, cell: PlannedRun, progress: Callable[[int], None] | None = None
) -> Finished | Failed:
    """What became of the cell."""
    try:
        return Finished(cell, session.run(cell, progress))
    except Exception as error:  # recorded; the other cells go on, whatever this one ran into
        return Failed(cell, describe(error))


def run_pool(
    context: Any, cells: Sequence[PlannedRun], machines: Sequence[Machine], open_session: Open, tell: Tell,
    session: Session | None = None, more: Callable[[], Sequence[PlannedRun]] | None = None,
) -> None:  # fmt: skip
    """Hand cells to worker processes, one for each of `machines`. A worker that dies fails its cell and is replaced.

    `context` is of multiprocessing. Forked workers share `session`; where it is None, each opens its own. `more` is asked for
    the next round when all cells have ended, while the workers wait with their sessions.

    Raises:
        UsageError: a worker cannot open its session.
        RuntimeError: a worker ended for another reason that is not that of one cell.
    """
    pool = _Pool(context, open_session, tell, session, more, deque(cells))
    for machine in machines:
        pool.hire(machine)
    try:
        while pool.crew:
            for connection in wait(list(pool.crew)):
                assert isinstance(connection, Connection)
                pool.listen(connection)
            pool.feed()
    finally:
        for worker in pool.crew.values():
            worker.process.terminate()
    if pool.faults:
        text = "; ".join(dict.fromkeys(fault.error for fault in pool.faults))
        raise UsageError(text) if all(fault.usage for fault in pool.faults) else RuntimeError(text)


@dataclass
class _Worker:
    """A process, what it runs on, the cell that it is at, and whether it waits for one."""

    process: Any
    machine: Machine
    cell: PlannedRun | None = None
    free: bool = False


@dataclass
class _Pool:
    """Workers by the connection to each, and the cells that none of them has taken yet."""

    context: Any
    open_session: Open
    tell: Tell
    session: Session | None
    more: Callable[[], Sequence[PlannedRun]] | None
    waiting: deque[PlannedRun]
    crew: dict[Connection, _Worker] = field(default_factory=dict)
    faults: list[_Fault] = field(default_factory=list)
    vacant: list[Machine] = field(default_factory=list)  # machines whose worker died

    def hire(self, machine: Machine) -> None:
        """Start a worker on a machine."""
        ours, theirs = self.context.Pipe()
        arguments = (theirs, machine, self.open_session, self.session, os.getpid())
        process = self.context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self.crew[ours] = _Worker(process, machine)

    def listen(self, connection: Connection) -> None:
        """Take one message of a worker, or note its end."""
        try:
            message = connection.recv()
        except (EOFError, OSError):
            self._dismiss(connection)
            return
        worker = self.crew[connection]
        if isinstance(message, _Fault):
            self.faults.append(message)
        elif isinstance(message, _Free):
            worker.free = True
        else:
            if isinstance(message, (Finished, Failed)):
                worker.cell = None
            self.tell(message)

    def feed(self) -> None:
        """Give each free worker a cell. Where none is left, the next round begins; where there is none, workers may end."""
        busy = any(worker.cell is not None for worker in self.crew.values())
        if self.more and not self.waiting and not busy and not self.faults:
            self.waiting.extend(self.more())
            if not self.waiting:
                self.more = None
        while self.waiting and self.vacant:
            self.hire(self.vacant.pop())
        for connection, worker in self.crew.items():
            if not worker.free or (self.more and not self.waiting and not self.faults):
                continue
            worker.cell, worker.free = (self.waiting.popleft() if self.waiting else None), False
            connection.send(worker.cell)
            if worker.cell is not None:
                self.tell(Started(worker.cell))

    def _dismiss(self, connection: Connection) -> None:
        worker = self.crew.pop(connection)
        worker.process.join()
        if worker.cell is not None:
            self.tell(Failed(worker.cell, f"its process died (exit code {worker.process.exitcode})"))
            self.vacant.append(worker.machine)
        elif worker.process.exitcode:
            self.faults.append(_Fault(f"a worker process ended with exit code {worker.process.exitcode}"))


def _work(
    connection: Connection, machine: Machine, open_session: Open, session: Session | None, parent: int
) -> None:
    """A worker's life: take cells until None comes."""
    end_with(parent)
    import torch

    if session is None:
        try:
            session = open_session(machine)
        except Exception as error:
            usage = isinstance(error, UsageError)
            connection.send(_Fault(str(error) if usage else describe(error), usage))
            return
        connection.send(Loaded.of(session))
    elif machine.threads:
        torch.set_num_threads(machine.threads)
    told = [0, time.monotonic()]

    def progress(count: int) -> None:
        told[0] += count
        if time.monotonic() - told[1] > PROGRESS_SECONDS:
            connection.send(Progress(int(told[0])))
            told[:] = [0, time.monotonic()]

    while True:
        connection.send(_Free())
        cell = connection.recv()
        if cell is None:
            try:
                session.check_restored()
            except RuntimeError as error:
                connection.send(_Fault(str(error)))
            return
        connection.send(run_cell(session, cell, progress))


def end_with(parent: int) -> None:
    """End this process soon after its parent has ended, so that a killed sweep leaves nothing running."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
