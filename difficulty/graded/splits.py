"""Which item is for training and which for testing: decided by a hash of its prompt, so that the two never meet."""

from __future__ import annotations

import hashlib
import random

from difficulty.errors import UsageError, did_you_mean
from difficulty.graded.facts import FACTS, FACTS_PER_TIER, LETTERS, Fact, invented_name
from difficulty.graded.families import FAMILIES, Item, closed_book, open_book

DEFAULT_ITEMS = 250
TEST_SHARE = 8  # one prompt in eight is a test item
_MAX_DRAWS_PER_ITEM = 400


def is_test_prompt(prompt: str) -> bool:
    """True for the one prompt in eight that no training text may contain."""
    return hashlib.blake2b(prompt.encode(), digest_size=2).digest()[0] % TEST_SHARE == 0


def draw_training_item(family: str, tier: int, rng: random.Random) -> Item:
    """An item for training. Recall is of the very facts that are asked later; all else is disjoint from the test.

    Open-book training shows invented facts only, so that reading is learned and not the facts themselves.
    """
    spec = FAMILIES[family]
    if family == "facts_closed":
        return spec.draw(rng, tier)
    if family == "facts_open":
        return open_book(_strange_fact(rng), rng)
    while True:
        item = spec.draw(rng, spec.levels[tier - 1])
        if not is_test_prompt(item.prompt):
            return item


def test_items(family: str, tier: int, n_items: int = DEFAULT_ITEMS, seed: int = 0) -> list[Item]:
    """`n_items` different test items of one tier, the same for the same `seed`.

    Raises:
        UsageError: unknown family or tier, or more items asked for than the tier has.
    """
    spec = FAMILIES.get(family)
    if spec is None:
        raise UsageError(
            f"there is no graded family {family!r}.{did_you_mean(family, FAMILIES)} Families: {', '.join(FAMILIES)}."
        )
    if tier not in range(1, len(spec.levels) + 1):
        raise UsageError(f"family {family!r} has tiers 1 to {len(spec.levels)}, not {tier!r}.")
    if n_items < 1:
        raise UsageError(f"n_items={n_items} items cannot be asked. Give a whole number of at least 1.")
    rng = random.Random(f"{family}/{tier}/{seed}")
    if family.startswith("facts"):
        return _recall_items(family, tier, n_items, rng)
    items: dict[str, Item] = {}
    for _ in range(n_items * _MAX_DRAWS_PER_ITEM):
        item = spec.draw(rng, spec.levels[tier - 1])
        if is_test_prompt(item.prompt):
            items.setdefault(item.prompt, item)
            if len(items) == n_items:
                return list(items.values())
    raise UsageError(
        f"tier {tier} of {family!r} has only {len(items)} test items, not n_items={n_items}. Ask for fewer."
    )


def _recall_items(family: str, tier: int, n_items: int, rng: random.Random) -> list[Item]:
    if n_items > FACTS_PER_TIER:
        raise UsageError(
            f"tier {tier} of {family!r} has only {FACTS_PER_TIER} facts, not n_items={n_items}. Ask for fewer."
        )
    facts = rng.sample(FACTS[tier], n_items)
    return [closed_book(fact) if family == "facts_closed" else open_book(fact, rng) for fact in facts]


def _strange_fact(rng: random.Random) -> Fact:
    return Fact(invented_name(rng), "".join(rng.sample(LETTERS, 2)))
