"""The graded suite: enough items, disjoint from training, right answers, YAMLs as the families say."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty.errors import UsageError
from difficulty.graded import FAMILIES, MEMORY, SKILLS, TIERS, draw_training_item, is_test_prompt, test_items
from difficulty.graded.facts import CIPHERS, FACTS

test_items.__test__ = False  # type: ignore[attr-defined]
ROOT = Path(__file__).resolve().parents[2]
CELLS = [(family, tier) for family in FAMILIES for tier in TIERS]


def solve(family: str, prompt: str) -> str:
    """The answer worked out from the prompt alone, by other means than the generator's."""
    if family == "addition":
        a, b = prompt.removeprefix("rev ").removesuffix("=").split("+")
        return str(int(a) + int(b))[::-1]
    if family == "sorting":
        return "".join(sorted(prompt.removeprefix("sort ").removesuffix("=")))
    if family == "reversal":
        return "".join(reversed(prompt.removeprefix("rev ").removesuffix("=")))
    if family == "retrieval":
        listing, query = prompt.split(";")
        return dict(pair.split("=") for pair in listing.split(","))[query.removesuffix("=")]
    if family == "hops":
        listing, query = prompt.split(";")
        arrows = dict(pair.split(">") for pair in listing.split(","))
        at, path = query[0], ""
        for _ in range(int(query[1])):
            at = arrows[at]
            path += at
        return path
    if family == "options":
        return max(prompt.removeprefix("max ").removesuffix("=").split(), key=int)
    if family == "cipher":
        language, word = prompt.removesuffix("=").split(":")
        table = next(c.letters for c in CIPHERS.values() if c.language == language)
        return "".join(chr(table[ord(letter)]) for letter in word)
    name = prompt.removesuffix("=").split("who ")[1]
    known = {fact.name: fact.answer for facts in FACTS.values() for fact in facts}
    if family == "facts_open":
        page = dict(line.split("=") for line in prompt.split(";")[0].split(","))
        assert page[name] == known[name]
    return known[name]


@pytest.mark.parametrize(("family", "tier"), CELLS)
def test_every_answer_follows_from_the_prompt(family: str, tier: int) -> None:
    items = test_items(family, tier)
    assert len({item.prompt for item in items}) == 250
    for item in items:
        assert item.answer == solve(family, item.prompt)


@pytest.mark.parametrize(
    "family", [family.name for family in FAMILIES.values() if not family.name.startswith("facts")]
)
def test_training_never_shows_a_test_item(family: str) -> None:
    rng = random.Random(3)
    for tier in TIERS:
        asked = {item.prompt for item in test_items(family, tier)}
        drawn = {draw_training_item(family, tier, rng).prompt for _ in range(2000)}
        assert not asked & drawn
        assert all(is_test_prompt(prompt) for prompt in asked)


def test_open_book_training_shows_none_of_the_facts() -> None:
    names = {fact.name for facts in FACTS.values() for fact in facts}
    rng = random.Random(4)
    for _ in range(2000):
        prompt = draw_training_item("facts_open", 1, rng).prompt
        assert not names & {line.split("=")[0] for line in prompt.split(";")[0].split(",")}


def test_options_offer_the_right_number_of_different_choices() -> None:
    for tier, options in enumerate((2, 3, 4, 5), start=1):
        for item in test_items("options", tier):
            assert len(set(item.choices)) == options
            assert item.answer in item.choices


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_items_follow_from_their_seed(seed: int, n: int) -> None:
    assert test_items("sorting", 2, n, seed) == test_items("sorting", 2, n, seed)


def test_closed_and_open_book_can_be_paired_by_fact() -> None:
    closed = {item.cluster for item in test_items("facts_closed", 2, 256)}
    opened = {item.cluster for item in test_items("facts_open", 2, 256)}
    assert closed == opened


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sortin", 1), "Did you mean 'sorting'"),
        (("sorting", 9), "tiers 1 to 4"),
        (("sorting", 1, 0), "at least 1"),
        (("facts_closed", 1, 257), "only 256 facts"),
        (("addition", 1, 5000), "Ask for fewer"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        test_items(*arguments)  # type: ignore[arg-type]


def test_the_yamls_are_those_the_families_describe() -> None:
    folder = ROOT / "task_configs" / "graded"
    spec = importlib.util.spec_from_file_location("write_configs", folder / "write_configs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = module.all_files()
    assert len(files) == 5 * len(SKILLS + MEMORY) + 2
    for name, content in files.items():
        assert (folder / name).read_text() == content, "run: python task_configs/graded/write_configs.py"
    on_disk = {str(path.relative_to(folder)) for path in folder.glob("**/*.yaml")}
    assert on_disk == set(files)
