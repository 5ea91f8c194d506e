"""The model as it was loaded, kept aside while a run changes it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from junkdna_harness.compress.anatomy import Anatomy
from junkdna_harness.compress.targets import find_targets
from junkdna_harness.resources import free_memory

# Half of what is free may hold the pristine copy; a larger one is mapped from a file.
MEMORY_SHARE = 0.5


class Pristine:
    """The targeted weights as they were loaded, in memory or mapped from a file, and the parts that the model is made of."""

    def __init__(
        self, model: Any, targets: tuple[str, ...], exclude: tuple[str, ...], folder: Path | None = None
    ) -> None:
        self.anatomy = Anatomy(model)
        parameters = {id(t.parameter): t.parameter for t in find_targets(model, targets, exclude)}
        self.parameters = list(parameters.values())
        size = sum(p.numel() * p.element_size() for p in self.parameters)
        self.mapped = size > MEMORY_SHARE * free_memory()
        self.copies = [
            _mapped_copy(p.data, folder) if self.mapped else p.data.cpu().clone() for p in self.parameters
        ]

    def restore(self) -> None:
        """Put the loaded parts and weights back, in place."""
        self.anatomy.restore()
        with torch.no_grad():
            for parameter, copy in zip(self.parameters, self.copies, strict=True):
                parameter.data.copy_(copy)


def _mapped_copy(weight: torch.Tensor, folder: Path | None) -> torch.Tensor:
    size = weight.numel() * weight.element_size()
    handle, name = tempfile.mkstemp(prefix="junkdna-weights-", suffix=".partial", dir=folder)
    os.truncate(name, size)
    os.close(handle)
    storage = torch.UntypedStorage.from_file(name, shared=True, nbytes=size)
    Path(name).unlink()  # the mapping keeps it alive, and a killed process leaves nothing behind
    copy = torch.empty(0, dtype=weight.dtype)
    copy.set_(storage, 0, weight.shape, weight.contiguous().stride())  # type: ignore[arg-type]
    copy.copy_(weight)
    return copy
