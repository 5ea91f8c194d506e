"""Whether two sweeps' folders hold the same: tables byte by byte, manifests up to when and where they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from difficulty.runs import store as layout

OF_THE_MACHINE = ("seconds", "device", "threads")


def differences(one: Path, other: Path) -> list[str]:
    """Names of what differs or is missing; empty where the folders hold the same."""
    names = sorted({_name(path, root) for root in (one, other) for path in _files(root)})
    return [name for name in names if _content(one / name) != _content(other / name)]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _content(path: Path) -> Any:
    if not path.is_file():
        return None
    if path.parent.name != layout.RUNS:
        return path.read_bytes()
    return _without_machine(json.loads(path.read_text()))


def _without_machine(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {name: _without_machine(value) for name, value in values.items() if name not in OF_THE_MACHINE}
