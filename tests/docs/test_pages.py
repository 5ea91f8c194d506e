"""Every block of README and docs/: its commands are understood, and, where that is cheap, run; what is shown is what is printed.

`python -m doc_tools` writes anew what is shown, also of the blocks that take minutes. See CONTRIBUTING.md, "Documentation".
"""

from __future__ import annotations

import re
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path

import pytest
import yaml
from rich.cells import cell_len

from doc_tools import reference
from doc_tools.blocks import KINDS, MARKS, ROOT, SHOWN, Block, blocks_of, pages
from doc_tools.commands import mistakes, spoken, wrong_plan
from doc_tools.outputs import strangers
from doc_tools.session import Session
from doc_tools.shared import Shared, makers

PAGES = pages()
RUN = [page for page in PAGES if any(b.kind in {"bash", "python", "yaml"} and "not run" not in b.marks for b in blocks_of(page))]  # fmt: skip


class _Lenient(yaml.SafeLoader):
    """Reads `!function module.name` as text."""


_Lenient.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _wrong(block: Block, before: Block | None) -> list[str]:
    """What is wrong with a block as it stands."""
    wrong = []
    if block.kind not in KINDS | SHOWN:
        wrong.append(f"```{block.kind}: a block is one of {', '.join(sorted(KINDS))}")
    for body in (block.body, block.marks.get("run"), block.marks.get("in tests")):
        wrong += mistakes(body) if body and block.kind == "bash" else []
    if block.kind in SHOWN and "example" not in block.marks and (before is None or "not run" in before.marks):
        wrong.append("nothing before it prints it; mark it <!-- example: why --> if nothing can")
    if (
        block.kind == "text"
        and max(map(cell_len, block.body.splitlines())) > 80
        and "wide" not in block.marks
    ):
        wrong.append("wider than 80 columns")
    if verb := block.marks.get("plan of"):
        wrong += [told] if (told := wrong_plan(verb, block.body)) else []
    for mark in ("not run", "long", "example"):
        if block.marks.get(mark) == "":
            wrong.append(f"<!-- {mark}: --> says no reason")
    return wrong


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_understood(page: str) -> None:
    before, wrong = None, list[str]()
    for block in blocks_of(page):
        wrong += [f"{block}: {one}" for one in _wrong(block, before)]
        if block.kind == "python":
            compile(block.body, str(block), "exec")
        elif block.kind == "yaml":
            assert isinstance(yaml.load(block.body, _Lenient), dict)
        before = before if block.kind in SHOWN else block
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_are_understood(page: str) -> None:
    assert not [wrong for command in spoken(page) for wrong in mistakes(f"{command} ...")]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_blocks_do_what_the_page_says(
    page: str, tmp_path: Path, shared: Shared, scripts: dict[str, str]
) -> None:
    shown = []
    with Session(tmp_path / "page", shared, testing=True, scripts=scripts) as session:
        for block in blocks_of(page):
            session.run(block)
            if block.kind in SHOWN and "example" not in block.marks and session.itself and session.printed is not None:  # fmt: skip
                shown += [f"{block}: {line}" for line in strangers(block, session.printed)]
    assert not shown, "shown, but not printed:\n" + "\n".join(shown)


def test_the_reference_of_the_command_line_is_that_of_the_commands() -> None:
    assert (ROOT / reference.PAGE).read_text(encoding="utf-8") == reference.text(), (
        f"run: python -m doc_tools {reference.PAGE}"
    )


@pytest.mark.parametrize("face", ["difficulty", "junkdna_harness", "junkdna_harness.compress", "junkdna_harness.sweep", "junkdna_harness.recover", "junkdna_harness.gate"])  # fmt: skip
def test_the_reference_of_python_lists_every_public_name(face: str) -> None:
    listed = set(
        re.findall(r"^::: (\S+)$", (ROOT / "docs/reference/api.md").read_text(encoding="utf-8"), re.M)
    )
    names = {name: getattr(import_module(face), name) for name in import_module(face).__all__}
    homes = {
        f"{one.__module__}.{one.__qualname__}" for one in names.values() if isfunction(one) or isclass(one)
    }
    assert homes <= listed


def test_every_mark_is_described() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not [mark for mark in MARKS if f"| `{mark}: " not in table and f"<!-- {mark} -->" not in table]


def test_what_pages_use_is_made_by_a_block() -> None:
    used = {block.marks["uses"] for page in PAGES for block in blocks_of(page) if "uses" in block.marks}
    assert used <= makers().keys()
