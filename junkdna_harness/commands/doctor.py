"""`junkdna doctor`."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Say what is installed, and whether lm_eval finds us."""
    from junkdna_harness.doctor import examine
    from junkdna_harness.presentation.lines import show_lines
    from junkdna_harness.presentation.table import Cell, Column, table

    findings = examine()
    marks = {True: Cell("ok", "green"), False: Cell("missing", "red"), None: Cell("")}
    columns = [Column("", told=False), Column("what", told=False), Column("found", "text", told=False)]
    rows: list[list[str | Cell]] = [[marks[finding.ok], finding.name, finding.value] for finding in findings]
    show_lines(table(columns, rows))
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)
