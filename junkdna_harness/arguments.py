"""What `pretrained=` may name: the embedded model, SmolLM2 from its PyPI package, a folder, or a model of the hub."""

from __future__ import annotations

import os
from pathlib import Path

from difficulty.errors import UsageError
from junkdna_harness.tiny import EMBEDDED, model_path

SMOLLM2 = "smollm2-135m"


def resolve_pretrained(name: str | None) -> str:
    """What transformers can load: a folder's path, or `name` itself where it is a hub id.

    Raises:
        UsageError: `name` looks like a path and no model is there, or an extra is missing.
    """
    if name is None or name == EMBEDDED:
        return str(model_path())
    if name == SMOLLM2:
        from junkdna_harness.smollm2 import model_path as smollm2_path

        return str(smollm2_path())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file() and not list(folder.glob("*.gguf")):
            raise UsageError(
                f"pretrained={name!r} is a folder without config.json. Name a folder that save_pretrained wrote."
            )
        return str(folder)
    if _looks_like_path(name):
        raise UsageError(
            f"pretrained={name!r} is no folder here and no hub id. Name a model's folder, an id such as "
            f"'org/model', {SMOLLM2!r}, or leave it out for the embedded model."
        )
    return name


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.count("/") > 1 or "\\" in name
