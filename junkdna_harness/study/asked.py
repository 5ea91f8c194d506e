"""Which study is asked for: a shipped plan or a YAML file, with what the command line says on top."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.checkpoint import EMBEDDED
from junkdna_harness.compress.notation import read_repeats
from junkdna_harness.embedded import is_embedded
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.sweep.options import check_kinds, joined, read_plan_file

PLANS = Path(__file__).parent / "plans"
TRAININGS = "trainings"  # how many; written as the seeds that it stands for
DTYPE = "dtype"  # of evaluation; written into the model's arguments
WHOLE, DECIMAL = ("seeds", "steps"), ("recovery_levels", "fractions", "lr", "adapter_lr")
NAMES = ("pretrained", "tasks", "methods", "controls", "arms", "text", "text_methods")
LEVELS = ("sparsity", "patterns", "quantize", "text_sparsity", "text_quantize")


def shipped() -> dict[str, Path]:
    """The plans that come with the package, by name."""
    return {path.stem: path for path in sorted(PLANS.glob("*.yaml"))}


def make_plan(pretrained: str | None = None, plan_file: Path | None = None, **given: Any) -> StudyPlan:
    """The plan: what is shipped for the model if anything is, then the plan file, then what is `given` (None = not given).

    `pretrained` is a model, several joined by commas, or the name of a shipped plan; so is `plan_file` where there is no such file. With neither
    it is the study of the embedded models. `trainings` K, there or here, stands for K `seeds`: the one that is given (0 by default) and
    those that follow it. `dtype` is one of the `model_args`.

    Raises:
        UsageError: an unknown option, or a value that cannot be used.
    """
    from_file = read_plan_file(_shipped_or(plan_file)) if plan_file is not None else {}
    models = _models(pretrained if pretrained is not None else from_file.get("pretrained"))
    preset = _preset(models)
    values = {**preset, **from_file}
    if pretrained is not None:  # before what the file names
        values["pretrained"] = preset["pretrained"]
    said = {key: value for key, value in given.items() if value is not None}
    for layer in (from_file, said):  # what comes later says both, or the number alone, or the seeds alone
        if TRAININGS in layer and "seeds" not in layer and "seeds" in values:
            values["seeds"] = _tuple("seeds", values["seeds"])[:1]
        elif "seeds" in layer and TRAININGS not in layer:
            values.pop(TRAININGS, None)
    return _plan({**values, **said})


def _shipped_or(path: Path) -> Path:
    """The file itself, or the shipped plan of that name.

    Raises:
        UsageError: there is neither.
    """
    plans = shipped()
    if not path.is_file() and str(path) not in plans:
        raise UsageError(
            f"there is no plan {str(path)!r}. Name a YAML file, or a plan that comes with the package: {', '.join(plans)}."
        )
    return path if path.is_file() else plans[str(path)]


def _models(given: object) -> tuple[str, ...]:
    """The models that are named, each without the `pretrained=` that --model_args would write."""
    if given is None:
        return ()
    if isinstance(given, str):
        given = [given] if Path(given).exists() else given.split(",")
    listed = given if isinstance(given, (list, tuple)) else [given]
    return tuple(str(one).strip().removeprefix("pretrained=") for one in listed if str(one).strip())


def _preset(models: tuple[str, ...]) -> dict[str, Any]:
    """What is shipped for these models: a plan of that name, or the embedded models' plan for any of theirs, and where none is named."""
    plans = shipped()
    if not models:
        return read_plan_file(plans[EMBEDDED])
    if all(map(is_embedded, models)):
        return {**read_plan_file(plans[EMBEDDED]), "pretrained": models}
    if len(models) == 1 and models[0] in plans and not Path(models[0]).is_dir():
        return read_plan_file(plans[models[0]])
    return {"pretrained": models}


def _plan(values: dict[str, Any]) -> StudyPlan:
    """The plan of these options."""
    known = [*(f.name for f in fields(StudyPlan)), TRAININGS, DTYPE]
    for key in values:
        if key not in known:
            raise UsageError(
                f"a study has no option {key!r}.{did_you_mean(key, known)} Options: {', '.join(known)}."
            )
    for key in (*NAMES, *WHOLE, *DECIMAL):
        if key in values and values[key] is not None:
            values[key] = _tuple(key, values[key])
    if DTYPE in values:
        values["model_args"] = {**(values.get("model_args") or {}), DTYPE: values.pop(DTYPE)}
    if TRAININGS in values:
        values["seeds"] = _seeds(values.pop(TRAININGS), values.get("seeds", StudyPlan.seeds))
    for key in LEVELS:  # one level is a number in YAML, several are a list
        if isinstance(values.get(key), (int, float, list, tuple)):
            values[key] = joined(values[key])
    check_kinds(StudyPlan, values)
    try:
        return StudyPlan(**values)
    except TypeError as error:
        raise UsageError(f"the study's options cannot be used: {error}.") from error


def _seeds(trainings: object, seeds: tuple[int, ...]) -> tuple[int, ...]:
    """As many seeds as there are trainings."""
    try:
        number = read_repeats(TRAININGS, trainings)
    except UsageError as error:
        raise UsageError(
            f"{error} It is how often every arm is trained, each time with another seed."
        ) from None
    if len(seeds) == 1:
        return tuple(range(seeds[0], seeds[0] + number))
    if len(seeds) != number:
        raise UsageError(
            f"trainings {number} and seeds {','.join(map(str, seeds))}: every arm is trained once with each seed. Give one of the two, "
            "or the first seed alone."
        )
    return seeds


def _tuple(name: str, value: Any) -> tuple[Any, ...]:
    if name == "pretrained":
        return _models(value)
    parts = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    )
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    if name in (*WHOLE, *DECIMAL):
        reader: Any = _whole if name in WHOLE else float
        try:
            return tuple(reader(part) for part in parts)
        except (TypeError, ValueError, OverflowError):
            kind = "whole numbers" if name in WHOLE else "numbers"
            raise UsageError(
                f"{name} {value!r} is no list of {kind}. Write e.g. {_EXAMPLES[name]}."
            ) from None
    return tuple(str(part) for part in parts if part != "")


_EXAMPLES = {
    "seeds": "0,1,2", "steps": "100,300", "recovery_levels": "0.5,0.7", "fractions": "0.1,0.5,1", "lr": "2e-5,1e-4",
    "adapter_lr": "2e-4",
}  # fmt: skip


def _whole(value: Any) -> int:
    """A whole number; 1.5 and true are none."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(value)
    return int(value)
