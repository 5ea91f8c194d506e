"""The exception for a user's mistake, that for a disk that does not hold what is written, and the sentence that suggests what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """What was given cannot be used; the message says what is allowed and how to fix it, in one sentence.

    `exit_code`: what a command ends with.

    Examples:
        >>> try:
        ...     raise UsageError("sparsity=2 is no share. Give a number from 0 to 1.")
        ... except ValueError as error:
        ...     print(error)
        sparsity=2 is no share. Give a number from 0 to 1.
    """

    exit_code = 2


class StorageError(UsageError):
    """What was asked for is right, and the disk does not take it: it is full, a quota is used up, or the device fails.

    The exit code is EX_IOERR of sysexits.h, so that a script can tell it from a mistake: make room, and run the same again.
    """

    exit_code = 74


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the nearest allowed name, else an empty string."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
