"""`output_folder`: whole or absent, through links, over nothing but what is ours, and clear of what killed processes left."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from difficulty.errors import StorageError, UsageError
from junkdna_harness.output_folder import check_output_folder, output_folder
from tests.files.disk import watched


def tree(folder: Path) -> dict[str, str]:
    """Every file, link and empty folder below `folder`, and what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
        elif not any(path.iterdir()):
            found[name + "/"] = ""
    return found


def checkpoint(folder: Path, weights: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    return folder


def write(path: Path | str, force: bool = False, source: Path | None = None) -> None:
    with output_folder(path, force, source) as folder:
        (folder / "junkdna.json").write_text("new")


NEW = {"junkdna.json": "new"}


def test_a_folder_appears_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    with output_folder(tmp_path / "deep" / "out") as folder:
        (folder / "junkdna.json").write_text("new")
        assert not (tmp_path / "deep" / "out").exists()
    assert tree(tmp_path) == {"deep/out/junkdna.json": "new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_a_block_that_fails_leaves_nothing_and_keeps_what_was_there(
    error: type[BaseException], tmp_path: Path
) -> None:
    old = tree(checkpoint(tmp_path / "old"))
    for path in (tmp_path / "deep" / "out", tmp_path / "old"):
        with pytest.raises(error), output_folder(path, force=True) as folder:
            (folder / "half").write_text("")
            raise error
    assert tree(tmp_path) == {f"old/{name}": value for name, value in old.items()}


def home(folder: Path) -> Path:
    """A folder as people have them, with a checkpoint somewhere in it."""
    folder.mkdir()
    (folder / "thesis.tex").write_text("years")
    checkpoint(folder / "models" / "m")
    return folder


def config_alone(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def a_file(folder: Path) -> Path:
    folder.write_text("thesis")
    return folder


def holds_the_source(folder: Path) -> Path:
    checkpoint(folder)
    checkpoint(folder / "sub")
    return folder


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (home, "was not written by this command .it holds"),
        (config_alone, "was not written by this command .it holds 'config.json'"),
        (a_file, "is a file"),
        (holds_the_source, "contains what is read"),
    ],
)
def test_force_replaces_no_folder_that_is_not_ours(
    make: Callable[[Path], Path], told: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "there")
    before = tree(tmp_path)
    source = path / "sub"
    for call in (check_output_folder, write):
        with pytest.raises(UsageError, match=told):
            call(path, True, source)
    (tmp_path / "link").symlink_to("there")  # nor through a link
    for call in (check_output_folder, write):
        with pytest.raises(UsageError, match=told):
            call(tmp_path / "link", True, source)
    (tmp_path / "link").unlink()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("spelt", [".", "", "../here", "link"])
def test_the_current_folder_and_those_above_it_are_never_replaced(
    spelt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = checkpoint(tmp_path / "above" / "here")
    (tmp_path / "above" / "junkdna.json").write_text("{}")
    (here / "link").symlink_to(here)
    monkeypatch.chdir(here)
    before = tree(tmp_path)
    for path, verb in ((spelt, "is"), ("..", "contains")):
        for call in (check_output_folder, write):
            with pytest.raises(UsageError, match=f"{verb} the current folder"):
                call(path, True)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(UsageError, match="is the current folder"):
        write(".")
    empty.rmdir()
    assert tree(tmp_path) == before


def test_home_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(checkpoint(tmp_path / "home")))
    for path, verb in ((tmp_path / "home", "is"), (tmp_path, "contains")):
        with pytest.raises(UsageError, match=f"{verb} your home folder"):
            check_output_folder(path, True)


@pytest.mark.parametrize("made", ["checkpoint", "empty", "manifest", "missing"])
def test_through_a_link_the_target_is_replaced_and_the_link_stays(made: str, tmp_path: Path) -> None:
    real = tmp_path / "real"
    if made == "checkpoint":
        checkpoint(real)
    elif made != "missing":
        real.mkdir()
        (real / "junkdna.json").write_text("old") if made == "manifest" else None
    (tmp_path / "link").symlink_to("real")
    for _ in range(2):
        write(tmp_path / "link", force=True)
        assert tree(tmp_path) == {"link": "-> real", "real/junkdna.json": "new"}


def test_a_source_may_be_written_over(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "m")
    check_output_folder(source, True, source)
    write(source, True, source)
    assert tree(source) == NEW
    (tmp_path / "link").symlink_to("m")
    write(tmp_path / "link", True, source)
    assert tree(source) == NEW


def test_what_a_folder_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "round").symlink_to("round")
    for path, told in (
        (tmp_path / "f" / "out", "Not a directory"),
        (tmp_path / ("n" * 256), "its name is too long"),
        (tmp_path / "round", "round"),
        (Path("/dev/null"), "is no folder"),
        (Path("/dev/null/out"), "Not a directory"),
        (Path("/proc/out"), "cannot write"),
        (tmp_path / "a\0b", "no file can have this name"),
    ):
        for call in (check_output_folder, write):
            with pytest.raises(UsageError, match=told) as caught:
                call(path)
            assert caught.value.exit_code == 2
    write(tmp_path / ("n" * 255))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "n" * 255, "round"]


