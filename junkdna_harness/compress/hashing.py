"""One hash for a model's effective weights, made of one hash a parameter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

_THREADS = 4  # hashlib lets go of the interpreter lock
_CHUNK = 1 << 26  # bytes hashed at once from a device


def tensor_sha256(tensor: Tensor) -> str:
    """sha256 of dtype, shape and little-endian values; the same on every device."""
    plain = unpacked(tensor)
    digest = start_of(plain.dtype, tuple(plain.shape))
    flat = plain.detach().contiguous().reshape(-1)
    for part in torch.split(flat.view(torch.uint8), _CHUNK):
        digest.update(part.cpu().numpy().data)
    return digest.hexdigest()


def start_of(dtype: torch.dtype, shape: tuple[int, ...]) -> hashlib._Hash:
    """The sha256 object of a tensor's hash, before its values are taken in."""
    return hashlib.sha256(f"{str(dtype).removeprefix('torch.')} {list(shape)}\n".encode())


def is_plain(tensor: Tensor) -> bool:
    """True for weights of at least 16 bits that are stored as they are; False for codes, also where they pass for floats (torchao)."""
    return tensor.dtype.is_floating_point and tensor.dtype.itemsize >= 2 and not _packed(tensor)


def unpacked(tensor: Tensor) -> Tensor:
    """The values that packed codes stand for, where the package that packed them can tell; else `tensor` itself."""
    values: Tensor = tensor.dequantize() if _packed(tensor) else tensor
    return values


def _packed(tensor: Tensor) -> bool:
    return type(tensor.data) not in (Tensor, nn.Parameter) and hasattr(tensor, "dequantize")


def hash_named(parameters: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """sha256 by name."""
    named = list(parameters)
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip((n for n, _ in named), pool.map(tensor_sha256, (t for _, t in named)), strict=True))


def combine(hashes: dict[str, str]) -> str:
    """One sha256 of all of them, in the order of their names."""
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def weights_sha256(model: nn.Module) -> str:
    """sha256 of all parameters as they are now; twins (tied weights) count once.

    64 hexadecimal digits.

    Examples:
        >>> from torch import nn
        >>> model = nn.Linear(2, 2)
        >>> weights_sha256(model) == weights_sha256(model), len(weights_sha256(model))
        (True, 64)
    """
    return combine(hash_named((n, p.data) for n, p in model.named_parameters()))
