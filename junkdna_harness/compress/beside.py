"""What may be asked for beside weights: activations, the cache, and schemes that name all at once. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.running import ACTIVATIONS, DYNAMIC, KV_BITS, SCALES, STATIC, Running
from junkdna_harness.compress.formats import FORMATS
from junkdna_harness.compress.notation import one_of, read_count

DEFAULT_KV_BITS = 4
DEFAULT_KV_TOKENS = 128  # few items of the four tiers of the graded suite are longer
RUNNING_ARGUMENTS = ("activations", "activation_scale", "kv_bits", "kv_group_size", "kv_tokens")

_INT8: Mapping[str, Any] = {"bits": 8, "group_size": -1, "symmetric": True}
_INT4: Mapping[str, Any] = {
    "bits": 4,
    "symmetric": True,
}  # and the default group, which is 128 as there where that fits
# The names of llm-compressor, and what they say there; those with KV are ours.
SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "W8A8": {**_INT8, "activations": "int8"},
    "W8A16": _INT8,
    "W4A16": _INT4,
    "W4A8": {**_INT4, "activations": "int8"},
    "W4A16_ASYM": {**_INT4, "symmetric": False},
    "W8A8KV8": {**_INT8, "activations": "int8", "kv_bits": 8},
    "FP8_DYNAMIC": {"method": "fp8", "activations": "fp8"},
    "NVFP4A16": {"method": "nvfp4"},
    "MXFP4A16": {"method": "mxfp4"},
    "W4A16KV4": {**_INT4, "kv_bits": 4},
    "W4A16KV8": {**_INT4, "kv_bits": 8},
}


def scheme_bits(scheme: str) -> int:
    """The width of its weights."""
    given = SCHEMES[scheme]
    return int(given["bits"] if "bits" in given else FORMATS[given["method"]].widths[0])


def read_activations(name: str, given: object) -> str:
    """int8 or fp8.

    Raises:
        UsageError: something else.
    """
    return one_of(name, given, tuple(ACTIVATIONS))


def read_activation_scale(name: str, given: object) -> str:
    """dynamic or static.

    Raises:
        UsageError: something else.
    """
    return one_of(name, given, SCALES)


def read_scheme(name: str, given: object) -> str:
    """The name of a scheme.

    Raises:
        UsageError: there is none of that name.
    """
    return one_of(name, str(given).upper(), tuple(SCHEMES))


def read_kv_bits(name: str, given: object) -> int:
    """8, 4 or 2.

    Raises:
        UsageError: something else.
    """
    if str(given) not in map(str, KV_BITS):
        raise UsageError(
            f"{name}={given} is no width of a cache here. Choose one of {', '.join(map(str, KV_BITS))}."
        )
    return int(str(given))


def fill_scheme(spec: Any, method: str = "method") -> None:
    """Put what the scheme of `spec` says into its fields; `method` is the field that names the quantizer.

    Raises:
        UsageError: a field says something else.
    """
    if spec.scheme is None:
        return
    object.__setattr__(spec, "scheme", read_scheme("scheme", spec.scheme))
    _refuse_other_kinds(spec.scheme, getattr(spec, method))
    defaults = {one.name: one.default for one in fields(spec)}
    for name, value in _fields_of(spec.scheme, method).items():
        if getattr(spec, name) == defaults[name]:
            object.__setattr__(spec, name, value)
        elif getattr(spec, name) != value:
            raise _contradiction(spec.scheme, name, getattr(spec, name), value)


def _refuse_other_kinds(scheme: str, method: str | None) -> None:
    """Refuse a quantizer that has no whole numbers with a scheme of them."""
    whole = [name for name, form in FORMATS.items() if form.integer]
    if "bits" in SCHEMES[scheme] and method is not None and ":" not in method and method not in whole:
        raise UsageError(
            f"scheme={scheme} rounds weights to whole numbers, which {method} does not. Choose one of {', '.join(whole)}, or leave the scheme out."
        )


def refuse_contradictions(values: Mapping[str, Any], method: str = "method") -> None:
    """Refuse arguments that a scheme sets otherwise, also where what was given is the default.

    Raises:
        UsageError: names both.
    """
    if (scheme := values.get("scheme")) is None:
        return
    for name, value in _fields_of(scheme, method).items():
        if values.get(name, value) != value:
            raise _contradiction(scheme, name, values[name], value)


def _fields_of(scheme: str, method: str) -> dict[str, Any]:
    return {method if name == "method" else name: value for name, value in SCHEMES[scheme].items()}


def _contradiction(scheme: str, name: str, given: object, value: object) -> UsageError:
    shown = str(given).lower() if isinstance(given, bool) else given
    means = str(value).lower() if isinstance(value, bool) else value
    return UsageError(
        f"scheme={scheme} means {name}={means}, and {name}={shown} was given. Leave one of the two out."
    )


def check_running(spec: Any) -> None:
    """Refuse what has no meaning without another argument.

    Raises:
        UsageError: says which.
    """
    if spec.kv_bits is not None:
        object.__setattr__(spec, "kv_bits", read_kv_bits("kv_bits", spec.kv_bits))
    if spec.activations is None and spec.activation_scale != DYNAMIC:
        raise UsageError(
            f"activation_scale={spec.activation_scale} says how activations are rounded. Give activations= too, or leave it out."
        )
    for name in ("kv_group_size", "kv_tokens"):
        if spec.kv_bits is None and getattr(spec, name) is not None:
            raise UsageError(
                f"{name}={getattr(spec, name)} is of a cache of few bits. Give kv_bits= too, or leave it out."
            )
        if (given := getattr(spec, name)) is not None and not isinstance(given, int):
            object.__setattr__(spec, name, read_count(name, given))
        if getattr(spec, name) is not None and getattr(spec, name) < 1:
            raise UsageError(f"{name}={getattr(spec, name)} is too few. Give at least 1.")
    for name, allowed in (
        ("activations", (None, *ACTIVATIONS)),
        ("activation_scale", SCALES),
        ("kv_bits", (None, *KV_BITS)),
    ):
        if getattr(spec, name) not in allowed:
            one_of(name, getattr(spec, name), tuple(str(one) for one in allowed if one is not None))


def running_of(spec: Any) -> Running:
    """What is rounded while the model runs."""
    return Running(spec.activations, spec.activation_scale, spec.kv_bits, spec.kv_group_size)


def calibrates_activations(spec: Any) -> bool:
    """True where calibration text gives the scales of the activations."""
    return spec.activations is not None and spec.activation_scale == STATIC
