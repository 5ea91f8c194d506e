"""The options of a verb from a YAML file: the names are those of the command line, in either spelling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from difficulty.errors import UsageError, did_you_mean
from difficulty.json_files import read_text
from junkdna_harness.yaml_values import same_option, yaml_of

REMEDY = "Correct it, or give the options themselves."


@dataclass(frozen=True)
class Known:
    """A parameter as a file may set it: its `kind` (bool, int, float, str, Path), many values or one, the `choices` where there are
    some; `negated` is that of a key such as `no_force`."""

    name: str
    kind: type
    many: bool
    choices: tuple[str, ...] = ()
    negated: bool = False


def options_of(command: Any, files: Sequence[str]) -> dict[str, Any]:
    """The values of a file for the parameters of a verb, name -> value as typer takes it. Relative paths are the command's own.

    Raises:
        UsageError: several files, none there, no mapping, an unknown option, one that is set twice, or a value of another kind.
    """
    if len(files) > 1:
        raise UsageError(
            f"{' and '.join(map(repr, map(str, files)))} are two files of options. Name one YAML file."
        )
    path = Path(files[0])
    if not path.is_file():
        raise UsageError(
            f"there is no file of options {str(path)!r}. Name a YAML file, or give the options themselves."
        )
    text = read_text(path, "the file of options", REMEDY)
    values, written = (
        yaml_of(text, f"the file of options {str(path)!r}", REMEDY, loader)
        for loader in (None, yaml.BaseLoader)
    )
    if not isinstance(values, dict):
        raise UsageError(f"{str(path)!r} holds no options. Write one per line, as NAME: VALUE.")
    return _settled(str(path), values, written, known_options(command))


def _settled(
    path: str, values: Mapping[Any, Any], written: Mapping[str, Any], known: Mapping[str, Known]
) -> dict[str, Any]:
    """The values of a file that was read twice: as YAML, and with every value as the text that is written there."""
    found: dict[str, Any] = {}
    given: dict[str, str] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if not isinstance(key, str) or name not in known:
            raise UsageError(f"{path!r} has the unknown option {key!r}.{did_you_mean(name, known)}")
        one = known[name]
        if one.name in given:
            raise UsageError(same_option(path, given[one.name], key))
        given[one.name] = key
        if value is not None:
            found[one.name] = _value(f"{path!r}: {key}", one, value, written.get(key))
    return found


def _value(where: str, one: Known, value: Any, written: Any) -> Any:
    """What typer is given: lists for options that may be repeated; texts as they are written in the file (`007`, `1e5`)."""
    several = isinstance(value, list)
    values, texts = (value, written or value) if several else ([value], [written])
    taken = [
        _single(where, one, single, str(single if text is None else text))
        for single, text in zip(values, texts, strict=True)
    ]
    if one.many:
        return taken
    if not several:
        return not taken[0] if one.negated else taken[0]
    if one.kind is not str:
        raise UsageError(f"{where} {value!r:.60} cannot be used. Write {_words(one)}, not a list.")
    return ",".join(taken)


def _single(where: str, one: Known, value: Any, written: str) -> Any:
    kind = one.kind
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is bool:
        fits, taken = isinstance(value, bool), value
    elif kind is int:
        fits, taken = number and isinstance(value, int), value
    elif kind is float:
        fits, taken = number and math.isfinite(value), value
    elif one.choices:
        fits, taken = written in one.choices, written
    else:
        fits, taken = number or isinstance(value, str), written
    if not fits:
        raise UsageError(f"{where} {value!r:.60} cannot be used. Write {_words(one)}.")
    return taken


def _words(one: Known) -> str:
    if one.choices:
        return " or ".join(one.choices)
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    return words.get(one.kind, "a text (in quotes, if need be)")


def known_options(command: Any) -> dict[str, Known]:
    """The names that a file may use, of every option and argument of a verb."""
    hints = get_type_hints(command.callback)
    known: dict[str, Known] = {}
    for param in command.params:
        if param.name not in hints:  # --help
            continue
        kind, many, choices = _kind(hints[param.name])
        options = [opt for opt in param.opts if opt.startswith("--")]
        for opt in options or [param.name]:
            known[_key(opt)] = Known(param.name, kind, many, choices)
            if kind is bool and options:
                known[f"no_{_key(opt)}"] = Known(param.name, kind, many, negated=True)
        for opt in param.secondary_opts:
            known[_key(opt)] = Known(param.name, kind, many, negated=True)
    return known


def _key(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _kind(hint: Any) -> tuple[type, bool, tuple[str, ...]]:
    """(kind, whether there may be several, choices) of `list[str] | None` and the like."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is list:
        return get_args(hint)[0], True, ()
    if get_origin(hint) is Literal:
        return str, False, tuple(map(str, get_args(hint)))
    if issubclass(hint, Enum):
        return str, False, tuple(str(one.value) for one in hint)
    return hint, False, ()
