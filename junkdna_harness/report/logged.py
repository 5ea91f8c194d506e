"""A report in Weights & Biases: the leaderboards as tables, the verdicts, and the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from difficulty.judge.fit import FitResult
from difficulty.judge.over_models import ModelsResult
from junkdna_harness.report.build import Report
from junkdna_harness.report.leaderboard import OVERALL, Leaderboard
from junkdna_harness.report.verdicts import blocks
from junkdna_harness.tracking import Wandb, WandbRun

_VERDICTS = ("model", "claim", "statement", "method", "verdict", "holds_for", "estimate", "interval", "unit", "p", "reason")  # fmt: skip


def log_report(wandb: Wandb, report: Report, name: str, options: dict[str, Any]) -> None:
    """Log a report as one run."""
    config = {"models": report.models, "sources": list(report.sources), **options}
    with wandb.run(name, "report", config) as run:
        for board in report.boards:
            run.table(f"leaderboard/{board.by}", *leaderboard_rows(board))
        log_verdicts(run, report.fits, report.over)
        for plot in report.plots:
            run.picture(f"plots/{plot.name}", plot.png, plot.alt)


def leaderboard_rows(board: Leaderboard) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows, numbers as numbers: for each column the mean, the bounds of its interval, and the share kept."""
    columns = [OVERALL, *board.columns]
    heads = ["model", "method", "level", "bits", "effective_bits", "replicates"]
    heads += [f"{column} {part}" for column in columns for part in ("mean", "low", "high", "kept")]
    rows = []
    for row in board.rows:
        cells: list[Any] = [row.model, row.method, row.level, row.bits, row.effective_bits, row.replicates]
        for column in columns:
            score = row.scores.get(column)
            cells += [None] * 4 if score is None else [score.mean, score.low, score.high, score.retention]
        rows.append(cells)
    return heads, rows


def log_verdicts(run: WandbRun, fits: Sequence[FitResult], over: ModelsResult | None = None) -> None:
    """The claims with their verdicts as a table, and the hypothesis of each model in the summary."""
    rows = []
    for block in blocks(fits, over):
        run.summary({f"hypothesis/{block['name']}": block["hypothesis"]["line"]})
        rows += [
            [block["name"], card["claim"], card["statement"], card["method"], card["verdict"], card["holds_for"], str(card["number"]),
             str(card["interval"]), card["unit"], str(card["p"]), card["reason"]]
            for card in block["cards"]
        ]  # fmt: skip
    if rows:
        run.table("verdicts", _VERDICTS, rows)
