"""How amounts are written: sparsities, N:M, bits, counts, names. Each is read here, once, and nothing here needs torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

from difficulty.errors import UsageError, did_you_mean

REGEX = "re:"  # before a pattern that is a regular expression, matched from the beginning of a name
NONE = "none"  # the method that removes nothing: measure the checkpoint as it is
STRUCTURED = ("experts", "layers")  # methods that remove whole parts, so that the model gets smaller
CRITERIA = ("reap", "frequency", "random")  # by which experts are removed
UNIFORM = "uniform"
ALLOCATIONS = ("owl", "alphapruning")  # beside `uniform`, and functions of a user's own
KV = "kv"  # the method that rounds the cache alone: the weights stay as they are
Scope = Literal["row", "layer", "global"]
SCOPES: tuple[Scope, ...] = ("row", "layer", "global")
BITS = (8, 6, 4, 3, 2)
_NM = re.compile(r"\s*(\d+)\s*:\s*(\d+)\s*")
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}


@dataclass(frozen=True)
class Sparsity:
    """Unstructured: `fraction` of the weights of every group (row, layer or the whole model) is removed."""

    fraction: float

    def removed(self, n: int) -> int:
        """How many of `n` weights are removed: the nearest whole number, halves upwards.

        In decimal arithmetic, so that 0.3 of 10 is 3 and not what 0.3's binary neighbour gives.
        """
        return math.floor(Fraction(repr(float(self.fraction))) * n + Fraction(1, 2))

    @property
    def level(self) -> float:
        """The sparsity, in [0, 1)."""
        return self.fraction

    def __str__(self) -> str:
        return f"{self.fraction:g}"


@dataclass(frozen=True)
class Quota(Sparsity):
    """Unstructured: exactly `count` of a matrix's `size` weights, as an allocation hands them out."""

    count: int
    size: int

    @classmethod
    def of(cls, count: int, size: int) -> Quota:
        """The quota, with the sparsity that it is."""
        return cls(count / size, count, size)

    def removed(self, n: int) -> int:
        """How many of `n` of the weights are removed: the nearest whole number, halves upwards; of all of them, `count`."""
        return (2 * self.count * n + self.size) // (2 * self.size)

    def by_row(self, rows: int) -> list[int]:
        """How many of each row are removed: numbers that differ by at most one, and make `count` together."""
        return [self.count * (row + 1) // rows - self.count * row // rows for row in range(rows)]


@dataclass(frozen=True)
class NM:
    """Of every `group` neighbouring weights along the input, `kept` stay (2:4 keeps 2 of 4, 1:8 keeps 1 of 8)."""

    kept: int
    group: int

    @property
    def level(self) -> float:
        """The sparsity, in (0, 1)."""
        return 1 - self.kept / self.group

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"


Pattern = Sparsity | NM

MOST_REPEATS = 10_000


def parse_sparsity(given: object) -> Sparsity:
    """A `Sparsity` from a number or its text.

    Raises:
        UsageError: no number, or outside [0, 1).

    Examples:
        >>> parse_sparsity("0.5").level
        0.5
    """
    try:
        if isinstance(given, bool):
            raise ValueError
        value = float(str(given))
    except ValueError:
        raise UsageError(f"sparsity={given!r} is no number. Write a fraction, e.g. sparsity=0.5.") from None
    if not 0 <= value < 1:  # also refuses nan
        hint = f" Did you mean {value / 100:g}?" if 2 <= value < 100 else ""
        raise UsageError(f"sparsity={given} is not in [0, 1): it is the fraction of weights removed.{hint}")
    return Sparsity(value)


def parse_pattern(given: object) -> NM:
    """An `NM` from text like '2:4'.

    Raises:
        UsageError: not N:M with 0 < N < M.

    Examples:
        >>> parse_pattern("2:4")
        NM(kept=2, group=4)
    """
    match = _NM.fullmatch(str(given))
    how = "Write N:M with 0 < N < M, e.g. pattern=2:4 (keep 2 of every 4)."
    if not match:
        raise UsageError(f"pattern {str(given)!r} is not of the form N:M. {how}")
    kept, group = int(match[1]), int(match[2])
    if not 0 < kept < group:
        raise UsageError(f"pattern {str(given)!r} keeps {kept} of {group} weights. {how}")
    return NM(kept, group)


def read_pattern(text: str) -> Pattern:
    """What `str` of a pattern wrote: N:M, or a sparsity.

    Raises:
        UsageError: neither.
    """
    return parse_pattern(text) if ":" in text else parse_sparsity(text)


def read_scope(name: str, given: object) -> Scope:
    """One of row, layer, global.

    Raises:
        UsageError: something else.
    """
    return cast(Scope, one_of(name, given, SCOPES))


def read_criterion(name: str, given: object) -> str:
    """One of reap, frequency, random.

    Raises:
        UsageError: something else.
    """
    return one_of(name, given, CRITERIA)


def read_allocation(name: str, given: object) -> str:
    """uniform, owl, alphapruning, or 'module:function'.

    Raises:
        UsageError: something else.
    """
    text = str(given)
    module, colon, function = text.partition(":")
    if colon and module and function.isidentifier():
        return text
    allowed = (UNIFORM, *ALLOCATIONS)
    if text not in allowed:
        raise UsageError(
            f"{name}={text!r} is unknown. Choose one of {', '.join(allowed)}, or write module:function for one of your own."
            f"{did_you_mean(text, allowed)}"
        )
    return text


def method_name(method: str, allocation: str | None = None, criterion: str | None = None) -> str:
    """A method's name in tables: with its allocation where that is not uniform, with its criterion where that is not the default.

    >>> method_name("wanda", "owl"), method_name("wanda-owl", "owl"), method_name("experts", criterion="reap")
    ('wanda-owl', 'wanda-owl', 'experts')
    """
    plain = {None, UNIFORM} if method not in STRUCTURED else {None, CRITERIA[0]}
    added = criterion if method in STRUCTURED else allocation
    return method if added in plain or method.endswith(f"-{added}") else f"{method}-{added}"


def read_patterns(given: object) -> tuple[str, ...]:
    """Module-name patterns from a list, or from text that joins them with '+', ';', '|' or ','."""
    parts = given if isinstance(given, (list, tuple)) else re.split(r"[+;|,\s]+", str(given))
    return tuple(str(part) for part in parts if str(part))


def read_count(name: str, given: object) -> int:
    """A whole number of at least 1.

    Raises:
        UsageError: something else.
    """
    return _at_least(1, name, given)


def read_repeats(name: str, given: object) -> int:
    """How often something is drawn or trained: a whole number from 1 to `MOST_REPEATS`.

    Raises:
        UsageError: something else.
    """
    number = read_count(name, given)
    if number > MOST_REPEATS:
        raise UsageError(
            f"{name}={given} is more than {MOST_REPEATS:,}, each of which is a run of its own. Ask for fewer."
        )
    return number


def read_seed(name: str, given: object) -> int:
    """A whole number of at least 0.

    Raises:
        UsageError: something else.
    """
    return _at_least(0, name, given)


def read_bits(name: str, given: object) -> int:
    """A whole number of bits; which there are is for each quantizer to say.

    Raises:
        UsageError: no whole number.
    """
    number = _whole(given)
    if number is None:
        raise UsageError(f"{name}={given} is no whole number. Choose one of {', '.join(map(str, BITS))}.")
    return number


def read_group_size(name: str, given: object) -> int:
    """Weights that share one scale; -1 is a whole row.

    Raises:
        UsageError: neither -1 nor a whole number of at least 1.
    """
    number = _whole(given)
    if number is None or (number < 1 and number != -1):
        raise UsageError(
            f"{name}={given} is neither -1 (one scale per row) nor a whole number of at least 1."
        )
    return number


def read_bool(name: str, given: object) -> bool:
    """A truth value.

    Raises:
        UsageError: neither true nor false.
    """
    text = str(given).strip().lower()
    if text not in _TRUE | _FALSE:
        raise UsageError(f"{name}={given!r} is neither true nor false. Write {name}=true or {name}=false.")
    return text in _TRUE


def one_of(name: str, given: object, allowed: tuple[str, ...]) -> str:
    """One of the words `allowed`.

    Raises:
        UsageError: something else.
    """
    if str(given) not in allowed:
        raise UsageError(
            f"{name}={given!r} is unknown. Choose one of {', '.join(allowed)}.{did_you_mean(str(given), allowed)}"
        )
    return str(given)


def _at_least(lowest: int, name: str, given: object) -> int:
    number = _whole(given)
    if number is None or number < lowest:
        raise UsageError(f"{name}={given} is no whole number of at least {lowest}.")
    return number


def _whole(given: object) -> int | None:
    try:
        number = float(str(given))
    except ValueError:
        return None
    return int(number) if not isinstance(given, bool) and number.is_integer() else None
