"""The outcome of the gate, told wherever a person looks: the terminal, and what GitHub shows of a job."""

from __future__ import annotations

import sys

from junkdna_harness.gate.github import add_step_summary, guard, in_a_workflow, workflow_commands
from junkdna_harness.gate.human import human
from junkdna_harness.gate.json_output import as_json
from junkdna_harness.gate.rule import Gate
from junkdna_harness.presentation.lines import show


def tell(gate: Gate, exit_code: int, as_data: bool = False, everything: bool = False) -> None:
    """Print the outcome (`as_data`: as JSON); in a GitHub workflow, add it to the job summary and annotate what did not pass.

    `exit_code` is what the command ends with: it says what an inconclusive outcome counts as. `everything`: list what passed, too.
    """
    add_step_summary(gate)
    told = workflow_commands(gate, exit_code == 1) if in_a_workflow() else []
    if as_data:
        for line in told:
            print(line, file=sys.stderr)
        print(as_json(gate, exit_code), end="")
        return
    for line in told:
        print(line)
    before, after = guard() if told else ("", "")
    if before:
        print(before)
    show(human(gate, everything))
    if after:
        print(after)
