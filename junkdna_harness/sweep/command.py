"""The `lm_eval` call that gives the same scores as a run of a sweep."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from junkdna_harness.sweep.options import TEXT_ARGUMENTS, parse_model_args
from junkdna_harness.sweep.plan import Cell, Plan, Settings

LM_EVALS_SEED = Settings(()).seed  # what lm_eval takes where no --seed is given


def lm_eval_command(plan: Plan, cell: Cell) -> str:
    """The call, quoted for a POSIX shell. Paths are as they were given; those of checkpoints are relative to the study."""
    settings = plan.settings
    given = {**plan.models[cell.model], **cell.arguments}
    if cell.kind == "dense":
        given["method"] = "none"
    kind = "junkdna-quantized" if cell.kind == "quantize" else "junkdna-pruned"
    words = [
        "lm_eval",
        "--model",
        kind,
        "--model_args",
        _model_args(given),
        "--tasks",
        ",".join(settings.tasks),
    ]
    if settings.limit is not None:
        words += ["--limit", _number(settings.limit)]
    for name in ("num_fewshot", "include_path", "system_instruction"):
        if (value := getattr(settings, name)) is not None:
            words += [f"--{name}", str(value)]
    if settings.seed != LM_EVALS_SEED:
        words += ["--seed", ",".join(map(str, settings.seed))]
    if settings.apply_chat_template:
        template = settings.apply_chat_template
        words += ["--apply_chat_template", *([template] if isinstance(template, str) else [])]
        if settings.fewshot_as_multiturn is not None:  # lm_eval's own default with a template is true
            words += ["--fewshot_as_multiturn", str(settings.fewshot_as_multiturn).lower()]
    return shlex.join(words)


def _model_args(given: Mapping[str, Any]) -> str:
    """`k=v,k=v` where lm-eval reads that back as what was given, else JSON, which it takes as well."""
    text = ",".join(f"{name}={value}" for name, value in given.items())
    numbers_as_names = any(
        name in TEXT_ARGUMENTS and parse_model_args(f"value={value}") != {"value": value}
        for name, value in given.items()
    )
    try:
        plain = parse_model_args(text) == dict(given) and not set(text) & set("{}[]()'\"\\")
    except ValueError:  # a value with a comma
        plain = False
    return text if plain and not numbers_as_names else json.dumps(dict(given), default=str)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
