"""The manifest of a checkpoint read again: from what it was made, and how it is called in tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from junkdna_harness.compress.manifest import MANIFEST, read_manifest

__all__ = ["IDENTITY", "MANIFEST", "read_manifest", "recovered_identity"]

IDENTITY = ("model", "method", "level", "bits", "recovery")


def recovered_identity(source: str | Path | None, weights_sha256: str) -> dict[str, Any]:
    """Model, method and level under which a recovered checkpoint stands in tables, and how it was recovered.

    Empty where the folder is no recovery, or where its weights are no longer those that the manifest describes.
    """
    manifest = read_manifest(source) if source is not None else {}
    if "recovery" not in manifest or manifest.get("weights_sha256") != weights_sha256:
        return {}
    return {name: manifest[name] for name in IDENTITY if name in manifest}
