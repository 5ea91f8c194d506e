"""What a training needs of the disk: how much, and what is said when it does not take it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from difficulty.errors import StorageError, UsageError
from difficulty.files import cannot_write
from difficulty.runs.identity import LOCAL_RECONSTRUCTION
from junkdna_harness.presentation.amounts import byte_size
from junkdna_harness.recover.checkpoints import by_time, part
from junkdna_harness.recover.spec import RecoverSpec
from junkdna_harness.resources import disk_of

AGAIN = "The same command goes on from the last whole checkpoint, if there is one, once there is room"
KEPT = 2  # checkpoints that stay; the oldest goes when a third is written
MOMENTS = 2  # of AdamW, per trained weight and as wide as it
# What torch.save says of a file that it cannot write, in a RuntimeError.
_OF_TORCH = ("PytorchStreamWriter", "inline_container", "file write failed", "unexpected pos")


@contextmanager
def while_writing(folder: Path) -> Iterator[None]:
    """Within the block other libraries write `folder`; where they cannot, what is there of it is removed.

    Raises:
        StorageError: the disk is full or fails.
        UsageError: it cannot be written for another reason.
    """
    try:
        yield
    except StorageError:  # one of our own writers
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_of_writing(error):
            raise
        shutil.rmtree(folder, ignore_errors=True)
        told = cannot_write(folder, error)
        if isinstance(error, RuntimeError) or isinstance(told, StorageError):
            raise StorageError(
                f"cannot write {str(folder)!r}: {_reason(error, told)}. Nothing half was left there. {AGAIN}."
            ) from error
        raise told from error


def bytes_needed(spec: RecoverSpec, saved: int, trained: int, result: int) -> int:
    """Bytes on disk at the most, of a training with `saved` bytes of weights in a checkpoint, `trained` of them in training.

    A checkpoint holds the weights, what AdamW remembers of them, and the last good ones. One more than are kept is there for a moment.
    Of blocks that are fitted one after the other each is written once.
    """
    if spec.arm == LOCAL_RECONSTRUCTION:
        return trained + result
    count = spec.steps if by_time(spec) else math.ceil(spec.steps / part(spec))
    return min(KEPT + 1, count) * (saved + (MOMENTS + 1) * trained) + result


def refuse_too_little(folder: Path, need: int, spec: RecoverSpec) -> int:
    """Refuse a training whose checkpoints and result would fill the disk; what of `need` is still to be written, as its checkpoints may
    be there already.

    Raises:
        UsageError: says how much is missing.
    """
    have = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    place = disk_of(folder.parent)
    free = shutil.disk_usage(place).free
    if need - have > free:
        local = spec.arm == LOCAL_RECONSTRUCTION
        kept = "each finished block" if local else f"up to {KEPT + 1} checkpoints with the optimizer's state"
        raise UsageError(
            f"training may take {byte_size(need)} of the disk of {str(place)!r} ({kept}, and "
            f"the result), and {byte_size(free + have)} are left for it. Make room, or choose another place."
        )
    return max(0, need - have)


def _is_of_writing(error: RuntimeError) -> bool:
    return any(words in str(error) for words in _OF_TORCH)


def _reason(error: Exception, told: UsageError) -> str:
    """What was wrong, without what `cannot_write` advises."""
    if isinstance(error, RuntimeError):  # torch keeps the reason to itself
        return "the disk is full or fails"
    return str(told).partition(": ")[2].partition(". ")[0]
