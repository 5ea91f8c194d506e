"""A command that is forked from a warm process does what one does that a shell starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands import command

PROGRAM = """
import atexit, os, random, sys, threading
import numpy
print(random.random(), numpy.random.random())
atexit.register(print, "at exit", flush=True)
threading.Thread(target=print, args=["of a thread"]).start()
print(sys.argv, sys.path[0], os.getcwd(), dict(os.environ), __name__, repr(sys.stdin.read()), file=sys.stderr)
how = sys.argv[1]
sys.exit({"well": None, "three": 3, "words": "in words"}[how]) if how != "raises" else 1 / 0
"""


def ran(folder: Path, how: str, fresh: bool) -> tuple[list[str], list[Any]]:
    """The numbers that it drew, and all else that is left of a run; of a traceback the last line."""
    (folder / "program.py").write_text(PROGRAM)
    done = command("program", how, "a b", cwd=folder, fresh=fresh)
    numbers, *printed = done.stdout.splitlines()
    told = done.stderr.splitlines()
    return numbers.split(), [done.args, done.returncode, printed, told[0], told[1:][-1:]]


@pytest.mark.parametrize(("how", "code"), [("well", 0), ("three", 3), ("words", 1), ("raises", 1)])
def test_both_print_and_end_alike(tmp_path: Path, how: str, code: int) -> None:
    (forked, told), (started, expected) = ran(tmp_path, how, False), ran(tmp_path, how, True)
    assert told == expected and told[1] == code and told[2] == ["of a thread", "at exit"]
    assert len({*forked, *started}) == 4


def test_no_two_draw_the_same_numbers(tmp_path: Path) -> None:
    assert len({number for _ in range(2) for number in ran(tmp_path, "well", False)[0]}) == 4
