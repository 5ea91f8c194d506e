"""Lists of levels as a user writes them: `0:0.9:0.1`, `7:8,4:8`, `rtn:8,4,gptq:4,fp8`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from difficulty.errors import UsageError
from junkdna_harness.compress.beside import SCHEMES, scheme_bits
from junkdna_harness.compress.formats import FORMATS
from junkdna_harness.compress.notation import parse_pattern

MOST_LEVELS = 1000


def parse_sparsities(text: str) -> tuple[float, ...]:
    """Sorted fractions from `0.5`, `0.1,0.5`, `0:0.9:0.1` (first:last:step, both ends included), or a mix.

    Raises:
        UsageError: not a number, outside [0, 1), an empty range, or a level that is there twice.
    """
    found: list[Decimal] = []
    for part in _parts(text, "sparsity", "0:0.9:0.1"):
        found += _range(part, text) if ":" in part else [_fraction(part, text)]
    return tuple(float(x) for x in sorted(_distinct(found, f"sparsity {text!r}")))


def _range(part: str, text: str) -> list[Decimal]:
    pieces = part.split(":")
    if len(pieces) != 3:
        raise UsageError(
            f"sparsity {text!r} has the range {part!r}. Write first:last:step, e.g. 0:0.9:0.1 "
            "(N:M patterns go to --patterns)."
        )
    first, last = (_fraction(piece, text) for piece in pieces[:2])
    step = _number(pieces[2], text)
    if step <= 0 or last < first:
        raise UsageError(
            f"sparsity {text!r} has the empty range {part!r}. Write first:last:step, upwards, e.g. 0:0.9:0.1."
        )
    count = int((last - first) / step) + 1
    if count > MOST_LEVELS:
        raise UsageError(
            f"sparsity {text!r} asks for {count} levels, more than {MOST_LEVELS}. Widen the step."
        )
    return [first + i * step for i in range(count)]


def _fraction(piece: str, text: str) -> Decimal:
    number = _number(piece, text)
    if not 0 <= number < 1:
        raise UsageError(
            f"sparsity {text!r} has {piece}, outside [0, 1). It is the fraction removed, e.g. 0.5."
        )
    return number


def _number(piece: str, text: str) -> Decimal:
    try:
        number = Decimal(piece.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise UsageError(
            f"sparsity {text!r} has {piece!r}, which is no number. Write e.g. 0:0.9:0.1 or 0.3,0.5."
        )
    return number.normalize()


def parse_patterns(text: str) -> tuple[str, ...]:
    """Patterns N:M, N kept of M, from `7:8,4:8`; in the given order.

    Raises:
        UsageError: not N:M with 0 < N < M, or one that is there twice.
    """
    found = []
    for part in _parts(text, "patterns", "7:8,4:8,2:4"):
        found.append(str(parse_pattern(part)))
    return tuple(_distinct(found, f"patterns {text!r}"))


def parse_quantize(text: str) -> tuple[tuple[str, int], ...]:
    """(method, bits) pairs from `rtn:8,4,3,2` or `rtn:8,4,gptq:4,fp8,W4A8`; a format of one width and a scheme need no number.

    Raises:
        UsageError: no method before the first number, bits that are no whole number, or a pair that is there twice.
    """
    found: list[tuple[str, int]] = []
    method = ""
    for part in _parts(text, "quantize", "rtn:8,4,3,2"):
        if part in FORMATS and len(FORMATS[part].widths) == 1:
            found.append((part, FORMATS[part].widths[0]))
            method = ""
            continue
        if part.upper() in SCHEMES:
            found.append((part.upper(), scheme_bits(part.upper())))
            method = ""
            continue
        name, colon, bits = part.rpartition(":")
        method = name.strip() if colon else method
        if not method or not bits.strip().isdigit() or int(bits) < 1:
            raise UsageError(
                f"quantize {text!r} has {part!r}. Write METHOD:BITS,BITS, e.g. rtn:8,4,3,2 or rtn:4,gptq:4,fp8, or the name of "
                f"a scheme, e.g. W4A8."
            )
        found.append((method, int(bits)))
    return tuple(_distinct(found, f"quantize {text!r}"))


def parse_names(text: str | Sequence[str], what: str) -> tuple[str, ...]:
    """Distinct names from `a,b` or a list.

    Raises:
        UsageError: none, or one twice.
    """
    listed = isinstance(text, (list, tuple))
    parts = [str(part).strip() for part in text] if listed else _parts(str(text), what, "a,b")
    return tuple(_distinct(parts, f"{what} {','.join(parts)!r}"))


def _parts(text: str, what: str, example: str) -> list[str]:
    parts = [part.strip() for part in str(text).split(",") if part.strip()]
    if not parts:
        raise UsageError(f"{what} {text!r} is empty. Write e.g. {example}, or leave it out.")
    return parts


def _distinct(found: list, what: str) -> list:  # type: ignore[type-arg]
    twice = sorted(str(x) for x, count in Counter(found).items() if count > 1)
    if twice:
        raise UsageError(f"{what} overlaps itself: {', '.join(twice)} is there twice. Name each once.")
    return found
