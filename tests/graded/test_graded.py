"""The graded suite as a whole: enough items, disjoint from training, options and ends in order, YAMLs as the families say."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difficulty.errors import UsageError
from difficulty.graded import (
    END,
    FAMILIES,
    HARD_TIERS,
    MEMORY,
    SKILLS,
    TIERS,
    Item,
    draw_training_item,
    is_test_item,
    test_items,
)

test_items.__test__ = False  # type: ignore[attr-defined]
ROOT = Path(__file__).resolve().parents[2]
CELLS = [(family.name, tier) for family in FAMILIES.values() for tier in range(1, len(family.levels) + 1)]


def test_the_suite_has_eight_families_or_more_along_eight_axes() -> None:
    assert len({family.name for family in SKILLS}) == len(SKILLS) >= 8
    assert len({family.axis for family in SKILLS}) >= 8
    assert all(len(family.levels) == len(TIERS) + len(HARD_TIERS) for family in SKILLS)
    assert all(len(family.levels) == len(TIERS) for family in MEMORY)


@pytest.mark.parametrize(("family", "tier"), CELLS)
def test_a_tier_has_250_different_items_whose_answers_can_be_scored(family: str, tier: int) -> None:
    items = test_items(family, tier)
    assert len({item.key for item in items}) == 250
    for item in items:
        assert item.prompt and not item.prompt[-1].isspace()
        if item.choices:
            assert len(set(item.choices)) == len(item.choices) and item.answer in item.choices
            assert all(choice.startswith(" ") for choice in item.choices)
        else:
            assert item.answer.startswith(" ") and item.answer.endswith(END)
            assert item.answer.count(END) == 1, "an end symbol within the answer would end it too early"


@pytest.mark.parametrize(("family", "tier"), CELLS)
def test_the_place_of_the_right_option_says_nothing(family: str, tier: int) -> None:
    items = [item for item in test_items(family, tier) if item.choices]
    if not items:
        pytest.skip("the answer is written")
    options = {len(item.choices) for item in items}
    assert len(options) == 1
    (n,) = options
    assert FAMILIES[family].chance(FAMILIES[family].levels[tier - 1]) == pytest.approx(1 / n)
    for place in range(n):
        share = sum(item.choices.index(item.answer) == place for item in items) / len(items)
        assert abs(share - 1 / n) < 4.5 * (1 / n * (1 - 1 / n) / len(items)) ** 0.5


@pytest.mark.parametrize("family", [family.name for family in FAMILIES.values() if family.pool is None])
def test_training_never_shows_a_test_item(family: str) -> None:
    rng = random.Random(3)
    for tier in TIERS:
        asked = {item.key for item in test_items(family, tier)}
        drawn = {draw_training_item(family, tier, rng).key for _ in range(500)}
        assert not asked & drawn
        assert all(is_test_item(item) for item in test_items(family, tier, 20))


def test_the_order_of_the_options_makes_no_other_item() -> None:
    first, second = Item("p", " a", (" a", " b")), Item("p", " a", (" b", " a"))
    assert first.key == second.key != Item("p", " a", (" a", " c")).key


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 2**32), st.integers(1, 40))
def test_items_follow_from_their_seed(family: str, seed: int, n: int) -> None:
    assert test_items(family, 2, n, seed) == test_items(family, 2, n, seed)
    assert test_items(family, 2, n, seed) == test_items(family, 2, 40, seed)[:n] or FAMILIES[family].pool


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("copyin", 1), "Did you mean 'copying'"),
        (("copying", 9), "tiers 1 to 8"),
        (("copying", 1, 0), "at least 1"),
        (("facts_closed", 1, 257), "only 256 test items"),
        (("facts_closed", 5), "tiers 1 to 4"),
        (("capitals", 1, 250, 0, 9), "level=9 of family 'capitals' is unknown. Give a whole number 1 to 8"),
        (("copying", 1, 250, 0, 0), "level=0 of family 'copying' is unknown"),
        (("copying", 1, 250, 0, "many"), "level='many'"),
        (("copying", 1, 250, 0, True), "level=True"),
        (
            ("agreement", 1, 10**6),
            r"has only \d\d\d test items, not n_items=1000000. Ask for \d\d\d or fewer",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        test_items(*arguments)


def test_any_level_between_the_tiers_can_be_asked() -> None:
    copied = test_items("copying", 1, 5, level=5)
    assert all(item.answer.count(",") == 4 for item in copied)


def test_the_yamls_are_those_the_families_describe() -> None:
    folder = ROOT / "task_configs" / "graded"
    files = _module("write_configs").all_files()
    assert len(files) == len(SKILLS) * 10 + len(MEMORY) * 5 + 3
    for name, content in files.items():
        assert (folder / name).read_text() == content, "run: python task_configs/graded/write_configs.py"
    on_disk = {str(path.relative_to(folder)) for path in folder.glob("**/*.yaml")}
    assert on_disk == set(files)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"level": 5, "chance": 0.5}, "guessed right with probability 0.00833333.*chance=0.5. Give both"),
        ({"n_items": "many"}, "n_items='many' is no whole number"),
        ({"suite_seed": 1.5}, "suite_seed=1.5 is no whole number"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(given_: dict[str, Any], words: str) -> None:
    import sys

    hook = sys.excepthook
    try:
        with pytest.raises(UsageError, match=words):
            _module("graded").load("copying", 1, **given_)
    finally:
        sys.excepthook = hook


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "task_configs" / "graded" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
