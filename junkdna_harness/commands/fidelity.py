"""`junkdna fidelity`: what compression changed in a model's predictions of a text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difficulty.errors import UsageError
from difficulty.visible import visible_json
from junkdna_harness.presentation.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from junkdna_harness.fidelity.run import Fidelity, How
    from junkdna_harness.presentation.progress import Meter
    from junkdna_harness.texts.documents import Document

PANEL_GRID = "Instead of COMPRESSED: states of the dense model, as in sweep"
PANEL_TEXT = "How the text is seen"


def fidelity(
    compressed: Annotated[
        str | None,
        typer.Argument(
            help="The compressed model: a folder, a hub id, or model_args of lm_eval such as pretrained=org/model,sparsity=0.5."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="The dense model, written like COMPRESSED. Default: what COMPRESSED says it was made from."
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="A .txt or .jsonl file (FILE.jsonl:FIELD names the field), starter or embedded; repeat it for more. Default: starter."
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Beside or instead of --text: what these lm-eval tasks ask, each document with its right answer."
        ),
    ] = None,
    include_path: Annotated[
        str | None, typer.Option("--include-path", help="A folder of more tasks.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Pruning methods, e.g. magnitude,wanda.", rich_help_panel=PANEL_GRID)
    ] = None,
    sparsity: Annotated[
        str | None,
        typer.Option(help="Fractions removed: 0.3,0.5 or first:last:step.", rich_help_panel=PANEL_GRID),
    ] = None,
    patterns: Annotated[
        str | None,
        typer.Option(help="N:M patterns, N kept of M, e.g. 4:8,2:4.", rich_help_panel=PANEL_GRID),
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="Quantizers with bits, e.g. rtn:8,4,3,2.", rich_help_panel=PANEL_GRID)
    ] = None,
    window: Annotated[
        int, typer.Option(help="Tokens that a prediction sees at most.", rich_help_panel=PANEL_TEXT)
    ] = 512,
    layout: Annotated[
        str,
        typer.Option(
            help="rolling (as lm-eval: every token is scored) or chunks (as llama.cpp: the second half of each window).",
            rich_help_panel=PANEL_TEXT,
        ),
    ] = "rolling",
    documents: Annotated[
        int | None,
        typer.Option(
            help="Read so many documents of each file or task. Default: all.", rich_help_panel=PANEL_TEXT
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Read so many tokens of each document. Default: all.", rich_help_panel=PANEL_TEXT),
    ] = None,
    by_bytes: Annotated[
        bool,
        typer.Option(
            "--bytes",
            help="For models with different tokenizers: bits per byte alone.",
            rich_help_panel=PANEL_TEXT,
        ),
    ] = False,
    worst: Annotated[int, typer.Option(help="Passages to show where the two differ most.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures as JSON.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Keep the dense model's logits in this folder, and take them from there; they are large."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Also write a page: tables, plots, and the worst passages of both models side by side."
        ),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Also write the plots of a grid as PNG, SVG and PDF into this folder.")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option(help="Also write every token's scores to this .parquet or .csv file.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda:0.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Numbers to compute in, e.g. float32 or bfloat16.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Windows that go through a model together.")
    ] = None,
) -> None:
    """Measure what compression changed on a text: perplexity, KL.

    Perplexity and its ratio, KL divergence, agreement, with 95 % intervals over blocks of 256 tokens. No benchmark is needed: any text
    will do.
    """
    if tokens is not None and tokens.suffix not in (".parquet", ".csv"):
        raise UsageError(f"--tokens {str(tokens)!r} ends in neither .parquet nor .csv.")
    grid = {"methods": methods, "sparsity": sparsity, "patterns": patterns, "quantize": quantize}
    grid = {name: value for name, value in grid.items() if value is not None}
    if plots is not None and not grid:
        raise UsageError(
            "one state makes no curve. Give --plots with --methods and --sparsity, or with --quantize."
        )
    if (compressed is None) == (not grid):
        raise UsageError(
            "name the compressed model, or states of the dense one with --methods and --sparsity, --patterns or --quantize: one of the two."
        )
    import json

    from difficulty.files import check_writable, write_atomic
    from junkdna_harness.fidelity.run import How
    from junkdna_harness.texts.windows import LAYOUTS

    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is unknown. Choose {' or '.join(LAYOUTS)}.")
    check_writable(json_file, html, tokens, plots and plots / "plot.png")
    chosen = _documents(text or [], tasks, include_path, documents)
    how = How(window, layout, limit, worst, device, dtype, batch_size, cache)
    if by_bytes:
        found: Any = _by_bytes(compressed, against, chosen, how, bool(tokens or html or plots))
    elif compressed is not None:
        found = _single(compressed, against, chosen, how, tokens)
    else:
        found = _grid(grid, against, chosen, how, tokens)
    if html is not None or plots is not None:
        _draw(found, html, plots)
    if json_file is not None:
        write_atomic(
            json_file, visible_json(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"
        )


def _documents(
    text: list[str], tasks: str | None, include_path: str | None, most: int | None
) -> list[Document]:
    """The documents of files and tasks, of each the first `most`; the starter text where none is named."""
    from junkdna_harness.sweep.grid import parse_names
    from junkdna_harness.texts.documents import STARTER, read_documents, task_documents

    if most is not None and most < 1:
        raise UsageError(f"--documents {most} is less than one document.")
    names = parse_names(tasks, "tasks") if tasks is not None else ()
    found = [] if names and not text else read_documents(text or [STARTER])
    found += task_documents(names, include_path)
    if most is None:
        return found
    seen: dict[str, int] = {}
    chosen = []
    for document in found:
        seen[document.source] = seen.get(document.source, 0) + 1
        if seen[document.source] <= most:
            chosen.append(document)
    return chosen


def _single(
    compressed: str, against: str | None, documents: Sequence[Document], how: How, tokens: Path | None
) -> dict[str, Any]:
    from junkdna_harness.fidelity.output import single_text
    from junkdna_harness.fidelity.run import fidelity as measure

    dense, other = _sides(against, compressed, how)
    with _meter(other.description) as meter:
        found = measure(dense, other, documents, how, meter.move)
    say(single_text(found))
    _write_tokens(tokens, [found])
    return found.to_dict()


def _grid(
    grid: dict[str, Any], against: str | None, documents: Sequence[Document], how: How, tokens: Path | None
) -> dict[str, Any]:
    from junkdna_harness.compress.checkpoint_files import check_model_arguments
    from junkdna_harness.fidelity.load import arguments_of, load_side
    from junkdna_harness.fidelity.output import grid_text
    from junkdna_harness.fidelity.run import over_grid
    from junkdna_harness.sweep.plan import build_plan

    theirs = arguments_of(against or "embedded")
    check_model_arguments(theirs)
    plan = build_plan("text", theirs, **grid)
    dense = load_side(plan.models[0], how.device, how.dtype)
    copy = load_side(plan.models[0], how.device, how.dtype, settled=False)
    found = []
    with _meter("states of the grid") as meter:
        for one in over_grid(dense, copy, plan, documents, how, meter.move):
            meter.say(
                f"{one.model}: ratio {one.figures['perplexity_ratio']:.4f}, KL {one.figures['kl_mean']:.4g}"
            )
            found.append(one)
    say(grid_text(found))
    _write_tokens(tokens, found)
    return {"runs": [one.to_dict() for one in found]}


def _meter(what: str) -> Meter:
    """The bar of a comparison, and how long it will take."""
    from junkdna_harness.presentation.progress import Meter

    return Meter(what, unit="tokens", estimated=lambda took: say(f"{what}: {took}", stderr=True))


def _by_bytes(
    compressed: str | None, against: str | None, documents: Sequence[Document], how: How, more: bool
) -> dict[str, Any]:
    from junkdna_harness.fidelity.output import bytes_text
    from junkdna_harness.fidelity.per_byte import bits_per_byte

    if compressed is None or how.limit is not None or how.layout != "rolling" or more:
        raise UsageError(
            "--bytes compares two whole models on whole texts: name COMPRESSED, and leave out --limit, --tokens, --html, --plots and "
            "--layout chunks."
        )
    dense, other = _sides(against, compressed, how)
    found = bits_per_byte(dense, other, documents, how.window)
    say(bytes_text(found))
    return found.to_dict()


def _sides(against: str | None, compressed: str, how: How) -> tuple[Any, Any]:
    """Dense and compressed; both are read before either is loaded."""
    from junkdna_harness.compress.checkpoint_files import check_model_arguments
    from junkdna_harness.fidelity.load import arguments_of, dense_of, load_side

    mine = arguments_of(compressed)
    theirs = dense_of(mine) if against is None else arguments_of(against)
    for arguments in (mine, theirs):
        check_model_arguments(arguments)
    dense, other = (load_side(arguments, how.device, how.dtype) for arguments in (theirs, mine))
    return dense, other


def _draw(found: dict[str, Any], html: Path | None, plots: Path | None) -> None:
    from difficulty.files import write_atomic
    from junkdna_harness.fidelity.html import render
    from junkdna_harness.report.divergence import plots as drawn
    from junkdna_harness.report.figures import write_plots

    runs = found.get("runs", [found])
    if html is not None:
        write_atomic(html, render(runs))
    if plots is not None:
        write_plots(drawn(runs, page=False), plots)


def _write_tokens(path: Path | None, found: Sequence[Fidelity]) -> None:
    """All tokens' scores, with the run that they are of."""
    if path is None:
        return
    import io

    import pandas as pd

    from difficulty.files import write_atomic
    from difficulty.runs.csv_cells import safe_csv

    whole = pd.concat([one.scored.tokens.assign(run=one.model) for one in found], ignore_index=True)
    if path.suffix == ".csv":
        write_atomic(path, safe_csv(whole))
        return
    buffer = io.BytesIO()
    whole.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())
