"""What a sweep will do: its cells (one compressed state of one model each) and how each is evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from difficulty.errors import UsageError, did_you_mean
from junkdna_harness.sweep.grid import parse_names, parse_patterns, parse_quantize, parse_sparsities
from junkdna_harness.tiny import EMBEDDED

SCHEMA = 1
DENSE = "dense"
REPLICATED = "random"  # the one method whose result is a draw

Kind = Literal["dense", "prune", "quantize"]
# Set by the grid, so they cannot be in --model_args too.
GRID_ARGUMENTS = ("method", "sparsity", "pattern", "bits", "mask", "mask_seed", "quantizer")


@dataclass(frozen=True)
class Cell:
    """One run: `arguments` are what `--model_args` of lm_eval takes beside the model's own."""

    model: int
    kind: Kind
    method: str
    level: float | None
    bits: int | None = None
    pattern: str | None = None
    replicate: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table_method(self) -> str:
        """The method as the tidy table names it: N:M patterns go with it."""
        return f"{self.method} {self.pattern}" if self.pattern else self.method


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
    cells: tuple[Cell, ...]
    settings: Settings

    def model_name(self, cell: Cell) -> str:
        """The model as the tidy table names it."""
        return str(self.models[cell.model].get("pretrained", EMBEDDED))

    def run_id(self, cell: Cell) -> str:
        """The run as the tidy table names it, e.g. 'embedded magnitude 0.5'."""
        parts = [self.model_name(cell), cell.table_method]
        if cell.kind == "prune":
            parts.append(f"{cell.level:.10g}")
        if cell.bits is not None:
            parts.append(f"{cell.bits} bits")
        return " ".join(parts) + (f" #{cell.replicate}" if cell.replicate else "")

    def file_name(self, cell: Cell) -> str:
        """The stem of the run's files: its id, with what is safe in a file's name."""
        many = len(self.models) > 1
        model = f"{cell.model}-{Path(self.model_name(cell)).name} " if many else ""
        run = model + self.run_id(replace(cell, model=cell.model)).removeprefix(self.model_name(cell) + " ")
        return re.sub(r"[^A-Za-z0-9._#-]+", "_", run.replace(":", "-")).strip("_").replace("#", "r")

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
            "cells": [{**asdict(cell), "arguments": dict(cell.arguments)} for cell in self.cells],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote."""
        settings = dict(values["settings"])
        settings.update(tasks=tuple(settings["tasks"]), seed=tuple(settings["seed"]))
        cells = tuple(Cell(**cell) for cell in values["cells"])
        return cls(tuple(values["models"]), cells, Settings(**settings))


def build_plan(
    tasks: str | Sequence[str],
    model_args: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
    methods: str | Sequence[str] | None = None,
    sparsity: str | float | Sequence[float] | None = None,
    patterns: str | Sequence[str] | None = None,
    quantize: str | Sequence[str] | None = None,
    replicates: int = 1,
    **settings: Any,
) -> Plan:
    """The plan of a grid: every method at every sparsity and pattern, every quantizer at its bits, and the dense model.

    Raises:
        UsageError: an empty or overlapping grid, or a value that a method does not take.
    """
    models, common = _models(model_args)
    levels = parse_sparsities(_joined(sparsity)) if sparsity is not None else ()
    shapes = parse_patterns(_joined(patterns)) if patterns is not None else ()
    quantizers = parse_quantize(_joined(quantize)) if quantize is not None else ()
    names = parse_names(methods, "methods") if methods is not None else ()
    _check_grid(names, levels, shapes, quantizers, replicates)
    cells: list[Cell] = []
    for i in range(len(models)):
        cells.append(Cell(i, "dense", DENSE, 0.0))
        for name in names:
            draws = replicates if name == REPLICATED else 1
            for draw in range(draws):
                cells += _prune_cells(i, name, levels, shapes, draw, common)
        for name, bits in quantizers:
            cells.append(
                Cell(
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
    return Plan(models, tuple(cells), _settings(tasks, settings))


def _prune_cells(
    model: int,
    name: str,
    levels: Sequence[float],
    shapes: Sequence[str],
    draw: int,
    common: Mapping[str, Any],
) -> list[Cell]:
    arguments = {**_fitting(common, "prune"), "method": name}
    if draw:
        arguments["mask_seed"] = int(common.get("seed", 0)) + draw
        arguments.pop("seed", None)
    cells = [
        Cell(model, "prune", name, level, replicate=draw, arguments={**arguments, "sparsity": level})
        for level in levels
        if level > 0  # level 0 of every method is the dense model
    ]
    for shape in shapes:
        kept, group = map(int, shape.split(":"))
        given = {k: v for k, v in arguments.items() if k != "scope"}
        cells.append(
            Cell(model, "prune", name, 1 - kept / group, None, shape, draw, {**given, "pattern": shape})
        )
    return cells


def _fitting(common: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The shared compression arguments that this kind of cell takes."""
    from junkdna_harness.compress import QUANT_ARGUMENTS

    if kind == "quantize":
        return {name: value for name, value in common.items() if name in QUANT_ARGUMENTS}
    return {name: value for name, value in common.items() if name not in ("group_size", "symmetric")}


