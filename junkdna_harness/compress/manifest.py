"""`junkdna.json`, the manifest beside a checkpoint's weights: what was done to them, and from which model they came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError

MANIFEST = "junkdna.json"
_BEFORE = ("kind", "method", "pattern", "level", "bits", "quantizer", "weights_sha256")


def read_manifest(source: str | Path) -> dict[str, Any]:
    """The `junkdna.json` of a folder; empty where there is none.

    Raises:
        UsageError: it is no JSON object.
    """
    path = Path(source) / MANIFEST
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is no JSON: {error}. Restore it or remove it.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{str(path)!r} is no manifest. Restore it or remove it.")
    return found


def origin(source: Mapping[str, Any]) -> dict[str, Any]:
    """What a new manifest says of where its weights come from; `source` as `Source.to_dict` gives it.

    `base_model` is the root of the chain of checkpoints, `created` the time in UTC, and `before` (None for a model without
    a manifest) what had been done when this step began.

    Raises:
        UsageError: the source folder's manifest is no JSON object.
    """
    name = source.get("pretrained") or source.get("model")
    before = read_manifest(name) if isinstance(name, str) else {}
    return {
        "base_model": base_model(name) if isinstance(name, str) else None,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "before": {key: before.get(key) for key in _BEFORE} if before else None,
    }


def base_model(name: str) -> str:
    """The root of the chain: the model that was there before the first `junkdna.json`, as the user named it.

    Raises:
        UsageError: a manifest on the way is no JSON object.
    """
    seen: set[str] = set()
    while name not in seen:  # a folder that was written over its own source names itself
        seen.add(name)
        manifest = read_manifest(name)
        if manifest.get("base_model"):
            return str(manifest["base_model"])
        source = manifest.get("source") or {}
        name = str(source.get("pretrained") or source.get("model") or name)
    return name
