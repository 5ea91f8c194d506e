"""Calibration statistics gathered once, on the dense model, and used at every level.

The papers (and `prune`) gather a layer's inputs after the layers below were pruned, so every level walks through the
calibration text again. Here the inputs are those of the dense model: levels cost no calibration, and scores differ a little.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from junkdna_harness.compress import PruneSpec, prune
from junkdna_harness.compress.calibrated import Spec, calibration_for
from junkdna_harness.compress.change import Progress
from junkdna_harness.compress.collect import collect
from junkdna_harness.compress.report import PruneReport
from junkdna_harness.compress.statistics import Statistic
from junkdna_harness.compress.targets import Target
from junkdna_harness.compress.walk import walk

Kept = dict[str, Statistic | None]  # by target


class OneShot:
    """Prunes one model to several levels; keeps the statistics of one kind of calibration."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._kept: dict[tuple[Any, ...], tuple[Kept, dict[str, Any]]] = {}
        self._now: dict[type[Statistic], tuple[Any, ...]] = {}

    def prune(self, spec: PruneSpec) -> PruneReport:
        """What was removed, after removing it in place from the model, whose weights must be the dense ones."""
        return prune(self.model, spec, self.tokenizer, statistics=self)

    def prepare(self, targets: Sequence[Target], needs: Sequence[type[Statistic]], spec: Spec) -> None:
        """Gather what is not there yet, while the model is dense; drop what is not needed now: Hessians are large.

        Raises:
            UsageError: the calibration text cannot be read, or a target lies outside the blocks.
        """
        text = (spec.calibration, spec.nsamples, spec.seqlen, spec.seed, spec.targets, spec.exclude)
        self._now = {kind: (kind, *text) for kind in needs}
        self._kept = {key: kept for key, kept in self._kept.items() if key in self._now.values()}
        for kind, key in self._now.items():
            if key not in self._kept:
                self._kept[key] = self._gather(targets, kind, spec)

    def facts(self) -> dict[str, Any]:
        """Source, amount and hash of the calibration text, and that it was passed through the dense model."""
        found = [facts for _, facts in self._kept.values()]
        return {**found[0], "one_shot": True} if found else {}

    def give(
        self, targets: Sequence[Target], needs: type[Statistic], progress: Progress | None
    ) -> Iterator[tuple[Target, Statistic | None]]:
        """Copies of what was kept: some methods use a statistic up, and it is needed again at the next level."""
        kept, _ = self._kept[self._now[needs]]
        for target in targets:
            yield target, copy.deepcopy(kept[target.name])

    def _gather(
        self, targets: Sequence[Target], needs: type[Statistic], spec: Spec
    ) -> tuple[Kept, dict[str, Any]]:
        calibration = calibration_for(self.model, self.tokenizer, targets, spec)
        found: Kept = {}
        with torch.no_grad():
            for step in walk(self.model, calibration.ids):
                here = [target for target in targets if target.block == step.index]
                for statistic, members in collect(step, here, needs, calibration.seed):
                    found.update({target.name: statistic for target in members})
        return found, calibration.to_dict()
