"""What to remove: `PruneSpec`, read from strings and checked, one sentence a mistake.

Nothing here needs torch, so that a plan or a command line can be checked before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.running import DYNAMIC, Running
from junkdna_harness.compress.allocation import needs_text
from junkdna_harness.compress.asking import DEFAULT_NSAMPLES, Help, bits_of, names, text, with_none
from junkdna_harness.compress.beside import (
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
from junkdna_harness.compress.formats import get_format
from junkdna_harness.compress.notation import (
    ALLOCATIONS,
    CRITERIA,
    NM,
    NONE,
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
    read_scope,
    read_seed,
)
from junkdna_harness.compress.registry import check_method, get_sparsifier
from junkdna_harness.compress.schema import argument, argument_names, read_arguments

DEFAULT_SPARSITY = 0.5


@dataclass(frozen=True)
class PruneSpec:
    """What to remove and how; `bits` asks to quantize what is left.

    `sparsity` (a fraction) or `pattern` ('2:4' keeps 2 of every 4), 0.5 where neither is given. `scope` None is the
    method's own: layer for magnitude, largest, random, ria and sparsegpt, row for wanda. `seqlen` None is the calibration's default.
    `mask` names a mask file, which replaces the method. Methods `layers` and `experts` remove whole blocks and experts, of which
    `sparsity` is the share. A method may be named with its allocation or criterion, as in tables: `wanda-owl`, `experts-random`.

    Raises:
        UsageError: a value that cannot be used.

    Examples:
        >>> PruneSpec.from_strings({"method": "wanda", "pattern": "2:4"}).method
        'wanda'
    """

    method: str = argument(
        "magnitude",
        text,
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
    scope: Scope | None = argument(None, read_scope, Help.SCOPE)  # noqa: RUF009  (a field like the others)
    allocation: str = argument(UNIFORM, read_allocation, Help.ALLOCATION)
    criterion: str | None = argument(None, read_criterion, Help.CRITERION)
    targets: tuple[str, ...] = argument((), names, Help.TARGETS)
    exclude: tuple[str, ...] = argument((), names, Help.EXCLUDE)
    seed: int = argument(0, read_seed, "Of a random mask or calibration draw.", names=("mask_seed", "seed"))
    calibration: str | None = argument(None, text, Help.CALIBRATION)
    nsamples: int = argument(DEFAULT_NSAMPLES, read_count, Help.NSAMPLES)
    seqlen: int | None = argument(None, read_count, Help.SEQLEN)
    mask: str | None = argument(None, text, "Apply this mask file instead of a method.")
    bits: int | None = argument(None, read_bits, f"Quantize what is left: {Help.WIDTHS}.")
    group_size: int | None = argument(
        None, read_group_size, f"With bits: {Help.GROUP[0].lower()}{Help.GROUP[1:]}"
    )
    symmetric: bool = argument(False, read_bool, "With bits: no zero points.")
    act_order: bool = argument(False, read_bool, f"With bits: {Help.ACT_ORDER}")
    quantizer: str | None = argument(None, text, f"With bits: {Help.QUANTIZERS}.", shown="`rtn`")
    activations: str | None = argument(None, read_activations, Help.ACTIVATIONS)
    activation_scale: str = argument(DYNAMIC, read_activation_scale, Help.ACTIVATION_SCALE)
    kv_bits: int | None = argument(None, read_kv_bits, Help.KV_BITS)
    kv_group_size: int | None = argument(None, read_count, Help.KV_GROUP)
    kv_tokens: int | None = argument(None, read_count, Help.KV_TOKENS, shown=f"`{DEFAULT_KV_TOKENS}`")
    scheme: str | None = argument(None, read_scheme, Help.SCHEME)

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
            object.__setattr__(self, "bits", bits_of(form, self))
        else:
            self._refuse_how()
        check_running(self)

    def _refuse_how(self) -> None:
        """Refuse what says how to quantize, where nothing is quantized."""
        for name in ("group_size", "symmetric", "act_order"):
            if value := getattr(self, name):
                shown = str(value).lower()
                raise UsageError(f"{name}={shown} says how to quantize. Give bits= too, or leave it out.")

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
        values = read_arguments(cls, with_none(given))
        refuse_contradictions(values, "quantizer")
        if values.get("sparsity") is not None and values.get("pattern") is not None:
            raise UsageError(
                f"sparsity={given['sparsity']} and pattern={given['pattern']} were both given. Give one of them."
            )
        return cls(**values)


PRUNE_ARGUMENTS = argument_names(PruneSpec)
