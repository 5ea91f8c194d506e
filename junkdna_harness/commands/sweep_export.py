"""`junkdna sweep export`: a sweep in lm-eval's own layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from junkdna_harness.presentation.console import say


def sweep_export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A sweep's folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
) -> None:
    """Write a sweep's runs as lm_eval --log_samples would have."""
    from junkdna_harness.sweep.export import export

    folders = export(folder, out)
    say(f"{len(folders)} runs in lm-eval's layout: {out}", stderr=True)
