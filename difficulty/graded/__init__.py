"""Procedural tasks in tiers of difficulty: plain English, seeded, offline, pure Python.

The suite is chosen by dense accuracy alone, never by how a model behaves when it is pruned.
"""

from difficulty.graded.families import FAMILIES, MEMORY, SKILLS
from difficulty.graded.item import END, HARD_TIERS, TIERS, Family, Item
from difficulty.graded.splits import DEFAULT_ITEMS, draw_training_item, is_test_item, test_items

__all__ = [
    "DEFAULT_ITEMS",
    "END",
    "FAMILIES",
    "HARD_TIERS",
    "MEMORY",
    "SKILLS",
    "TIERS",
    "Family",
    "Item",
    "draw_training_item",
    "is_test_item",
    "test_items",
]
