"""What is rounded while a model runs, beside its weights: the inputs of its layers, and the keys and values of its cache.

No weights can hold it, so it is part of a run's name: `rtn-aint8-kv4` are weights rounded to nearest, activations in int8 and a
cache of 4 bits. Where the weights are whole, `kv` at 4 bits is the cache alone, `aint8` at 8 bits the activations alone.

>>> str(Running("int8", kv_bits=4).named(Method("rtn")))
'rtn-aint8-kv4'
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.identity import Method

ACTIVATIONS: Mapping[str, int] = {"int8": 8, "fp8": 8}  # and the bits of each
DYNAMIC, STATIC = "dynamic", "static"
SCALES = (DYNAMIC, STATIC)
KV_BITS = (8, 4, 2)
# What a manifest or `junkdna` block says of it.
WEIGHTS_ALONE = "weights_alone"
KEYS = (
    "activations", "activation_scale", "activation_scales", "kv_bits", "kv_group_size", "kv_effective_bits", "kv_tokens",
    "kv_saved_bits", WEIGHTS_ALONE,
)  # fmt: skip
_A = rf"a(?:{'|'.join(ACTIVATIONS)})(?:{STATIC})?"
_BESIDE = re.compile(rf"-(?:{_A}(?:-kv\d+(?:g\d+)?)?|kv\d+(?:g\d+)?)$")
_ALONE = re.compile(rf"{_A}|(?:{_A}-)?kv(?:g\d+)?")


@dataclass(frozen=True)
class Running:
    """What is rounded while the model runs; false where nothing is.

    `activations` is int8 or fp8, with a scale for each token (`activation_scale` dynamic) or for each layer (static). `kv_bits` is the width
    of the cache, `kv_group_size` how many numbers of a head share a scale (None: all).
    """

    activations: str | None = None
    activation_scale: str = DYNAMIC
    kv_bits: int | None = None
    kv_group_size: int | None = None

    def __bool__(self) -> bool:
        return self.activations is not None or self.kv_bits is not None

    def named(self, method: Method) -> Method:
        """The name of `method` with all this added."""
        return replace(method, base=f"{method.base}-{self._words(True)}") if self else method

    @property
    def alone(self) -> tuple[str, int]:
        """Name and bits where the weights are whole: the width of the cache, or else that of the activations, is in `bits`."""
        return self._words(False), self.kv_bits or ACTIVATIONS[str(self.activations)]

    def _words(self, widths: bool) -> str:
        words = []
        if self.activations is not None:
            words.append(f"a{self.activations}" + ("static" if self.activation_scale == STATIC else ""))
        if self.kv_bits is not None:
            group = "" if self.kv_group_size is None else f"g{self.kv_group_size}"
            words.append(f"kv{self.kv_bits if widths else ''}{group}")
        return "-".join(words)

    def describe(self) -> str:
        """In words, e.g. 'activations in int8 and a cache of 4 bits'."""
        words = []
        if self.activations is not None:
            words.append(f"activations in {self.activations}")
        if self.kv_bits is not None:
            words.append(f"a cache of {self.kv_bits} bits")
        return " and ".join(words)

    @classmethod
    def of(cls, block: Mapping[str, Any], where: str = "the manifest") -> Running:
        """What a manifest or a `junkdna` block says.

        Raises:
            UsageError: what stands there is none of the values that there are.
        """
        read: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "activations": (block.get("activations"), tuple(ACTIVATIONS)),
            "activation_scale": (block.get("activation_scale") or DYNAMIC, SCALES),
            "kv_bits": (block.get("kv_bits"), KV_BITS),
        }
        for name, (value, allowed) in read.items():
            if value is not None and value not in allowed:
                raise UsageError(
                    f"{where} says {name}={value!r}, which is none of {', '.join(map(str, allowed))}. Restore it or remove it."
                )
        group = block.get("kv_group_size")
        if group is not None and (isinstance(group, bool) or not isinstance(group, int) or group < 1):
            raise UsageError(
                f"{where} says kv_group_size={group!r}, which is no count. Restore it or remove it."
            )
        bits = read["kv_bits"][0]
        return cls(
            block.get("activations"),
            str(read["activation_scale"][0]),
            bits,
            group if bits is not None else None,
        )


def leaves_weights(method: str) -> bool:
    """True for the name of what rounds no weights, as `Running.alone` gives it.

    >>> leaves_weights("aint8-kv"), leaves_weights("rtn-kv4")
    (True, False)
    """
    return _ALONE.fullmatch(method) is not None


def of_weights(method: str) -> tuple[str, bool]:
    """A method's name without what is rounded while the model runs, and whether calibration text gave the scales of that.

    >>> of_weights("wanda-owl-aint8static-kv4g32"), of_weights("kv"), of_weights("rtn")
    (('wanda-owl', True), ('', False), ('rtn', False))
    """
    if leaves_weights(method):
        return "", STATIC in method
    match = _BESIDE.search(method)
    return (method, False) if match is None else (method[: match.start()], STATIC in match[0])


def weights_alone(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a manifest says of the weights, which are all that an evaluator sees that rounds nothing while the model runs."""
    alone = manifest.get(WEIGHTS_ALONE)
    rest = {name: value for name, value in manifest.items() if name not in KEYS}
    if not isinstance(alone, Mapping):
        return rest
    return {**rest, **alone}
