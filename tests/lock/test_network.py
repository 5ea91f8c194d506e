"""The lock on folders of a network: without locks of the system, with clocks that differ, and when what was held is lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from junkdna_harness import lock
from junkdna_harness.lock import locked
from tests.conftest import ROOT

# A process on a file system of its own making: no record locks, or those of another machine; dead after three seconds.
PROCESS = """
import errno, fcntl, sys, time
from pathlib import Path
from difficulty.errors import UsageError
from junkdna_harness import lock
path, what, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
lock.BEAT, lock.STALE = 0.2, 3.0
if number:
    def refused(*given):
        raise OSError(number, "no locks here")
    fcntl.lockf = refused
if what == "ahead":
    time.time, now = (lambda: now() + 3600), time.time
if what == "race":
    lock.RACE = 0.1
    for line in sys.stdin:
        try:
            with lock.locked(Path(line.strip()), "busy"):
                print("held", flush=True)
                sys.stdin.readline()
        except UsageError:
            print("busy", flush=True)
            sys.stdin.readline()
    sys.exit()
with lock.locked(path, "busy", patience=20) as held:
    print("held", flush=True)
    for line in sys.stdin:
        try:
            held.check()
            (path.parent / "written").write_text(line)
            print("wrote", flush=True)
        except UsageError as error:
            print(error, flush=True)
