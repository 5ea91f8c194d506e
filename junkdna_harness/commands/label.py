"""`junkdna label`: settle which run a log is of, where nothing that can be read says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difficulty.errors import UsageError
from difficulty.runs.identity import DENSE, Method
from junkdna_harness.presentation.console import say


def label(
    run: Annotated[Path, typer.Argument(help="lm-eval output folder of one run, or its results_*.json.")],
    method: Annotated[
        str | None, typer.Option(help="What was done to the model: wanda, rtn, dense, 'magnitude 2:4' ...")
    ] = None,
    sparsity: Annotated[
        float | None, typer.Option(help="Fraction of the targeted weights that is zero.")
    ] = None,
    bits: Annotated[float | None, typer.Option(help="Bits per weight.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The dense model it was made from, by the name its own run has.")
    ] = None,
    replicate: Annotated[int, typer.Option(help="Which draw of mask, calibration or training.")] = 0,
    noise_floor: Annotated[
        bool,
        typer.Option(
            "--noise-floor", help="A second evaluation of the dense weights, e.g. in another batch size."
        ),
    ] = False,
) -> None:
    """Say which run a log is of, where nothing else says so.

    `--label 'FOLDER=wanda 0.5'` of the other commands says the same for one call. Delete the file to take it back.
    """
    from difficulty.runs.label import Label, write_label
    from difficulty.runs.lm_eval_log import find_results, is_results

    found = [run] if run.is_file() and is_results(run) else find_results(run) if run.is_dir() else []
    if len(found) != 1:
        raise UsageError(
            f"{str(run)!r} holds {len(found)} results files of lm_eval. Name one results_*.json, or the folder of one run."
        )
    if method is None and not noise_floor:
        raise UsageError("nothing says what was done to the model. Give --method, or --noise-floor.")
    named = DENSE if method is None else method
    level = 0.0 if named == DENSE and sparsity is None else sparsity
    said = Label(Method.parse(named), level, bits, model, replicate, noise_floor)
    path = write_label(found[0], said)
    say(f"{path}: {said.run(model or 'the logged model')}")
