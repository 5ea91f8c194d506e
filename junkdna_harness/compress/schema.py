"""One schema for an argument: the field of a spec says how it is read, what it means, and how it may be called.

From these fields come the names that `--model_args` takes, their readers, the help of the command line's options, and
the tables of docs/compression.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any

from difficulty.errors import UsageError, did_you_mean

Reader = Callable[[str, Any], Any]  # (the name that was used, the value) -> the field's value


def argument(
    default: Any, read: Reader, help: str, names: tuple[str, ...] = (), shown: str | None = None
) -> Any:
    """A dataclass field that is an argument too.

    `names` are what it is called in `--model_args`, the first of them the one to use (default: the field's own name);
    `shown` is the default as the docs print it, where the field's own default does not say it.
    """
    return field(default=default, metadata={"read": read, "help": help, "names": names, "shown": shown})


def argument_names(spec: type) -> tuple[str, ...]:
    """All names that `--model_args` takes, in the order of the fields."""
    return tuple(name for one in _arguments(spec) for name in _names(one))


def help_of(spec: type, name: str) -> str:
    """What the field `name` means, in one line."""
    return str({one.name: one.metadata["help"] for one in _arguments(spec)}[name])


def read_arguments(spec: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `spec` from values as `--model_args` brings them: text or numbers, lists joined by '+' or ';'.

    A value of None is one that was not given.

    Raises:
        UsageError: an unknown name, two names of one field that differ, or a value that cannot be used.
    """
    allowed = argument_names(spec)
    for name in given:
        if name not in allowed:
            raise UsageError(
                f"{name}={given[name]!r} is no argument here. Choose among {', '.join(allowed)}."
                f"{did_you_mean(name, allowed)}"
            )
    values: dict[str, Any] = {}
    for one in _arguments(spec):
        named = {name: given[name] for name in _names(one) if given.get(name) is not None}
        read = {name: one.metadata["read"](name, value) for name, value in named.items()}
        if len(set(read.values())) > 1:
            both = " and ".join(f"{name}={value}" for name, value in read.items())
            raise UsageError(f"{both} are two names of one thing. Give {_names(one)[0]} alone.")
        if read:
            values[one.name] = next(iter(read.values()))
    return values


def arguments_table(spec: type) -> str:
    """The arguments as a Markdown table."""
    rows = ["| argument | default | what it says |", "| --- | --- | --- |"]
    for one in _arguments(spec):
        name = _names(one)[0]
        rows.append(f"| `{name}` | {_default(one)} | {one.metadata['help']} |")
    return "\n".join(rows)


def _arguments(spec: type) -> list[Field[Any]]:
    return [one for one in fields(spec) if "read" in one.metadata]


def _names(one: Field[Any]) -> tuple[str, ...]:
    return one.metadata["names"] or (one.name,)


def _default(one: Field[Any]) -> str:
    if one.metadata["shown"] is not None:
        return str(one.metadata["shown"])
    if one.default in (None, (), MISSING):
        return "–"
    return f"`{str(one.default).lower() if isinstance(one.default, bool) else one.default}`"
