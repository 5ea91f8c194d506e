"""What GitHub shows of the gate beside its log: the summary page of a job, annotations, and a log without commands of others.

Limits: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands: one step's summary has at most 1 MiB, and
ten annotations of each kind are shown.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from difficulty.errors import UsageError
from junkdna_harness.gate.markdown import markdown
from junkdna_harness.gate.rule import Comparison, Gate
from junkdna_harness.gate.words import of_comparison, sentence, worst_first
from junkdna_harness.presentation.escape import workflow_command

LARGEST_SUMMARY = 1024 * 1024
MOST_ANNOTATIONS = 10


def in_a_workflow() -> bool:
    """Whether a GitHub runner reads what is printed."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def add_step_summary(gate: Gate) -> None:
    """Append to the job summary where a GitHub workflow has set GITHUB_STEP_SUMMARY; else do nothing.

    What other calls of the same step wrote counts: a summary that is too large would be refused as a whole.

    Raises:
        UsageError: the variable names a file that cannot be written.
    """
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    path = Path(target)
    try:
        room = LARGEST_SUMMARY - (path.stat().st_size if path.exists() else 0)
        with path.open("a", encoding="utf-8") as handle:
            handle.write(markdown(gate, room))
    except OSError as error:
        raise UsageError(
            f"GITHUB_STEP_SUMMARY {target!r} cannot be written: {error.strerror}. Unset it or name a writable file."
        ) from error


def workflow_commands(gate: Gate, inconclusive_fails: bool = False) -> list[str]:
    """Workflow commands, at most `MOST_ANNOTATIONS`: the outcome, then what did not pass, the worst first.

    What decides is an error where it failed; what is open is a warning, and so is what is only advisory.
    """
    level = {"pass": "notice", "fail": "error", "inconclusive": "error" if inconclusive_fails else "warning"}
    found = [workflow_command(level[gate.verdict], sentence(gate), "junkdna")]
    found += [
        workflow_command("error", f"missing from the new run: {item}", "junkdna: missing")
        for item in gate.missing
    ]
    ranked = [*worst_first(gate.critical, gate.alpha), *worst_first(gate.advisory, gate.alpha)]
    for one in ranked:
        if one.verdict != "pass":
            kind = _level(one, level)
            title = f"junkdna: {one.name}, {one.verdict}" + (
                ", advisory" if one.severity == "advisory" else ""
            )
            found.append(workflow_command(kind, of_comparison(one, gate.alpha), title))
    if len(found) > MOST_ANNOTATIONS:
        more = len(found) - MOST_ANNOTATIONS + 1
        last = workflow_command(
            "notice", f"{more} more are in the summary of the job and in the JSON", "junkdna"
        )
        found = [*found[: MOST_ANNOTATIONS - 1], last]
    return found


def _level(one: Comparison, level: dict[str, str]) -> str:
    if one.severity == "advisory":
        return "warning" if one.verdict == "fail" else "notice"
    return level[one.counts_as]


def guard() -> tuple[str, str]:
    """Two lines between which a runner takes no commands: a name in a table that begins with `::` would be one."""
    token = secrets.token_hex(16)
    return f"::stop-commands::{token}", f"::{token}::"
