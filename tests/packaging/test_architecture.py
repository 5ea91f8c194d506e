"""The arrows between rooms run one way, no module imports itself through others, and imports are put off only to start fast.

docs/architecture.md draws what is held here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# From floor to roof. A room may use those of its own row and of the rows before; rooms of one row do not use each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("difficulty.errors",),
    (
        "difficulty.callable_module",
        "difficulty.files",
        "difficulty.json_files",
        "difficulty.own_code",
        "difficulty.text",
        "difficulty.visible",
    ),
    ("difficulty.graded", "difficulty.stats"),
    ("difficulty.runs",),
    ("difficulty.cut", "difficulty.judge"),
    ("difficulty.fit", "difficulty.simulate"),
    ("difficulty",),
    (
        "junkdna_harness.autoload",
        "junkdna_harness.border",
        "junkdna_harness.device",
        "junkdna_harness.lock",
        "junkdna_harness.precision",
        "junkdna_harness.presentation",
        "junkdna_harness.embedded",
        "junkdna_harness.yaml_values",
    ),
    ("junkdna_harness.resources",),
    ("junkdna_harness.held_folder",),
    ("junkdna_harness.output_folder",),
    ("junkdna_harness.smollm2",),
    ("junkdna_harness.arguments", "junkdna_harness.harness", "junkdna_harness.hub"),
    ("junkdna_harness.texts", "junkdna_harness.tracking"),
    ("junkdna_harness.compress",),
    ("junkdna_harness.models",),
    ("junkdna_harness.tiers", "junkdna_harness.gate", "junkdna_harness.report"),
    ("junkdna_harness.recover",),
    ("junkdna_harness.sweep",),
    ("junkdna_harness.study", "junkdna_harness.fidelity", "junkdna_harness.sequential"),
    ("junkdna_harness.faces", "junkdna_harness.doctor"),
    ("junkdna_harness.commands",),
    ("junkdna_harness.cli",),
    ("junkdna_harness",),
)
# Packages whose names are loaded when they are asked for. They are for users: what our own modules use of them could not
# be seen here, nor by a reader.
LAZY_FACES = ("difficulty", "junkdna_harness", "junkdna_harness.compress", "junkdna_harness.recover")
# Modules that are named in a string, and imported by that name, although they lie above.
BY_NAME = {
    ("junkdna_harness.autoload", "junkdna_harness.models.pruned"): "lm_eval loads a model when it is named",
    (
        "junkdna_harness.autoload",
        "junkdna_harness.models.quantized",
    ): "lm_eval loads a model when it is named",
    (
        "junkdna_harness.sweep",
        "junkdna_harness.faces",
    ): "the package is called like the function that users want of it",
}
HEAVY = {
    "torch",
    "transformers",
    "lm_eval",
    "pandas",
    "scipy",
    "statsmodels",
    "matplotlib",
    "rich",
    "jinja2",
    "peft",
    "ray",
    "numpy",
}


@cache
def modules() -> dict[str, Path]:
    """Module name -> file, of both packages."""
    found = {}
    for package in ("difficulty", "junkdna_harness"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            yield f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in modules() else node.module


@cache
def imports(module: str) -> tuple[tuple[str, bool, int], ...]:
    """(imported module, put off into a function, line) of a module; what is for the type checker alone is left out."""
    found: list[tuple[str, bool, int]] = []

    def walk(node: ast.AST, deferred: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            inside = deferred or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            found.extend((name, deferred, child.lineno) for name in _imported(child))  # type: ignore[attr-defined]
            walk(child, inside)

    walk(ast.parse(modules()[module].read_text(encoding="utf-8")), False)
    return tuple(found)


@cache
def typed(module: str) -> tuple[str, ...]:
    """The modules of ours that a module imports for the type checker alone."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)]
    return tuple(
        name for block in blocks for node in ast.walk(block) for name in _imported(node) if name in modules()
    )


def own(module: str) -> list[tuple[str, bool, int]]:
    """Those of its imports that are ours."""
    return [
        (name, deferred, line)
        for name, deferred, line in imports(module)
        if name in modules() and name != module
    ]


def layer(module: str) -> tuple[int, str]:
    """(row, room) of a module: the longest name in `LAYERS` that it begins with."""
    rooms = [(room, row) for row, names in enumerate(LAYERS) for room in names]
    fitting = [(room, row) for room, row in rooms if module == room or module.startswith(f"{room}.")]
    room, row = max(fitting, key=lambda pair: len(pair[0]))
    return row, room


@cache
def loaded(module: str) -> frozenset[str]:
    """What importing a module loads: modules of ours, packages around them included, and the names of other packages."""
    found: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        pending += [name.rpartition(".")[0]] if "." in name else []
        for other, deferred, _ in imports(name):
            if not deferred and other in modules():
                pending.append(other)
            elif not deferred:
                found.add(other.partition(".")[0])
    return frozenset(found)


