"""Texts as scores: which are numbers, and what is said where nobody gave the order of the others."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Iterable, Sequence

from difficulty.errors import UsageError
from difficulty.text import natural

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?\s*\Z")
# Words that benchmarks use, for the example in a sentence alone: nothing is sorted by them.
_WORDS = (
    ("very easy", "easiest", "trivial", "beginner", "novice", "lowest"),
    ("easy", "low", "simple", "basic", "elementary", "primary", "false"),
    ("medium", "mid", "middle", "moderate", "intermediate", "normal"),
    ("hard", "high", "difficult", "advanced", "challenging", "secondary", "true"),
    ("very hard", "hardest", "highest", "expert", "college", "university", "extreme"),
)
_RANK = {word: rank for rank, words in enumerate(_WORDS) for word in words}


def all_numbers(texts: Iterable[str]) -> bool:
    """True where every text is a plain number: '3', ' 4.5', '1e-3'."""
    return all(_NUMBER.match(text) for text in texts)


def no_order(values: Iterable[str]) -> UsageError:
    """What is said of texts without an order: the values, and the whole option with an order that may be right."""
    likely = sorted(
        values, key=lambda text: (_RANK.get(text.strip().lower(), len(_WORDS) / 2 - 0.5), natural(text))
    )
    return UsageError(
        f"the scores are the texts {', '.join(map(repr, likely))}, and which of them is harder is not known. Give them all from the easiest "
        f"to the hardest, e.g. --order {order_option(likely)} (in Python and in a task's YAML, order is a list)."
    )


def order_option(values: Sequence[str]) -> str:
    """The value of `--order`, quoted for a shell; a value that holds a comma stands in quotes of its own."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return shlex.quote(line.getvalue())


def read_order(text: str) -> list[str]:
    """The values of `--order`, as `order_option` writes them; spaces around a comma are none of them."""
    return [value.strip() for line in csv.reader([text], skipinitialspace=True) for value in line]