"""
STALE = 3.0  # seconds; a busy machine may let a process wait for one
RACES = int(os.environ.get("JUNKDNA_RACES", "40"))
NO_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]


class Process:
    """One that holds the lock at `path`, or races for locks."""

    def __init__(self, path: Path, what: str = "hold", number: int = errno.ENOLCK) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), what, str(number)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if what != "race":
            assert self.heard() == "held"

    def heard(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def ask(self, line: str = "") -> str:
        self.tell(line)
        return self.heard()

    def tell(self, line: str = "") -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def end(self) -> None:
        self.popen.kill()
        self.popen.communicate()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(*given: object) -> Process:
        started.append(Process(*given))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for process in started:
        process.end()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.2)
    monkeypatch.setattr(lock, "STALE", STALE)


@pytest.fixture(params=NO_LOCKS, ids=errno.errorcode.get)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    import fcntl

    def refused(*_: object) -> None:
        raise OSError(request.param, "no locks here")

    monkeypatch.setattr(fcntl, "lockf", refused)
    return int(request.param)


def test_where_the_file_system_has_no_locks_one_process_holds_it_all_the_same(
    tmp_path: Path, no_locks: int
) -> None:
    path = tmp_path / "lock"
    for _ in range(2):
        with locked(path, "busy") as held:
            held.check()
            with pytest.raises(UsageError, match="busy"), locked(path, "busy"):
                pass
        assert not list(tmp_path.iterdir())


def test_without_locks_another_process_is_told_who_has_it_and_a_killed_one_holds_it_for_a_while(
    tmp_path: Path, start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    other = start(path, "ahead")  # its clock is an hour ahead, and no clock but that of the folder matters
    monkeypatch.setattr("fcntl.lockf", refuse)
    time.sleep(STALE + 0.3)  # longer than a dead one counts as alive
    with pytest.raises(UsageError, match=f"process {other.popen.pid} on "), locked(path, "busy"):
        pass
    assert other.ask("still") == "wrote"
    other.end()
    with pytest.raises(UsageError), locked(path, "busy"):
        pass
    with locked(path, "busy", patience=20) as held:
        held.check()
    assert [one.name for one in tmp_path.iterdir()] == ["written"]


def refuse(*_: object) -> None:
    raise OSError(errno.ENOLCK, "no locks here")


def test_with_locks_one_that_was_killed_is_dead_at_once_and_one_that_is_stopped_is_not(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    path = tmp_path / "lock"
    other = start(path, "hold", 0)
    other.popen.send_signal(signal.SIGSTOP)
    time.sleep(STALE + 0.3)
    with pytest.raises(UsageError), locked(path, "busy"):
        pass
    other.popen.send_signal(signal.SIGCONT)
    assert other.ask() == "wrote"
    other.end()
    with locked(path, "busy"):
        pass


def test_one_that_was_stopped_for_too_long_writes_nothing_after_it_woke_up(
    tmp_path: Path, start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    other = start(path)
    monkeypatch.setattr("fcntl.lockf", refuse)
    other.popen.send_signal(signal.SIGSTOP)
    with locked(path, "busy", patience=20) as held:
        other.tell("mine")
        other.popen.send_signal(signal.SIGCONT)
        assert "no longer held by this process" in other.heard()
        held.check()
    assert not (tmp_path / "written").exists()
    assert "no longer held" in other.ask("again")  # also when the other one has gone


def test_one_that_was_stopped_and_missed_by_nobody_goes_on(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    other = start(tmp_path / "lock")
    other.popen.send_signal(signal.SIGSTOP)
    time.sleep(STALE + 0.3)
    other.popen.send_signal(signal.SIGCONT)
    assert other.ask() == "wrote"


@pytest.mark.parametrize("machine", ["here", "another"])
def test_locks_of_another_machine_that_do_not_reach_us_do_not_make_its_holder_dead(
    tmp_path: Path, start: Callable[..., Process], machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    other = start(path, "hold", 0)
    monkeypatch.setattr("fcntl.lockf", lambda *_: None)  # granted, whoever else has one
    if machine == "another":
        monkeypatch.setattr(lock, "_boot", lambda: "another")
        with pytest.raises(UsageError, match="busy"), locked(path, "busy"):
            pass
        assert other.ask() == "wrote"
    else:  # the server has lost its lock: it is taken over, and it is told
        with locked(path, "busy"):
            assert "no longer held" in other.ask()


@pytest.mark.parametrize("how", ["removed", "replaced", "moved"])
def test_a_lock_file_that_somebody_touches_is_missed_before_the_next_write(tmp_path: Path, how: str) -> None:
    path = tmp_path / "lock"
    with locked(path, "busy") as held:
        if how == "moved":
            path.rename(tmp_path / "elsewhere")
        else:
            path.unlink()
        if how == "replaced":
            path.write_text("mine now\n")
        with pytest.raises(UsageError, match="no longer held"):
            held.check()
    assert path.exists() == (how == "replaced")  # nothing of another is removed


def test_a_folder_that_does_not_answer_stops_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path / "lock", "busy") as held, monkeypatch.context() as patch:

        def dead(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(os, "utime", dead)
        with pytest.raises(UsageError, match=r"cannot be looked at: Input/output error"):
            held.check()


@pytest.mark.parametrize("text", ["", "4194399\n", "{", '{"token": "../../x"}'])
def test_what_a_crash_or_an_older_version_left_is_taken_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    os.utime(path, (time.time() - 60, time.time() - 60))
    with locked(path, "busy") as held:
        held.check()
        assert json.loads(path.read_text())["token"] == held.token
    assert not list(tmp_path.iterdir())


def test_a_claim_whose_maker_died_is_removed_as_well(
    tmp_path: Path, start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    dead = start(path)
    token = json.loads(path.read_text())["token"]
    claimant = start(lock._claim_path(path, token))
    for process in (dead, claimant):
        process.end()
    monkeypatch.setattr("fcntl.lockf", refuse)
    with locked(path, "busy", patience=20):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_named_otherwise_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    with locked(tmp_path / "a" / "lock", "busy") as held:
        with pytest.raises(UsageError), locked(tmp_path / "b" / "lock", "busy"):
            pass
        held.check()


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(errno.ENOLCK, errno.ENOLCK), (0, 0), (0, errno.ENOLCK)])
def test_two_that_race_for_a_dead_ones_lock_never_both_get_it(
    tmp_path: Path, start: Callable[..., Process], numbers: tuple[int, int]
) -> None:
    dead = '{"token": "abc%d", "machine": "?", "host": "gone", "pid": 1, "record_lock": false}\n'
    racers, taken = [start(tmp_path, "race", number) for number in numbers], 0
    for turn in range(RACES):
        path = tmp_path / f"{turn}"
        path.write_text(dead % turn)
        os.utime(path, (time.time() - 60, time.time() - 60))
        for racer in racers:
            racer.tell(str(path))
        heard = sorted(racer.heard() for racer in racers)
        assert heard != ["held", "held"]
        taken += "held" in heard
        for racer in racers:
            racer.tell()
    assert taken > 0.8 * RACES  # nor are both sent away, but for the two that asked in the same moment


def test_a_worker_that_was_forked_lets_go_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, "busy") as held:
        with held._busy:  # as in the moment of a sign of life
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                held.release()
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        held.check()
