"""The outcome of the gate, told wherever a person looks: the terminal, and what GitHub shows of a job."""

from __future__ import annotations

from collections.abc import Iterable

from junkdna_harness.gate.github import add_step_summary, guard, in_a_workflow, workflow_commands
from junkdna_harness.gate.human import human
from junkdna_harness.gate.rule import Gate
from junkdna_harness.presentation.console import say, say_json
from junkdna_harness.presentation.escape import one_line
from junkdna_harness.presentation.lines import show_lines, show_text


def tell(
    gate: Gate, exit_code: int, document: str | None = None, everything: bool = False, further: Iterable[str] = ()
) -> None:  # fmt: skip
    """Print the outcome; in a GitHub workflow, add it to the job summary and annotate what did not pass.

    `exit_code` is what the command ends with: it says what an inconclusive outcome counts as. `document`: JSON that is printed in place
    of text. `everything`: list what passed, too. `further`: paragraphs after the outcome.
    """
    add_step_summary(gate)
    told = workflow_commands(gate, exit_code == 1 and gate.verdict != "fail") if in_a_workflow() else []
    if document is not None:
        for line in told:
            say(line, stderr=True)
        say_json(document, end="")
        return
    for line in told:
        say(line)
    before, after = guard() if told else ("", "")
    if before:
        say(before)
    show_lines(human(gate, everything))
    for text in further:
        show_lines([[]])
        show_text(one_line(text))
    if after:
        say(after)
