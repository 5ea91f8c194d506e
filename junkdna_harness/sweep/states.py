"""How the loaded model becomes a run of the plan, and itself again: one class for each way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from difficulty.errors import UsageError
from junkdna_harness.compress.notation import read_patterns
from junkdna_harness.compress.pruning import prune
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.quantizing import quantize
from junkdna_harness.compress.registry import get_sparsifier
from junkdna_harness.compress.running import stop_running
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.targets import find_targets
from junkdna_harness.sweep.one_shot import OneShot
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.pristine import Pristine


@dataclass(frozen=True)
class Dense:
    """A model as it was loaded: `lm` with its weights, their `junkdna` block, and the plan that it was loaded for.

    `folder` is the sweep's; None where nothing is stored.
    """

    lm: Any
    block: Mapping[str, Any]
    plan: Plan
    model: int
    folder: Path | None = None


class State(Protocol):
    """Turns the dense model into one run at a time."""

    def holding(self, cell: PlannedRun) -> AbstractContextManager[Mapping[str, Any]]:
        """The run's `junkdna` block, while the model is that run; afterwards it is dense again.

        Raises:
            UsageError: the run cannot be made.
        """
        ...


OpenState = Callable[[Dense], State]


def open_state(dense: Dense) -> State:
    """The state that the plan asks for."""
    return OneShotCompressed(dense) if dense.plan.settings.one_shot else Compressed(dense)


class Compressed:
    """Runs that are made of the loaded weights, pruned or quantized in place."""

    def __init__(self, dense: Dense) -> None:
        self.dense, self.model, self.tokenizer = dense, dense.lm.model, dense.lm.tokenizer
        cells = (cell for cell in dense.plan.of_model(dense.model) if cell.kind != "dense")
        first = next(cells, None)  # targets are the same for all: plans hold one set of compression arguments
        places = _places(first.arguments if first else {})
        self.pristine = Pristine(self.model, *places, folder=dense.folder)

    @contextmanager
    def holding(self, cell: PlannedRun) -> Iterator[Mapping[str, Any]]:
        """The run's block, while the model is compressed."""
        if cell.kind == "dense":
            yield self.dense.block
            return
        try:
            yield self.prune(cell) if cell.kind == "prune" else self.quantize(cell)
        finally:
            stop_running(self.model)
            self.pristine.restore()

    def prune(self, cell: PlannedRun) -> Mapping[str, Any]:
        """The block of the model, after pruning it."""
        spec = PruneSpec.from_strings(cell.arguments)
        block = prune(self.model, spec, tokenizer=self.tokenizer).to_dict()
        if spec.structured:
            self._refuse_twice(cell, spec, block["structure"]["of"])
        return block

    def _refuse_twice(self, cell: PlannedRun, spec: PruneSpec, number: int) -> None:
        """Refuse a share that removes as many of `number` parts as a smaller one of the plan: both would be one run.

        Raises:
            UsageError: names the smaller one.
        """
        removed = spec.parts(number)
        for other in self.dense.plan.of_model(self.dense.model):
            same = (other.identity, other.replicate, other.kind) == (cell.identity, cell.replicate, cell.kind)
            if not same or not 0 < (other.level or 0) < (cell.level or 0):
                continue
            smaller = PruneSpec.from_strings(other.arguments)
            if smaller.parts(number) == removed:
                raise UsageError(
                    f"sparsity={spec.sparsity:g} removes {removed} of {number} {spec.method}, as sparsity={smaller.sparsity:g} does, which "
                    "is another run of this plan. Leave one of them out."
                )

    def quantize(self, cell: PlannedRun) -> Mapping[str, Any]:
        """The block of the model, after quantizing it."""
        if cell.kind != "quantize":
            raise UsageError(f"a run of kind {cell.kind!r} is not made by compressing the loaded model.")
        spec = QuantSpec.from_strings(cell.arguments)
        return quantize(self.model, spec, tokenizer=self.tokenizer).to_dict()


class OneShotCompressed(Compressed):
    """Compressed, with the calibration statistics of each pruning method gathered once, on the dense model."""

    @cached_property
    def statistics(self) -> Any:
        """Prunes with what it gathered at the first level."""
        return OneShot(self.model, self.tokenizer)

    def prune(self, cell: PlannedRun) -> Mapping[str, Any]:
        """The block of the model, after pruning it with the dense model's statistics where the method needs some."""
        spec = PruneSpec.from_strings(cell.arguments)
        if spec.structured or not spec.calibrated:
            return super().prune(cell)
        report: Mapping[str, Any] = self.statistics.prune(spec).to_dict()
        return report


def _places(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """targets= and exclude= as compression reads them."""
    targets, exclude = (arguments.get(name) for name in ("targets", "exclude"))
    return (read_patterns(targets) if targets else (), read_patterns(exclude) if exclude else ())


def group_sizes(model: Any, arguments: Mapping[str, Any]) -> list[int]:
    """The distinct numbers of weights that compete with each other in a pruning to a sparsity: of each row, tensor, or all.

    They decide which sparsities there are. Empty for N:M, and for methods that remove weights column by column.
    """
    spec = PruneSpec.from_strings(arguments)
    scope = spec.effective_scope
    if scope is None or spec.allotted or get_sparsifier(spec.method).updates:
        return []
    targets = find_targets(model, spec.targets, spec.exclude)
    if scope == "global":
        return [sum(target.numel for target in targets)]
    return sorted({target.shape[1] if scope == "row" else target.numel for target in targets})
