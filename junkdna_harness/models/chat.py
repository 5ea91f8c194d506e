"""What a chat template does to what is asked, where a score would mean something else than it seems; said once.

lm-eval puts the prompt into the user's turn, lets the template open the assistant's, and scores options and answers as the
first words there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

OPENING = "chat_answer_opens_with"  # in the `junkdna` block
# Documents of the graded suite have these fields, and its tasks names that begin like this (as have tiers of benchmarks).
GRADED, FIELDS = "difficulty_tiers", {"prompt", "answer", "choices"}
CONTINUED = (
    f"the graded tasks of {GRADED} continue a text. With a chat template the text is the user's turn, and an answer is scored as the first "
    "words of the assistant: a question other than without it, whose scores do not compare. Leave --apply_chat_template out to "
    "ask them as they are meant."
)


def answer_opening(apply: Callable[..., str]) -> str:
    """The text with which a chat template opens an answer, beyond what stands before every answer; '' where it does not.

    `apply` makes a prompt of a chat's turns, as lm-eval's models do. What the template writes before an answer that is not
    given yet is held against what it writes before one that is.
    """
    asked = [{"role": "user", "content": "Question"}]
    try:
        open_turn = apply(asked, add_generation_prompt=True)
        whole = apply([*asked, {"role": "assistant", "content": "Answer"}], add_generation_prompt=False)
    except Exception:  # whatever a foreign template makes of two plain turns, lm-eval asks it as it likes
        return ""
    before = whole[: max(whole.rfind("Answer"), 0)]
    shared = next((k for k, (a, b) in enumerate(zip(open_turn, before, strict=False)) if a != b), len(before))
    opening = open_turn[shared:]
    return opening if before and opening.strip() else ""


def note_on_opening(opening: str) -> str:
    """A sentence on it."""
    return (
        f"the chat template opens every answer with {opening!r}. Options and answers are scored as what follows that text, and not as "
        "the answer itself. Give the tokenizer a template without it, or leave --apply_chat_template out."
    )


def continues_a_text(requests: Iterable[Any]) -> bool:
    """Whether one of lm-eval's requests is of a graded task, which continues a text."""
    return any(
        str(request.task_name).startswith(GRADED) and FIELDS.issubset(request.doc) for request in requests
    )
