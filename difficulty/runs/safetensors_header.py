"""What the header of a safetensors file says, read without torch and without the weights."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import count_of, of_known_shape, parsed

_REMEDY = "Copy the file again."


@dataclass(frozen=True)
class Entry:
    """A tensor: type as safetensors names it, shape, and its bytes in the file, from `begin` on."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    size: int


def read_header(path: Path) -> list[Entry]:
    """The tensors of a file.

    Raises:
        UsageError: it cannot be read, is cut off or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            start = handle.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            text = handle.read(length) if length <= size - 8 else b""
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from error
    if not text:
        raise UsageError(f"{str(path)!r} is damaged or no safetensors file. {_REMEDY}")
    with of_known_shape(path, "the safetensors file", _REMEDY):
        return [
            _entry(name, values, 8 + length, size)
            for name, values in parsed(text.decode()).items()
            if name != "__metadata__"
        ]


def _entry(name: str, values: Any, after: int, size: int) -> Entry:
    first, last = values["data_offsets"]
    shape = [count_of(length) for length in values["shape"]]
    begin, end, dtype = count_of(first), count_of(last), values["dtype"]
    if (
        begin is None
        or end is None
        or not begin <= end <= size - after
        or None in shape
        or not isinstance(dtype, str)
    ):
        raise ValueError(f"{name!r} does not lie within it")
    return Entry(
        name, dtype, tuple(length for length in shape if length is not None), after + begin, end - begin
    )
