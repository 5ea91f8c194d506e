"""A store under faults: each call that writes fails once, the power goes between any two, and nothing that was finished is lost."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from difficulty.errors import StorageError
from junkdna_harness.sweep.engines import Event
from tests.files.disk import Disk, watched
from tests.sweep.faults import PLAN, Replay, content, fault, play, promised, recorded, whole


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Replay, dict[str, bytes]]:
    return recorded(tmp_path_factory.mktemp("recorded") / "s")


@pytest.mark.parametrize(("code", "once"), [(errno.EIO, True), (errno.ENOSPC, False)])
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_call_that_fails_anywhere_is_a_sentence_and_the_next_start_makes_the_same_store(
    call: str, code: int, once: bool, real: tuple[Replay, dict[str, bytes]], tmp_path: Path
) -> None:
    engine, expected = real
    number = 0
    while True:
        number += 1
        folder, heard = tmp_path / "s", []
        shutil.rmtree(folder, ignore_errors=True)
        with fault(call, number, code, once) as count:
            try:
                play(folder, engine, heard.append)
            except StorageError as error:
                assert error.exit_code == 74 and os.strerror(code) in str(error)
            else:  # it came to an end, or it was in letting go of the lock
                assert content(folder) == expected
        assert set(promised(heard)) <= whole(folder)
        there = content(folder)
        assert all(there[name] == expected[name] for name in there if name != "plan.json")
        play(folder, engine)
        assert content(folder) == expected
        if count[0] < number:
            break
    print(f"{number - 1} positions of {call}")
    # plan, three files that the runs share, three of each run; each is written, synced and moved, and its folder synced
    least = 4 + 3 * len(PLAN.cells)
    assert number - 1 >= (2 * least if call == "fsync" else least)


def noted(folder: Path, engine: Replay) -> tuple[Disk, list[str]]:
    """What a sweep did to the disk, marked with how many runs it had told to be finished; and their ids, in order."""
    root = folder / "root"
    root.mkdir()
    heard: list[Event] = []
    with pytest.MonkeyPatch.context() as patch, watched(root, folder / "keep", patch) as disk:

        def hear(event: Event) -> None:
            heard.append(event)
            disk.mark = len(promised(heard))

        play(root / "s", engine, hear)
        disk.note("end", ())
    return disk, promised(heard)


def test_after_a_power_cut_at_any_moment_every_run_that_was_told_finished_is_there(
    real: tuple[Replay, dict[str, bytes]], tmp_path: Path
) -> None:
    engine, expected = real
    found = tmp_path / "found"
    disk, runs = noted(tmp_path, engine)
    assert len(runs) == 3
    cuts, states = 0, set()
    for _, _, mark in disk.cuts(found):
        cuts += 1
        there, files = whole(found / "s"), content(found / "s")
        assert set(runs[:mark]) <= there
        if frozenset(files.items()) in states:
            continue
        states.add(frozenset(files.items()))
        for name, data in files.items():
            stem = Path(name).stem
            if any(PLAN.file_name(cell) == stem and PLAN.run_id(cell) in there for cell in PLAN.cells):
                assert data == expected[name]
        play(found / "s", engine)
        assert content(found / "s") == expected
    print(f"{cuts} cuts, {len(states)} states of the disk that differ")
    assert cuts == 4 * len(disk.moments) and len(disk.moments) > 40 and len(states) > 20


def test_without_the_sync_the_same_cuts_lose_what_was_finished(
    real: tuple[Replay, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the test above can fail: files that are moved before they are synced are found empty."""
    engine, _ = real
    found = tmp_path / "found"
    monkeypatch.setattr("difficulty.files.sync_file", lambda descriptor: None)
    disk, runs = noted(tmp_path, engine)
    monkeypatch.undo()
    lost = 0
    for _, kind, mark in disk.cuts(found):
        if kind == "names" and mark and (found / "s" / "plan.json").read_bytes():
            lost += not set(runs[:mark]) <= whole(found / "s")
        elif kind == "names" and mark:
            lost += 1
    assert lost
