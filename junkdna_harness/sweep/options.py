"""A sweep's options as a user writes them: `k=v,k=v`, seeds, and plans in YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.yaml_values import in_one_spelling, read_yaml_file

# Names of models and folders stay text, whatever they look like: a folder may be called 7, 1e5 or true.
TEXT_ARGUMENTS = ("pretrained", "peft", "delta", "tokenizer", "revision", "subfolder", "gguf_file")


def parse_model_args(text: str | None) -> dict[str, Any]:
    """`k=v,k=v` as lm-eval reads it, without importing lm-eval; but the name of a model stays the text that it is.

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
        name, value = name.strip(), value.strip()
        text_alone = name in TEXT_ARGUMENTS and value.lower() != "none"
        found[name] = value if text_alone else _plain(value)
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


def joined(value: Any) -> str:
    """A list as text with commas; anything else as its text."""
    return ",".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)


def read_plan_file(path: Path) -> dict[str, Any]:
    """The options written in a YAML plan, in either spelling.

    Raises:
        UsageError: not there, no mapping, or an option in both spellings.
    """
    if not path.is_file():
        raise UsageError(f"there is no plan {str(path)!r}. Name a YAML file, or give the options themselves.")
    values = read_yaml_file(path, "the plan", "Correct it, or give the options themselves.")
    if not isinstance(values, dict):
        raise UsageError(
            f"{str(path)!r} holds no options. Write e.g. 'methods: magnitude' and 'sparsity: 0:0.9:0.1'."
        )
    return in_one_spelling(str(path), values)


# What an annotation of an option allows: kind -> (test, words).
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "None": (lambda value: value is None, "nothing"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "int": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "float": (
        lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300,
        "a number",
    ),
    "str": (lambda value: isinstance(value, str), "a text"),
    "Mapping[str, Any]": (
        lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
        "names with values",
    ),
}


def check_kinds(options: type, values: Mapping[str, Any]) -> None:
    """Refuse values of another kind than the fields of the dataclass `options` have; fields of other kinds check themselves.

    Raises:
        UsageError: names the option, the value, and what is allowed.
    """
    for one in fields(options):
        allowed = str(one.type).split(" | ")
        if one.name not in values or not set(allowed) <= _KINDS.keys():
            continue
        value = values[one.name]
        if not any(_KINDS[kind][0](value) for kind in allowed):
            words = " or ".join(_KINDS[kind][1] for kind in allowed if kind != "None")
            raise UsageError(f"{one.name} {value!r:.60} cannot be used. Write {words}.")
