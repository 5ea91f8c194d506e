"""What a sweep will do: its planned runs (one compressed state of one model each) and how each is evaluated."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.identity import DENSE, Method, Run
from junkdna_harness.compress.spec import PRUNE_ARGUMENTS, QUANT_ARGUMENTS, SIMULATED, PruneSpec, QuantSpec
from junkdna_harness.sweep.grid import parse_names, parse_patterns, parse_quantize, parse_sparsities
from junkdna_harness.sweep.options import joined, parse_model_args, parse_seed
from junkdna_harness.tiny import EMBEDDED

SCHEMA = 1
REPLICATED = "random"  # the one method whose result is a draw

LONGEST_STEM = 120  # of a file's name; systems end at 255 bytes, and temporary names are longer

Kind = Literal["dense", "prune", "quantize", "checkpoint"]
# Set by the grid, so they cannot be in --model_args too.
GRID_ARGUMENTS = ("method", "sparsity", "pattern", "bits", "mask", "mask_seed", "quantizer")


@dataclass(frozen=True)
class PlannedRun:
    """One planned run: `arguments` are what `--model_args` of lm_eval takes beside the model's own.

    `method` is the name of what is done to the weights; for a checkpoint, that of all that was done, as tables have it.
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

    @property
    def identity(self) -> Method:
        """The method with its N:M pattern and its trainings."""
        if self.kind == "checkpoint":
            return Method.parse(self.method)
        return Method(self.method, self.pattern)

    @property
    def table_method(self) -> str:
        """The method as the tidy table names it: N:M patterns go with it."""
        return str(self.identity)


@dataclass(frozen=True)
class Settings:
    """How every cell is evaluated; the names are lm-eval's."""

    tasks: tuple[str, ...]
    limit: float | None = None
    num_fewshot: int | None = None
    seed: tuple[int | None, ...] = (0, 1234, 1234, 1234)
    apply_chat_template: bool | str = False
    fewshot_as_multiturn: bool | None = None
    system_instruction: str | None = None
    include_path: str | None = None
    one_shot: bool = False  # ours: calibration statistics of the dense model for all levels


@dataclass(frozen=True)
class Plan:
    """Models (arguments for `hf`), cells, and settings. The dense cell of each model comes first."""

    models: tuple[Mapping[str, Any], ...]
    cells: tuple[PlannedRun, ...]
    settings: Settings

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
            "settings": {
                **asdict(self.settings),
                "tasks": list(self.settings.tasks),
                "seed": list(self.settings.seed),
            },
            "cells": [_cell_dict(cell) for cell in self.cells],
            "runs": {self.file_name(cell): self.run_id(cell) for cell in self.cells},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote.

        Raises:
            ValueError: another schema.
        """
        if (schema := values.get("schema")) != SCHEMA:
            raise ValueError(f"schema {schema!r}, and this version reads schema {SCHEMA}")
        settings = dict(values["settings"])
        settings.update(tasks=tuple(settings["tasks"]), seed=tuple(settings["seed"]))
        cells = tuple(PlannedRun(**_current(cell)) for cell in values["cells"])
        return cls(tuple(values["models"]), cells, Settings(**settings))


def _cell_dict(cell: PlannedRun) -> dict[str, Any]:
    """A cell as plain values; what older versions do not know is written only where it is used."""
    values = {**asdict(cell), "arguments": dict(cell.arguments)}
    if not cell.noise_floor:
        del values["noise_floor"]
    return values


def _current(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    """A cell as it is written today; older versions called checkpoints prunings."""
    if cell["kind"] == "prune" and "pretrained" in cell["arguments"]:
        return {**cell, "kind": "checkpoint"}
    return cell


def build_plan(
    tasks: str | Sequence[str],
    model_args: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
    methods: str | Sequence[str] | None = None,
    sparsity: str | float | Sequence[float] | None = None,
    patterns: str | Sequence[str] | None = None,
    quantize: str | Sequence[str] | None = None,
    replicates: int = 1,
    noise_floor: bool = False,
    **settings: Any,
) -> Plan:
    """The plan of a grid: every method at every sparsity and pattern, every quantizer at its bits, and the dense model.

    `noise_floor`: the dense model is evaluated once more in other batches, which shows how far scores move by themselves.

    Raises:
        UsageError: an empty or overlapping grid, or a value that a method does not take.
    """
    models, common = _models(model_args)
    levels = parse_sparsities(joined(sparsity)) if sparsity is not None else ()
    shapes = parse_patterns(joined(patterns)) if patterns is not None else ()
    quantizers = parse_quantize(joined(quantize)) if quantize is not None else ()
    names = parse_names(methods, "methods") if methods is not None else ()
    _check_grid(names, levels, shapes, quantizers, replicates)
    cells: list[PlannedRun] = []
    for i in range(len(models)):
        cells.append(PlannedRun(i, "dense", DENSE, 0.0))
        if _truth("noise_floor", noise_floor):
            cells.append(PlannedRun(i, "dense", DENSE, 0.0, noise_floor=True))
        for name in names:
            draws = replicates if name == REPLICATED else 1
            for draw in range(draws):
                cells += _prune_cells(i, name, levels, shapes, draw, common)
        for name, bits in quantizers:
            cells.append(
                PlannedRun(
                    i,
                    "quantize",
                    name,
                    None,
                    bits,
                    arguments={**_fitting(common, "quantize"), "method": name, "bits": bits},
                )
            )
    for cell in cells:
        check_cell(cell)
    plan = Plan(models, tuple(cells), _settings(tasks, settings))
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
    draw: int,
    common: Mapping[str, Any],
) -> list[PlannedRun]:
    arguments = {**_fitting(common, "prune"), "method": name}
    if draw:
        arguments["mask_seed"] = int(common.get("seed", 0)) + draw
        arguments.pop("seed", None)
    cells = [
        PlannedRun(model, "prune", name, level, replicate=draw, arguments={**arguments, "sparsity": level})
        for level in levels
        if level > 0  # level 0 of every method is the dense model
    ]
    for shape in shapes:
        kept, group = map(int, shape.split(":"))
        given = {k: v for k, v in arguments.items() if k != "scope"}
        cells.append(
            PlannedRun(model, "prune", name, 1 - kept / group, None, shape, draw, {**given, "pattern": shape})
        )
    return cells


def _fitting(common: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The shared compression arguments that this kind of cell takes."""
    if kind == "quantize":
        return {name: value for name, value in common.items() if name in QUANT_ARGUMENTS}
    return {name: value for name, value in common.items() if name not in ("group_size", "symmetric")}