def test_a_trial_leaves_nothing_and_room_is_asked_for(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "deep" / "out")
    with pytest.raises(UsageError, match=r"would take 1000000\.0 TB, and there are .* left"):
        check_output_folder(tmp_path / "deep" / "out", need=10**18)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_whatever_call_fails_the_old_folder_is_whole_or_the_new_one_is(
    call: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 8):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        if there:
            checkpoint(tmp_path / "out")
        before = tree(tmp_path)
        real, count = getattr(os, call), [0]

        def fail(
            *args: object, real: object = real, count: list[int] = count, at: int = number, **more: object
        ) -> object:
            count[0] += 1
            if count[0] == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **more)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            try:
                write(tmp_path / "out", force=True)
            except StorageError:
                pass
            else:
                assert count[0] < number
        new = {"out/junkdna.json": "new"}
        # The folder may have been moved, and then its parent not be synced: what was aside is cleared by the next run.
        now = {name: value for name, value in tree(tmp_path).items() if ".replaced" not in name}
        assert now in ((before, new) if count[0] >= number else (new,))
        write(tmp_path / "out", force=True)
        assert tree(tmp_path) == new


KILLED = """
import os, signal, sys
from junkdna_harness.output_folder import output_folder
if sys.argv[2] != "inside":
    real, moves = os.replace, []
    def replace(a, b):
        real(a, b)
        moves.append(b)
        if len(moves) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace
with output_folder(sys.argv[1], force=True) as folder:
    (folder / "junkdna.json").write_text("new")
    (folder / "large").write_text("x" * 100_000)
    if sys.argv[2] == "inside":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["inside", "1", "2"])
def test_what_a_killed_process_left_is_cleared_by_the_next(when: str, tmp_path: Path) -> None:
    old = tree(checkpoint(tmp_path / "out"))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), when])
    assert killed.returncode == -signal.SIGKILL
    assert any(path.name.endswith(".partial") for path in tmp_path.iterdir())
    if when == "1":  # between the two moves: the old folder is back, and refused without --force
        assert not (tmp_path / "out").exists()
        with pytest.raises(UsageError, match="--force"):
            write(tmp_path / "out")
        assert tree(tmp_path / "out") == old
    write(tmp_path / "out", force=True)
    assert tree(tmp_path) == {"out/junkdna.json": "new"}


def test_a_checkpoint_that_was_being_written_over_itself_is_there_again_before_it_is_read(
    tmp_path: Path,
) -> None:
    old = tree(checkpoint(tmp_path / "out"))
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), "1"])
    assert not (tmp_path / "out").exists()
    check_output_folder(tmp_path / "out", force=True, source=tmp_path / "out")
    assert tree(tmp_path / "out") == old


def test_who_lost_the_place_removes_nothing_of_the_other(tmp_path: Path) -> None:
    def taken_over() -> None:
        with output_folder(tmp_path / "out") as folder:
            (lock,) = tmp_path.glob(".out.lock.partial")
            lock.unlink()  # as another process does when this one was cut off for long
            shutil.rmtree(folder)
            folder.mkdir()
            (folder / "junkdna.json").write_text("theirs")

    with pytest.raises(UsageError, match="no longer held"):
        taken_over()
    assert tree(tmp_path) == {".out.partial/junkdna.json": "theirs"}


def test_two_that_write_one_folder_know_of_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom junkdna_harness.output_folder import output_folder\n"
        "with output_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'junkdna.json').write_text('theirs')\n    print('in', flush=True)\n    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None and other.stdout.readline() == "in\n"
    with pytest.raises(UsageError, match="another process is writing"):
        write(tmp_path / "out")
    other.communicate("")
    assert other.returncode == 0
    assert tree(tmp_path) == {"out/junkdna.json": "theirs"}


def test_a_real_disk_that_is_full_is_a_sentence_and_has_its_own_exit_code(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)], capture_output=True
    ).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        with pytest.raises(UsageError, match=r"would take 1\.0 MB, and there are .* kB left"):
            check_output_folder(small / "out", need=10**6)
        with pytest.raises(UsageError, match="a disk is mounted"):
            check_output_folder(small, True)
        for force in (False, True):
            with (
                pytest.raises(StorageError, match="No space left"),
                output_folder(small / "out", force) as folder,
            ):
                (folder / "junkdna.json").write_bytes(b"x" * 10**6)
        assert list(small.iterdir()) == []
        write(small / "out")
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        for path in (small / "other", small / "deep" / "other"):
            with pytest.raises(UsageError, match="Read-only file system") as caught:
                check_output_folder(path)
            assert caught.value.exit_code == 2
    finally:
        for _ in range(5):
            if not subprocess.run(["umount", str(small)], capture_output=True).returncode:
                break
            time.sleep(0.2)


@pytest.mark.parametrize("there", [False, True])
def test_after_a_power_cut_the_old_folder_or_the_new_one_is_whole(there: bool, tmp_path: Path) -> None:
    root, found = tmp_path / "root", tmp_path / "found"
    root.mkdir()
    if there:
        write(root / "out")
        (root / "out" / "junkdna.json").write_text("old")
    new = {"junkdna.json": "new", "deep/model.safetensors": "weights"}
    with pytest.MonkeyPatch.context() as patch, watched(root, tmp_path / "keep", patch) as disk:
        if there:
            disk.sync(root / "out")
        with output_folder(root / "out", force=True) as folder:
            (folder / "junkdna.json").write_text("new")
            (folder / "deep").mkdir()
            (folder / "deep" / "model.safetensors").write_text("weights")
        disk.mark = 1
        disk.note("end", ())
    cuts, seen = 0, set()
    for _, kind, mark in disk.cuts(found):
        if kind == "some":  # would tear a rename of a folder apart, and no file system does
            continue
        cuts += 1
        now = tree(found / "out")
        if mark:
            assert now == new
        elif there and not now:  # between two moves: the next run puts it back
            with pytest.raises(UsageError, match="--force"):
                write(found / "out")
            now = tree(found / "out")
        assert now in (({"junkdna.json": "old"}, new) if there else ({}, new))
        seen.add("new" if now == new else "old")
        write(found / "out", force=True)
        assert tree(found) == {"out/junkdna.json": "new"}
    assert cuts > 20 and seen == {"old", "new"}
