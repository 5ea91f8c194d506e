"""Planned runs on this machine: in this process, or in several worker processes, one per device or one per few cores."""

from __future__ import annotations

import functools
import gc
import multiprocessing
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from junkdna_harness.device import default_device
from junkdna_harness.sweep.engines import Loaded, Progress, Started, Tell, Work
from junkdna_harness.sweep.engines.pool import SMALL_MODEL_BYTES, can_fork, run_cell, run_pool
from junkdna_harness.sweep.machine import (
    Machine,
    available_cores,
    keep_freed_memory,
    threads_given_back,
    threads_of_each,
)
from junkdna_harness.sweep.plan import PlannedRun

if TYPE_CHECKING:
    from junkdna_harness.sweep.session import Session
    from junkdna_harness.sweep.states import OpenState


@dataclass(frozen=True)
class LocalEngine:
    """`workers` processes (None: as many as help), which take the `devices` in turn.

    On a CPU workers are forked and share the model. On GPUs each has its own copy, and there are as many as `devices` where
    nobody says; more than one on a GPU help where the model is too small to keep it busy. `open_state` says how a loaded model becomes a run; None is by compressing it.
    """

    workers: int | None = None
    devices: tuple[str, ...] = ()
    open_state: OpenState | None = None

    def run(self, work: Work, tell: Tell) -> None:
        """Return when every cell has finished or failed."""
        for model, group in work.by_model().items():
            if (devices := self._for_each_worker(work.machine)) is not None:
                self._on_devices(work, model, group, tell, devices)
            else:
                with threads_given_back():
                    self._on_one(work, model, group, tell)

    def _for_each_worker(self, machine: Machine) -> list[str] | None:
        """The device of every worker that loads the model for itself; None where one process loads it."""
        given = list(self.devices or [machine.device or default_device()])
        count = self.workers or len(given)
        if count == 1 or (len(given) == 1 and not given[0].startswith("cuda")):
            return None
        return [given[i % len(given)] for i in range(count)]

    def _on_one(self, work: Work, model: int, cells: list[PlannedRun], tell: Tell) -> None:
        machine = replace(work.machine, device=self.devices[0] if self.devices else work.machine.device)
        # One thread until it is known how many workers share the cores: a pool of threads does not survive a fork.
        cores = available_cores()
        if not (machine.device or "cpu").startswith("cuda"):
            keep_freed_memory()
        gc.disable()  # all that is built here stays
        try:
            session = open_session(work, model, self.open_state, replace(machine, threads=1))
        finally:
            gc.enable()
        gc.freeze()  # nor need the collector walk it later, or copy its pages in forked workers
        tell(Loaded.of(session))
        more = functools.partial(work.more, model) if work.more else None
        workers = self._count(session, None if more else len(cells), cores)
        threads = machine.threads or threads_of_each(workers)
        if workers == 1:
            import torch

            torch.set_num_threads(threads)
            waiting = deque(cells)
            while waiting:
                cell = waiting.popleft()
                tell(Started(cell))
                tell(run_cell(session, cell, lambda count: tell(Progress(count))))
                if more and not waiting:
                    waiting.extend(more())
            session.check_restored()
            return
        context = multiprocessing.get_context("fork")
        machines = [replace(machine, threads=threads)] * workers
        opener = functools.partial(open_session, replace(work, more=None), model, self.open_state)
        run_pool(context, cells, machines, opener, tell, session, more)

    def _count(self, session: Session, cells: int | None, cores: int) -> int:
        """Worker processes for this model: forked ones share its memory, so only on a CPU and where fork is safe.

        `cells` is how many runs there are to do; None where that is not known yet.
        """
        if session.lm.device.type != "cpu" or not can_fork():
            return 1
        size = sum(p.numel() * p.element_size() for p in session.lm.model.parameters())
        if self.workers is None and size > SMALL_MODEL_BYTES:
            return 1
        workers = self.workers or cores
        return max(1, workers if cells is None else min(workers, cells))

    def _on_devices(
        self, work: Work, model: int, cells: list[PlannedRun], tell: Tell, devices: list[str]
    ) -> None:
        threads = work.machine.threads or threads_of_each(len(devices))
        machines = [replace(work.machine, device=device, threads=threads) for device in devices]
        more = functools.partial(work.more, model) if work.more else None
        opener = functools.partial(open_session, replace(work, more=None), model, self.open_state)
        needed = machines if more else machines[: len(cells)]
        run_pool(multiprocessing.get_context("spawn"), cells, needed, opener, tell, more=more)


def open_session(work: Work, model: int, open_state: OpenState | None, machine: Machine) -> Session:
    """A session for one model of the work, on `machine`.

    Raises:
        UsageError: the model cannot be loaded, or is not that of the runs that are known.
    """
    from junkdna_harness.sweep import states
    from junkdna_harness.sweep.session import Session

    opener = open_state or states.open_state
    return Session(work.plan, model, machine, work.folder, work.known.get(model), opener)
