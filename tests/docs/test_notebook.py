"""The notebook runs from top to bottom, on a few items, and keeps the outputs of a whole run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from doc_tools import notebook
from doc_tools.blocks import ROOT

BOOK = nbformat.read(ROOT / notebook.PAGE, as_version=4)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    ran = notebook.run(tmp_path, limit=2)
    assert any(
        "image/png" in output.get("data", {}) for cell in ran.cells for output in cell.get("outputs", [])
    )


def test_its_outputs_are_kept() -> None:
    nbformat.validate(BOOK)
    code = [cell for cell in BOOK.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)], (
        f"run: python -m doc_tools {notebook.PAGE}"
    )
    assert "site-packages" not in (ROOT / notebook.PAGE).read_text(encoding="utf-8")  # no paths of a machine
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
