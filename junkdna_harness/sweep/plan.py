"""What a sweep will do: its planned runs (one compressed state of one model each) and how each is evaluated."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED
from difficulty.runs.identity import DENSE, Run
from junkdna_harness.compress.beside import SCHEMES
from junkdna_harness.compress.formats import BUILT_IN, known_format
from junkdna_harness.compress.notation import KV, read_repeats
from junkdna_harness.compress.quant_spec import NOT_SIMULATED, QUANT_ARGUMENTS, QuantSpec
from junkdna_harness.compress.spec import PRUNE_ARGUMENTS
from junkdna_harness.sweep.draws import with_replicates
from junkdna_harness.sweep.grid import parse_names, parse_patterns, parse_quantize, parse_sparsities
from junkdna_harness.sweep.later import MOST_LEVELS, Later, later_rounds, matched_methods
from junkdna_harness.sweep.options import joined, parse_model_args
from junkdna_harness.sweep.planned import Kind, PlannedRun, spec_of
from junkdna_harness.sweep.settings import Settings, make_settings

__all__ = ["LONGEST_STEM", "SCHEMA", "Plan", "PlannedRun", "Settings", "build_plan", "check_cell"]

SCHEMA = 1
LONGEST_STEM = 120  # of a file's name; systems end at 255 bytes, and temporary names are longer

# Set by the grid, so they cannot be in --model_args too.
OF_QUANTIZING = ("group_size", "symmetric", "act_order")
GRID_ARGUMENTS = ("method", "sparsity", "pattern", "bits", "mask", "mask_seed", "quantizer", "scheme")


@dataclass(frozen=True)
class Plan:
    """Models (arguments for `hf`), cells, and settings. The dense cell of each model comes first.

    `matches`: what was found of levels with equal loss, see `sweep.matching`. `notes` are sentences on what was asked for and
    has no effect, `later` what more is to be added; these two are of one start, and not stored.
    """

    models: tuple[Mapping[str, Any], ...]
    cells: tuple[PlannedRun, ...]
    settings: Settings
    matches: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    later: Later | None = field(default=None, compare=False)

    def of_model(self, model: int) -> list[PlannedRun]:
        """The cells of a model, and what kinds of cells later rounds may add."""
        templates = self.later.templates if self.later is not None else ()
        return [cell for cell in (*self.cells, *templates) if cell.model == model]

    def metadata(self, model: int) -> dict[str, Any]:
        """What lm-eval hands to every task: the model's arguments, and the texts that are asked."""
        return {**self.models[model], **self.settings.metadata()}

    def model_name(self, cell: PlannedRun) -> str:
        """The model as the tidy table names it; with an adapter it is another model than without, as for `lm_eval`."""
        given = self.models[cell.model]
        parts = [given.get("pretrained", EMBEDDED), *(given.get(name) for name in ("peft", "delta"))]
        return "+".join(str(part) for part in parts if part)

    def run(self, cell: PlannedRun) -> Run:
        """Which run it is, in this table and any other."""
        level, bits = cell.level, cell.bits
        name = self.model_name(cell)
        return Run(name, cell.identity, level, bits, cell.replicate, "store", noise_floor=cell.noise_floor)

    def run_id(self, cell: PlannedRun) -> str:
        """The run as the tidy table names it, e.g. 'embedded magnitude 0.5'."""
        return str(self.run(cell))

    def file_name(self, cell: PlannedRun) -> str:
        """The stem of the run's files: its id, with what is safe in a file's name; no two runs of a plan share one."""
        return self._stems[self.run_id(cell)]

    @cached_property
    def _stems(self) -> dict[str, str]:
        """Run id -> stem. Where two would be one file, also on disks that know no capitals, the later gets a hash.

        Runs that are added later come later, so that the files of earlier ones keep their names.
        """
        stems: dict[str, str] = {}
        taken: set[str] = set()
        for cell in self.cells:
            run = self.run_id(cell)
            stem = self._readable_stem(cell)
            if stem.casefold() in taken or len(stem) > LONGEST_STEM:
                stem = f"{stem[:LONGEST_STEM]}-{hashlib.sha256(run.encode()).hexdigest()[:12]}"
            taken.add(stem.casefold())
            stems[run] = stem
        return stems

    def _readable_stem(self, cell: PlannedRun) -> str:
        words = self.run_id(cell).removeprefix(self.model_name(cell) + " ")
        if len(self.models) > 1:
            words = f"{cell.model}-{Path(self.model_name(cell)).name} {words}"
        return re.sub(r"[^A-Za-z0-9._#-]+", "_", words.replace(":", "-")).strip("_").replace("#", "r")

    def check(self) -> None:
        """Refuse a plan whose runs could be taken for one another.

        Raises:
            UsageError: two runs have one name, or a name that is read as that of another run.
        """
        seen: set[str] = set()
        for cell in self.cells:
            run = self.run(cell)
            name = str(run)
            if name in seen:
                raise UsageError(
                    f"two runs of this plan are called {name!r}. Name each level and method once."
                )
            if Run.parse(name) != run:
                raise UsageError(
                    f"run {name!r} cannot be told apart from others: its method's name has a space or ends like a recovery, "
                    "or its model's name begins with a space. Give other names."
                )
            seen.add(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what two sweeps into one folder must share."""
        return {
            "schema": SCHEMA,
            "models": [dict(model) for model in self.models],
            "settings": self.settings.to_dict(),
            "cells": [cell.to_dict() for cell in self.cells],
            "runs": {self.file_name(cell): self.run_id(cell) for cell in self.cells},
            **({"matches": [dict(match) for match in self.matches]} if self.matches else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote.

        Raises:
            ValueError: another schema.
        """
        if (schema := values.get("schema")) != SCHEMA:
            raise ValueError(f"schema {schema!r}, and this version reads schema {SCHEMA}")
        cells = tuple(PlannedRun(**_current(cell)) for cell in values["cells"])
        matches = tuple(dict(match) for match in values.get("matches", ()))
        return cls(tuple(values["models"]), cells, Settings.from_dict(values["settings"]), matches)


def _current(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """A cell as it is written today; older versions called checkpoints prunings."""
    if cell["kind"] == "prune" and "pretrained" in cell["arguments"]:
        return {**cell, "kind": "checkpoint"}
    return cell


def build_plan(
    tasks: str | Sequence[str] | None = None,
    model_args: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
    methods: str | Sequence[str] | None = None,
    sparsity: str | float | Sequence[float] | None = None,
    patterns: str | Sequence[str] | None = None,
    quantize: str | Sequence[str] | None = None,
    replicates: int = 1,
    match_loss: bool | str | Sequence[str] = False,
    refine: str | None = None,
    refine_levels: int = MOST_LEVELS,
    noise_floor: bool = False,
    dtype: str | None = None,
    **settings: Any,
) -> Plan:
    """The plan of a grid: every method at every sparsity and pattern, every quantizer at its bits, and the dense model.

    `replicates` draws of whatever is drawn by lot: random masks, samples of calibration text. With `match_loss` only the
    primary method is at the given sparsities: those of the others are sought later (`sweep.matching`). Where it names methods, theirs
    alone are sought, also beside the given sparsities where `methods` has them too. `refine` names the claim
    that may ask for more levels, at most `refine_levels` for each model.
    `noise_floor`: the dense model is evaluated once more in other batches, which shows how far scores move by themselves. `dtype` is
    an argument of every model.

    Raises:
        UsageError: an empty or overlapping grid, or a value that a method does not take.
    """
    models, common = _models(model_args, dtype)
    levels = parse_sparsities(joined(sparsity)) if sparsity is not None else ()
    shapes = parse_patterns(joined(patterns)) if patterns is not None else ()
    quantizers = parse_quantize(joined(quantize)) if quantize is not None else ()
    names = parse_names(methods, "methods") if methods is not None else ()
    replicates = read_repeats("replicates", replicates)
    _check_grid(names, levels, shapes, quantizers)
    matched = matched_methods(match_loss, names)
    cells: list[PlannedRun] = []
    for i in range(len(models)):
        cells.append(PlannedRun(i, "dense", DENSE, 0.0))
        if _truth("noise_floor", noise_floor):
            cells.append(PlannedRun(i, "dense", DENSE, 0.0, noise_floor=True))
        for name in dict.fromkeys((*names, *matched)):
            cells += _prune_cells(i, name, levels, shapes if name in names else (), common)
        cells += [_quantized(i, name, bits, common) for name, bits in quantizers]
    for cell in cells:
        check_cell(cell)
    drawn, notes = with_replicates(cells, replicates)
    later = None
    if matched or refine is not None:
        later = later_rounds(names, levels, drawn, matched, refine, refine_levels)
        sought = matched if match_loss is True else [name for name in matched if name not in names]
        drawn = [c for c in drawn if c.kind != "prune" or c.pattern is not None or c.method not in sought]
    plan = Plan(models, tuple(drawn), make_settings(tasks, settings), notes=notes, later=later)
    plan.check()
    return plan


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name}: {value!r} is neither true nor false. Write {name}: true or leave it out.")
    return value


def _prune_cells(
    model: int,
    name: str,
    levels: Sequence[float],
    shapes: Sequence[str],
    common: Mapping[str, Any],
) -> list[PlannedRun]:
    arguments = {**_fitting(common, "prune"), "method": name}
    cells = [
        PlannedRun(model, "prune", name, level, arguments={**arguments, "sparsity": level})
        for level in levels
        if level > 0  # level 0 of every method is the dense model
    ]
    for shape in shapes:
        kept, group = map(int, shape.split(":"))
        given = {k: v for k, v in arguments.items() if k != "scope"}
        cells.append(
            PlannedRun(
                model, "prune", name, 1 - kept / group, None, shape, arguments={**given, "pattern": shape}
            )
        )
    return cells


def _quantized(model: int, name: str, bits: int, common: Mapping[str, Any]) -> PlannedRun:
    """The run of a quantizer at its bits, or of a scheme, which says both and what is rounded beside weights."""
    if name in SCHEMES:
        method = str(SCHEMES[name].get("method", QuantSpec.method))
        arguments = {**_of_quantizer(common, method), "method": method, "scheme": name}
        return PlannedRun(model, "quantize", method, None, bits, arguments=arguments)
    arguments = {**_of_quantizer(common, name), "method": name, "bits": bits}
    return PlannedRun(model, "quantize", name, None, bits, arguments=arguments)


def _fitting(common: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The shared compression arguments that this kind of cell takes."""
    if kind == "quantize":
        return {name: value for name, value in common.items() if name in QUANT_ARGUMENTS}
    return {name: value for name, value in common.items() if name not in OF_QUANTIZING}


def _of_quantizer(common: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The shared arguments that a quantizer takes: what others of the grid have and this one has not is left out."""
    if name == KV:  # no weights are rounded, and layers have a say only where their inputs are
        also = () if common.get("activations") else ("targets", "exclude", "calibration")
        left_out = (*OF_QUANTIZING, *also)
        return {key: value for key, value in _fitting(common, "quantize").items() if key not in left_out}
    form = known_format(name)
    has = {"symmetric": form.integer, "act_order": form.ordered}
    return {key: value for key, value in _fitting(common, "quantize").items() if has.get(key, True)}


def check_cell(cell: PlannedRun) -> None:
    """Refuse a cell that compression would refuse, before any model is loaded.

    Raises:
        UsageError: with compression's own sentence.
    """
    if cell.kind == "quantize" and cell.method in NOT_SIMULATED and cell.method != KV:
        raise UsageError(
            f"quantizer {cell.method!r} is not one that a loaded model can be changed with ({', '.join(BUILT_IN)}). "
            f"Run lm_eval --model junkdna-quantized --model_args method={cell.method} for it."
        )
    spec_of(cell)


def _check_grid(
    names: Sequence[str],
    levels: Sequence[float],
    shapes: Sequence[str],
    quantizers: Sequence[tuple[str, int]],
) -> None:
    if names and not levels and not shapes:
        raise UsageError(
            f"methods {','.join(names)!r} have no level. Add --sparsity 0:0.9:0.1 or --patterns 2:4."
        )
    if (levels or shapes) and not names:
        raise UsageError("a sparsity or pattern was given without a method. Add --methods magnitude,wanda.")
    if not names and not quantizers:
        raise UsageError(
            "the grid is empty. Give --methods with --sparsity or --patterns, or --quantize rtn:8,4,3,2."
        )


def _models(given: Any, dtype: str | None) -> tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any]]:
    """Each model's own arguments, and the compression arguments they share."""
    listed = given if isinstance(given, (list, tuple)) else [given]
    models, commons = [], []
    for one in listed or [None]:
        arguments = dict(one) if isinstance(one, Mapping) else parse_model_args(one)
        if clash := [name for name in GRID_ARGUMENTS if name in arguments]:
            raise UsageError(
                f"{clash[0]}={arguments[clash[0]]} in --model-args is set by the sweep's grid. "
                "Use --methods, --sparsity, --patterns, --quantize, --replicates."
            )
        commons.append(
            {k: arguments.pop(k) for k in list(arguments) if k in (*PRUNE_ARGUMENTS, *QUANT_ARGUMENTS)}
        )
        if (name := arguments.pop("pretrained", None)) is None:
            name = EMBEDDED
        if dtype is not None and arguments.setdefault("dtype", dtype) != dtype:
            raise UsageError(
                f"dtype is {arguments['dtype']!r} in --model-args, and {dtype!r} in --dtype. Give it once."
            )
        models.append({"pretrained": str(name), **arguments})
    names = [str(model["pretrained"]) for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"model {twice[0]!r} is there twice. Name each once.")
    if any(common != commons[0] for common in commons):
        raise UsageError(
            "the models have different compression arguments. Sweep them into folders of their own."
        )
    return tuple(models), commons[0]
