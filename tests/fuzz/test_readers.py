"""Whatever the bytes of a file are, its reader says what is wrong in a sentence, or gives what the file says; nothing else is raised.

`pytest tests/fuzz -n 0` runs a fixed set in about a minute. `FUZZ_SECONDS=60 pytest tests/fuzz -n 0 -s` gives every reader a minute with
other inputs each time, and prints how many there were; `FUZZ_SEED=N` repeats one.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import random
import secrets
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from difficulty.errors import UsageError
from tests.fuzz.readers import READERS, Reader

SECONDS = float(os.environ.get("FUZZ_SECONDS", 0))
INPUTS = 60  # of each reader in CI
LONGEST = 20  # seconds for one file, beyond which a reader hangs


@cache
def example(reader: Reader) -> tuple[Path, tuple[str, ...]]:
    """A folder with the valid example, and which of its files are changed."""
    home = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    reader.make(home)
    files = tuple(sorted(str(path.relative_to(home)) for path in home.glob(reader.files) if path.is_file()))
    assert files
    return home, files


@contextlib.contextmanager
def limited() -> Iterator[None]:
    def hangs(*_: object) -> None:
        raise TimeoutError("the reader hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(LONGEST)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("error")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_one(reader: Reader, seed: int) -> None:
    """Change one file, and read it."""
    home, files = example(reader)
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "x"
        shutil.copytree(home, folder)
        changed = folder / rng.choice(files)
        changed.write_bytes(reader.mutate(changed.read_bytes(), rng))
        with limited(), contextlib.suppress(UsageError):
            reader.read(folder, changed)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_the_example_is_valid(reader: Reader, tmp_path: Path) -> None:
    home, files = example(reader)
    for number, name in enumerate(files):
        shutil.copytree(home, tmp_path / str(number))
        reader.read(tmp_path / str(number), tmp_path / str(number) / name)


@pytest.mark.skipif(SECONDS > 0, reason="FUZZ_SECONDS asks for the long form")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_changed_file_is_refused_in_a_sentence_or_read_as_what_it_says(reader: Reader) -> None:
    @settings(
        max_examples=INPUTS,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**64 - 1))
    def tried(seed: int) -> None:
        try_one(reader, seed)

    tried()


@pytest.mark.skipif(SECONDS == 0, reason="FUZZ_SECONDS gives every reader its time")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_for_as_long_as_was_asked(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    first = int(os.environ.get("FUZZ_SEED", secrets.randbits(62)))
    number, until, faults = 0, time.monotonic() + SECONDS, dict[str, str]()
    while time.monotonic() < until:
        seed = first + number
        number += 1
        try:
            try_one(reader, seed)
        except Exception as error:
            at, frame = error.__traceback__, ""
            while at is not None:
                name = at.tb_frame.f_code.co_filename
                if "/difficulty/" in name or "/junkdna_harness/" in name or "readers.py" in name:
                    frame = f"{Path(name).name}:{at.tb_lineno}"
                at = at.tb_next
            faults.setdefault(f"{frame} {type(error).__name__}", f"FUZZ_SEED={seed}: {error!s:.200}")
        if "FUZZ_SEED" in os.environ:
            break
    with capsys.disabled():
        print(
            f"\n{reader.name}: {number:,} inputs, {len(faults)} faults",
            *(f"\n  {k}: {v}" for k, v in faults.items()),
        )
    assert not faults