def worth_putting_off(name: str, module: str) -> bool:
    """True where importing `name` only within a function of `module` saves something."""
    if module.startswith("junkdna_harness.commands."):
        # Every start of `junkdna` reads all verbs: none of them may load the rooms of another.
        return name not in loaded("junkdna_harness.cli")
    return bool((loaded(name) - loaded(module)) & HEAVY)


def test_the_start_of_the_command_loads_its_verbs_and_the_words_of_compression_and_runs_and_printing_alone() -> (
    None
):
    rooms = {layer(name)[1] for name in loaded("junkdna_harness.cli") if name in modules()}
    words = {"difficulty", "difficulty.errors", "difficulty.runs", "junkdna_harness.compress"}
    printing = {"difficulty.own_code", "difficulty.visible", "junkdna_harness.presentation"}
    assert rooms == words | printing | {"junkdna_harness", "junkdna_harness.cli", "junkdna_harness.commands"}
    assert not loaded("junkdna_harness.cli") & HEAVY


def named(module: str) -> Iterator[tuple[str, int]]:
    """(module of ours, line) for each that stands in a string, alone or as "module:function"."""
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            if name in modules() and "." in name and name != module:
                yield name, node.lineno


def above(module: str, names: Iterable[tuple[str, int]]) -> list[str]:
    """Those of (module, line) that lie on a row above `module`, or in another room of its row."""
    row, room = layer(module)
    found = []
    for name, line in names:
        other_row, other_room = layer(name)
        if other_row > row or (other_row == row and other_room != room):
            found.append(f"line {line}: {name}")
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_arrows_run_from_the_roof_to_the_floor(module: str) -> None:
    wrong = above(module, [(name, line) for name, _, line in own(module)])
    assert not wrong, f"{module} ({layer(module)[1]}) must not use {'; '.join(wrong)}"


@pytest.mark.parametrize("module", sorted(modules()))
def test_what_is_imported_by_a_string_is_an_arrow_too(module: str) -> None:
    wrong = above(module, [(name, line) for name, line in named(module) if (module, name) not in BY_NAME])
    assert not wrong, f"{module} must not name {'; '.join(wrong)}"


def test_no_exception_outlives_its_reason() -> None:
    assert [pair for pair in BY_NAME if pair[0] not in modules() or pair[1] not in dict(named(pair[0]))] == []


@pytest.mark.parametrize("module", sorted(set(modules()) - set(LAZY_FACES)))
def test_our_own_modules_go_past_the_faces_that_load_on_demand(module: str) -> None:
    """`from junkdna_harness.compress import prune` looks light and loads torch; the module that holds it says so."""
    found = []
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in LAZY_FACES:
            found += [
                f"line {node.lineno}: {alias.name} of {node.module}"
                for alias in node.names
                if f"{node.module}.{alias.name}" not in modules() and alias.name != "__version__"
            ]
    assert not found, f"{module} must import from where they are {'; '.join(found)}"


def test_no_module_imports_itself_through_others() -> None:
    """Imports within functions and for the type checker count too: a cycle that is put off is still a cycle."""
    state: dict[str, int] = {}
    trail: list[str] = []

    def visit(name: str) -> None:
        state[name] = 1
        trail.append(name)
        for other in (*(found for found, _, _ in own(name)), *typed(name)):
            if other in LAZY_FACES or other == name:  # a face names everything, for the type checker
                continue
            assert state.get(other) != 1, "import cycle: " + " -> ".join(
                [*trail[trail.index(other) :], other]
            )
            if other not in state:
                visit(other)
        trail.pop()
        state[name] = 2

    for name in modules():
        if name not in state:
            visit(name)


@pytest.mark.parametrize("module", sorted(modules()))
def test_an_import_is_put_off_only_where_it_saves_loading_something_heavy(module: str) -> None:
    needless = [
        f"line {line}: {name}"
        for name, deferred, line in own(module)
        if deferred and not worth_putting_off(name, module)
    ]
    assert not needless, f"{module} puts off for nothing {'; '.join(needless)}"


def test_every_module_has_a_room_and_every_room_is_there() -> None:
    rooms = {layer(name)[1] for name in modules()}
    assert rooms == {room for row in LAYERS for room in row}


def test_the_documents_draw_the_rooms_as_they_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = text.split("```")[1].removeprefix("text").strip().splitlines()
    rows = [
        ", ".join(sorted(room.removeprefix("junkdna_harness.") for room in row)) for row in reversed(LAYERS)
    ]
    assert len(drawn) == len(rows)
    assert [row for row, line in zip(rows, drawn, strict=True) if not line.startswith(f"{row} ")] == []
