"""What is told of a training before it begins: that it is another than it looks like."""

from __future__ import annotations

from junkdna_harness.embedded import knows_the_suite
from junkdna_harness.presentation.console import say
from junkdna_harness.recover.data import GRADED
from junkdna_harness.recover.spec import RecoverSpec


def say_what_is_taught(data: str, source: str) -> None:
    """The suite can be taught to any model; but then nothing is restored, and that should be known."""
    if data == GRADED and not knows_the_suite(source):
        say(
            "note: this model never saw the graded suite, so it is taught here, not restored.",
            stderr=True,
        )


def say_what_is_unseen(spec: RecoverSpec, n: int, seen: int) -> None:
    """Shares of the data that are larger than what the steps reach are one and the same training."""
    if spec.fraction < 1 and n > seen:
        say(
            f"note: {spec.steps} steps see {seen:,} of the {n:,} examples in fraction={spec.fraction:g} of "
            f"data={spec.data!r}, so a larger share would change nothing. Give more steps, or smaller shares.",
            stderr=True,
        )


def say_what_is_cut(shortened: int, n: int, length: int) -> None:
    """Without its beginning a prompt may ask for what nobody can know."""
    if shortened:
        say(
            f"note: {shortened:,} of {n:,} examples are longer than max_length={length} tokens, and lost the beginning of their prompt. "
            "Give a larger one if the model can read it.",
            stderr=True,
        )
