"""The files of an evaluation, written by lm-eval's own tracker, which says nothing of what it could not write."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.files import LONGEST_NAME, cannot_write
from junkdna_harness.harness.requests import Sample

LONGEST_FOLDER = 200  # bytes of a model's name that a folder is called by
_DATE = "2026-01-02T03-04-05.000001"  # how long the time in a file's name is


def write_log(
    folder: Path, source: str, model: str, results: dict[str, Any], samples: Mapping[str, list[Sample]]
) -> None:
    """Write results_*.json and samples_*.jsonl as `lm_eval --output_path FOLDER --log_samples` does, by its own tracker.

    Raises:
        UsageError: the name of a task is none that a file can have, or lm-eval could not write what it was given.
        StorageError: the disk is full or fails.
    """
    from lm_eval.loggers import EvaluationTracker

    check_task_names(samples)
    tracker = EvaluationTracker(output_path=str(folder))
    general = tracker.general_config_tracker
    general.model_source = source
    general.model_name = model
    general.model_name_sanitized = model_folder(model)
    with _told(folder, model):
        tracker.save_results_aggregated(results=results, samples=samples)
        for task, listed in samples.items():
            tracker.save_results_samples(task_name=task, samples=listed)
    _check(folder / model_folder(model), str(tracker.date_id), samples)


def check_task_names(tasks: Iterable[str]) -> None:
    """Refuse names that lm-eval can name no file of samples after.

    Raises:
        UsageError: quotes the first of them.
    """
    for task in tasks:
        name = f"samples_{task}_{_DATE}.jsonl"
        if any(part and part in task for part in (os.sep, os.altsep, "\0")) or (
            len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME
        ):
            raise UsageError(
                f"task {task!r} has a name that no file can have, and lm-eval names the file of its samples after it. Rename the task, or "
                "read the sweep's folder itself: show, compare, fit and report do."
            )


def model_folder(model: str) -> str:
    """What lm-eval calls a model's folder, where that is the name of one; else (`..`, a control character) one that is safe."""
    from lm_eval.utils import sanitize_model_name

    name = str(sanitize_model_name(model))
    safe = re.sub(r"[\x00-\x1f\x7f-\x9f]|[\ud800-\udfff]", "_", name)
    if (
        safe == name
        and len(name.encode()) <= LONGEST_FOLDER
        and name.strip(". ")
        and not name.startswith("-")
    ):
        return name
    head = safe.encode()[: LONGEST_FOLDER - 20].decode("utf-8", "ignore").strip(". -")
    return f"{head or 'model'}-{hashlib.sha256(model.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


class _Faults(logging.Handler):
    """The exceptions of which the tracker makes a warning, and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if error := sys.exc_info()[1]:
            self.found.append(error)


@contextmanager
def _told(folder: Path, model: str) -> Iterator[None]:
    """A block after which an exception that the tracker swallowed is raised."""
    logger = logging.getLogger("lm_eval.loggers.evaluation_tracker")
    faults, level = _Faults(), logger.level
    logger.addHandler(faults)
    if not logger.isEnabledFor(logging.WARNING):
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(faults)
    for error in faults.found:
        if isinstance(error, OSError):
            raise cannot_write(folder, error) from error
        raise UsageError(f"lm-eval could not write the log of model {model!r}: {error!r}.") from error


def _check(folder: Path, date: str, samples: Mapping[str, list[Sample]]) -> None:
    """Refuse a log that is not all there: on a disk that knows no capitals, the files of two tasks may be one."""
    if not (folder / f"results_{date}.json").is_file():
        raise UsageError(f"lm-eval wrote no results into {str(folder)!r}.")
    for task, listed in samples.items():
        path = folder / f"samples_{task}_{date}.jsonl"
        lines = path.read_bytes().count(b"\n") if path.is_file() else 0
        if lines != len(listed):
            raise UsageError(
                f"lm-eval wrote {lines} samples of task {task!r} into {str(path)!r}, and there are {len(listed)}."
            )
