"""What a checkpoint folder says of itself: its manifest `junkdna.json`, the model it was made from, and what was done.

A manifest is a claim. `fault` holds it against the weights, and says why it cannot be believed where it cannot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.identity import DENSE, Method
from junkdna_harness.tiny import EMBEDDED, model_path

MANIFEST = "junkdna.json"
ADAPTER_CONFIG = "adapter_config.json"
NONE = "none"  # the method that changes nothing
SPARSE = 0.01  # a trained model has next to no zeros; with this share of them it was pruned
UNKNOWN = "pruned"  # somebody pruned it, we do not know how
PACKAGED = (EMBEDDED, "smollm2-135m")  # names of models that come in a package, never of folders


def read_manifest(source: str | Path) -> dict[str, Any]:
    """The `junkdna.json` of a folder; empty where there is none.

    Raises:
        UsageError: it is no JSON object.
    """
    return _read_json(Path(source) / MANIFEST)


def base_of_adapter(folder: str | Path) -> str | None:
    """What the adapter in `folder` was trained on, as it can be loaded; None where `folder` holds no adapter.

    Raises:
        UsageError: the adapter does not say.
    """
    path = Path(folder).expanduser()
    if (path / "config.json").is_file() or not (path / ADAPTER_CONFIG).is_file():
        return None
    name = _source(read_manifest(path)) or _read_json(path / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not name:
        raise UsageError(
            f"{str(folder)!r} is an adapter that does not say of which model. Give pretrained=MODEL,peft={folder}."
        )
    if _is_embedded(str(name)):
        return EMBEDDED
    near = _folder(str(name), path)
    return str(name) if near is None else str(near)


def root_of(name: str) -> str:
    """The model at the root of the chain of manifests that begins at `name`, as far as its folders can be read.

    >>> root_of("org/model")
    'org/model'

    Raises:
        UsageError: a manifest in the chain is damaged.
    """
    folder, seen = _folder(name), set[Path]()
    while folder is not None and folder.resolve() not in seen:
        seen.add(folder.resolve())
        manifest = read_manifest(folder)
        before = manifest.get("base_model") or _source(manifest)
        if before is None and not (folder / "config.json").is_file():
            before = _read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
        if before is None:
            break
        name = str(before)
        if manifest.get("base_model"):
            break
        folder = _folder(name, folder)
    return EMBEDDED if seen and _is_embedded(name) else name


def method_of(block: Mapping[str, Any]) -> Method:
    """The method of a manifest or a `junkdna` block, in which an N:M pattern may stand apart."""
    method, pattern = Method.parse(str(block.get("method") or UNKNOWN)), str(block.get("pattern") or "")
    return replace(method, pattern=pattern) if ":" in pattern and method.pattern is None else method


def then(before: Method, method: Method) -> Method:
    """`method` applied to what `before` had made: both are named, in order, as one method without blanks.

    >>> str(then(Method("magnitude", "2:4"), Method("wanda")))
    'magnitude_2:4+wanda'
    """
    return replace(method, base=f"{str(before).replace(' ', '_')}+{method.base}")


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
        try:
            level, bits = (None if (v := manifest.get(n)) is None else float(v) for n in ("level", "bits"))
            if level is None and manifest.get("kind") == "pruned":
                level = float(manifest.get("sparsity_targeted") or 0)
            return cls(Path(folder), manifest, root_of(str(folder)), method_of(manifest), level, bits)
        except (TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(
                f"{str(Path(folder) / MANIFEST)!r} is damaged ({error}). Restore it or remove it."
            ) from error

    @property
    def changed(self) -> bool:
        """False for a plain copy of a dense model, in which a few weights may happen to be zero."""
        if self.method.recovered or self.bits is not None:
            return True
        if self.level is not None:
            return self.level >= SPARSE
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
        from junkdna_harness.compress.checkpoint import inspect_checkpoint

        try:
            found = inspect_checkpoint(self.folder)
        except UsageError as error:
            return str(error)
        wrong = [tensor for tensor in found.tensors if tensor.state != "ok"]
        if not wrong:
            return ""
        return f"{len(wrong)} tensors differ from {MANIFEST}, e.g. {wrong[0].name} is {wrong[0].state}"


def _source(manifest: Mapping[str, Any]) -> str | None:
    source = manifest.get("source")
    found = (source.get("pretrained") or source.get("model")) if isinstance(source, Mapping) else None
    return None if found is None else str(found)


def _folder(name: str, beside: Path | None = None) -> Path | None:
    """The folder that `name` is, here or beside the folder in which it is written; None for hub ids and packages."""
    if name in PACKAGED:
        return None
    path = Path(name).expanduser()
    places = [path] if beside is None or path.is_absolute() else [path, beside.parent / path]
    return next((place for place in places if place.is_dir()), None)


def _is_embedded(name: str) -> bool:
    return Path(name).is_dir() and Path(name).resolve() == model_path().resolve()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is no JSON: {error}. Restore it or remove it.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{str(path)!r} is no manifest. Restore it or remove it.")
    return found
