"""Procedural tasks in difficulty tiers: seeded, offline, pure Python.

The suite is chosen by dense accuracy alone, never by how a model behaves when it is pruned.
"""

from difficulty.graded.families import FAMILIES, MEMORY, SKILLS, TIERS, Family, Item
from difficulty.graded.splits import DEFAULT_ITEMS, draw_training_item, is_test_prompt, test_items

__all__ = [
    "DEFAULT_ITEMS",
    "FAMILIES",
    "MEMORY",
    "SKILLS",
    "TIERS",
    "Family",
    "Item",
    "draw_training_item",
    "is_test_prompt",
    "test_items",
]
