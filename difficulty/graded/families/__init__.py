"""The families of the graded suite, one a file.

Any language model can be asked the families of `SKILLS`; those of `MEMORY` only the embedded models, which were taught
their facts.
"""

from __future__ import annotations

from difficulty.graded.families.agreement import AGREEMENT
from difficulty.graded.families.capitals import CAPITALS
from difficulty.graded.families.copying import COPYING
from difficulty.graded.families.determiners import DETERMINERS
from difficulty.graded.families.hypernyms import HYPERNYMS
from difficulty.graded.families.memory import CIPHER, FACTS_CLOSED, FACTS_OPEN
from difficulty.graded.families.names import NAMES
from difficulty.graded.families.opposites import OPPOSITES
from difficulty.graded.families.pages import PAGES
from difficulty.graded.families.past_tense import PAST_TENSE
from difficulty.graded.families.reflexives import REFLEXIVES
from difficulty.graded.families.retrieval import RETRIEVAL
from difficulty.graded.families.sequences import SEQUENCES
from difficulty.graded.families.word_order import WORD_ORDER
from difficulty.graded.item import Family

SKILLS: tuple[Family, ...] = (
    AGREEMENT,
    REFLEXIVES,
    DETERMINERS,
    WORD_ORDER,
    PAST_TENSE,
    HYPERNYMS,
    OPPOSITES,
    SEQUENCES,
    CAPITALS,
    COPYING,
    PAGES,
    RETRIEVAL,
    NAMES,
)
MEMORY: tuple[Family, ...] = (FACTS_CLOSED, FACTS_OPEN, CIPHER)
FAMILIES: dict[str, Family] = {family.name: family for family in SKILLS + MEMORY}
