"""Which pictures a report has: drawn while the rest is computed, and put in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from difficulty.errors import UsageError
from difficulty.runs.replicates import trainings
from junkdna_harness.report import divergence
from junkdna_harness.report.curves import measure
from junkdna_harness.report.forest import forest, over_families, over_models
from junkdna_harness.report.picture import counted
from junkdna_harness.report.plots import LEAD, ORDER, critical_sparsity, pictures
from junkdna_harness.report.recovery import NAME as BY_BUDGET
from junkdna_harness.report.recovery import by_budget
from junkdna_harness.report.trainings import NAME as OVER_TRAININGS
from junkdna_harness.report.trainings import Scores, over_trainings, scores_of

if TYPE_CHECKING:
    import pandas as pd

    from difficulty.judge.fit import FitResult
    from difficulty.judge.over_models import ModelsResult
    from junkdna_harness.report.divergence import Divergence
    from junkdna_harness.report.figures import Finisher, Plot
    from junkdna_harness.report.options import Options

OVER_MODELS, OF_FAMILIES = "forest_models", "forest_families"
BUDGETS_OVER = f"{BY_BUDGET}_over_models"
_DIVERGENCES = ("kl_by_level", *(f"kl_{name}" for name in divergence.PART_TITLES))


class Drawing:
    """Draws the pictures of some items with a `finisher`; those of several models are numbered by model."""

    def __init__(self, finisher: Finisher, items: pd.DataFrame) -> None:
        self._finisher, self._items = finisher, items
        models = [str(name) for name in items["model"].unique()]
        self._endings = {m: f"_{n}" if len(models) > 1 else "" for n, m in enumerate(models, 1)}

    def scores(self, bits: Mapping[str, float], matched: Sequence[str], options: Options) -> list[str]:
        """Draw the scores of each model; a sentence on each that has no plots."""
        missing = []
        found: dict[str, Scores] = {}
        for model, ending in self._endings.items():
            part = self._items[self._items["model"] == model]
            if part["run"].nunique() < 2:
                missing.append(f"no plots of {model}: there is only its dense run.")
                continue
            asked = options.metric, options.seed, options.allow_different_prompts, matched
            try:
                measured = measure(part, bits, model, *asked)
            except UsageError as error:
                missing.append(f"no plots of {model}: {error}")
                continue
            for picture in pictures(measured):
                self._finisher.add(picture.name + ending, picture)
            found[model] = scores_of(measured)
        self._trainings(found)
        return missing

    def _trainings(self, found: Mapping[str, Scores]) -> None:
        """Draw the scores of each model of which there are several trainings."""
        for base, names in trainings(found).items():
            if len(names) > 1 and (picture := over_trainings(base, [found[name] for name in names])):
                ending = self._endings[names[0]] if len(names) < len(self._endings) else ""
                self._finisher.add(OVER_TRAININGS + ending, picture)

    def fits(self, fits: Sequence[FitResult], over: ModelsResult | None) -> None:
        """Draw the verdicts over models, and of each model with more than its dense run."""
        if over is not None:
            heading = f"Effects on {over.title} and their mean, intervals 95 %"
            heading += ", from the smallest model to the largest" if len(set(over.sizes.values())) > 1 else ""
            picture = forest(over_models(over), OVER_MODELS, heading, "")
            if picture is not None:
                self._finisher.add(OVER_MODELS, picture)
            if (picture := by_budget(over.budgets, over.title, over.kind)) is not None:
                self._finisher.add(BUDGETS_OVER, picture)
        for fit in fits:
            if self._items.loc[self._items["model"] == fit.model, "run"].nunique() < 2:
                continue
            about = counted(fit.model, fit.n_items, fit.cells["family"].nunique())
            heading = "Effects in each family and their mean, intervals 95 %"
            for picture in (
                critical_sparsity(fit),
                forest(over_families(fit), OF_FAMILIES, heading, about),
                by_budget(fit.budgets, about),
            ):
                if picture is not None:
                    self._finisher.add(picture.name + self._endings[fit.model], picture)

    def divergences(self, runs: Sequence[Divergence]) -> None:
        """Draw what changed in the predictions of a text."""
        for picture in divergence.pictures(runs):
            self._finisher.add(picture.name, picture)

    def plots(self) -> tuple[Plot, ...]:
        """Over models first, then model by model, each in the order of `ORDER`, then what is of a text."""
        plots = self._finisher.plots()
        of_model = [
            name + ending
            for ending in self._endings.values()
            for name in (OVER_TRAININGS, *ORDER, BY_BUDGET, OF_FAMILIES)
        ]
        names = (OVER_MODELS, OVER_TRAININGS, BUDGETS_OVER, *of_model, *_DIVERGENCES)
        return tuple(plots[name] for name in dict.fromkeys(names) if name in plots)

    @staticmethod
    def over(name: str) -> bool:
        """Whether a plot is of several models or trainings."""
        return name.startswith((OVER_MODELS, OVER_TRAININGS))

    @staticmethod
    def leads(name: str) -> bool:
        """Whether a plot stands on top of a page."""
        return Drawing.over(name) or name.rstrip("0123456789").rstrip("_") in LEAD
