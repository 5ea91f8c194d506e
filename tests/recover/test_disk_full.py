"""A disk that takes no more: a sentence with an exit code of its own, nothing half, and the same command goes on later."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from difficulty.errors import StorageError, UsageError
from junkdna_harness.recover import RecoverSpec, storage
from junkdna_harness.recover.foreseen import check_recovery
from junkdna_harness.recover.run import recover
from junkdna_harness.recover.storage import bytes_needed
from tests.recover.test_training import PRUNING, At, interrupt, spec, weights

# Bytes that a file may have at the most, and what fails then: a writer in Python, that of safetensors, that of torch.
LIMITS = {"config.json": 100, "model.safetensors": 20_000, "optimizer.pt": 100_000}


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """What is written beyond raises EFBIG, as a full disk raises ENOSPC; Python ignores the signal that comes along."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class FullFrom(TrainerCallback):  # type: ignore[misc]
    """From the end of step `step` on no file may have more than `size` bytes."""

    def __init__(self, step: int, size: int) -> None:
        self.step, self.size, self.before = step, size, resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))


def finishes(checkpoint: Path, lines: Path, tmp_path: Path, steps: int) -> None:
    """The same command goes on, does `steps`, and gives what a training on an empty disk gives."""
    done: list[int] = []
    counting = [At(n, lambda model: done.append(1)) for n in range(1, 7)]
    recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=counting)
    assert len(done) == steps
    recover(str(checkpoint), tmp_path / "whole", spec(lines), PRUNING)
    whole, found = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert all(torch.equal(whole[name], found[name]) for name in whole)


@pytest.mark.parametrize("name", LIMITS)
def test_a_checkpoint_that_the_disk_does_not_take_is_removed_and_the_last_whole_one_kept(
    checkpoint: Path, lines: Path, tmp_path: Path, name: str
) -> None:
    full = FullFrom(3, LIMITS[name])
    try:
        with pytest.raises(
            StorageError, match=r"cannot write '.*checkpoint-4.*The same command goes on"
        ) as raised:
            recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=[full])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, full.before)
    assert raised.value.exit_code == 74
    folder = tmp_path / ".out.training"
    assert {path.name for path in folder.iterdir()} == {"request.json", "checkpoint-2"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.training", "data.jsonl", "dense"]
    finishes(checkpoint, lines, tmp_path, steps=4)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_result_that_the_disk_does_not_take_is_written_later(
    checkpoint: Path, lines: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from junkdna_harness.recover import run

    saving = run.save

    def full(*given: Any, **more: Any) -> Any:
        with files_no_larger_than(LIMITS[name]):
            return saving(*given, **more)

    monkeypatch.setattr(run, "save", full)
    with pytest.raises(StorageError, match="Nothing half was left there"):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.training", "data.jsonl", "dense"]
    monkeypatch.undo()
    finishes(checkpoint, lines, tmp_path, steps=0)


def test_an_error_that_is_not_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"), storage.while_writing(tmp_path / "checkpoint-1"):
        raise RuntimeError("CUDA error: out of memory")


def test_what_will_not_fit_is_refused_before_the_first_step(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (checkpoint / "model.safetensors").stat().st_size
    need = 3 * (size + 3 * size) + size
    usage = shutil.disk_usage

    def left(free: int) -> None:
        monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: usage(path)._replace(free=free))

    left(int(0.9 * need))
    stepped = At(1, lambda model: pytest.fail("a step was done"))
    with pytest.raises(UsageError, match=r"training may take .* MB of the disk of .* and .* are left for it"):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=[stepped])
    assert not list(tmp_path.glob(".out*"))
    left(int(1.1 * need))
    recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)


def test_what_the_checkpoints_of_a_training_that_goes_on_take_is_counted_once(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=[At(5, interrupt)])
    there = sum(path.stat().st_size for path in (tmp_path / ".out.training").rglob("*") if path.is_file())
    size = (checkpoint / "model.safetensors").stat().st_size
    free = int(1.1 * (3 * 4 * size + size)) - there
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert any(
        "disk: " in line for line in check_recovery(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)
    )
    recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)


def test_no_more_checkpoints_are_counted_than_are_written() -> None:
    assert bytes_needed(RecoverSpec(steps=10, save_every=10), 100, 100, 100) == 1 * 400 + 100
    assert bytes_needed(RecoverSpec(steps=10, save_every=5), 100, 100, 100) == 2 * 400 + 100
    assert bytes_needed(RecoverSpec(steps=10, save_every=1), 100, 100, 100) == 3 * 400 + 100
    assert bytes_needed(RecoverSpec(steps=10), 7, 7, 100) == 3 * 28 + 100  # the clock decides


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes in memory; making one takes an administrator."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        made = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no disk can be made here: {error}")
    if made.returncode:
        pytest.skip(f"no disk can be made here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_meanwhile(checkpoint: Path, lines: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"

    def fill(model: Any) -> None:
        with filler.open("wb", buffering=0) as handle:
            left = os.statvfs(small_disk)
            handle.write(bytes(left.f_bavail * left.f_frsize - 150_000))

    with pytest.raises(StorageError, match="checkpoint-4"):
        recover(str(checkpoint), small_disk / "out", spec(lines), PRUNING, callbacks=[At(3, fill)])
    assert {path.name for path in (small_disk / ".out.training").iterdir()} == {
        "request.json",
        "checkpoint-2",
    }
    filler.unlink()
    finishes(checkpoint, lines, small_disk, steps=4)
