"""Cells on this machine: in this process, or in several worker processes, one a device or one a few cores."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkdna_harness.sweep.engines import Event, Tell, by_model, describe, ready
from junkdna_harness.sweep.machine import Machine, available_cores, keep_freed_memory
from junkdna_harness.sweep.plan import Cell, Plan

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Session

# Small models gain nothing from several threads in one operation, and nearly all from several processes.
SMALL_MODEL_BYTES = 200_000_000
PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class LocalEngine:
    """`workers` processes (None: as many as help), or one a device where `devices` names several."""

    workers: int | None = None
    devices: tuple[str, ...] = ()

    def run(self, plan: Plan, cells: Sequence[Cell], machine: Machine, scratch: Path, tell: Tell) -> None:
        """Return when every cell has finished or failed."""
        for model, group in by_model(cells).items():
            if len(self.devices) > 1:
                self._on_devices(plan, model, group, machine, scratch, tell)
            else:
                self._on_one(plan, model, group, machine, scratch, tell)

    def _on_one(
        self, plan: Plan, model: int, cells: list[Cell], machine: Machine, scratch: Path, tell: Tell
    ) -> None:
        from junkdna_harness.sweep.session import Session

        machine = replace(machine, device=self.devices[0] if self.devices else machine.device)
        # One thread until it is known how many workers share the cores: a pool of threads does not survive a fork.
        cores = available_cores()
        if not (machine.device or "cpu").startswith("cuda"):
            keep_freed_memory()
        gc.disable()  # all that is built here stays
        try:
            session = Session(plan, model, replace(machine, threads=1), scratch)
        finally:
            gc.enable()
        gc.freeze()  # nor need the collector walk it later, or copy its pages in forked workers
        tell(ready(session, model))
        workers = self._count(session, cells, cores)
        threads = machine.threads or max(1, cores // workers)
        if workers == 1:
            import torch

            torch.set_num_threads(threads)
            for cell in cells:
                tell(Event("started", cell))
                tell(run_cell(session, cell, lambda count: tell(Event("progress", count=count))))
            session.check_restored()
            return
        context = multiprocessing.get_context("fork")
        machines = [replace(machine, threads=threads)] * workers
        _run_workers(context, plan, model, cells, machines, scratch, session, tell)

    def _count(self, session: Session, cells: list[Cell], cores: int) -> int:
        """Worker processes for this model: forked ones share its memory, so only on a CPU and where fork is safe."""
        if session.lm.device.type != "cpu" or not can_fork():
            return 1
        size = sum(p.numel() * p.element_size() for p in session.lm.model.parameters())
        if self.workers is None and size > SMALL_MODEL_BYTES:
            return 1
        return max(1, min(self.workers or cores, len(cells)))

    def _on_devices(
        self, plan: Plan, model: int, cells: list[Cell], machine: Machine, scratch: Path, tell: Tell
    ) -> None:
        threads = machine.threads or max(1, available_cores() // len(self.devices))
        machines = [replace(machine, device=device, threads=threads) for device in self.devices]
        context = multiprocessing.get_context("spawn")
        _run_workers(context, plan, model, cells, machines[: len(cells)], scratch, None, tell)


def can_fork() -> bool:
    """True where forking after loading a model is safe: on Linux, before any thread pool of OpenMP was started."""
    import sys

    return sys.platform == "linux"


def run_cell(session: Session, cell: Cell, progress: Callable[[int], None] | None = None) -> Event:
    """What became of the cell."""
    try:
        return Event("finished", cell, result=session.run(cell, progress))
    except Exception as error:  # recorded; the other cells go on, whatever this one ran into
        return Event("failed", cell, error=describe(error))


def _run_workers(
    context: Any,
    plan: Plan,
    model: int,
    cells: Sequence[Cell],
    machines: Sequence[Machine],
    scratch: Path,
    session: Session | None,
    tell: Tell,
) -> None:
    """Hand cells to worker processes as they become free. A worker that dies fails its cell and is replaced."""
    waiting = deque(cells)
    crew: dict[Connection, tuple[Any, Machine, Cell | None]] = {}
    is_ready = session is not None
    faults: list[str] = []

    def hire(machine: Machine) -> None:
        ours, theirs = context.Pipe()
        arguments = (theirs, plan, model, machine, scratch, session, os.getpid())
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        crew[ours] = (process, machine, None)

    for machine in machines:
        hire(machine)
    try:
        while crew:
            for connection in wait(list(crew)):
                assert isinstance(connection, Connection)
                process, machine, cell = crew[connection]
                try:
                    kind, payload = connection.recv()
                except (EOFError, OSError):
                    process.join()
                    del crew[connection]
                    if cell is not None:
                        tell(Event("failed", cell, error=f"its process died (exit code {process.exitcode})"))
                    elif process.exitcode:
                        faults.append(f"a worker process ended with exit code {process.exitcode}")
                    if cell is not None and waiting:
                        hire(machine)
                    continue
                if kind == "ready":
                    if not is_ready:
                        tell(payload)
                    is_ready = True
                elif kind == "fault":
                    faults.append(payload)
                elif kind == "event":
                    if payload.kind != "progress":
                        crew[connection] = (process, machine, None)
                    tell(payload)
                else:
                    following = waiting.popleft() if waiting else None
                    crew[connection] = (process, machine, following)
                    connection.send(following)
                    if following is not None:
                        tell(Event("started", following))
    finally:
        for process, _, _ in crew.values():
            process.terminate()
    if faults:
        raise RuntimeError("; ".join(dict.fromkeys(faults)))


def _work(
    connection: Connection,
    plan: Plan,
    model: int,
    machine: Machine,
    scratch: Path,
    session: Session | None,
    parent: int,
) -> None:
    """A worker's life: take cells until None comes."""
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    import torch

    if session is None:
        from junkdna_harness.sweep.session import Session

        session = Session(plan, model, machine, scratch)
        connection.send(("ready", ready(session, model)))
    elif machine.threads:
        torch.set_num_threads(machine.threads)
    told = [0, time.monotonic()]

    def progress(count: int) -> None:
        told[0] += count
        if time.monotonic() - told[1] > PROGRESS_SECONDS:
            connection.send(("event", Event("progress", count=int(told[0]))))
            told[:] = [0, time.monotonic()]

    while True:
        connection.send(("free", None))
        cell = connection.recv()
        if cell is None:
            try:
                session.check_restored()
            except RuntimeError as error:
                connection.send(("fault", str(error)))
            return
        connection.send(("event", run_cell(session, cell, progress)))


def _die_with(parent: int) -> None:
    """End this process soon after its parent has ended, so that a killed sweep leaves nothing running."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
