"""The dense model's logits, computed once: in memory while a grid is measured, and on disk where a folder is named.

They are kept whole and in the numbers that the model computes in, so that nothing is approximated: a window of n tokens takes n times the
vocabulary times the size of a number.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from difficulty.errors import UsageError
from difficulty.files import PARTIAL, write_atomic
from difficulty.json_files import parsed
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.presentation.amounts import byte_size
from junkdna_harness.resources import disk_of, free_memory
from junkdna_harness.texts.scoring import Logits, logits_of

META = "dense.json"
KIND = "junkdna-dense-logits"
SHARE_OF_MEMORY = 4  # logits are kept in memory up to a quarter of what is free


class DenseLogits:
    """A model as a function from inputs to logits, that answers what it was asked before from memory or from `folder`.

    Raises:
        UsageError: the folder holds another model's logits or something else, or has no room for these.
    """

    def __init__(self, lm: Any, folder: Path | None = None, n_tokens: int = 0) -> None:
        self._compute: Logits = logits_of(lm)
        self._device = lm.device
        self._kept: dict[str, Tensor] = {}
        self._room = free_memory() // SHARE_OF_MEMORY
        self._folder = folder
        self._meta: dict[str, Any] = {}
        if folder is not None:
            width = int(lm.model.config.get_text_config().vocab_size)
            self._meta = _meta(lm)
            _check(folder, self._meta, n_tokens * width * torch.finfo(lm.model.dtype).bits // 8)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits of `inputs`, int64, shape (rows, tokens), on the model's device."""
        name = hashlib.sha256(str(tuple(inputs.shape)).encode() + inputs.numpy().tobytes()).hexdigest()[:32]
        found = self._kept.get(name)
        if found is None and self._folder is not None:
            found = _read(self._folder / f"{name}.safetensors")
        if found is None:
            found = self._compute(inputs)
            self._keep(name, found.cpu())
        return found.to(self._device)

    def _keep(self, name: str, logits: Tensor) -> None:
        if self._folder is not None:
            if not (meta := self._folder / META).is_file():  # of one that was refused nothing is left
                write_atomic(meta, json.dumps(self._meta, indent=1) + "\n")
            path = self._folder / f"{name}.safetensors"
            write_atomic(path, save({"logits": logits.contiguous()}))
        elif (size := logits.nbytes) <= self._room:
            self._kept[name] = logits
            self._room -= size


def _read(path: Path) -> Tensor | None:
    """The logits of a window; None where they are not there, or the file was cut: they are computed again."""
    try:
        found: Tensor = load_file(path)["logits"]
        return found
    except (FileNotFoundError, SafetensorError, KeyError):
        return None


def _meta(lm: Any) -> dict[str, Any]:
    """What decides logits beside the inputs."""
    return {
        "kind": KIND, "weights_sha256": weights_sha256(lm.model), "dtype": str(lm.model.dtype).removeprefix("torch."),
        "autocast": str(lm.mixed_precision_dtype), "torch": torch.__version__,
    }  # fmt: skip


def _check(folder: Path, meta: dict[str, Any], size: int) -> None:
    """Refuse a cache of another model, or a place without the room; nothing is made yet."""
    path = folder / META
    if path.is_file():
        try:
            there = parsed(path.read_text(encoding="utf-8"))
        except ValueError:
            there = {}
        if there != meta:
            name = next(
                (key for key in meta if not isinstance(there, dict) or there.get(key) != meta[key]), "kind"
            )
            raise UsageError(
                f"{str(folder)!r} holds the logits of another model: its {name} differs. Give another --cache."
            )
        return
    if folder.exists() and not (
        folder.is_dir() and all(one.suffix == PARTIAL for one in folder.iterdir())  # killed at the first
    ):
        raise UsageError(f"{str(folder)!r} exists and is no cache of logits. Give another --cache.")
    free = shutil.disk_usage(disk_of(folder)).free
    if size > free:
        raise UsageError(
            f"the dense logits take {byte_size(size)}, and {str(folder.parent)!r} has {byte_size(free)} left. Give less text, or no --cache."
        )
