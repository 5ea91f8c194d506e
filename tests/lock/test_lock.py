"""The one file lock of the project: between processes, between threads, and after a process was killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from junkdna_harness.lock import locked

HOLDER = """
import sys
from pathlib import Path
from junkdna_harness.lock import locked
with locked(Path(sys.argv[1]), "busy", patience=float(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path: Path, *more: str, patience: str = "0") -> subprocess.Popen[str]:
    """Another process that has the lock, or has ended with an error."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), patience, *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.first = process.stdout.readline()  # type: ignore[attr-defined]
    return process


def ended(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_another_process_is_told_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = hold(path)
    with pytest.raises(UsageError, match="wait for it"), locked(path, "wait for it"):
        pass
    ended(other)
    with locked(path, "wait for it"):
        assert path.exists()


def test_a_second_try_in_this_process_is_refused_and_does_not_lose_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, "busy"):
        with pytest.raises(UsageError), locked(path, "busy"):
            pass
        other = hold(path)  # the system would drop our lock had the second try opened and closed the file
        assert other.first == ""  # type: ignore[attr-defined]
        ended(other)
    with locked(path, "busy"):
        pass


def test_one_who_waits_gets_it_when_it_is_let_go_even_if_the_file_is_removed(tmp_path: Path) -> None:
    path, inside = tmp_path / "lock", []

    def wait() -> None:
        with locked(path, "busy", patience=20):
            inside.append(path.exists())

    with locked(path, "busy"):
        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert not inside
    for thread in threads:
        thread.join()
    assert inside == [True, True, True]
    assert not path.exists()


def test_a_place_that_cannot_be_written_leaves_nothing_held(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "lock"
    with pytest.raises(OSError), locked(path, "busy"):
        pass
    path.parent.mkdir()
    with locked(path, "busy"):
        pass
