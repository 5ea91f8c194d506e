"""The weights of a model folder, looked at without torch: how many are zero, and whether they are those of its manifest.

Only a sample of the matrices is read, so that a folder of any size takes a second.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from difficulty.errors import UsageError
from difficulty.runs.safetensors_header import Entry, read_header

_SKIPPED = re.compile(r"embed|lm_head|norm|wte|wpe|bias", re.IGNORECASE)
_MOST_TENSORS, _MOST_VALUES = 64, 1 << 20
# Of a safetensors file: (type of its bits, those that count as a value, torch's name); minus zero is zero too.
_CODES: Mapping[str, tuple[str, int, str]] = {
    "F32": ("<u4", 0x7FFFFFFF, "float32"),
    "F16": ("<u2", 0x7FFF, "float16"),
    "BF16": ("<u2", 0x7FFF, "bfloat16"),
}


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies: its first byte in `file`, shape, and type as safetensors names it."""

    name: str
    file: Path
    begin: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    def bits(self, most: int) -> np.ndarray:
        """The bits of its first `most` values."""
        kind = np.dtype(_CODES[self.dtype][0])
        with self.file.open("rb") as handle:
            handle.seek(self.begin)
            return np.frombuffer(handle.read(min(self.numel, most) * kind.itemsize), dtype=kind)


def share_of_zeros(folder: Path) -> float | None:
    """The share of exact zeros in a sample of the matrices of a folder's safetensors files; None where none can be read."""
    zeros = total = 0
    for tensor in _sample(_matrices(_tensors(folder))):
        values = tensor.bits(_MOST_VALUES)
        zeros += int(((values & _CODES[tensor.dtype][1]) == 0).sum())
        total += len(values)
    return zeros / total if total else None


def unlike(folder: Path, tensors: Mapping[str, Any]) -> str:
    """Why a folder's weights are not those that a manifest lists under `tensors` (name -> sha256, ...); '' where no
    difference is seen in the sample, or nothing can be compared."""
    there = _tensors(folder)
    if not there or not tensors:
        return ""
    gone = tensors.keys() - {tensor.name for tensor in there}
    if gone:
        return f"{min(gone)!r} is not among its weights"
    known = [tensor for tensor in _matrices(there) if tensor.numel <= _MOST_VALUES]
    for tensor in _sample(known):
        entry = tensors.get(tensor.name)
        expected = entry.get("sha256") if isinstance(entry, Mapping) else None
        if entry is None or (expected is not None and expected != _sha256(tensor)):
            return f"{tensor.name!r} is not what it says"
    return ""


def _sha256(tensor: _Tensor) -> str:
    """As manifests have it: of dtype, shape and little-endian values."""
    head = f"{_CODES[tensor.dtype][2]} {list(tensor.shape)}\n".encode()
    return hashlib.sha256(head + tensor.bits(tensor.numel).tobytes()).hexdigest()


def _tensors(folder: Path) -> list[_Tensor]:
    """All tensors of a folder's safetensors files."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        with suppress(UsageError):  # what loads models says what is wrong with it
            found += [
                _Tensor(one.name, path, one.begin, one.shape, one.dtype)
                for one in read_header(path)
                if _is_whole(one)
            ]
    return found


def _is_whole(one: Entry) -> bool:
    """False where the bytes are not those of the shape, as with several values per byte."""
    code = _CODES.get(one.dtype)
    return code is None or one.size == math.prod(one.shape) * np.dtype(code[0]).itemsize


def _matrices(tensors: list[_Tensor]) -> list[_Tensor]:
    """Those that may have been pruned."""
    return [
        t
        for t in tensors
        if len(t.shape) == 2 and min(t.shape) > 1 and t.dtype in _CODES and not _SKIPPED.search(t.name)
    ]


def _sample(tensors: list[_Tensor]) -> Iterator[_Tensor]:
    """Some, spread evenly over the model."""
    yield from tensors[:: max(1, len(tensors) // _MOST_TENSORS)]
