"""Whether the manifest of a checkpoint is believed: it is a claim, and is held here against the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import (
    CLEARLY_SPARSE,
    MANIFEST,
    NONE,
    base_model,
    method_of,
    number,
    read_manifest,
    share,
)
from difficulty.runs.identity import DENSE, Method
from junkdna_harness.compress.checkpoint import inspect_checkpoint


@dataclass(frozen=True)
class Origin:
    """What the manifest in `folder` says: the `model` at its root, and what was done to it since.

    `level` is the sparsity of the targeted weights, `bits` their nominal width; None where the manifest names none.
    """

    folder: Path
    manifest: Mapping[str, Any]
    model: str
    method: Method
    level: float | None
    bits: float | None

    @classmethod
    def read(cls, folder: str | Path) -> Origin | None:
        """The origin of a folder, None where it has no manifest.

        Raises:
            UsageError: the manifest is damaged.
        """
        manifest = read_manifest(folder)
        if not manifest:
            return None
        where = str(Path(folder) / MANIFEST)
        level, bits = share(manifest, "level", where), number(manifest, "bits", where)
        if level is None and manifest.get("kind") == "pruned":
            level = share(manifest, "sparsity_targeted", where) or 0.0
        return cls(Path(folder), manifest, base_model(folder), method_of(manifest, where), level, bits)

    @property
    def changed(self) -> bool:
        """False for a plain copy of a dense model, in which a few weights may happen to be zero."""
        if self.method.recovered or self.bits is not None:
            return True
        if self.level is not None:
            asked = share(self.manifest, "requested_sparsity", str(self.folder / MANIFEST))
            return self.level >= CLEARLY_SPARSE or (bool(asked) and self.level > 0)
        return self.method not in (Method(DENSE), Method(NONE))

    def fault(self, weights_sha256: str | None = None, files: bool = True) -> str:
        """Why the manifest cannot be believed, or '': the weights are neither those in memory nor those in the files.

        A model loaded in another dtype has another hash, so the files are looked at too (unless `files` is False).
        """
        claimed = self.manifest.get("weights_sha256")
        if claimed is not None and claimed == weights_sha256:
            return ""
        if files and isinstance(self.manifest.get("tensors"), dict):
            return self._fault_of_files()
        return "" if claimed is None else f"the weights are not those that {MANIFEST} describes"

    @property
    def unverifiable(self) -> bool:
        """True where the manifest holds nothing by which the weights could be known again."""
        return not self.manifest.get("weights_sha256") and not self.manifest.get("tensors")

    def _fault_of_files(self) -> str:
        try:
            found = inspect_checkpoint(self.folder)
        except UsageError as error:
            return str(error)
        wrong = [tensor for tensor in found.tensors if tensor.state != "ok"]
        if not wrong:
            return ""
        return f"{len(wrong)} tensors differ from {MANIFEST}, e.g. {wrong[0].name} is {wrong[0].state}"
