"""A page's blocks, run in order in one folder: a shell and a Python that remember, and what the last block printed.

Tests and `python -m doc_tools` run the same blocks. Tests leave out those that are `long`, and take the small stand-in of those that have one
(`in tests`); from a stand-in on, what the page shows is of something larger, and is not compared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from doc_tools.blocks import ROOT, SHOWN, Block
from doc_tools.shared import Shared
from doc_tools.trials import tried
from tests.action.runner import commands

# What a shell leaves to the next one: its exported variables and its folder.
_SHELL = """
set -eo pipefail
[ ! -f "$DOC_STATE" ] || . "$DOC_STATE"
trap 'code=$?; { declare -px; printf "cd %q\\n" "$PWD"; } > "$DOC_STATE"; exit $code' EXIT
. "$DOC_BLOCK"
"""
_PYTHON = """
import contextlib, io, json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            exec(compile(json.loads(line), "<page>", "exec"), names)
            failed = False
        except BaseException:
            traceback.print_exc()
            failed = True
    sys.__stdout__.write(json.dumps([said.getvalue(), failed]) + "\\n")
    sys.__stdout__.flush()
"""
_NAMED = re.compile(r"# (\S+\.\w+)\n")


class Failed(AssertionError):
    """A block that did not end as the page says."""


class Session:
    """The folder in which the blocks of one page are run."""

    def __init__(
        self, folder: Path, shared: Shared, *, testing: bool, scripts: dict[str, str] | None = None
    ) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.scratch = folder
        self.shared, self.testing = shared, testing
        self.printed: str | None = None  # by the last block; None where it was not run
        self.itself = True  # no stand-in was run so far
        self.scripts = scripts or {}
        self.tools = commands(folder / "bin", **self.scripts)
        self.environment = environment(self.tools)
        self._python: subprocess.Popen[str] | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if self._python is not None:
            self._python.communicate()  # its input ends, and so does it

    def run(self, block: Block) -> None:
        """Do what a block says; `Failed` where it fails."""
        try:
            self._run(block)
        except AssertionError as error:
            raise Failed(f"{block}: {error}") from error

    def _run(self, block: Block) -> None:
        if block.kind in SHOWN or "example" in block.marks:
            return
        self.printed = None
        small = self.testing and "in tests" not in block.marks
        if "not run" in block.marks or (small and "long" in block.marks):
            return
        if wanted := block.marks.get("uses"):
            self.shared.give(wanted, self)
            self.itself &= not self.testing
        made = block.marks.get("makes")
        if made and (printed := self.shared.made(made, self)) is not None:
            self.printed, self.itself = printed, self.itself and not self.testing
        elif named := _NAMED.match(block.body):
            self.file(named[1], block.body)
        elif block.kind == "bash":
            self.bash(self._body(block))
        elif block.kind == "python":
            self.python(block.body)
        if made and self.printed is not None:
            self.shared.keep(made, self)
        if "keeps" in block.marks and not self.testing:
            source, _, target = block.marks["keeps"].partition(" -> ")
            shutil.copyfile(self.home / source, ROOT / target)

    def _body(self, block: Block) -> str:
        if self.testing and (instead := block.marks.get("in tests")):
            self.itself = False
            return instead
        return block.marks.get("run", block.body)

    def bash(self, body: str) -> None:
        script = self.scratch / "block.sh"
        script.write_text(body, encoding="utf-8")
        state = {"DOC_STATE": str(self.scratch / "state"), "DOC_BLOCK": str(script)}
        done = subprocess.run(
            ["bash", "-c", _SHELL],
            cwd=self.home,
            env=self.environment | state,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        self.printed = readable(done.stdout, self.home)
        said = re.search(r"# exit code (\d+)\s*$", body)
        if done.returncode != int(said[1] if said else 0):
            raise Failed(f"ended with {done.returncode}:\n{body}\n{self.printed[-4000:]}")

    def python(self, body: str) -> None:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _PYTHON],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        assert self._python.stdin is not None and self._python.stdout is not None
        self._python.stdin.write(json.dumps(body) + "\n")
        self._python.stdin.flush()
        printed, failed = json.loads(self._python.stdout.readline())
        self.printed = readable(printed, self.home)
        if failed:
            raise Failed(f"failed:\n{body}\n{self.printed[-4000:]}")

    def file(self, name: str, body: str) -> None:
        """A block whose first line names a file is that file, and tried as what it is."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tried(self, name, body)
        path.write_text(body, encoding="utf-8")


def environment(tools: Path) -> dict[str, str]:
    """That of the blocks: this checkout's commands, no network, and a screen of 80 columns without colours."""
    return os.environ | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "COLUMNS": "80",
        "NO_COLOR": "1",
    }


def readable(printed: str, home: Path) -> str:
    """What stays on a screen: the last state of a line that was written over, no progress bars, paths from the page's folder."""
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in printed.split("\n"))
    kept = [line for line in lines if not re.search(r"\d+%\|.*\||(it/s|s/it)\]", line)]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "\n".join(kept))
    for folder in (home.resolve(), ROOT):
        text = text.replace(f"{folder}/", "")
    return text
