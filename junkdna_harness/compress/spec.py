"""What is asked for: `PruneSpec`, read from strings and checked, one sentence a mistake."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.compress.pattern import NM, SCOPES, Pattern, Scope, parse_pattern, parse_sparsity
from junkdna_harness.compress.registry import NONE, get_sparsifier

PRUNE_ARGUMENTS = (
    "method",
    "sparsity",
    "pattern",
    "scope",
    "targets",
    "exclude",
    "mask_seed",
    "seed",
    "calibration",
    "nsamples",
    "seqlen",
    "mask",
    "bits",
    "group_size",
    "symmetric",
    "quantizer",
)
DEFAULT_SPARSITY = 0.5
DEFAULT_NSAMPLES = 128  # as in the SparseGPT and Wanda papers
Quantizer = Literal["rtn", "gptq"]
BITS = (8, 6, 4, 3, 2)


@dataclass(frozen=True)
class PruneSpec:
    """What to remove and how; `bits` asks to quantize what is left.

    `sparsity` (a fraction) or `pattern` ('2:4' keeps 2 of every 4), 0.5 where neither is given. `scope` None is the
    method's own: layer for magnitude, random and sparsegpt, row for wanda. `seqlen` None is the calibration's default.
    `mask` names a mask file, which replaces the method.

    Raises:
        UsageError: a value that cannot be used.
    """

    method: str = "magnitude"
    sparsity: float | None = None
    pattern: str | None = None
    scope: Scope | None = None
    targets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    seed: int = 0
    calibration: str | None = None
    nsamples: int = DEFAULT_NSAMPLES
    seqlen: int | None = None
    mask: str | None = None
    bits: int | None = None
    group_size: int | None = None
    symmetric: bool = False
    quantizer: Quantizer = "rtn"

    def __post_init__(self) -> None:
        if self.sparsity is not None and self.pattern is not None:
            raise UsageError(
                f"sparsity={self.sparsity} and pattern={self.pattern} were both given. Give one of them."
            )
        if self.method == NONE or self.mask is not None:
            given = [name for name in ("sparsity", "pattern", "scope") if getattr(self, name) is not None]
            what = (
                "method=none removes nothing"
                if self.mask is None
                else "mask= brings its own method and sparsity"
            )
            if given:
                raise UsageError(
                    f"{what}, so {given[0]}={getattr(self, given[0])} has no meaning. Leave it out."
                )
        elif self.sparsity is None and self.pattern is None:
            object.__setattr__(self, "sparsity", DEFAULT_SPARSITY)
        if self.sparsity is not None:
            parse_sparsity(self.sparsity)
        if self.pattern is not None:
            object.__setattr__(self, "pattern", str(parse_pattern(self.pattern)))
        if self.method != NONE:
            self._check_scope()
        for name in ("nsamples", "seqlen"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value} is too few. Give at least 1.")
        if self.bits is None:
            _need_bits(self)
        else:
            check_bits(self.bits)

    def _check_scope(self) -> None:
        method = get_sparsifier(self.method)
        if self.scope == "global" and (method.calibrated or method.updates):
            raise UsageError(
                f"scope=global ranks all layers at once; {self.method} works layer by layer. "
                f"Choose scope=row or scope=layer."
            )
        if self.scope is not None and self.pattern is not None:
            raise UsageError(
                f"pattern={self.pattern} has its own groups, so scope={self.scope} has no meaning. Leave it out."
            )

    @property
    def what(self) -> Pattern | None:
        """The parsed sparsity or N:M; None where nothing is removed by this spec itself."""
        if self.pattern is not None:
            return parse_pattern(self.pattern)
        return None if self.sparsity is None else parse_sparsity(self.sparsity)

    @property
    def effective_scope(self) -> Scope | None:
        """The groups in which weights compete: None for N:M and for no method."""
        if self.method == NONE or self.mask is not None or isinstance(self.what, NM):
            return None
        return self.scope or get_sparsifier(self.method).scope

    @classmethod
    def from_strings(cls, given: Mapping[str, Any]) -> PruneSpec:
        """The spec from values as `--model_args` brings them: text or numbers, lists joined by '+' or ';'.

        Raises:
            UsageError: an unknown name or a value that cannot be used.
        """
        values = read_arguments(given, PRUNE_ARGUMENTS, "magnitude")
        if values.get("sparsity") is not None and values.get("pattern") is not None:
            raise UsageError(
                f"sparsity={given['sparsity']} and pattern={given['pattern']} were both given. Give one of them."
            )
        return cls(**values)


def read_arguments(given: Mapping[str, Any], allowed: Sequence[str], method: str) -> dict[str, Any]:
    """The fields of a spec from values as `--model_args` brings them; `method` is the default method.

    Raises:
        UsageError: a name that is not `allowed`, or a value that cannot be used.
    """
    for name in given:
        if name not in allowed:
            raise UsageError(
                f"{name}={given[name]!r} is no argument here. Choose among {', '.join(allowed)}."
                f"{did_you_mean(name, allowed)}"
            )
    # lm-eval turns the text 'none' into None before we see it, so a method that is there and None is 'none'.
    unsaid = "method" in given and given["method"] is None
    values: dict[str, Any] = {
        "method": NONE if unsaid else str(given.get("method", method)),
        "seed": _seed(given),
    }
    for name, reader in _READERS.items():
        if given.get(name) is not None:
            values[name] = reader(given[name])
    return values


def read_scope(given: object) -> Scope:
    """One of row, layer, global.

    Raises:
        UsageError: something else.
    """
    if str(given) not in SCOPES:
        raise UsageError(
            f"scope={given!r} is unknown. Choose one of {', '.join(SCOPES)}.{did_you_mean(str(given), SCOPES)}"
        )
    return cast(Scope, str(given))


def read_patterns(given: object) -> tuple[str, ...]:
    """Module-name patterns from a list, or from text that joins them with '+', ';', '|' or ','."""
    parts = given if isinstance(given, (list, tuple)) else re.split(r"[+;|,\s]+", str(given))
    return tuple(str(part) for part in parts if str(part))


def read_count(name: str, given: object) -> int:
    """A whole number of at least 1.

    Raises:
        UsageError: something else.
    """
    number = _whole(given)
    if number is None or number < 1:
        raise UsageError(f"{name}={given} is no whole number of at least 1.")
    return number


def read_bits(given: object) -> int:
    """One of 8, 6, 4, 3, 2.

    Raises:
        UsageError: something else.
    """
    number = _whole(given)
    if number is None:
        raise UsageError(f"bits={given} is no whole number. Choose one of {', '.join(map(str, BITS))}.")
    check_bits(number)
    return number


def check_bits(bits: int) -> None:
    """Refuse a width that is not simulated.

    Raises:
        UsageError: not one of 8, 6, 4, 3, 2.
    """
    if bits not in BITS:
        raise UsageError(f"bits={bits} is not supported. Choose one of {', '.join(map(str, BITS))}.")


def read_group_size(given: object) -> int:
    """Weights that share one scale; -1 is a whole row.

    Raises:
        UsageError: neither -1 nor a whole number of at least 1.
    """
    number = _whole(given)
    if number is None or (number < 1 and number != -1):
        raise UsageError(
            f"group_size={given} is neither -1 (one scale a row) nor a whole number of at least 1."
        )
    return number


def read_quantizer(given: object) -> Quantizer:
    """One of rtn, gptq.

    Raises:
        UsageError: something else.
    """
    if str(given) not in ("rtn", "gptq"):
        raise UsageError(
            f"quantizer={given!r} is unknown. Choose rtn or gptq.{did_you_mean(str(given), ['rtn', 'gptq'])}"
        )
    return cast(Quantizer, str(given))


def read_bool(name: str, given: object) -> bool:
    """A truth value.

    Raises:
        UsageError: neither true nor false.
    """
    text = str(given).strip().lower()
    if text not in {"true", "false", "1", "0", "yes", "no"}:
        raise UsageError(f"{name}={given!r} is neither true nor false. Write {name}=true or {name}=false.")
    return text in {"true", "1", "yes"}


def read_seed(name: str, given: object) -> int:
    """A whole number of at least 0.

    Raises:
        UsageError: something else.
    """
    number = _whole(given)
    if number is None or number < 0:
        raise UsageError(f"{name}={given} is no whole number of at least 0.")
    return number


def _seed(given: Mapping[str, Any]) -> int:
    seeds = {
        name: read_seed(name, given[name]) for name in ("mask_seed", "seed") if given.get(name) is not None
    }
    if len(set(seeds.values())) > 1:
        raise UsageError(
            f"mask_seed={seeds['mask_seed']} and seed={seeds['seed']} are two names of one thing. Give mask_seed alone."
        )
    return next(iter(seeds.values()), 0)


def _whole(given: object) -> int | None:
    try:
        number = float(str(given))
    except ValueError:
        return None
    return int(number) if not isinstance(given, bool) and number.is_integer() else None


def _need_bits(spec: PruneSpec) -> None:
    if spec.group_size is not None or spec.symmetric or spec.quantizer != "rtn":
        raise UsageError(
            "group_size, symmetric and quantizer say how to quantize. Give bits= too, or leave them out."
        )


_READERS: dict[str, Callable[[Any], Any]] = {
    "sparsity": lambda value: parse_sparsity(value).fraction,
    "pattern": lambda value: str(parse_pattern(value)),
    "scope": read_scope,
    "targets": read_patterns,
    "exclude": read_patterns,
    "calibration": str,
    "nsamples": lambda value: read_count("nsamples", value),
    "seqlen": lambda value: read_count("seqlen", value),
    "mask": str,
    "bits": read_bits,
    "group_size": read_group_size,
    "symmetric": lambda value: read_bool("symmetric", value),
    "quantizer": read_quantizer,
}
