"""Whether what is asked fits what a model takes in all, prompt and answer together; said before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from junkdna_harness.border import TaskRefused

# What lm-eval reads for the longest text that may be generated, the first that is there.
LONGEST_ANSWER = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


def refuse_long_generations(
    requests: Sequence[Any], limit: int, default: int, model: str, instead: str
) -> None:
    """Refuse requests whose answers may be as long as all that the model takes, so that no token is left for the question.

    `default`: the longest answer where a request says none.

    Raises:
        TaskRefused: names the tasks.
    """
    tasks = {
        str(request.task_name): tokens
        for request in requests
        if (tokens := _longest(request.args[1], default)) >= limit
    }
    if tasks:
        raise TaskRefused(
            f"task {_quoted(tasks)} cannot be asked: {model!r} takes {limit} tokens in all, and its answers may be as long "
            f"(max_gen_toks). {instead}".rstrip()
        )


def refuse_impossible_continuations(
    asked: Iterable[Any],
    tokenized: Iterable[tuple[Any, Sequence[int], Sequence[int]]],
    limit: int,
    model: str,
) -> None:
    """Refuse answers that are scored and cannot be: of no token, or longer than all that the model takes.

    Raises:
        TaskRefused: names the tasks.
    """
    empty: dict[str, int] = {}
    long: dict[str, int] = {}
    for request, (_, _, tokens) in zip(asked, tokenized, strict=True):
        n = len(tokens)
        if not 0 < n <= limit:
            found, name = (long if n else empty), str(request.task_name)
            found[name] = max(found.get(name, 0), n)
    if long:
        raise TaskRefused(
            f"task {_quoted(long)} cannot be asked: {model!r} takes {limit} tokens in all, and an answer has {max(long.values())}. "
            "Leave it out."
        )
    if empty:
        raise TaskRefused(
            f"task {_quoted(empty)} cannot be asked: an answer comes to no token of {model!r}. Leave it out, or see to it that no "
            "option is empty."
        )


def _longest(arguments: Any, default: int) -> int:
    given = (arguments.get(name) for name in LONGEST_ANSWER)
    return int(next((value for value in given if value is not None), default))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
