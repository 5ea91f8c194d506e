"""In which numbers a model computes: what `dtype=` may be, and whether this CPU computes in bfloat16."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError, did_you_mean

AUTO_CPU = "auto-cpu"
DTYPE_ARGUMENTS = ("dtype", "softmax_dtype", "mixed_precision_dtype")
COMPUTED_DTYPES = ("float32", "bfloat16", "float16", "float64")
# Instructions that multiply numbers of bfloat16. Without one of them they are turned into float32 one by one, which is slower.
_NATIVE = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


@dataclass(frozen=True)
class Chosen:
    """What `auto-cpu` came to: the `dtype` of forward passes, and a sentence that says `why`."""

    dtype: str
    why: str


def choose(device: str) -> Chosen:
    """What `auto-cpu` comes to for a model on `device`: bfloat16 on a CPU that computes in it, else float32."""
    if device.partition(":")[0] != "cpu":
        why = (
            f"the model is on {device}, and {AUTO_CPU} is of CPUs; give dtype=bfloat16 to compute in it there"
        )
        return Chosen("float32", f"dtype={AUTO_CPU}: forward passes are in float32, because {why}.")
    if not native_bfloat16():
        why = "this CPU, or this build of torch, does not multiply in bfloat16 by itself, and imitating it is slower"
        return Chosen("float32", f"dtype={AUTO_CPU}: forward passes are in float32, because {why}.")
    return Chosen(
        "bfloat16",
        f"dtype={AUTO_CPU}: forward passes are in bfloat16, which this CPU computes in; weights are changed in float32.",
    )


def native_bfloat16() -> bool:
    """True where this CPU multiplies in bfloat16 by instructions of its own, and torch has the library that uses them."""
    import torch

    library: Any = torch.backends.mkldnn
    if not library.is_available():
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is not None:
        there = ask()
        return any(bool(there.get(name)) for name in _NATIVE)
    older = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch before 2.11, on x86
    return any(bool(getattr(torch.cpu, name, bool)()) for name in older)


def refuse_dtypes(arguments: Mapping[str, Any]) -> None:
    """Refuse numbers that no model computes in.

    Raises:
        UsageError: names the argument, and what there is.
    """
    import torch

    for name in DTYPE_ARGUMENTS:
        given = arguments.get(name)
        found = getattr(torch, given, None) if isinstance(given, str) else given
        if given is None or (name == "dtype" and given in ("auto", AUTO_CPU)):
            continue
        if not (isinstance(found, torch.dtype) and found.is_floating_point and found.itemsize > 1):
            known = (*COMPUTED_DTYPES, AUTO_CPU) if name == "dtype" else COMPUTED_DTYPES
            more = (
                f", auto for the checkpoint's own, or {AUTO_CPU} for bfloat16 where the CPU computes in it"
                if name == "dtype"
                else ""
            )
            raise UsageError(
                f"{name}={given!r} is none that a model computes in here. Give float32, bfloat16, float16 or float64{more}."
                f"{did_you_mean(str(given), known)}"
            )
