"""Where lm-eval is made quieter or faster. None changes a result, and all but `no_hints_about` and `bars_as_ours` are undone when their block ends."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from functools import lru_cache

from junkdna_harness.harness.versions import (
    LOGGERS_OF_TASKS,
    module_with_bar,
    modules_of_models,
    template_environment,
)
from junkdna_harness.presentation.progress import Tqdm

ONE_PROCESS = "DISABLE_MULTIPROC"  # what lm-eval reads before it bootstraps


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No log lines and progress bars of lm-eval and datasets inside the block."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def bootstrapped_here() -> Iterator[None]:
    """Resample in this process and say nothing of it: lm-eval would start as many processes as there are cores for one chunk of draws,
    which a worker of a sweep may not. The draws are the same."""
    before = os.environ.get(ONE_PROCESS)
    os.environ[ONE_PROCESS] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if before is None:
            del os.environ[ONE_PROCESS]
        else:
            os.environ[ONE_PROCESS] = before


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """No progress bar for each of many small tasks."""
    module = module_with_bar()
    bar = module.tqdm
    module.tqdm = lambda iterable=None, **_: iterable
    try:
        yield
    finally:
        module.tqdm = bar


@contextlib.contextmanager
def templates_compiled_once() -> Iterator[None]:
    """lm-eval 0.4 compiles a task's Jinja template again for every document, which takes longer than rendering it."""
    environment = template_environment()
    if environment is None:
        yield
        return
    # In front of the class's method, for the length of the block.
    environment.from_string = lru_cache(maxsize=1000)(environment.from_string)
    try:
        yield
    finally:
        del environment.from_string


@contextlib.contextmanager
def without_hints() -> Iterator[None]:
    """Leave out lm-eval's hint, once per task, that a data set of one's own takes arguments."""
    with contextlib.ExitStack() as stack:
        for logger in map(logging.getLogger, LOGGERS_OF_TASKS):
            logger.addFilter(_no_hint)
            stack.callback(logger.removeFilter, _no_hint)
        yield


def bars_as_ours() -> None:
    """Show lm-eval's bars as all of ours are, from now on: as lines in a log, and at a terminal gone when they are full.

    lm-eval has one for the requests of each task, which are 52 of `difficulty_tiers`, and in a pipe each is a line full of carriage returns.
    They say nothing that the line per minute does not.
    """
    for module in (module_with_bar(), *modules_of_models()):
        module.tqdm = Tqdm


def no_hints_about(prefix: str) -> None:
    """Leave that hint out from now on for tasks whose names begin with `prefix`; those of others are still told."""
    _unhinted.add(prefix)
    for logger in map(logging.getLogger, LOGGERS_OF_TASKS):
        logger.addFilter(_no_hint_about_ours)  # adding it again changes nothing


_unhinted: set[str] = set()


def _no_hint(record: logging.LogRecord) -> bool:
    return "Custom kwargs can be passed" not in record.getMessage()


def _no_hint_about_ours(record: logging.LogRecord) -> bool:
    return _no_hint(record) or not record.getMessage().startswith(tuple(_unhinted))
