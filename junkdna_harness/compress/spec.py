"""What is asked for: `PruneSpec` and `QuantSpec`, read from strings and checked, one sentence a mistake.

Nothing here needs torch, so that a plan or a command line can be checked before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.running import ACTIVATIONS, DYNAMIC, KV_BITS, Running
from junkdna_harness.compress.allocation import needs_text
from junkdna_harness.compress.beside import (
    DEFAULT_KV_BITS,
    DEFAULT_KV_TOKENS,
    SCHEMES,
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
from junkdna_harness.compress.formats import BUILT_IN, Format, get_format
from junkdna_harness.compress.notation import (
    ALLOCATIONS,
    BITS,
    CRITERIA,
    KV,
    NM,
    NONE,
    SCOPES,
    STRUCTURED,
    UNIFORM,
    Pattern,
    Scope,
    method_name,
    parse_pattern,
    parse_sparsity,
    read_allocation,
    read_bits,
    read_bool,
    read_count,
    read_criterion,
    read_group_size,
    read_patterns,
    read_scope,
    read_seed,
)
from junkdna_harness.compress.registry import check_method, get_sparsifier
from junkdna_harness.compress.schema import argument, argument_names, read_arguments

__all__ = ["PRUNE_ARGUMENTS", "QUANT_ARGUMENTS", "PruneSpec", "QuantSpec", "read_bool", "read_patterns"]

DEFAULT_SPARSITY = 0.5
DEFAULT_NSAMPLES = 128  # as in the SparseGPT and Wanda papers
LOADED = {
    "bnb-int8": 8,
    "bnb-nf4": 4,
    "torchao-int8": 8,
}  # done by transformers while it loads, and their bits
NOT_SIMULATED = (*LOADED, KV, NONE)

_WIDTHS = f"{', '.join(map(str, BITS[:-1]))} or {BITS[-1]}; a format of one width brings its own"
_SCOPE = f"Where weights compete: {', '.join(SCOPES[:-1])} or {SCOPES[-1]}; default the method's own."
_QUANTIZERS = f"{', '.join(BUILT_IN)}, or module:name"
_ALLOCATION = f"Which share of each block: {UNIFORM}, {', '.join(ALLOCATIONS)}, or module:function."
_CRITERION = f"With method=experts: {', '.join(CRITERIA[:-1])} or {CRITERIA[-1]}; default {CRITERIA[0]}."
_TARGETS = "Module-name patterns, joined by '+', e.g. 'mlp.*'."
_EXCLUDE = "Module-name patterns to leave alone."
_CALIBRATION = "Text: FILE.txt, FILE.jsonl[:FIELD], task:NAME, hf:dataset[:config[:split[:column]]], or graded (training items of the suite)."
_NSAMPLES = "Calibration samples."
_SEQLEN = "Tokens per sample; default 2048 on an accelerator, 128 on a CPU."
_GROUP = "Weights that share a scale, -1 for a row; default the format's: of rtn, gptq and awq the largest of 128, 64, 32, 16 that fits."
_ACT_ORDER = "gptq: columns of the largest inputs first."
_ACTIVATIONS = f"Round the inputs of the targeted layers: {' or '.join(ACTIVATIONS)} (E4M3)."
_ACTIVATION_SCALE = "Of activations: dynamic, of each token, or static, of each layer, from calibration text."
_KV_BITS = f"Width of the keys and values in the cache: {', '.join(map(str, KV_BITS[:-1]))} or {KV_BITS[-1]}."
_KV_GROUP = "Numbers of a head that share a scale in the cache; default the whole head."
_SCHEME = f"Quantizer, activations and cache at once: {', '.join(SCHEMES)}."
_KV_TOKENS = "Length of the text whose cache effective_bits counts."


def _text(_: str, value: object) -> str:
    return str(value)


def _names(_: str, value: object) -> tuple[str, ...]:
    return read_patterns(value)


@dataclass(frozen=True)
class PruneSpec:
    """What to remove and how; `bits` asks to quantize what is left.

    `sparsity` (a fraction) or `pattern` ('2:4' keeps 2 of every 4), 0.5 where neither is given. `scope` None is the
    method's own: layer for magnitude, largest, random, ria and sparsegpt, row for wanda. `seqlen` None is the calibration's default.
    `mask` names a mask file, which replaces the method. Methods `layers` and `experts` remove whole blocks and experts, of which
    `sparsity` is the share. A method may be named with its allocation or criterion, as in tables: `wanda-owl`, `experts-random`.

    Raises:
        UsageError: a value that cannot be used.
    """

    method: str = argument(
        "magnitude",
        _text,
        "magnitude, largest, random, wanda, ria, sparsegpt, layers, experts, none (measure), or module:name.",
    )
    sparsity: float | None = argument(
        None,
        lambda _, value: parse_sparsity(value).fraction,
        "Fraction of weights (of blocks, of experts) to remove; default 0.5.",
        shown=f"`{DEFAULT_SPARSITY}`",
    )
    pattern: str | None = argument(
        None, lambda _, value: str(parse_pattern(value)), "N:M instead, N kept of M, e.g. 2:4."
    )
    scope: Scope | None = argument(None, read_scope, _SCOPE)  # noqa: RUF009  (a field like the others)
    allocation: str = argument(UNIFORM, read_allocation, _ALLOCATION)
    criterion: str | None = argument(None, read_criterion, _CRITERION)
    targets: tuple[str, ...] = argument((), _names, _TARGETS)
    exclude: tuple[str, ...] = argument((), _names, _EXCLUDE)
    seed: int = argument(0, read_seed, "Of a random mask or calibration draw.", names=("mask_seed", "seed"))
    calibration: str | None = argument(None, _text, _CALIBRATION)
    nsamples: int = argument(DEFAULT_NSAMPLES, read_count, _NSAMPLES)
    seqlen: int | None = argument(None, read_count, _SEQLEN)
    mask: str | None = argument(None, _text, "Apply this mask file instead of a method.")
    bits: int | None = argument(None, read_bits, f"Quantize what is left: {_WIDTHS}.")
    group_size: int | None = argument(None, read_group_size, f"With bits: {_GROUP[0].lower()}{_GROUP[1:]}")
    symmetric: bool = argument(False, read_bool, "With bits: no zero points.")
    act_order: bool = argument(False, read_bool, f"With bits: {_ACT_ORDER}")
    quantizer: str | None = argument(None, _text, f"With bits: {_QUANTIZERS}.", shown="`rtn`")
    activations: str | None = argument(None, read_activations, _ACTIVATIONS)
    activation_scale: str = argument(DYNAMIC, read_activation_scale, _ACTIVATION_SCALE)
    kv_bits: int | None = argument(None, read_kv_bits, _KV_BITS)
    kv_group_size: int | None = argument(None, read_count, _KV_GROUP)
    kv_tokens: int | None = argument(None, read_count, _KV_TOKENS, shown=f"`{DEFAULT_KV_TOKENS}`")
    scheme: str | None = argument(None, read_scheme, _SCHEME)

    def __post_init__(self) -> None:
        fill_scheme(self, "quantizer")
        self._split_name()
        if self.sparsity is not None and self.pattern is not None:
            raise UsageError(
                f"sparsity={self.sparsity} and pattern={self.pattern} were both given. Give one of them."
            )
        if self.method == NONE or self.mask is not None:
            self._refuse_amount()
        elif self.sparsity is None and self.pattern is None:
            object.__setattr__(self, "sparsity", DEFAULT_SPARSITY)
        if self.sparsity is not None:
            parse_sparsity(self.sparsity)
        if self.pattern is not None:
            object.__setattr__(self, "pattern", str(parse_pattern(self.pattern)))
        if self.structured:
            self._check_structured()
        elif self.method != NONE:
            self._check_scope()
        self._check_allocation()
        for name in ("nsamples", "seqlen"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value} is too few. Give at least 1.")
        if self.bits is not None or self.quantizer is not None:
            object.__setattr__(self, "quantizer", self.quantizer or "rtn")
            form = get_format(str(self.quantizer), argument="quantizer")
            object.__setattr__(self, "bits", _bits_of(form, self))
        elif self.group_size is not None or self.symmetric or self.act_order:
            raise UsageError(
                "group_size, symmetric and act_order say how to quantize. Give bits= too, or leave them out."
            )
        check_running(self)

    def _refuse_amount(self) -> None:
        given = [
            name for name in ("sparsity", "pattern", "scope", "criterion") if getattr(self, name) is not None
        ]
        given += [] if self.allocation == UNIFORM else ["allocation"]
        what = (
            "method=none removes nothing" if self.mask is None else "mask= brings its own method and sparsity"
        )
        if given:
            raise UsageError(f"{what}, so {given[0]}={getattr(self, given[0])} has no meaning. Leave it out.")

    def _split_name(self) -> None:
        """`wanda-owl` is method wanda with the allocation owl, `experts-random` method experts with the criterion random."""
        base, dash, last = self.method.rpartition("-")
        field, allowed = ("criterion", CRITERIA) if base == "experts" else ("allocation", ALLOCATIONS)
        if not dash or last not in allowed:
            return
        if getattr(self, field) not in (None, UNIFORM, last):
            raise UsageError(
                f"method={self.method!r} and {field}={getattr(self, field)} were both given. Give one of them."
            )
        object.__setattr__(self, "method", base)
        object.__setattr__(self, field, last)

    def _check_structured(self) -> None:
        """Refuse what has no meaning where whole parts go."""
        if self.method == "experts" and self.criterion is None:
            object.__setattr__(self, "criterion", CRITERIA[0])
        elif self.method != "experts" and self.criterion is not None:
            raise UsageError(f"criterion={self.criterion} is for method=experts. Leave it out.")
        for name in ("pattern", "scope", "targets", "exclude"):
            if given := getattr(self, name):
                shown = given if isinstance(given, str) else "+".join(given)
                raise UsageError(
                    f"method={self.method} removes whole {self.method}, so {name}={shown} has no meaning. Leave it out."
                )

    def _check_allocation(self) -> None:
        """Refuse an allocation where blocks cannot have shares of their own, and a criterion without experts."""
        if self.criterion is not None and not self.structured:
            raise UsageError(f"criterion={self.criterion} is for method=experts. Leave it out.")
        if self.allocation == UNIFORM:
            return
        read_allocation("allocation", self.allocation)
        given = f"allocation={self.allocation} gives each block a share of its own"
        if self.structured:
            raise UsageError(f"{given}, and method={self.method} removes whole {self.method}. Leave it out.")
        if self.pattern is not None:
            raise UsageError(
                f"{given}, and pattern={self.pattern} is the same everywhere. Give sparsity= instead."
            )
        if self.scope == "global":
            raise UsageError(
                f"{given}, and scope=global ranks all blocks at once. Choose scope=row or scope=layer."
            )

    def _check_scope(self) -> None:
        check_method(self.method)
        if self.scope == "global":
            method = get_sparsifier(self.method)
            if method.calibrated or method.updates:
                raise UsageError(
                    f"scope=global ranks all layers at once; {self.method} works layer by layer. "
                    f"Choose scope=row or scope=layer."
                )
        if self.scope is not None and self.pattern is not None:
            raise UsageError(
                f"pattern={self.pattern} has its own groups, so scope={self.scope} has no meaning. Leave it out."
            )

    @property
    def structured(self) -> bool:
        """True where whole blocks or experts are removed."""
        return self.mask is None and self.method in STRUCTURED

    def parts(self, number: int) -> int:
        """How many of `number` blocks or experts are removed, of a method that removes whole ones."""
        return parse_sparsity(self.sparsity or 0.0).removed(number)

    @property
    def name(self) -> str:
        """The method as tables have it, with its allocation or criterion."""
        return method_name(self.method, self.allocation, self.criterion)

    @property
    def allotted(self) -> bool:
        """True where blocks have shares of their own."""
        return self.allocation != UNIFORM and self._removes

    @property
    def what(self) -> Pattern | None:
        """The parsed sparsity or N:M; None where nothing is removed by this spec itself."""
        if self.pattern is not None:
            return parse_pattern(self.pattern)
        return None if self.sparsity is None else parse_sparsity(self.sparsity)

    @property
    def calibrated(self) -> bool:
        """True where a sample of calibration text is looked at, to prune or to quantize what is left."""
        if calibrates_activations(self) or (
            self.quantizer is not None and get_format(self.quantizer).calibrated
        ):
            return True
        if self.structured:
            return self._removes and self.criterion != "random"
        if self.allotted and needs_text(self.allocation, self.calibration):
            return True
        return self._removes and get_sparsifier(self.method).calibrated

    @property
    def running(self) -> Running:
        """What is rounded while the model runs."""
        return running_of(self)

    @property
    def drawn(self) -> bool:
        """True where another seed gives another result: of a random mask, or of another sample of calibration text."""
        if self.structured:
            return self._removes
        return self.calibrated or (self._removes and get_sparsifier(self.method).drawn)

    @property
    def _removes(self) -> bool:
        """True where the method itself removes something."""
        return self.mask is None and self.what is not None and self.what.level > 0

    @property
    def effective_scope(self) -> Scope | None:
        """The groups in which weights compete: None for N:M and for no method."""
        if self.method == NONE or self.structured or self.mask is not None or isinstance(self.what, NM):
            return None
        return self.scope or get_sparsifier(self.method).scope

    @classmethod
    def from_strings(cls, given: Mapping[str, Any]) -> PruneSpec:
        """The spec from values as `--model_args` brings them: text or numbers, lists joined by '+' or ';'.

        Raises:
            UsageError: an unknown name or a value that cannot be used.
        """
        values = read_arguments(cls, _with_none(given))
        refuse_contradictions(values, "quantizer")
        if values.get("sparsity") is not None and values.get("pattern") is not None:
            raise UsageError(
                f"sparsity={given['sparsity']} and pattern={given['pattern']} were both given. Give one of them."
            )
        return cls(**values)


@dataclass(frozen=True)
class QuantSpec:
    """How to quantize: round to nearest with 4 bits where nothing is said.

    `group_size` None is the format's own (`formats.Format`); -1 is one scale a row.

    Raises:
        UsageError: a value that cannot be used.
    """

    method: str = argument(
        "rtn",
        _text,
        f"{_QUANTIZERS}; kv (the cache alone) or none (weights as they are); while a model is loaded also bnb-int8, bnb-nf4, torchao-int8.",
    )
    bits: int | None = argument(None, read_bits, f"{_WIDTHS}.", shown=f"`{get_format('rtn').widths[0]}`")
    group_size: int | None = argument(None, read_group_size, _GROUP)
    symmetric: bool = argument(False, read_bool, "No zero points.")
    act_order: bool = argument(False, read_bool, f"{_ACT_ORDER[0].upper()}{_ACT_ORDER[1:]}")
    targets: tuple[str, ...] = argument((), _names, _TARGETS)
    exclude: tuple[str, ...] = argument((), _names, _EXCLUDE)
    seed: int = argument(0, read_seed, "Of the calibration draw.", names=("mask_seed", "seed"))
    calibration: str | None = argument(None, _text, _CALIBRATION)
    nsamples: int = argument(DEFAULT_NSAMPLES, read_count, _NSAMPLES)
    seqlen: int | None = argument(None, read_count, _SEQLEN)
    activations: str | None = argument(None, read_activations, _ACTIVATIONS)
    activation_scale: str = argument(DYNAMIC, read_activation_scale, _ACTIVATION_SCALE)
    kv_bits: int | None = argument(None, read_kv_bits, _KV_BITS)
    kv_group_size: int | None = argument(None, read_count, _KV_GROUP)
    kv_tokens: int | None = argument(None, read_count, _KV_TOKENS, shown=f"`{DEFAULT_KV_TOKENS}`")
    scheme: str | None = argument(None, read_scheme, _SCHEME)

    def __post_init__(self) -> None:
        fill_scheme(self)
        if self.method == KV:
            self._fill_kv()
        check_running(self)
        if self.method not in NOT_SIMULATED:
            form = get_format(self.method, also=NOT_SIMULATED)
            object.__setattr__(self, "bits", _bits_of(form, self))
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
        values = read_arguments(cls, _with_none(given))
        refuse_contradictions(values)
        return cls(**values)


PRUNE_ARGUMENTS = argument_names(PruneSpec)
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


def _bits_of(form: Format, spec: PruneSpec | QuantSpec) -> int:
    """The bits of a code; what the format does not take is refused.

    Raises:
        UsageError: names it.
    """
    if spec.bits is not None:
        form.check_bits(spec.bits)
    for name, has in (("symmetric", form.integer), ("act_order", form.ordered)):
        if getattr(spec, name) and not has:
            raise UsageError(f"{form.name} takes no {name}, so {name}=true has no meaning. Leave it out.")
    return spec.bits or form.widths[0]


def _with_none(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """lm-eval turns the text 'none' into None before we see it, so a method that is there and None is 'none'."""
    return {**given, "method": NONE} if "method" in given and given["method"] is None else given
