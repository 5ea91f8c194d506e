"""`junkdna check --history` and `--trend`: decisions that are kept, and what creeps in over them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from difficulty.errors import UsageError
from junkdna_harness.presentation.console import say, say_json

if TYPE_CHECKING:
    from junkdna_harness.gate.rule import Gate

_PANEL = "History"
RATE = 0.05

HISTORY = Annotated[
    Path | None,
    typer.Option(
        "--history", help="Append this decision to a file, one line of JSON each.", rich_help_panel=_PANEL
    ),
]
COMMIT = Annotated[
    str | None,
    typer.Option(
        "--commit",
        help="The commit that is judged, for --history; by default what CI or git says.",
        rich_help_panel=_PANEL,
    ),
]
TREND = Annotated[
    Path | None,
    typer.Option(
        "--trend",
        help="Show the drift over a file made with --history, without NEW. Exit code 1 at an alarm.",
        rich_help_panel=_PANEL,
    ),
]
FALSE_ALARM_RATE = Annotated[
    float | None,
    typer.Option(
        "--false-alarm-rate",
        help="Chance that --trend ever raises an alarm where nothing drifts. Default 0.05.",
        rich_help_panel=_PANEL,
    ),
]
SINCE = Annotated[
    str | None,
    typer.Option("--since", help="Let --trend start from this commit.", rich_help_panel=_PANEL),
]
TOLERANCE = Annotated[
    float | None,
    typer.Option(
        "--tolerance",
        help="Loss per entry that --trend takes for no drift, in the metric's units. Default 0.",
        rich_help_panel=_PANEL,
    ),
]


def show_trend(
    path: Path, rate: float | None, since: str | None, tolerance: float | None, json_file: Path | None,
    others: Mapping[str, Any],
) -> NoReturn:  # fmt: skip
    """Print the trend of a history; ends with its exit code. `others`: options that judge a run, none of which may be given."""
    from difficulty.files import write_atomic
    from junkdna_harness.gate.history import read_history
    from junkdna_harness.gate.trend import trend
    from junkdna_harness.gate.trend_outputs import trend_json, trend_text
    from junkdna_harness.presentation.lines import show_lines

    given = [name for name, value in others.items() if value not in (None, [])]
    if given:
        raise UsageError(
            f"--trend shows a history and judges no run, so {given[0]} means nothing to it. Add a decision first: "
            "junkdna check NEW --against BASE --history FILE."
        )
    found = trend(
        read_history(path), RATE if rate is None else rate, since, 0.0 if tolerance is None else tolerance
    )
    if json_file is not None and str(json_file) != "-":
        write_atomic(json_file, trend_json(found))
    if str(json_file) == "-":
        say_json(trend_json(found), end="")
    else:
        outcome, mark, rest = trend_text(found).partition("\n\n")
        style = "bold red" if found.alarmed else ""
        show_lines(
            [
                *([(line, style)] for line in outcome.split("\n")),
                *([(line, "")] for line in (mark + rest).split("\n")[1:]),
            ]
        )
    raise typer.Exit(found.exit_code)


def refuse_without_trend(rate: float | None, since: str | None, tolerance: float | None) -> None:
    """Refuse what is of --trend alone."""
    options = {"--false-alarm-rate": rate, "--since": since, "--tolerance": tolerance}
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(
            f"{given[0]} is of --trend. Give --trend FILE with a history, or leave {given[0]} out."
        )


def ready_for_history(history: Path | None, commit: str | None, against: Path | None) -> str | None:
    """The commit that is judged, before anything is read: what is wrong with the options is said at once."""
    if history is None:
        if commit is not None:
            raise UsageError("--commit names what --history keeps. Give --history FILE too, or leave it out.")
        return None
    if against is None:
        raise UsageError(
            "--history keeps decisions, and without a baseline there is none. Give --against BASELINE."
        )
    from junkdna_harness.gate.history import commit_of

    return commit_of(commit)


def keep(
    history: Path | None,
    outcome: Gate,
    exit_code: int,
    commit: str | None,
    allow_different_prompts: bool,
    looks: int | None = None,
) -> None:
    """Append a decision to its history, where there is one. `looks`: of a gate that looked more than once."""
    if history is None:
        return
    from junkdna_harness.gate.history import append

    for note in append(history, outcome, exit_code, commit, allow_different_prompts, looks):
        say(f"note: {note}", stderr=True)
