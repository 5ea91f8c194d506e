"""Calibration statistics gathered once, on the dense model, and used at every level.

The papers (and `prune`) gather a layer's inputs after the layers below were pruned, so every level walks through the
calibration text again. Here the inputs are those of the dense model: levels cost no calibration, and scores differ a little.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import torch

from junkdna_harness.compress import PruneSpec, find_targets, get_sparsifier
from junkdna_harness.compress.apply import Outcome, _report, remove, score
from junkdna_harness.compress.calibration import load_calibration
from junkdna_harness.compress.collect import collect
from junkdna_harness.compress.pattern import Scope, removal_mask
from junkdna_harness.compress.report import PruneReport
from junkdna_harness.compress.sparsegpt import Selection
from junkdna_harness.compress.statistics import Statistic
from junkdna_harness.compress.targets import Target
from junkdna_harness.compress.walk import walk


class OneShot:
    """Prunes one model to several levels; keeps the statistics of each calibrated method."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._kept: dict[tuple[Any, ...], tuple[dict[str, Statistic | None], dict[str, Any]]] = {}

    @torch.no_grad()
    def prune(self, spec: PruneSpec) -> PruneReport:
        """What was removed, after removing it in place from the model, whose weights must be the dense ones."""
        started = time.perf_counter()
        method, what = get_sparsifier(spec.method), spec.what
        if what is None or method.needs is None:
            raise TypeError("one-shot statistics are for calibrated methods with a level")
        targets = find_targets(self.model, spec.targets, spec.exclude)
        statistics, calibration = self._statistics(spec, targets)
        outcome = Outcome(spec.method, what, spec.effective_scope, spec.seed)
        outcome.calibration = {**calibration, "one_shot": True}
        scope: Scope = spec.effective_scope or "row"
        for target in targets:
            # Some methods use a statistic up, and it is needed again at the next level.
            statistic = copy.deepcopy(statistics[target.name])
            if statistic is None:
                remove(target, removal_mask(target.weight.float().abs(), what, scope))
            elif method.updates:
                selection = Selection(what, scope, target.shape)
                target.weight.copy_(method.function(target.weight.float(), statistic, selection))
            else:
                remove(target, removal_mask(score(method, target, statistic), what, scope))
        return _report(self.model, targets, spec, outcome, time.perf_counter() - started)

    def _statistics(
        self, spec: PruneSpec, targets: list[Target]
    ) -> tuple[dict[str, Statistic | None], dict[str, Any]]:
        key = (
            spec.method,
            spec.calibration,
            spec.nsamples,
            spec.seqlen,
            spec.seed,
            spec.targets,
            spec.exclude,
        )
        if key not in self._kept:
            needs = get_sparsifier(spec.method).needs
            assert needs is not None
            calibration = load_calibration(
                spec.calibration, self.tokenizer, self.model,
                nsamples=spec.nsamples, seqlen=spec.seqlen, seed=spec.seed,
            )  # fmt: skip
            found: dict[str, Statistic | None] = {}
            for step in walk(self.model, calibration.ids):
                here = [target for target in targets if target.block == step.index]
                for statistic, members in collect(step, here, needs, calibration.seed):
                    found.update({target.name: statistic for target in members})
            self._kept = {key: (found, calibration.to_dict())}  # one method's at a time: Hessians are large
        return self._kept[key]
