"""lm-eval is met in one room: which modules may import what of it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT

PUBLIC = {
    "junkdna_harness/autoload.py": {"lm_eval.api.registry"},  # waits for lm-eval and joins it
    "junkdna_harness/models/base.py": {
        "lm_eval.models.huggingface",
        "lm_eval.utils",
    },  # the class that ours derive from
    "junkdna_harness/commands/lm_eval.py": {"lm_eval.__main__"},  # runs the command
}


def imported(path: Path) -> set[str]:
    """The parts of lm-eval that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == "lm_eval"}


def test_only_the_harness_room_imports_lm_evals_internals() -> None:
    strangers = {}
    for package in ("junkdna_harness", "difficulty"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("junkdna_harness/harness/"):
                strangers[name] = imported(path) - PUBLIC.get(name, set())
    assert {name: parts for name, parts in strangers.items() if parts} == {}


def test_the_harness_room_knows_nothing_of_sweeps_and_tiers() -> None:
    above = (
        "junkdna_harness.sweep",
        "junkdna_harness.tiers",
        "junkdna_harness.study",
        "junkdna_harness.commands",
    )
    for path in (ROOT / "junkdna_harness" / "harness").glob("*.py"):
        assert not [
            line
            for line in path.read_text().splitlines()
            if "import" in line and any(a in line for a in above)
        ]
