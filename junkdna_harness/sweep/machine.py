"""Where and how a process runs its part of a sweep; nothing here may change a score."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError


@dataclass(frozen=True)
class Machine:
    """None leaves the choice to us: the first GPU or the CPU, a batch size that fits, as many threads as are useful.

    `device_map` lays one model over several devices (`auto`, or a place by the part's name); `gpus` are those of each Ray worker.
    """

    device: str | None = None
    batch_size: int | str | None = None
    max_batch_size: int | None = None
    prefix_cache: bool = True
    threads: int | None = None
    device_map: Any = None
    gpus: int | None = None


def parse_devices(text: str | None) -> tuple[str, ...]:
    """Devices from `cpu`, `cuda:0` or `cuda:0,1`.

    Raises:
        UsageError: empty, or one twice.
    """
    if text is None:
        return ()
    first, *others = [part.strip() for part in str(text).split(",")]
    family = first.partition(":")[0]
    devices = [first, *(f"{family}:{part}" if part.isdigit() else part for part in others)]
    if not all(devices) or len(set(devices)) < len(devices):
        raise UsageError(f"device {text!r} names a device twice or none. Write e.g. cpu, cuda:0 or cuda:0,1.")
    return tuple(devices)


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def threads_of_each(workers: int) -> int:
    """Threads of each of so many processes: its share of the cores, and no more than OMP_NUM_THREADS says, where it is set.

    Threads that wait for each other spin. Where others use the cores too, each small operation then takes a hundred times its time.
    """
    share = max(1, available_cores() // workers)
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return max(1, min(share, int(said))) if said.isdecimal() else share


@contextmanager
def threads_given_back() -> Iterator[None]:
    """Leaves torch as many threads as it had."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc.

    By default glibc gives large blocks back at once, and the kernel clears each anew: a quarter of the time that a
    small model's forward passes take on a CPU, whose activations are such blocks.
    """
    largest_from_heap, trim_above = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(largest_from_heap, 1 << 30)
        mallopt(trim_above, 1 << 30)
