"""The engine and the machine that a user's options name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.compress.notation import read_count
from junkdna_harness.sweep.engines import Engine
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.engines.ray import RayEngine
from junkdna_harness.sweep.machine import Machine, parse_devices

MACHINE_OPTIONS = ("batch_size", "max_batch_size", "device", "engine", "workers", "prefix_cache")


def engine_and_machine(options: Mapping[str, Any]) -> tuple[Engine, Machine]:
    """The engine and the machine that options name (`MACHINE_OPTIONS`; others are left alone).

    Raises:
        UsageError: an unknown engine or device, or no number of workers.
    """
    devices = parse_devices(options.get("device"))
    machine = Machine(
        device=devices[0] if devices else None,
        batch_size=options.get("batch_size"),
        max_batch_size=options.get("max_batch_size"),
        prefix_cache=bool(options.get("prefix_cache", True)),
    )
    given = options.get("workers")
    workers = None if given is None else read_count("workers", given)
    name = str(options.get("engine", "local"))
    if name == "local":
        return LocalEngine(workers, devices), machine
    if name == "ray":
        return RayEngine(workers), machine
    raise UsageError(f"engine {name!r} is unknown. Choose local or ray.")
