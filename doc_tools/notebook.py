"""docs/notebooks/from_sweep_to_verdict.ipynb, run from top to bottom; its outputs stay in the file, so that the site shows them."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from doc_tools.blocks import ROOT
from doc_tools.session import environment, readable
from tests.action.runner import commands

PAGE = "docs/notebooks/from_sweep_to_verdict.ipynb"
_SETTING = re.compile(r"^(LIMIT = ).*", re.M)


def run(folder: Path, limit: int | None = None) -> Any:
    """The notebook as it is after its cells were run in `folder`, with another number of items per task where one is given."""
    book = nbformat.read(ROOT / PAGE, as_version=4)
    if limit is not None:
        for cell in book.cells:
            cell.source = _SETTING.sub(rf"\g<1>{limit}", cell.source)
    before = dict(os.environ)
    os.environ.update(environment(commands(folder / "bin")) | {"PYTHONWARNINGS": "ignore"})
    try:
        home = folder / "home"
        home.mkdir()
        NotebookClient(
            book, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(home)}}
        ).execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # times
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = readable(output["text"], home)
    return book


def text() -> str:
    """The file with the outputs of now."""
    with tempfile.TemporaryDirectory() as folder:
        return nbformat.writes(run(Path(folder))) + "\n"