def check_cell(cell: PlannedRun) -> None:
    """Refuse a cell that compression would refuse, before any model is loaded.

    Raises:
        UsageError: with compression's own sentence.
    """
    if cell.kind == "prune":
        PruneSpec.from_strings(cell.arguments)
    elif cell.kind == "quantize":
        if cell.method not in SIMULATED:
            raise UsageError(
                f"quantizer {cell.method!r} is not one that a loaded model can be changed with ({', '.join(SIMULATED)}). "
                f"Run lm_eval --model junkdna-quantized --model_args method={cell.method} for it."
            )
        QuantSpec.from_strings(cell.arguments)


def _check_grid(
    names: Sequence[str],
    levels: Sequence[float],
    shapes: Sequence[str],
    quantizers: Sequence[tuple[str, int]],
    replicates: int,
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
    if replicates < 1:
        raise UsageError(f"replicates {replicates} is less than 1.")
    if replicates > 1 and REPLICATED not in names:
        raise UsageError(
            f"replicates {replicates} has no effect: only method 'random' is drawn by lot, and it is not in --methods."
        )


def _models(given: Any) -> tuple[tuple[Mapping[str, Any], ...], Mapping[str, Any]]:
    """Each model's own arguments, and the compression arguments they share."""
    listed = given if isinstance(given, (list, tuple)) else [given]
    models, commons = [], []
    for one in listed or [None]:
        arguments = dict(one) if isinstance(one, Mapping) else parse_model_args(one)
        if clash := [name for name in GRID_ARGUMENTS if name in arguments]:
            raise UsageError(
                f"{clash[0]}={arguments[clash[0]]} in --model_args is set by the sweep's grid. "
                "Use --methods, --sparsity, --patterns, --quantize, --replicates."
            )
        commons.append(
            {k: arguments.pop(k) for k in list(arguments) if k in (*PRUNE_ARGUMENTS, *QUANT_ARGUMENTS)}
        )
        if (name := arguments.pop("pretrained", None)) is None:
            name = EMBEDDED
        models.append({"pretrained": str(name), **arguments})
    names = [str(model["pretrained"]) for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"model {twice[0]!r} is there twice. Name each once.")
    if any(common != commons[0] for common in commons):
        raise UsageError(
            "the models have different compression arguments. Sweep them into folders of their own."
        )
    return tuple(models), commons[0]


def _settings(tasks: str | Sequence[str], given: Mapping[str, Any]) -> Settings:
    allowed = Settings.__dataclass_fields__
    for name in given:
        if name not in allowed:
            raise UsageError(f"{name!r} is no setting of a sweep.{did_you_mean(name, allowed)}")
    seed = given.get("seed")
    values = (
        {**given, "seed": parse_seed(seed)}
        if seed is not None
        else {k: v for k, v in given.items() if k != "seed"}
    )
    if values.get("fewshot_as_multiturn") and not values.get("apply_chat_template"):
        raise UsageError("fewshot_as_multiturn needs apply_chat_template. Add --apply_chat_template.")
    return Settings(parse_names(tasks, "tasks"), **values)
