"""Families that were tried for the graded suite and left out: `benchmarks/suite.py` shows what they score."""

from __future__ import annotations

from suite_dropped.larger_number import LARGER_NUMBER
from suite_dropped.month_steps import MONTH_STEPS
from suite_dropped.number_words import NUMBER_WORDS
from suite_dropped.pages_rivals import PAGES_RIVALS
from suite_dropped.patterns import PATTERNS
from suite_dropped.reflexives_people import REFLEXIVES_PEOPLE
from suite_dropped.sums import SUMS
from suite_dropped.who_has_what import WHO_HAS_WHAT

DROPPED = (
    NUMBER_WORDS,
    MONTH_STEPS,
    LARGER_NUMBER,
    SUMS,
    WHO_HAS_WHAT,
    PAGES_RIVALS,
    REFLEXIVES_PEOPLE,
    PATTERNS,
)
