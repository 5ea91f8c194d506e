"""What a study is judged to show: verdicts on its tasks and on the tokens of its texts, written beside one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.runs.looks import log_look
from difficulty.text import estimate_text
from junkdna_harness.report.figures import Finisher

if TYPE_CHECKING:
    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult
    from difficulty.judge.verdicts import Claim, Hypothesis
    from junkdna_harness.report.build import Report

TOKENS = "tokens"  # the folder of the sweep over the texts, and of the files that hold its verdicts
ON_TOKENS = "On the tokens of a text"


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on each model, and those over models where there are several."""

    fits: tuple[FitResult, ...]
    over: ModelsResult | None = None

    @property
    def hypothesis(self) -> Hypothesis:
        """Over models where there are several, else of the one."""
        return self.fits[0].hypothesis if self.over is None else self.over.hypothesis

    def headline(self) -> dict[str, Claim]:
        """The verdict on each claim: over models where there are several, else of the one."""
        return self.fits[0].headline() if self.over is None else self.over.headline()

    @property
    def title(self) -> str:
        """What was judged, e.g. "embedded" or "3 trainings of embedded"."""
        return self.fits[0].model if self.over is None else self.over.title

    @property
    def n_items(self) -> int:
        """Items of each model."""
        return max(fit.n_items for fit in self.fits)

    def lines(self) -> list[str]:
        """The hypothesis, then one line per claim: verdict, statement, estimate with interval, what it holds for, and what decided."""
        from difficulty.judge.verdicts import STATEMENTS

        lines = [str(self.hypothesis)]
        headline = self.headline()
        width = max(len(name) for name in headline)
        for name, claim in headline.items():
            number = estimate_text(claim.estimate, claim.ci_low, claim.ci_high, ".3g")
            about = f" in {claim.about}" if claim.about else ""
            number = f" {number} {claim.unit}{about};" if number else ""
            lines.append(f"{name:<{width}} {claim.verdict:<13}{STATEMENTS[name]}:{number} {claim.reason}")
        return lines


def write_report(folder: Path, sources: Sequence[Path], seed: int) -> tuple[Verdicts, Verdicts | None, Path]:
    """Judge what lies in `sources`, and in the folder of tokens where it is there; write verdicts and one report into `folder`.

    Raises:
        UsageError: nothing can be judged.
    """
    from junkdna_harness.report.html import render

    made = _judged(sources, seed)
    verdicts = _written(made, folder, "", seed)
    also: list[tuple[str, Report]] = []
    tokens = None
    if (folder / TOKENS).is_dir():
        on_tokens = _judged([folder / TOKENS], seed)
        tokens = _written(on_tokens, folder, f"{TOKENS}_", seed)
        also.append((ON_TOKENS, on_tokens))
    report = folder / "report.html"
    write_atomic(report, render(made, also=also))
    return verdicts, tokens, report


def _judged(sources: Sequence[Path], seed: int) -> Report:
    from junkdna_harness.report.build import build

    with Finisher(files=False, beside=True) as finisher:
        made = build(list(sources), seed=seed, with_plots=finisher)
    if not made.fits:
        raise UsageError(
            next((w for w in made.warnings if w.startswith("no verdicts")), "nothing could be judged.")
        )
    return made


def _written(made: Report, folder: Path, prefix: str, seed: int) -> Verdicts:
    """The verdicts, after writing them as JSON and CSV, and that they were looked at into the folders that were read."""
    from difficulty.judge.fit_output import cells_csv, claims_csv, models_to_json, over_csv, to_json

    found = Verdicts(made.fits, made.over)
    verdicts = {
        one.model: {name: claim.verdict for name, claim in one.headline().items()} for one in made.fits
    }
    rules = asdict(made.fits[0].rules)
    for source in made.folders:
        log_look(
            source,
            "study",
            version("junkdna-harness"),
            options={"seed": seed},
            rules=rules,
            verdicts=verdicts,
        )
    over = made.over
    text = to_json(made.fits[0]) if over is None else models_to_json(over)
    write_atomic(folder / f"{prefix}fit.json", text)
    write_atomic(folder / f"{prefix}claims.csv", claims_csv(*made.fits))
    write_atomic(folder / f"{prefix}cells.csv", cells_csv(*made.fits))
    if over is not None:
        write_atomic(folder / f"{prefix}over.csv", over_csv(over))
    return found
