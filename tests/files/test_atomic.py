"""`write_atomic`: whole or absent, whatever fails and wherever the file lies."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from difficulty.errors import StorageError, UsageError
from difficulty.files import check_writable, make_folder, partial_name, write_atomic

CALLS = ("open", "write", "fsync", "replace")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: int) -> list[int]:
    """Let the n-th `os.CALL` fail; the list holds how often it was called."""
    real, count = getattr(os, call), [0]

    def fail(*args: object, **kwargs: object) -> object:
        count[0] += 1
        if count[0] == number:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, fail)
    return count


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_leaves_the_old_file_and_nothing_else(
    call: str, code: int, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    if there:
        path.write_text("old")
    expected = StorageError if code in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else UsageError
    for number in (1, 2, 3):
        with monkeypatch.context() as patch:
            count = failing(patch, call, number, code)
            try:
                write_atomic(path, "new")
            except UsageError as error:
                assert type(error) is expected and "a.json" in str(error)
                # Only when the names in the folder could not be synced is the new file there already.
                moved = call in ("fsync", "open") and number >= 2
                assert not path.exists() or path.read_text() == ("new" if moved else "old")
            else:
                assert count[0] < number or path.read_text() == "new"
        assert [name for name in names(tmp_path) if name != "a.json"] == []
        path.write_text("old") if there else path.unlink(missing_ok=True)


def test_a_write_that_takes_a_part_only_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:3])))
    write_atomic(tmp_path / "a", "0123456789")
    assert (tmp_path / "a").read_text() == "0123456789"


def test_the_file_is_synced_before_it_is_moved_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for call in ("write", "fsync", "replace"):
        real = getattr(os, call)

        def told(*args: object, real: object = real, call: str = call) -> object:
            folder = call == "fsync" and Path(f"/proc/self/fd/{args[0]}").is_dir()
            done.append(f"{call} of the folder" if folder else call)
            return real(*args)  # type: ignore[operator]

        monkeypatch.setattr(os, call, told)
    write_atomic(tmp_path / "a", "1")
    assert done == ["write", "fsync", "replace", "fsync of the folder"]
    done.clear()
    write_atomic(
        tmp_path / "new" / "deep" / "a", "1"
    )  # each folder that was made is named by one that is synced
    assert done == ["fsync of the folder"] * 2 + ["write", "fsync", "replace", "fsync of the folder"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("old")
    (tmp_path / "link").symlink_to("real/a")
    (tmp_path / "dangling").symlink_to("real/b")
    (tmp_path / "folder").symlink_to("real")
    write_atomic(tmp_path / "link", "new")
    write_atomic(tmp_path / "dangling", "b")
    write_atomic(tmp_path / "folder" / "c", "c")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "dangling").is_symlink()
    assert {path.name: path.read_text() for path in (tmp_path / "real").iterdir()} == {
        "a": "new",
        "b": "b",
        "c": "c",
    }
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(UsageError, match="round"):
        write_atomic(tmp_path / "round", "x")


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    write_atomic(path, "new")
    assert path.stat().st_mode & 0o777 == 0o640
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "b", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o640


def test_devices_and_pipes_are_written_into(tmp_path: Path) -> None:
    write_atomic("/dev/null", "gone")
    assert not Path("/dev/null").is_file()
    with pytest.raises(StorageError, match="No space left"):
        write_atomic("/dev/full", "x")
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_atomic(tmp_path / "pipe", "through")
    reader.join()
    assert read == ["through"] and names(tmp_path) == ["pipe"]


def test_standard_output_is_written_into_also_where_it_is_a_file(tmp_path: Path) -> None:
    code = "from difficulty.files import write_atomic; write_atomic('/dev/stdout', 'a\\n'); print('b')"
    code = "print('before'); " + code
    for mode in ("w", "a"):  # > and >>
        (tmp_path / "out").write_text("what stood there\n")
        with (tmp_path / "out").open(mode) as out:
            subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
        kept = "what stood there\n" if mode == "a" else ""
        assert (tmp_path / "out").read_text() == f"{kept}before\na\nb\n"
    assert names(tmp_path) == ["out"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "before\na\nb\n"
    (tmp_path / "out").write_text("what stood there\n")
    with (tmp_path / "out").open("a") as out:
        write_atomic(f"/dev/fd/{out.fileno()}", "a\n")
    assert (tmp_path / "out").read_text() == "what stood there\na\n"


def test_what_a_killed_process_left_is_used_up_and_another_writer_is_left_alone(tmp_path: Path) -> None:
    import fcntl

    left = tmp_path / partial_name("a")
    left.write_text("half of what a killed process wrote, and long")
    write_atomic(tmp_path / "a", "new")
    assert names(tmp_path) == ["a"]
    with left.open("w") as other:  # another process is at it
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write("theirs")
        other.flush()
        write_atomic(tmp_path / "a", "ours")
        assert (tmp_path / "a").read_text() == "ours" and left.read_text() == "theirs"
    left.unlink()
    (tmp_path / "elsewhere").write_text("precious")
    left.symlink_to("elsewhere")  # a trap
    write_atomic(tmp_path / "a", "again")
    assert (tmp_path / "elsewhere").read_text() == "precious" and (tmp_path / "a").read_text() == "again"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_files_cannot_be_locked_nothing_is_left(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def no_locks(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    check_writable(tmp_path / "a")
    assert names(tmp_path) == []
    for text in ("1", "2"):
        write_atomic(tmp_path / "a", text)
        assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == text


@pytest.mark.parametrize("what", ["trial", "failed write"])
def test_what_another_process_begins_meanwhile_is_not_removed(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as our temporary file is closed, another process may write one of that name."""
    real, left = os.close, tmp_path / partial_name("a")

    def close(descriptor: int) -> None:
        ours = left.exists() and os.path.samestat(os.fstat(descriptor), left.stat())
        real(descriptor)
        if ours or not left.exists():
            left.write_text("theirs")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        if what == "trial":
            check_writable(tmp_path / "a")
        else:
            failing(patch, "write", 1, errno.ENOSPC)
            with pytest.raises(StorageError):
                write_atomic(tmp_path / "a", "ours")
    assert left.read_text() == "theirs"


