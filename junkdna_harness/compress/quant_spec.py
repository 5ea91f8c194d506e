"""How to quantize: `QuantSpec`, read from strings and checked, one sentence a mistake. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.running import DYNAMIC, Running
from junkdna_harness.compress.asking import DEFAULT_NSAMPLES, Help, bits_of, names, text, with_none
from junkdna_harness.compress.beside import (
    DEFAULT_KV_BITS,
    DEFAULT_KV_TOKENS,
    calibrates_activations,
    check_running,
    fill_scheme,
    read_activation_scale,
    read_activations,
    read_kv_bits,
    read_scheme,
    refuse_contradictions,
    running_of,
)
from junkdna_harness.compress.formats import BUILT_IN, get_format
from junkdna_harness.compress.notation import (
    KV,
    NONE,
    read_bits,
    read_bool,
    read_count,
    read_group_size,
    read_seed,
)
from junkdna_harness.compress.schema import argument, argument_names, read_arguments

LOADED = {
    "bnb-int8": 8,
    "bnb-nf4": 4,
    "torchao-int8": 8,
}  # done by transformers while it loads, and their bits
NOT_SIMULATED = (*LOADED, KV, NONE)


@dataclass(frozen=True)
class QuantSpec:
    """How to quantize: round to nearest with 4 bits where nothing is said.

    `group_size` None is the format's own (`formats.Format`); -1 is one scale per row.

    Raises:
        UsageError: a value that cannot be used.

    Examples:
        >>> QuantSpec.from_strings({"method": "gptq", "bits": 4}).bits
        4
    """

    method: str = argument(
        "rtn",
        text,
        f"{Help.QUANTIZERS}; kv (the cache alone) or none (weights as they are); while a model is loaded also bnb-int8, bnb-nf4, torchao-int8.",
    )
    bits: int | None = argument(None, read_bits, f"{Help.WIDTHS}.", shown=f"`{get_format('rtn').widths[0]}`")
    group_size: int | None = argument(None, read_group_size, Help.GROUP)
    symmetric: bool = argument(False, read_bool, "No zero points.")
    act_order: bool = argument(False, read_bool, f"{Help.ACT_ORDER[0].upper()}{Help.ACT_ORDER[1:]}")
    targets: tuple[str, ...] = argument((), names, Help.TARGETS)
    exclude: tuple[str, ...] = argument((), names, Help.EXCLUDE)
    seed: int = argument(0, read_seed, "Of the calibration draw.", names=("mask_seed", "seed"))
    calibration: str | None = argument(None, text, Help.CALIBRATION)
    nsamples: int = argument(DEFAULT_NSAMPLES, read_count, Help.NSAMPLES)
    seqlen: int | None = argument(None, read_count, Help.SEQLEN)
    activations: str | None = argument(None, read_activations, Help.ACTIVATIONS)
    activation_scale: str = argument(DYNAMIC, read_activation_scale, Help.ACTIVATION_SCALE)
    kv_bits: int | None = argument(None, read_kv_bits, Help.KV_BITS)
    kv_group_size: int | None = argument(None, read_count, Help.KV_GROUP)
    kv_tokens: int | None = argument(None, read_count, Help.KV_TOKENS, shown=f"`{DEFAULT_KV_TOKENS}`")
    scheme: str | None = argument(None, read_scheme, Help.SCHEME)

    def __post_init__(self) -> None:
        fill_scheme(self)
        if self.method == KV:
            self._fill_kv()
        check_running(self)
        if self.method not in NOT_SIMULATED:
            form = get_format(self.method, also=NOT_SIMULATED)
            object.__setattr__(self, "bits", bits_of(form, self))
            return
        if self.method in LOADED and self.bits == LOADED[self.method]:
            object.__setattr__(self, "bits", None)
        for name in self._meaningless:
            if getattr(self, name):
                as_it_is = (
                    "takes the checkpoint as it is"
                    if self.method == NONE
                    else "leaves the weights as they are"
                )
                what = "has its own format" if self.method in LOADED else as_it_is
                raise UsageError(f"method={self.method} {what}, so {name}= has no meaning. Leave it out.")

    def _fill_kv(self) -> None:
        """With method kv, `bits` is the width of the cache."""
        if None not in (self.bits, self.kv_bits) and self.bits != self.kv_bits:
            raise UsageError(
                f"method=kv takes its bits={self.bits} for the cache, and kv_bits={self.kv_bits} was given too. Give one of them."
            )
        if self.kv_bits is None:
            object.__setattr__(self, "kv_bits", read_kv_bits("bits", self.bits or DEFAULT_KV_BITS))
        object.__setattr__(self, "bits", None)

    @property
    def _meaningless(self) -> tuple[str, ...]:
        """Arguments that say nothing where no weights are rounded here."""
        places = () if self.activations and self.method not in LOADED else ("targets", "exclude")
        text = () if self.calibrated else ("calibration",)
        own = ("activations",) if self.method in LOADED else ()
        return ("bits", "group_size", "symmetric", "act_order", *places, *text, *own)

    @property
    def rounds_weights(self) -> bool:
        """True where weights are rounded here, on a loaded model."""
        return self.method not in NOT_SIMULATED

    @property
    def running(self) -> Running:
        """What is rounded while the model runs."""
        return running_of(self)

    @property
    def calibrated(self) -> bool:
        """True where a sample of calibration text is looked at."""
        if calibrates_activations(self):
            return True
        return self.method not in NOT_SIMULATED and get_format(self.method).calibrated

    @property
    def drawn(self) -> bool:
        """True where another seed gives another result."""
        return self.calibrated

    @classmethod
    def from_strings(cls, given: Mapping[str, Any]) -> QuantSpec:
        """The spec from values as `--model_args` brings them.

        Raises:
            UsageError: an unknown name or a value that cannot be used.
        """
        values = read_arguments(cls, with_none(given))
        refuse_contradictions(values)
        return cls(**values)


QUANT_ARGUMENTS = argument_names(QuantSpec)


def check_simulated(method: str, running: Running | None = None) -> None:
    """Refuse a method that is not done on a loaded model; with `running`, weights may stay as they are.

    Raises:
        UsageError: says where that method works.
    """
    if method in NOT_SIMULATED and method != KV and not (method == NONE and running):
        raise UsageError(
            f"method={method} works while a model is loaded, and is not written as a checkpoint here. Evaluate it with "
            f"lm_eval --model junkdna-quantized --model_args method={method}, or choose one of {', '.join(BUILT_IN)}."
        )
