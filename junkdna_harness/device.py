"""Where a model goes, and whether that is there."""

from __future__ import annotations

from typing import Any

from difficulty.errors import UsageError


def default_device() -> str:
    """The first GPU, or the CPU where there is none."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


# How accelerate lays a model over all GPUs that it sees; without one it would leave the weights on the disk.
OVER_ALL = ("auto", "balanced", "balanced_low_0", "sequential")


def usable_map(device_map: Any) -> Any:
    """How a model is laid over devices; None where it goes to the CPU as a whole, as there is no other device."""
    import torch

    return None if device_map in OVER_ALL and not torch.cuda.is_available() else device_map


def check_device(given: object) -> None:
    """Refuse a device that this machine lacks; `auto` and None leave the choice to others.

    `hf` would take another one without a word.

    Raises:
        UsageError: names the device and what there is.
    """
    import torch

    if given is None or str(given) == "auto":
        return
    try:
        device = torch.device(str(given))
    except RuntimeError as error:
        raise UsageError(f"device={str(given)!r} is no device. Write cpu, cuda or cuda:0.") from error
    here = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    count = here.get(device.type)
    if count is not None and (device.index or 0) >= count:
        there = f"torch sees {count} of its kind" if count else f"torch sees no {device.type} device"
        raise UsageError(
            f"device={str(given)!r} is not there: {there}. Leave it out to take what there is, or give cpu."
        )
