"""Which item is for training and which for testing: decided by a hash of the item, so that the two never meet."""

from __future__ import annotations

import hashlib
import random

from difficulty.errors import UsageError, did_you_mean
from difficulty.graded.families import FAMILIES
from difficulty.graded.item import Family, Item

DEFAULT_ITEMS = 250
TEST_SHARE = 8  # one item in eight is a test item
_FRUITLESS_DRAWS = 20_000  # so many without a new test item: there are no more


def is_test_item(item: Item) -> bool:
    """True for the one item in eight that no training text may contain."""
    return hashlib.blake2b(item.key.encode(), digest_size=2).digest()[0] % TEST_SHARE == 0


def draw_training_item(family: str, tier: int, rng: random.Random) -> Item:
    """An item for training; it is no test item, unless the family asks a table of facts in one form alone."""
    spec = FAMILIES[family]
    draw, level = spec.draw_training or spec.draw, spec.levels[tier - 1]
    while True:
        item = draw(rng, level)
        if spec.pool is not None or not is_test_item(item):
            return item


def test_items(
    family: str, tier: int, n_items: int = DEFAULT_ITEMS, seed: int = 0, level: int | None = None
) -> list[Item]:
    """`n_items` different test items of one tier, or of any `level` of the family; the same for the same `seed`.

    Raises:
        UsageError: unknown family, tier or level, or more items asked for than there are.
    """
    spec = FAMILIES.get(family)
    if spec is None:
        raise UsageError(
            f"there is no graded family {family!r}.{did_you_mean(family, FAMILIES)} Families: {', '.join(FAMILIES)}."
        )
    if level is None:
        if tier not in range(1, len(spec.levels) + 1):
            raise UsageError(f"family {family!r} has tiers 1 to {len(spec.levels)}, not {tier!r}.")
        level = spec.levels[tier - 1]
    level = spec.check_level(level)
    if n_items < 1:
        raise UsageError(f"n_items={n_items} items cannot be asked. Give a whole number of at least 1.")
    rng = random.Random(f"{family}/{level}/{seed}")
    found = draw_test_items(spec, level, n_items, rng)
    if len(found) < n_items:
        raise UsageError(
            f"level {level} of {family!r} ({spec.axis_label}) has only {len(found)} test items, not n_items={n_items}. "
            f"Ask for {len(found)} or fewer."
        )
    return found


def draw_test_items(spec: Family, level: int, n_items: int, rng: random.Random) -> list[Item]:
    """Up to `n_items` different test items of a level; fewer where there are no more."""
    if spec.pool is not None:
        pool = spec.pool(level)
        return rng.sample(pool, min(n_items, len(pool)))
    items: dict[str, Item] = {}
    fruitless = 0
    while len(items) < n_items and fruitless < _FRUITLESS_DRAWS:
        item = spec.draw(rng, level)
        fruitless += 1
        if item.key not in items and is_test_item(item):
            items[item.key] = item
            fruitless = 0
    return list(items.values())
