"""The room's imports go one way: no cycle, whether at the top of a file or deferred into a function."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import junkdna_harness.compress as package

PREFIX = "junkdna_harness.compress."
FOLDER = Path(package.__file__).parent
TORCH_FREE = {
    "allocation", "asking", "beside", "bits", "card", "checkpoint_files", "formats", "gguf_file", "manifest", "notation", "plugins", "quant_spec", "reading", "recipe", "registry", "schema", "sources", "spec"
}  # fmt: skip


def imports(file: Path) -> set[str]:
    """Modules of the room that `file` imports anywhere, but not those imported for type checking alone."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    return {name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX)}


def test_nothing_imports_what_imports_it() -> None:
    graph = {file.stem: imports(file) for file in FOLDER.glob("*.py") if file.stem != "__init__"}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("change") < order.index("masks") < order.index("pruning")
    assert not graph["change"] & {"pruning", "quantizing", "calibrated", "masks"}
    for name in TORCH_FREE:
        assert graph[name] <= TORCH_FREE


def test_no_import_of_the_room_is_deferred() -> None:
    deferred = [
        f"{file.name}: {ast.unparse(inner)}"
        for file in FOLDER.glob("*.py")
        for outer in ast.walk(ast.parse(file.read_text()))
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(outer)
        if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith(PREFIX)
    ]
    assert deferred == []
