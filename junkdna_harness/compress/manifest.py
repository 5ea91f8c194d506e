"""`junkdna.json`, the manifest beside a checkpoint's weights: where it lies for a model's name, and what a new one says of its origin.

It is read in `difficulty.runs.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import (
    ADAPTER_CONFIG,
    EMBEDDED_NAMES,
    MANIFEST,
    as_path,
    base_model,
    folder_of,
    plain_name,
    read_manifest,
    read_object,
    snapshot,
    source_of,
)
from junkdna_harness.arguments import is_adapter, resolve_pretrained
from junkdna_harness.compress.gguf_file import gguf_manifest

_BEFORE = ("kind", "method", "on_top_of", "pattern", "level", "bits", "quantizer", "weights_sha256")


def origin(source: Mapping[str, Any], believed: bool = True) -> dict[str, Any]:
    """What a new manifest says of where its weights come from; `source` as `Source.to_dict` gives it.

    `base_model` is the root of the chain of checkpoints, `created` the time in UTC, and `before` (None for a model without
    a manifest) what had been done when this step began. Where the source's manifest is not `believed`, the chain begins here.

    Raises:
        UsageError: the source folder's manifest is no JSON object.
    """
    name = source_of({"source": source})
    folder = None if name is None or not believed else manifest_folder(name, source.get("revision"))
    before = {} if folder is None else read_manifest(folder)
    root = base_model(folder) if before and folder is not None else name
    return {
        "base_model": None if root is None else plain_name(root),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "before": {key: before.get(key) for key in _BEFORE} if before else None,
    }


def manifest_of(name: str, revision: str | None = None, gguf_file: str | None = None) -> dict[str, Any]:
    """The manifest of a model by its name, of a folder or of a model of the hub; empty where there is none. Of a GGUF file, what
    the file itself says.

    Raises:
        UsageError: it is no JSON object, or the GGUF file cannot be read.
    """
    if gguf_file is not None:
        return gguf_manifest(name, gguf_file, revision)
    folder = manifest_folder(name, revision)
    return {} if folder is None else read_manifest(folder)


def manifest_folder(name: str, revision: str | None = None) -> Path | None:
    """The folder in which the manifest of `name` may lie: itself, or the snapshot of a hub model, to which it is downloaded
    where the hub can be reached."""
    path = as_path(name)
    if path.is_dir():
        return path
    try:
        found = resolve_pretrained(name)
    except UsageError:
        return None
    if Path(found).is_dir():
        return Path(found)
    if (cached := snapshot(found, revision)) is not None and (cached / MANIFEST).is_file():
        return cached
    from transformers.utils import cached_file

    try:
        file = cached_file(
            found, MANIFEST, revision=revision or "main",
            _raise_exceptions_for_gated_repo=False, _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )  # fmt: skip
    except (OSError, ValueError):
        return None
    return None if file is None else Path(file).parent


def base_of_adapter(folder: str | Path) -> str | None:
    """What the adapter in `folder` was trained on, as it can be loaded; None where `folder` holds no adapter.

    Raises:
        UsageError: the adapter does not say.
    """
    path = as_path(str(folder))
    if not is_adapter(path):
        return None
    name = source_of(read_manifest(path)) or read_object(path / ADAPTER_CONFIG, once=False).get(
        "base_model_name_or_path"
    )
    if not name:
        raise UsageError(
            f"{str(folder)!r} is an adapter that does not say of which model. Give pretrained=MODEL,peft={folder}."
        )
    if (plain := plain_name(str(name))) in EMBEDDED_NAMES:
        return plain
    near = folder_of(str(name), path)
    return str(name) if near is None else str(near)