def check_cell(cell: Cell) -> None:
    """Refuse a cell that compression would refuse, before any model is loaded.

    Raises:
        UsageError: with compression's own sentence.
    """
    if cell.kind == "prune":
        from junkdna_harness.compress import PruneSpec

        PruneSpec.from_strings(cell.arguments)
    elif cell.kind == "quantize":
        from junkdna_harness.compress import QuantSpec
        from junkdna_harness.compress.spec import SIMULATED

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
    from junkdna_harness.compress import PRUNE_ARGUMENTS, QUANT_ARGUMENTS

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
        models.append({"pretrained": EMBEDDED, **arguments})
    names = [str(model["pretrained"]) for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"model {twice[0]!r} is there twice. Name each once.")
    if any(common != commons[0] for common in commons):
        raise UsageError(
            "the models have different compression arguments. Sweep them into folders of their own."
        )
    return tuple(models), commons[0]


def parse_model_args(text: str | None) -> dict[str, Any]:
    """`k=v,k=v` as lm-eval reads it, without importing lm-eval.

    Raises:
        UsageError: a part without '='.
    """
    found: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in (text or "").split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise UsageError(
                f"model_args has {part!r}, which is not name=value. Write e.g. pretrained=org/model."
            )
        found[name.strip()] = _plain(value.strip())
    return found


def _plain(value: str) -> Any:
    lowered = {"true": True, "false": False, "none": None}
    if value.lower() in lowered:
        return lowered[value.lower()]
    for reader in (int, float):
        try:
            return reader(value)
        except ValueError:
            continue
    return value


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


def parse_seed(given: object) -> tuple[int | None, ...]:
    """lm-eval's four seeds (python, numpy, torch, few-shot) from one number, or four joined by commas ('None' leaves one unset).

    Raises:
        UsageError: something else.
    """
    parts = [str(x).strip() for x in given] if isinstance(given, (list, tuple)) else str(given).split(",")
    seeds = [None if part.strip() == "None" else part.strip() for part in parts]
    if len(seeds) not in (1, 4) or any(s is not None and not s.isdigit() for s in seeds):
        raise UsageError(
            f"seed {given!r} is neither one whole number nor four joined by commas, e.g. 0,1234,1234,1234."
        )
    numbers = [None if s is None else int(s) for s in seeds]
    return tuple(numbers * 4 if len(numbers) == 1 else numbers)


def _joined(value: Any) -> str:
    return ",".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)


def read_plan_file(path: Path) -> dict[str, Any]:
    """The options written in a YAML plan.

    Raises:
        UsageError: not there, or no mapping.
    """
    import yaml

    if not path.is_file():
        raise UsageError(f"there is no plan {str(path)!r}. Name a YAML file, or give the options themselves.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"{str(path)!r} is not YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values, dict):
        raise UsageError(
            f"{str(path)!r} holds no options. Write e.g. 'methods: magnitude' and 'sparsity: 0:0.9:0.1'."
        )
    return values


def compare(old: Plan, new: Plan, extend: bool) -> Plan:
    """The plan to go on with in a folder that holds `old`.

    Raises:
        UsageError: `new` differs, and does not only add cells, or does so without `extend`.
    """
    if old.models != new.models:
        raise UsageError(_other("models", [dict(m) for m in old.models], [dict(m) for m in new.models]))
    if old.settings != new.settings:
        names = [
            n for n in Settings.__dataclass_fields__ if getattr(old.settings, n) != getattr(new.settings, n)
        ]
        raise UsageError(_other(names[0], getattr(old.settings, names[0]), getattr(new.settings, names[0])))
    missing = [old.run_id(cell) for cell in old.cells if cell not in new.cells]
    added = [new.run_id(cell) for cell in new.cells if cell not in old.cells]
    if missing and not (extend and added):
        raise UsageError(
            f"this folder's plan has {len(missing)} more runs ({missing[0]!r}, ...). "
            "Give the same grid, or another folder."
        )
    if added and not extend:
        raise UsageError(
            f"this folder's plan lacks {len(added)} of these runs ({added[0]!r}, ...). "
            "Add --extend to run them too, or give another folder."
        )
    return replace(new, cells=old.cells + tuple(cell for cell in new.cells if cell not in old.cells))


def _other(what: str, old: object, new: object) -> str:
    return (
        f"this folder belongs to another plan: its {what} is {json.dumps(old)}, not {json.dumps(new)}. "
        "Give another folder; --extend can only add levels and methods."
    )
