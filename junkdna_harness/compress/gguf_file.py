"""What a GGUF file holds: transformers unpacks it into plain floats, and only the file says of how many bits they were.

Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md. The bits are counted from the bytes of its tensors.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.bits import DENSE_BITS

PREFIX = "gguf"
_DENSE = frozenset({"f32", "f16", "bf16", "f64"})
_IN_BLOCKS = re.compile(
    r"blk\.\d+\.(?!ffn_gate_inp\b).*weight$"
)  # the decoder blocks' matrices, without routers
_WIDTH = re.compile(r"(\d+)")


def gguf_manifest(name: str, file: str, revision: str | None = None) -> dict[str, Any]:
    """What was done to the weights of `file` in the folder or hub model `name`, in the words of a manifest; empty where nothing was.

    Raises:
        UsageError: the file is not there or cannot be read.
    """
    from gguf import GGUFReader

    path = _path(name, file, revision)
    try:
        reader = GGUFReader(path)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise UsageError(
            f"gguf_file={file!r} of {name!r} cannot be read as GGUF ({error}). Get it again."
        ) from error
    matrices = [t for t in reader.tensors if len(t.shape) > 1]
    blocks = [t for t in matrices if _IN_BLOCKS.fullmatch(t.name)] or matrices
    kind = _kind(reader, blocks)
    if kind in _DENSE or not blocks:
        return {}
    match = _WIDTH.search(kind)
    bits = float(match[1]) if match else None
    effective = _bits(blocks)
    whole = sum(int(t.n_elements) for t in reader.tensors)
    return {
        "kind": "quantized",
        "method": f"{PREFIX}-{kind}",
        "bits": bits,
        "shared_bits": None if bits is None else effective - bits,
        "effective_bits": effective,
        "effective_bits_all": sum(int(t.n_bytes) * 8 for t in reader.tensors) / max(1, whole),
    }


def _bits(tensors: list[Any]) -> float:
    """Bits per weight as they lie in the file, at most those of a dense model."""
    stored = sum(int(t.n_bytes) * 8 for t in tensors) / sum(int(t.n_elements) for t in tensors)
    return min(stored, float(DENSE_BITS))


def _kind(reader: Any, blocks: list[Any]) -> str:
    """The name that llama.cpp gives the mix, e.g. 'q4_k_m'; where the file does not say, its most common type, 'q4_k'."""
    from gguf import LlamaFileType

    counts: Counter[str] = Counter()
    for tensor in blocks:
        counts[tensor.tensor_type.name.lower()] += int(tensor.n_elements)
    most = counts.most_common(1)[0][0] if counts else "f32"
    field = reader.get_field("general.file_type")
    if field is None:
        return most
    try:
        told = LlamaFileType(int(field.contents())).name.lower().removeprefix("mostly_").removeprefix("all_")
    except ValueError:
        return most
    # What a file says of itself counts as far as its tensors bear it out: q4_k_m is made of q4_k and others, not of f16 or q8_0.
    return told if abs(_width(told) - _width(most)) <= 1 and told != "guessed" else most


def _width(kind: str) -> int:
    match = _WIDTH.search(kind)
    return int(match[1]) if match else 0


def _path(name: str, file: str, revision: str | None) -> Path:
    from transformers.utils import cached_file

    try:
        found = cached_file(resolve_pretrained(name), file, revision=revision or "main")
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"gguf_file={file!r} of {name!r} could not be found: {first}") from error
    return Path(str(found))
