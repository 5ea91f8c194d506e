"""The manifest of a checkpoint read again: from what it was made, and how it is called in tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError

MANIFEST = "junkdna.json"
IDENTITY = ("model", "method", "level", "bits", "recovery")


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


def recovered_identity(source: str | Path | None, weights_sha256: str) -> dict[str, Any]:
    """Model, method and level under which a recovered checkpoint stands in tables, and how it was recovered.

    Empty where the folder is no recovery, or where its weights are no longer those that the manifest describes.
    """
    manifest = read_manifest(source) if source is not None else {}
    if "recovery" not in manifest or manifest.get("weights_sha256") != weights_sha256:
        return {}
    return {name: manifest[name] for name in IDENTITY if name in manifest}
