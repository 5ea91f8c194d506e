"""What this machine has left of memory and disk, and whether something fits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from difficulty.errors import UsageError
from junkdna_harness.presentation.amounts import byte_size

VERY_MUCH = 1 << 62
_CGROUP = Path("/sys/fs/cgroup")  # of a container: what it may use, and uses


def free_memory() -> int:
    """Bytes of memory that are free on this machine, or left to this container; very many where the system does not say."""
    try:
        return min(_of_machine(), _of_container())
    except (OSError, ValueError, AttributeError):
        return VERY_MUCH


def _of_machine() -> int:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_container() -> int:
    try:
        most = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        kept = (_CGROUP / "memory.stat").read_text().split("\ninactive_file ")
        return (
            VERY_MUCH if most == "max" else int(most) - used + int(kept[-1].split()[0])
        )  # that cache can be dropped
    except (OSError, ValueError, IndexError):
        return VERY_MUCH


def disk_of(path: Path) -> Path:
    """The folder whose disk `path` will be on: the nearest one that is there."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.is_dir())


def check_room(memory: int | None, disk: int = 0, output: Path | None = None) -> Iterator[str]:
    """What is needed and what is left, in words: of `memory` (None: of an accelerator, which is not looked at) and of the disk of `output`.

    Raises:
        UsageError: it is more than what is left.
    """
    if memory is not None:
        left = free_memory()
        if memory > left:
            raise UsageError(
                f"this would take about {byte_size(memory)} of memory, and {byte_size(left)} are free. Use a machine with more, or a smaller model."
            )
        yield f"memory: {byte_size(memory)} of {byte_size(left)} that are free"
    if output is not None:
        yield f"disk: {byte_size(disk)} of {byte_size(check_disk(output, disk))} that are left"


def check_disk(output: Path, need: int) -> int:
    """The bytes that are left on the disk of `output`.

    Raises:
        UsageError: they are fewer than `need`.
    """
    left = shutil.disk_usage(disk_of(output)).free
    if need > left:
        raise UsageError(
            f"{str(output)!r} would take {byte_size(need)}, and there are {byte_size(left)} left on its disk. Make room, or choose another place."
        )
    return left
