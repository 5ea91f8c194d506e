"""`junkdna doctor`."""

from __future__ import annotations

import typer

from junkdna_harness.presentation.console import console


def doctor() -> None:
    """Say what is installed, where the tasks are, and whether lm_eval finds models and tasks; exit code 1 if not."""
    from rich.markup import escape
    from rich.table import Table

    from junkdna_harness.doctor import examine

    findings = examine()
    table = Table(show_header=False, box=None)
    for finding in findings:
        mark = {True: "[green]ok[/green]", False: "[red]missing[/red]", None: ""}[finding.ok]
        table.add_row(mark, escape(finding.name), escape(finding.value))
    console(soft_wrap=True).print(table)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)
