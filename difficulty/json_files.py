"""JSON as others wrote it: read whole, or refused with a sentence; never half, and nothing else is raised."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError

_LARGEST = sys.float_info.max
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # UTF-16, as some Windows tools save text
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # how JSON writes half a character
# What code meets in a value of another shape than it knows.
WRONG_SHAPE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


def parsed(text: str, once: bool = True) -> Any:
    """The JSON in `text`. Halves of characters (lone surrogates), which no table can hold, become question marks.

    Raises:
        ValueError: it is no JSON, nested too deeply to be read, or an object has a key twice: which value holds is not known. With
            `once` False the last one holds, as in all libraries.
    """
    try:
        found = _DECODER.decode(text) if once else json.loads(text)
        if _HALF.search(text):
            found = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice"
        )
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)  # json.loads makes one anew for every line of a file


def read_text(path: str | Path, what: str, remedy: str) -> str:
    """The text of a file in UTF-8, without a byte order mark; `what` it should be and the `remedy` stand in the sentence.

    Raises:
        UsageError: it cannot be read, or is no UTF-8.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(
            f"{what} {str(path)!r} cannot be read: {error.strerror or error}. {remedy}"
        ) from error
    except ValueError as error:  # a zero byte in the name
        raise UsageError(f"{what} {str(path)!r} cannot be read: {error}. {remedy}") from error
    if content[:2] in _WIDE:
        raise UsageError(f"{what} {str(path)!r} is saved as UTF-16. Save it as UTF-8.")
    try:
        return content.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {str(path)!r} is not UTF-8 (byte {error.start}). {remedy}") from error


def read_json(path: str | Path, what: str, remedy: str, once: bool = True) -> Any:
    """The JSON in a file; `once` as in `parsed`.

    Raises:
        UsageError: it cannot be read, or is no whole JSON.
    """
    text = read_text(path, what, remedy)
    try:
        return parsed(text, once)
    except ValueError as error:
        raise UsageError(f"{what} {str(path)!r} is not whole JSON ({error}). {remedy}") from error


@contextmanager
def of_known_shape(path: str | Path, what: str, remedy: str) -> Iterator[None]:
    """A block that takes values of a file apart: what it meets in a wrong shape becomes a sentence that names the file.

    Raises:
        UsageError: a value is missing, or not of the kind that it should be.
    """
    try:
        yield
    except UsageError:
        raise
    except WRONG_SHAPE as error:
        told = (
            f"no {error.args[0]!r}"
            if isinstance(error, KeyError) and error.args
            else str(error) or type(error).__name__
        )
        raise UsageError(f"{what} {str(path)!r} is damaged ({told}). {remedy}") from error


def refuse_unbounded(value: Any) -> None:
    """Refuse NaN, infinity and numbers that no float can hold, in a file that never holds any.

    Raises:
        ValueError: there is one.
    """
    if isinstance(value, dict):
        for inner in value.values():
            refuse_unbounded(inner)
    elif isinstance(value, list):
        for inner in value:
            refuse_unbounded(inner)
    elif isinstance(value, (int, float)) and not abs(value) <= _LARGEST:
        raise ValueError("a number without bounds")


def count_of(value: object) -> int | None:
    """A whole number from 0 on as a file may hold it (7, 7.0); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value < 2**53 and value == int(value) else None


def text_of(values: Mapping[str, Any], name: str) -> str:
    """A text among the values of an object.

    Raises:
        ValueError: it is something else.
    """
    value = values[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r:.60}, which is no text")
    return value
