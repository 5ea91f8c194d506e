"""What every item of a task scored, as one short text of a line of JSON: bits for right or wrong, else compressed numbers.

`b1:` base64 of one bit per item, the first item in the highest bit; `f4:` and `f8:` base64 of zlib of float32 or float64, little
endian; float32 only where it holds the same numbers. Items that were not asked are left out, and a second text says which were.
Whole numbers (`i4:`) are int32, little endian, in zlib and base64.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from difficulty.stats.result import Floats

_TYPES = {"f4": "<f4", "f8": "<f8", "i4": "<i4"}


def pack(values: Floats) -> str | list[str] | None:
    """The scores of a task's items, NaN where an item was not asked; None where none was."""
    asked = ~np.isnan(values)
    if not asked.any():
        return None
    known = values[asked]
    if np.isin(known, (0, 1)).all():
        text = _bits(known > 0.5)
    else:
        short = bool((known.astype(np.float32).astype(float) == known).all())
        text = _compressed(known, "f4" if short else "f8")
    return text if asked.all() else [_bits(asked), text]


def unpack(packed: object, n_items: int) -> Floats:
    """What `pack` was given.

    Raises:
        ValueError: it is not that of `n_items` items.
    """
    if packed is None:
        return np.full(n_items, np.nan)
    if isinstance(packed, str):
        return _numbers(packed, n_items)
    if not isinstance(packed, list) or len(packed) != 2:
        raise ValueError("outcomes that are neither a text nor two")
    found = np.full(n_items, np.nan)
    asked = _numbers(packed[0], n_items) > 0.5
    found[asked] = _numbers(packed[1], int(asked.sum()))
    return found


def pack_codes(codes: NDArray[np.intp]) -> str:
    """Which items belong together, e.g. by cluster: each item's number less that of the item before, which is mostly 1."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    numbers = np.empty(len(first), dtype=np.intp)
    numbers[np.argsort(first)] = np.arange(len(first))  # numbered as they come
    return _compressed(np.diff(numbers[inverse], prepend=0), "i4")


def unpack_codes(packed: object, n_items: int) -> NDArray[np.intp]:
    """The same groups as `pack_codes` was given, numbered as they come.

    Raises:
        ValueError: it is not that of `n_items` items.
    """
    return np.cumsum(_numbers(packed, n_items)).astype(np.intp)


def _bits(flags: NDArray[np.bool_]) -> str:
    return "b1:" + base64.b64encode(np.packbits(flags).tobytes()).decode()


def _compressed(values: NDArray[Any], kind: str) -> str:
    raw = values.astype(_TYPES[kind]).tobytes()
    return f"{kind}:" + base64.b64encode(zlib.compress(raw, 9)).decode()


def _numbers(packed: object, n: int) -> Floats:
    kind, mark, text = packed.partition(":") if isinstance(packed, str) else ("", "", "")
    if not mark or kind not in ("b1", *_TYPES):
        raise ValueError("outcomes in no known form")
    try:
        raw = base64.b64decode(text, validate=True)
        if kind == "b1":
            expected = (n + 7) // 8
        else:
            expected = n * np.dtype(_TYPES[kind]).itemsize
            raw = zlib.decompressobj().decompress(raw, expected + 1)  # no more than can be right
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"outcomes that cannot be read ({error})") from error
    if len(raw) != expected:
        raise ValueError(f"outcomes of another number of items than {n}")
    if kind == "b1":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=n).astype(float)
    found = np.frombuffer(raw, _TYPES[kind]).astype(float)
    if not np.isfinite(found).all():
        raise ValueError("an outcome that is no number")
    return found
