"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def benchmark_data() -> Path:
    """The folder of real benchmark rows, or a skip that says where it was looked for."""
    folder = Path(os.environ.get("JUNKDNA_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real benchmark rows are not at {folder}: set JUNKDNA_DATA to their folder")
    return folder
