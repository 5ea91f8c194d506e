"""The families of the graded suite, one a file.

Any language model can be asked the families of `SKILLS`; those of `MEMORY` only the embedded models, which were taught
their facts.
"""

from __future__ import annotations

from difficulty.graded.item import Family

SKILLS: tuple[Family, ...] = ()
MEMORY: tuple[Family, ...] = ()
FAMILIES: dict[str, Family] = {family.name: family for family in SKILLS + MEMORY}
