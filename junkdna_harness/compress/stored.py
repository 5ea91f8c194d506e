"""The tensors of safetensors files, hashed and counted piece by piece.

A mapped file counts as memory of the process as far as it was read, so that a checkpoint just written would stand there a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from difficulty.errors import UsageError
from difficulty.runs.safetensors_header import read_header
from junkdna_harness.compress.hashing import start_of, tensor_sha256
from junkdna_harness.compress.report import zeros_in

_THREADS = 2  # hashlib and reading let go of the interpreter lock
_PIECE = 1 << 22  # bytes of a file that a thread holds


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: its hash as `tensor_sha256` has it, its shape, its zeros."""

    name: str
    sha256: str
    shape: tuple[int, ...]
    zeros: int

    @property
    def numel(self) -> int:
        """Number of values."""
        return int(torch.Size(self.shape).numel())


def stored_tensors(folder: Path) -> Iterator[Stored]:
    """Every tensor of the safetensors files in `folder`, file by file.

    Raises:
        UsageError: there is no such file, or one that cannot be read.
    """
    from safetensors import SafetensorError

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(f"{str(folder)!r} holds no safetensors file.")
    for file in files:
        try:
            yield from _read(file)
        except (SafetensorError, OSError) as error:
            raise UsageError(f"{str(file)!r} cannot be read: {error}.") from error


def _read(file: Path) -> Iterator[Stored]:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as handle:  # which refuses a file that is cut off or damaged
        header = {entry.name: entry for entry in read_header(file)}

        def one(name: str) -> Stored:
            first, size, shape = header[name].begin, header[name].size, header[name].shape
            empty = handle.get_slice(name)[:0] if shape else handle.get_tensor(name)
            if not shape or size != torch.Size(shape).numel() * empty.element_size():
                tensor = handle.get_tensor(name)  # several values per byte, or one in all
                return Stored(name, tensor_sha256(tensor), tuple(tensor.shape), zeros_in(tensor))
            digest, zeros = start_of(empty.dtype, shape), 0
            for piece in _pieces(file, first, size):
                digest.update(piece.numpy().data)
                zeros += zeros_in(piece.view(empty.dtype))
            return Stored(name, digest.hexdigest(), shape, zeros)

        with ThreadPoolExecutor(_THREADS) as pool:
            yield from pool.map(one, handle.keys())


def _pieces(file: Path, first: int, size: int) -> Iterator[Tensor]:
    """`size` bytes of a file from `first` on, in a buffer that is filled anew for each piece."""
    buffer = torch.empty(min(size, _PIECE), dtype=torch.uint8)
    with file.open("rb", buffering=0) as handle:
        handle.seek(first)
        while size:
            piece = buffer[: min(size, _PIECE)]
            into = piece.numpy().data
            while into:
                if not (got := handle.readinto(into)):
                    raise OSError("it ends too early")
                into = into[got:]
            size -= piece.numel()
            yield piece
