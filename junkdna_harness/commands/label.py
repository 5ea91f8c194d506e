"""`junkdna label`: settle which run a log is of, where nothing that can be read says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def label(
    run: Annotated[Path, typer.Argument(help="lm-eval output folder of one run, or its results_*.json.")],
    method: Annotated[
        str, typer.Option(help="What was done to the model: wanda, rtn, dense, 'magnitude 2:4' ...")
    ],
    sparsity: Annotated[
        float | None, typer.Option(help="Fraction of the targeted weights that is zero.")
    ] = None,
    bits: Annotated[float | None, typer.Option(help="Bits per weight.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The dense model it was made from, by the name its own run has.")
    ] = None,
    replicate: Annotated[int, typer.Option(help="Which draw of mask, calibration or training.")] = 0,
) -> None:
    """Write a small file beside the log that says which run it is of; every command reads it.

    `--label 'FOLDER=wanda 0.5'` of the other commands says the same for one call. Delete the file to take it back.
    """
    from difficulty.errors import UsageError
    from difficulty.runs.identity import Method
    from difficulty.runs.label import Label, write_label
    from difficulty.runs.lm_eval_log import find_results, is_results

    found = [run] if run.is_file() and is_results(run) else find_results(run) if run.is_dir() else []
    if len(found) != 1:
        raise UsageError(
            f"{str(run)!r} holds {len(found)} results files of lm_eval. Name one results_*.json, or the folder of one run."
        )
    said = Label(Method.parse(method), 0.0 if method == "dense" else sparsity, bits, model, replicate)
    path = write_label(found[0], said)
    typer.echo(f"{path}: {said.run(model or 'the logged model')}")
