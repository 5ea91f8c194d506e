"""Plans and options in YAML, read as YAML 1.2 reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from difficulty.errors import UsageError
from difficulty.json_files import read_text

_INT, _FLOAT, _TIMESTAMP, _BOOL = (
    f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp", "bool")
)
_WHOLE = re.compile(r"[-+]?[0-9]+\Z")
_NUMBER = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML reads YAML 1.1, in which `4:8` is 248 (base 60), `010` is 8, `1e-3` a text, `2026-11-25` a date and `no` false.

    Of a key that stands twice it silently takes the last; YAML forbids it.
    """

    def compose_mapping_node(self, anchor: Any) -> Any:
        """As PyYAML has it, where no key stands twice."""
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.composer.ComposerError(
                        None, None, f"the key {key.value!r} stands there twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        """As PyYAML has it; the two halves in which JSON writes a rare character (`\\ud83d\\ude00`) are one."""
        node = super().compose_scalar_node(anchor)
        if not node.value.isascii():
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in (_INT, _FLOAT, _TIMESTAMP, _BOOL)]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, _WHOLE, list("-+0123456789"))
_Loader.add_implicit_resolver(_FLOAT, _NUMBER, list("-+.0123456789"))
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
_Loader.add_constructor(_INT, lambda loader, node: int(loader.construct_scalar(node)))


def read_yaml(text: str) -> Any:
    """The value of a YAML document, of plain types only.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return finite(yaml.load(text, Loader=_Loader))  # a SafeLoader


def finite(value: Any) -> Any:
    """`value`, which aliases of YAML may have made a part of itself.

    Raises:
        yaml.YAMLError: they have.
    """
    done: set[int] = set()

    def visit(node: Any, above: frozenset[int]) -> None:
        if not isinstance(node, (dict, list)) or id(node) in done:
            return
        if id(node) in above:
            raise yaml.YAMLError("a value is a part of itself, by an alias")
        for inner in node.values() if isinstance(node, dict) else node:
            visit(inner, above | {id(node)})
        done.add(id(node))

    visit(value, frozenset())
    return value


def read_yaml_file(path: str | Path, what: str, remedy: str) -> Any:
    """The value of a YAML file, of plain types only; `what` it should be and the `remedy` stand in the sentence.

    Raises:
        UsageError: it cannot be read, or is no YAML; the line is named.
    """
    return yaml_of(read_text(path, what, remedy), f"{what} {str(path)!r}", remedy)


def in_one_spelling(path: str, values: Mapping[Any, Any]) -> dict[Any, Any]:
    """The options of a file with names as they are in Python: `group-size` is `group_size`.

    Raises:
        UsageError: one stands there in both spellings.
    """
    found: dict[Any, Any] = {}
    given: dict[Any, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_") if isinstance(key, str) else key
        if name in given:
            raise UsageError(same_option(path, given[name], key))
        given[name], found[name] = key, value
    return found


def same_option(path: str, first: Any, second: Any) -> str:
    """What is said of an option that a file gives twice, under two names."""
    return f"{path!r} gives {first!r} and {second!r}, which are one option. Keep one of them."


def yaml_of(text: str, what: str, remedy: str, loader: Any = None) -> Any:
    """The value of a YAML text that a user wrote; `loader`: another of PyYAML's than the one for plain types.

    Raises:
        UsageError: it is no YAML; the line is named.
    """
    try:
        return read_yaml(text) if loader is None else finite(yaml.load(text, Loader=loader))
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        TypeError,
    ) as error:  # also a list as a key, and a number that is too long
        mark = getattr(error, "problem_mark", None)
        told = getattr(error, "problem", None) or (str(error).splitlines() or [type(error).__name__])[0]
        where = f"line {mark.line + 1}: {told}" if mark is not None else str(told)
        raise UsageError(f"{what} is no YAML ({where}). {remedy}") from error
