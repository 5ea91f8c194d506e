"""The page of licences names every package that we ask for, with what the installed package says."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import pytest

from benchmarks import licences

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
ROWS = {row[0]: row for row in ([cell.strip() for cell in line.strip("| ").split("|")] for line in PAGE.splitlines() if line.startswith("| "))}  # fmt: skip


@pytest.mark.parametrize("package", licences.asked_for(licences.OURS))
def test_the_page_names_what_we_ask_for(package: str) -> None:
    name, version, licence = ROWS[package]
    assert licence == licences.licence(package) != "not said"
    if distribution(package).version.partition("+")[0] == version.partition("+")[0]:
        assert f"| {name} | {version} |" in PAGE


def test_the_page_names_what_those_bring() -> None:
    brought = licences.closure(licences.asked_for(licences.OURS))
    assert {"tokenizers", "huggingface-hub", "datasets", "click"} <= set(brought) & ROWS.keys()


def test_what_is_said_of_security_is_in_the_source_distribution_and_linked() -> None:
    assert '"SECURITY.md"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "(SECURITY.md)" in (ROOT / page).read_text(encoding="utf-8")
