"""The `lm_eval` call that gives the same scores as a run of a sweep."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.sweep.options import TEXT_ARGUMENTS, parse_model_args
from junkdna_harness.sweep.plan import Plan, PlannedRun, Settings

LM_EVALS_SEED = Settings(()).seed  # what lm_eval takes where no --seed is given


def lm_eval_command(plan: Plan, cell: PlannedRun) -> str:
    """The call, quoted for a POSIX shell; of a run with a checkpoint for each task, one call per task. Paths are as they were given;
    those of checkpoints are relative to the study."""
    if cell.by_task:
        return " && ".join(_call(plan, part, (task,)) for task, part in cell.by_task.items())
    return _call(plan, cell, plan.settings.tasks)


def _call(plan: Plan, cell: PlannedRun, tasks: Sequence[str]) -> str:
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
        ",".join(tasks),
    ]
    if settings.text:
        words += ["--metadata", json.dumps(settings.metadata())]
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
    return text if _reads_back(text, given) else json.dumps(dict(given), default=str)


def _reads_back(text: str, given: Mapping[str, Any]) -> bool:
    if set(text) & set("{}[]()'\"\\"):  # lm-eval keeps what is in brackets and quotes together
        return False
    try:
        read = parse_model_args(text)
        names = {f"_{name}": value for name, value in given.items() if name in TEXT_ARGUMENTS}
        # lm-eval knows no names of models: it makes a number of pretrained=7.
        as_lm_eval = parse_model_args(",".join(f"{name}={value}" for name, value in names.items()))
    except UsageError:  # a comma in a value
        return False
    if given.get("method") == "none":  # lm-eval reads None, which our wrappers take for the method none
        read["method"] = "none"
    return read == dict(given) and as_lm_eval == names


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
