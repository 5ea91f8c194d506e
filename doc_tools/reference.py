"""docs/reference/cli.md: what typer writes of every verb, with whole sentences and links in the list of verbs."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.cli import get_docs_for_click

from junkdna_harness.cli import app

PAGE = "docs/reference/cli.md"
HEAD = "<!-- Written by `python -m doc_tools docs/reference/cli.md` from the commands themselves. -->\n\n"
_HELP = re.compile(r"^\* `[^`]*--help`: .*\n", re.M)
_OPTION = re.compile(r"^(\* `[^`]+`: )(.*)$", re.M)
_VERBS = re.compile(r"^\*\*Commands\*\*:\n\n((?:\* .*\n)+)", re.M)
_EXAMPLES = re.compile(r"^Examples?:\n\n((?:junkdna .*\n\n)+)", re.M)
_MORE = re.compile(r"^More: docs/(\S+)\.md$", re.M)
_EMPTY = re.compile(r"^\*\*Options\*\*:\n\n(?!\* )", re.M)


def text() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    page = get_docs_for_click(
        obj=root, ctx=typer.Context(root, info_name="junkdna"), name="junkdna", title="Command line"
    )
    page = _EMPTY.sub("", _HELP.sub("", page))
    page = _OPTION.sub(lambda line: line[1] + _plain(line[2]), page)
    lists = iter(_groups(root, "junkdna"))
    page = _VERBS.sub(lambda _: f"**Commands**:\n\n{next(lists)}\n", page)
    page = _EXAMPLES.sub(lambda found: f"```bash\n{found[1].replace(2 * chr(10), chr(10))}```\n\n", page)
    page = _MORE.sub(r"More: [\1](../\1.md).", page)
    page = re.sub(r"\n{3,}", "\n\n", page.replace("```console\n", "```text\n"))
    return HEAD + page.strip() + "\n"


def _groups(command: Any, name: str) -> list[str]:
    """The list of verbs of a group, then those of the groups in it, as they follow on the page."""
    if not hasattr(command, "commands"):
        return []
    rows, inner = [], []
    for verb, one in command.commands.items():
        if one.hidden:
            continue
        whole = f"{name} {verb}"
        sentence = re.split(r"(?<=[.!?])\s", " ".join((one.help or "").split()), maxsplit=1)[0]
        rows.append(f"* [`{verb}`](#{whole.replace(' ', '-')}): {_plain(sentence)}")
        inner += _groups(one, whole)
    return ["\n".join(rows), *inner]


def _plain(words: str) -> str:
    """Help is not Markdown: a star is a star."""
    return re.sub(r"([*<|])", r"\\\1", words)
