"""One run of a sweep's plan, and what compression is asked for in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from difficulty.runs.identity import Method
from junkdna_harness.compress.notation import KV, method_name
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.spec import PruneSpec

Kind = Literal["dense", "prune", "quantize", "checkpoint"]


@dataclass(frozen=True)
class PlannedRun:
    """One planned run: `arguments` are what `--model_args` of lm_eval takes beside the model's own.

    `method` is the name of what is done to the weights; for a checkpoint, that of all that was done, as tables have it. A run of
    several checkpoints, each trained on one task, which it answers, has task -> folder as its `pretrained`.
    `added` says why a later round added the run to the plan (`why`, `round`, and for whom); None for those of the grid.
    """

    model: int
    kind: Kind
    method: str
    level: float | None
    bits: int | None = None
    pattern: str | None = None
    replicate: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    noise_floor: bool = (
        False  # the dense model once more, evaluated otherwise (`junkdna_harness.sweep.second_pass`)
    )
    added: Mapping[str, Any] | None = field(default=None, compare=False)

    def at(self, level: float, added: Mapping[str, Any]) -> PlannedRun:
        """The same method, model and draw at another sparsity, added for the reason given."""
        return replace(self, level=level, arguments={**self.arguments, "sparsity": level}, added=added)

    def standing(self, block: Mapping[str, Any]) -> PlannedRun:
        """The run as it stands in tables, by its `junkdna` block: where whole parts went, at the level that was measured.

        Other methods remove the share that was planned.
        """
        return replace(self, level=block["level"]) if block.get("structure") else self

    @cached_property
    def by_task(self) -> dict[str, PlannedRun]:
        """Task -> the run that answers it, where `pretrained` names a checkpoint for each task; empty where one answers all."""
        folders = self.arguments.get("pretrained") if self.kind == "checkpoint" else None
        if not isinstance(folders, Mapping):
            return {}
        return {
            str(task): replace(self, arguments={**self.arguments, "pretrained": str(folder)})
            for task, folder in folders.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what older versions do not know is written only where it is used."""
        values = {**asdict(self), "arguments": dict(self.arguments)}
        if self.added is None:
            del values["added"]
        if not self.noise_floor:
            del values["noise_floor"]
        return values

    @cached_property  # a plan's runs are named by it again and again
    def identity(self) -> Method:
        """The method with its N:M pattern and its trainings, and with what is rounded while the model runs."""
        if self.kind == "checkpoint":
            return Method.parse(self.method)
        given, spec = self.arguments, spec_of(self)
        plain = Method(
            method_name(self.method, given.get("allocation"), given.get("criterion")), self.pattern
        )
        if spec is None or not spec.running:
            return plain
        if self.kind == "quantize" and self.method == KV:
            return Method(spec.running.alone[0])
        return spec.running.named(plain)

    @property
    def table_method(self) -> str:
        """The method as the tidy table names it: N:M patterns go with it."""
        return str(self.identity)


def spec_of(cell: PlannedRun) -> PruneSpec | QuantSpec | None:
    """What compression is asked for; None for the dense model and for checkpoints.

    Raises:
        UsageError: a value that cannot be used.
    """
    if cell.kind == "prune":
        return PruneSpec.from_strings(cell.arguments)
    if cell.kind == "quantize":
        return QuantSpec.from_strings(cell.arguments)
    return None
