"""`junkdna compare`: two lm-eval folders, item by item, split by difficulty."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difficulty.errors import UsageError
from difficulty.visible import visible_json
from junkdna_harness.commands.options import ALLOW_DIFFERENT_PROMPTS, LABEL
from junkdna_harness.commands.tiers import parse_cuts, use_working_directory
from junkdna_harness.presentation.console import say


def compare(
    folder_a: Annotated[
        str, typer.Argument(help="An lm_eval --output_path folder made with --log_samples: the reference.")
    ],
    folder_b: Annotated[str, typer.Argument(help="The other one, on the same tasks.")],
    by: Annotated[
        str | None,
        typer.Option(
            help="Split by answer_length, context_length, option_count, field:NAME, steps:NAME, operators:NAME, or "
            "module:function of the document."
        ),
    ] = None,
    bins: Annotated[
        int | None,
        typer.Option(
            help="Number of tiers (4, or as many as the items allow; text makes one tier per value)."
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Only this task; repeat it for more."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric to compare (acc, else exact_match, else the first)."),
    ] = None,
    min_items: Annotated[int, typer.Option(help="Fewest items that a tier may have.")] = 30,
    cuts: Annotated[
        str | None,
        typer.Option(help="Instead of --bins: scores at which tiers 2, 3, ... begin, e.g. 3,5."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="For text: the values from easiest to hardest, e.g. easy,medium,hard."),
    ] = None,
    name_a: Annotated[
        str | None, typer.Option("--run-a", help="Which run of FOLDER_A, where it holds several.")
    ] = None,
    name_b: Annotated[
        str | None, typer.Option("--run-b", help="Which run of FOLDER_B, where it holds several.")
    ] = None,
    label: Annotated[list[str] | None, LABEL] = None,
    allow_different_prompts: Annotated[bool, ALLOW_DIFFERENT_PROMPTS] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Also write the table as JSON."),
    ] = None,
) -> None:
    """Compare two logged lm-eval runs item by item, by difficulty.

    Ordinary runs will do: no tiers, no special model. Each row is a paired difference, B - A, with a 95 % interval.
    """
    from difficulty.files import check_writable

    check_writable(json_file)
    if by is None and (bins is not None or cuts is not None or order is not None):
        raise UsageError(
            "--bins, --cuts and --order need --by: say what to split by, e.g. --by answer_length."
        )
    if bins is not None and cuts is not None:
        raise UsageError(f"--bins {bins} and --cuts {cuts} both say where to cut. Give one of them.")
    import json

    from difficulty.cut.texts import read_order
    from difficulty.files import write_atomic
    from junkdna_harness.tiers.compare import Split, compare_folders
    from junkdna_harness.tiers.comparison import comparison_text

    use_working_directory()
    words = None if order is None else read_order(order)
    found = compare_folders(
        folder_a,
        folder_b,
        Split(by, bins, min_items, parse_cuts(cuts), words),
        tasks=task or [],
        metric=metric,
        runs=(name_a, name_b),
        labels=label or [],
        allow_different_prompts=allow_different_prompts,
    )
    say(comparison_text(found))
    if json_file is not None:
        write_atomic(
            json_file, visible_json(json.dumps(found.to_dict(), indent=1, ensure_ascii=False)) + "\n"
        )
