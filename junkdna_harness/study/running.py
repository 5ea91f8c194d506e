"""Where and how a study is run: what a plan may say of it under `run`. It changes no score, so it makes no other study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.compress.notation import read_count
from junkdna_harness.sweep.choose import engine_and_machine
from junkdna_harness.sweep.engines.ray import RayEngine
from junkdna_harness.sweep.machine import Machine

GPUS, TRAINING_GPUS, DEVICE_MAP = "gpus", "training_gpus", "device_map"
OPTIONS = ("engine", "workers", "device", "batch_size", "max_batch_size", DEVICE_MAP, GPUS, TRAINING_GPUS)


@dataclass(frozen=True)
class Running:
    """The engine, and the machine that it makes of each worker."""

    engine: Any
    machine: Machine


def check_run(given: Mapping[str, Any]) -> None:
    """Refuse what a plan cannot say under `run`.

    Raises:
        UsageError: an unknown option, or a value that cannot be used.
    """
    for name, value in given.items():
        if name not in OPTIONS:
            raise UsageError(
                f"run has no option {name!r}.{did_you_mean(name, OPTIONS)} Options: {', '.join(OPTIONS)}."
            )
        if name in (GPUS, TRAINING_GPUS):
            read_count(name, value)
    running(given)


def running(of_plan: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Running:
    """What the plan says, where the options that are `given` (None: not given) say nothing else.

    Raises:
        UsageError: an unknown engine or device, or no number of workers.
    """
    options = {**of_plan, **{name: value for name, value in (given or {}).items() if value is not None}}
    engine, machine = engine_and_machine(options)
    gpus = options.get(GPUS)
    machine = replace(
        machine, device_map=options.get(DEVICE_MAP), gpus=None if gpus is None else read_count(GPUS, gpus)
    )
    several = machine.gpus is not None and machine.gpus > 1
    if several and not isinstance(engine, RayEngine):
        raise UsageError(
            f"gpus {machine.gpus} are those of one Ray worker, and the engine is local. Give engine: ray, or leave gpus out: a local "
            "device_map takes all GPUs that there are."
        )
    if several and machine.device_map is None:
        raise UsageError(
            f"gpus {machine.gpus} per worker need device_map: auto, which lays the model over them."
        )
    return Running(engine, machine)


def gpus_of_training(of_plan: Mapping[str, Any]) -> int | None:
    """GPUs that the plan gives to each training; by default as many as to each worker of the sweep."""
    given = of_plan.get(TRAINING_GPUS, of_plan.get(GPUS))
    return None if given is None else int(given)
