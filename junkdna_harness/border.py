"""The border to `lm_eval`, where a user's mistake becomes one sentence and its exit code. Inside it is a `UsageError`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from difficulty.errors import UsageError
from difficulty.visible import visible

LM_EVAL = ("lm_eval.__main__", "lm_eval", "lm-eval")  # by `python -m`, and by the names of its command


class TaskRefused(UsageError):
    """A task that this model cannot be asked. Other tasks can, so a sweep goes on without it."""


@contextmanager
def exit_on_usage_error() -> Iterator[None]:
    """One line on stderr, and its exit code, for a `UsageError`."""
    try:
        yield
    except UsageError as error:
        _tell(error)
        raise SystemExit(error.exit_code) from None


def end_lm_eval_with_a_sentence() -> None:
    """From now on an uncaught `UsageError` ends lm-eval's own command in that way too; other programs are left alone.

    A model that turns out to answer NaN, or a task that is not for it, is found while lm-eval is at work, far from
    any code of ours that could catch it.
    """
    if _program() in LM_EVAL and not isinstance(sys.excepthook, _Hook):
        sys.excepthook = _Hook(sys.excepthook)


class _Hook:
    def __init__(self, before: object) -> None:
        self.before = before

    def __call__(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, UsageError):
            _tell(error)
            raise SystemExit(error.exit_code)
        self.before(kind, error, traceback)  # type: ignore[operator]


def _program() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0] if sys.argv else "").stem


def _tell(error: UsageError) -> None:
    print(visible(f"junkdna: {error}"), file=sys.stderr)
