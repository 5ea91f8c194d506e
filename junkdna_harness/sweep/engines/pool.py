"""A pool of worker processes on this machine, each with a session, that take runs as they become free."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    session: Session | None = None,
) -> None:  # fmt: skip
    """Hand cells to worker processes, one for each of `machines`. A worker that dies fails its cell and is replaced.

    `context` is of multiprocessing. Forked workers share `session`; where it is None, each opens its own.

    Raises:
        UsageError: a worker cannot open its session.
        RuntimeError: a worker ended for another reason that is not that of one cell.
    """
    waiting = deque(cells)
    crew: dict[Connection, tuple[Any, Machine, PlannedRun | None]] = {}
    faults: list[_Fault] = []

    def hire(machine: Machine) -> None:
        ours, theirs = context.Pipe()
        arguments = (theirs, machine, open_session, session, os.getpid())
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        crew[ours] = (process, machine, None)

    def dismiss(connection: Connection) -> None:
        process, machine, cell = crew.pop(connection)
        process.join()
        if cell is not None:
            tell(Failed(cell, f"its process died (exit code {process.exitcode})"))
            if waiting:
                hire(machine)
        elif process.exitcode:
            faults.append(_Fault(f"a worker process ended with exit code {process.exitcode}"))

    for machine in machines:
        hire(machine)
    try:
        while crew:
            for connection in wait(list(crew)):
                assert isinstance(connection, Connection)
                try:
                    message = connection.recv()
                except (EOFError, OSError):
                    dismiss(connection)
                    continue
                process, machine, _ = crew[connection]
                if isinstance(message, _Fault):
                    faults.append(message)
                elif isinstance(message, _Free):
                    following = waiting.popleft() if waiting else None
                    crew[connection] = (process, machine, following)
                    connection.send(following)
                    if following is not None:
                        tell(Started(following))
                else:
                    if isinstance(message, (Finished, Failed)):
                        crew[connection] = (process, machine, None)
                    tell(message)
    finally:
        for process, _, _ in crew.values():
            process.terminate()
    if faults:
        text = "; ".join(dict.fromkeys(fault.error for fault in faults))
        raise UsageError(text) if all(fault.usage for fault in faults) else RuntimeError(text)


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
