"""Claims about `assign_tiers`: every item in one tier, tiers ordered, ties together, and clear refusals."""

from __future__ import annotations

import math
import shlex
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty.cut.texts import read_order
from difficulty.cut.tiers import assign_tiers, largest_bins
from difficulty.errors import UsageError

numbers = st.one_of(
    st.lists(st.integers(-5, 5), min_size=2, max_size=60),
    st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=2, max_size=60),
)


@given(
    scores=numbers,
    bins=st.integers(2, 6),
    min_items=st.integers(1, 5),
    harder=st.sampled_from(["high", "low"]),
)
def test_every_item_is_in_one_tier_tiers_are_ordered_and_ties_stay_together(scores, bins, min_items, harder):
    try:
        found = assign_tiers(scores, bins, min_items, harder=harder)
    except UsageError:
        # a refusal is right only when the promised number of tiers is smaller than asked
        assert largest_bins([float(s) if harder == "high" else -float(s) for s in scores], min_items) != bins
        return
    assert list(found.tier_of) == [str(i) for i in range(len(scores))]
    assert set(found.tier_of.values()) == set(range(1, bins + 1))
    counts = Counter(found.tier_of.values())
    assert [tier.n_items for tier in found.tiers] == [counts[tier.number] for tier in found.tiers]
    assert min(counts.values()) >= min_items
    sign = 1 if harder == "high" else -1
    for easier, hard in zip(found.tiers, found.tiers[1:], strict=False):
        top, bottom = (easier.high, hard.low) if harder == "high" else (easier.low, hard.high)
        assert sign * top < sign * bottom
    by_score: dict[float, set[int]] = {}
    for index, score in enumerate(scores):
        by_score.setdefault(float(score), set()).add(found.tier_of[str(index)])
    assert all(len(tiers) == 1 for tiers in by_score.values())


@given(scores=numbers, bins=st.integers(2, 5))
def test_the_order_of_items_does_not_matter(scores, bins):
    table = {f"item{i}": score for i, score in enumerate(scores)}
    backwards = dict(reversed(table.items()))
    try:
        first = assign_tiers(table, bins, 1)
    except UsageError:
        with pytest.raises(UsageError):
            assign_tiers(backwards, bins, 1)
        return
    assert first.tier_of == assign_tiers(backwards, bins, 1).tier_of


@given(scores=st.lists(st.integers(0, 8), min_size=4, max_size=80), min_items=st.integers(1, 10))
def test_the_largest_number_of_tiers_works_and_the_next_ones_do_not(scores, min_items):
    best = largest_bins(scores, min_items)
    if best > 1:
        assert assign_tiers(scores, best, min_items).n_tiers == best
    for bins in range(best + 1, best + 4):
        if len(set(scores)) > 1 and bins > 1:
            with pytest.raises(UsageError):
                assign_tiers(scores, bins, min_items)


def test_distinct_scores_give_equal_tiers():
    found = assign_tiers(list(range(100)), 4, 25)
    assert [tier.n_items for tier in found.tiers] == [25, 25, 25, 25]
    assert found.cuts == (25.0, 50.0, 75.0)


def test_a_cut_goes_to_the_boundary_nearest_to_its_quantile():
    # 10 ones, 3 twos, 7 threes: the half of 20 items is at 10, the end of the ones
    assert [t.n_items for t in assign_tiers([1] * 10 + [2] * 3 + [3] * 7, 2, 1).tiers] == [10, 10]
    # 9 ones and 11 twos: nearest to 10 is 9
    assert [t.n_items for t in assign_tiers([1] * 9 + [2] * 11, 2, 1).tiers] == [9, 11]


def test_low_scores_are_hard_when_asked():
    found = assign_tiers({"right": 3.0, "close": 0.1, "wrong": -2.0}, 3, 1, harder="low")
    assert found.tier_of == {"right": 1, "close": 2, "wrong": 3}
    assert found.cuts == (0.1, -2.0)