def test_many_writers_of_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    texts = [str(number) * 200_000 for number in range(6)]
    errors: list[BaseException] = []

    def write(text: str) -> None:
        try:
            for _ in range(10):
                write_atomic(tmp_path / "a", text)
                assert (tmp_path / "a").read_text() in texts
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "n" * 250 + ".json"[:5]])
def test_a_name_as_long_as_it_may_be_is_written(name: str, tmp_path: Path) -> None:
    write_atomic(tmp_path / name, "1")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    ("make", "name", "told"),
    [
        (None, "n" * 256, "its name is too long"),
        (lambda folder: (folder / "f").write_text(""), "f/a", "Not a directory"),
        (lambda folder: (folder / "d").mkdir(), "d", "Is a directory"),
        (None, "a\0b", "no file can have this name"),
    ],
)
def test_what_cannot_be_written_is_one_sentence_before_and_after(
    make: object, name: str, told: str, tmp_path: Path
) -> None:
    if callable(make):
        make(tmp_path)
    before = names(tmp_path)
    for call in (check_writable, lambda path: write_atomic(path, "x")):
        with pytest.raises(UsageError, match=told) as caught:
            call(tmp_path / name)
        assert caught.value.exit_code == 2
    assert names(tmp_path) == before


def test_a_trial_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    check_writable(tmp_path / "a")
    check_writable(tmp_path / "new" / "deep" / "b")
    check_writable("/dev/stdout")
    for call in (check_writable, lambda path: write_atomic(path, "x")):
        with pytest.raises(UsageError, match="too long"):  # found when two folders are made already
            call(tmp_path / "new" / "deep" / ("n" * 256) / "b")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_several_files_are_tried_at_once_and_none_may_be_named_twice(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    check_writable(tmp_path / "a", None, "-", "/dev/null", "/dev/null", tmp_path / "b")
    with pytest.raises(UsageError, match="named for two outputs"):
        check_writable(tmp_path / "a", tmp_path / "link")
    with pytest.raises(UsageError, match="too long"):
        check_writable(tmp_path / "a", tmp_path / ("n" * 256))
    assert names(tmp_path) == ["link"]


def test_a_folder_that_another_process_removes_again_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands with outputs in one new folder: the trial of one makes it and removes it."""
    real, folder = Path.is_dir, tmp_path / "runs"
    folder.mkdir()
    there = [True]

    def is_dir(path: Path) -> bool:
        found = real(path)
        if path == folder and there:
            there.clear()
            folder.rmdir()
        return found

    monkeypatch.setattr(Path, "is_dir", is_dir)
    assert make_folder(folder / "a") == [folder, folder / "a"]
