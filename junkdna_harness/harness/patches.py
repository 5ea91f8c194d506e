"""Where lm-eval is made quieter or faster. Each is undone when its block ends, and changes no result."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from functools import lru_cache

from junkdna_harness.harness.versions import module_with_bar, template_environment


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
    logger = logging.getLogger("lm_eval.api.task")

    def keep(record: logging.LogRecord) -> bool:
        return "Custom kwargs can be passed" not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
