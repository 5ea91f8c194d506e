"""`append_line`: a line is whole or absent, and what a killed process left keeps its line to itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from difficulty.files import append_line


def test_lines_are_added_and_a_rest_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert [append_line(path, "1"), append_line(path, "2")] == [False, False]
    path.write_bytes(path.read_bytes()[:-1])
    assert append_line(path, "ä") is True
    assert path.read_text() == "1\n2\nä\n"


@pytest.mark.parametrize("rest", [b"", b"1\n", b"1\nhal"])
@pytest.mark.parametrize("call", ["write", "fsync"])
def test_where_the_disk_is_full_the_file_is_as_it_was(
    call: str, rest: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(rest)
    real, count = getattr(os, call), [0]

    def full(descriptor: int, *data: bytes) -> object:
        count[0] += 1
        if call == "write" and count[0] == 1:
            return real(descriptor, bytes(data[0])[:2])  # two bytes fit
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError):
        append_line(path, "a line")
    assert path.read_bytes() == rest


def test_a_line_of_another_process_is_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n")

    def another(descriptor: int) -> None:
        with path.open("ab") as handle:
            handle.write(b"their line\n")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", another)
    with pytest.raises(OSError):
        append_line(path, "our line")
    assert path.read_bytes() == b"1\nour line\ntheir line\n"