def test_cuts_by_hand():
    found = assign_tiers([1, 2, 3, 4, 5, 6], min_items=1, cuts=[3, 5])
    assert list(found.tier_of.values()) == [1, 1, 2, 2, 3, 3]
    # low scores are hard: going down, tier 2 begins at 5 and tier 3 at 3
    low = assign_tiers([1, 2, 3, 4, 5, 6], min_items=1, cuts=[3, 5], harder="low")
    assert low.tier_of == {"0": 3, "1": 3, "2": 3, "3": 2, "4": 2, "5": 1}


def test_text_makes_one_tier_a_value():
    found = assign_tiers(["b", "a", "b", "c"], min_items=1, order=["a", "b", "c"])
    assert found.categorical and found.cuts == ("a", "b", "c")
    assert list(found.tier_of.values()) == [2, 1, 2, 3]
    assert found.notes == ()
    assert list(assign_tiers(["easy", "hard"], min_items=1, order=["hard", "easy"]).tier_of.values()) == [
        2,
        1,
    ]


@pytest.mark.parametrize(
    ("scores", "option"),
    [
        (["easy", "mid", "hard"], "--order easy,mid,hard "),
        (["grade 10", "grade 3", "Grade 1"], "--order 'Grade 1,grade 3,grade 10' "),
        (["True", "False"], "--order False,True "),
        (["1", "2", "K"], "--order 1,2,K "),
        (["b, c", "a", 'it\'s "d"'], '--order \'a,"b, c","it\'"\'"\'s ""d"""\' '),
        (["nan", "1"], "--order 1,nan "),
    ],
)
def test_text_without_an_order_is_refused_with_the_values_and_the_option_to_give(scores, option):
    with pytest.raises(UsageError) as found:
        assign_tiers(scores * 2, min_items=1)
    assert option in str(found.value)
    assert all(repr(score) in str(found.value) for score in scores)
    order = read_order(shlex.split(option)[1])
    assert sorted(order) == sorted(scores)
    assert assign_tiers(scores * 2, min_items=1, order=order).cuts == tuple(order)


def test_texts_that_are_all_numbers_are_sorted_as_numbers_and_that_is_said():
    texts = [str(number) for number in range(1, 13)]
    found = assign_tiers(texts, 4, 1)
    assert list(found.tier_of.values()) == list(assign_tiers(range(1, 13), 4, 1).tier_of.values())
    assert "texts that are all numbers ('1', '2', " in found.notes[0] and not found.categorical
    assert assign_tiers(texts, min_items=1, cuts=[3]).n_tiers == 2
    assert assign_tiers(["2", "10"], min_items=1, order=["2", "10"]).categorical
    assert assign_tiers(range(12), 4, 1).notes == ()


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ([], {}, "no items"),
        ({"a": 1.0, "b": None}, {}, r"missing .* 1 of 2 items \('b'\)"),
        ([1.0, math.nan, 2.0], {}, r"1 of 3 items \('1'\)"),
        ([1.0, math.inf], {}, "not a finite number"),
        ([2, 2, 2], {}, "same score, 2"),
        ([1, "x"], {}, "1 scores are text"),
        (list(range(100)), {"bins": 1}, "2 or more"),
        (list(range(100)), {"bins": 4, "min_items": 30}, "largest number of tiers that works is 3"),
        (list(range(20)), {"bins": 2}, "No number of tiers works"),
        ([1] * 50 + [2] * 50, {"bins": 4}, r"equal scores stay together.*works is 2"),
        (list(range(100)), {"min_items": 0}, "min_items=0"),
        (list(range(100)), {"cuts": [5, 5]}, "do not rise"),
        (list(range(100)), {"cuts": [500]}, r"\[100, 0\] items"),
        (list(range(100)), {"order": ["a"]}, "scores are numbers"),
        (["a", "b"] * 40, {"bins": 3}, "3 bins were asked of text with 2 values"),
        (["a", "b"] * 20, {}, "'a' has 20 items"),
        (["a", "b"] * 40, {"cuts": [1.0]}, r"the cuts \[1.0\] are of numbers, and the scores are text"),
        (["a", "b"] * 40, {"order": ["a"]}, "must name each value once"),
        (["easy", "hard"] * 40, {"order": ["easy", "hart"]}, "Did you mean 'hard'"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(scores, options, message):
    with pytest.raises(UsageError, match=message):
        assign_tiers(scores, **options)
