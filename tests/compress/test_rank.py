"""Exact counts and stable ties, whatever the scores."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difficulty.errors import UsageError
from junkdna_harness.compress.notation import NM, Sparsity, parse_pattern, parse_sparsity
from junkdna_harness.compress.pattern import removal_mask
from junkdna_harness.compress.rank import lowest, lowest_overall

FEW_VALUES = st.sampled_from([-2.0, -0.5, -0.0, 0.0, 1e-30, 0.25, 0.5, 3.0])


def stable(flat: torch.Tensor, k: int) -> torch.Tensor:
    """The plain reference: a stable sort, then the first k."""
    mask = torch.zeros(len(flat), dtype=torch.bool)
    mask[torch.sort(flat, stable=True).indices[:k]] = True
    return mask


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 4), st.integers(1, 150))
def test_ties_remove_exactly_the_requested_count_and_the_earliest(
    data: st.DataObject, rows: int, n: int
) -> None:
    values = data.draw(st.lists(FEW_VALUES, min_size=rows * n, max_size=rows * n))
    k = data.draw(st.integers(0, n))
    scores = torch.tensor(values).view(rows, n)
    mask = lowest(scores, k)
    assert torch.equal(mask, torch.stack([stable(row, k) for row in scores]))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_the_lowest_of_several_tensors_are_those_of_one_stable_sort(
    data: st.DataObject, sizes: list[int]
) -> None:
    value = st.one_of(FEW_VALUES, st.floats(-1e3, 1e3, width=32))
    tensors = [torch.tensor(data.draw(st.lists(value, min_size=n, max_size=n))) for n in sizes]
    k = data.draw(st.integers(0, sum(sizes)))
    masks = list(lowest_overall(lambda: tensors, k))
    assert torch.equal(torch.cat(masks), stable(torch.cat(tensors), k))


def test_many_tied_rows_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("junkdna_harness.compress.rank._TIES_AT_ONCE", 300)
    scores = torch.randint(0, 3, (11, 100), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(lowest(scores, 37), torch.stack([stable(row, 37) for row in scores]))


def test_many_rows_are_ranked_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("junkdna_harness.compress.rank._SELECT_AT_ONCE", 300)
    scores = torch.randn(11, 100, generator=torch.Generator().manual_seed(0))
    for given_ in (scores, scores.T.contiguous().T, scores.double()):  # as they lie in memory; of two kinds
        assert torch.equal(lowest(given_, 37), torch.stack([stable(row, 37) for row in scores]))
    assert torch.equal(lowest(scores.half(), 37), torch.stack([stable(row, 37) for row in scores.half()]))


@given(st.integers(0, 99), st.integers(1, 10_000))
def test_counts_are_the_nearest_whole_number(percent: int, n: int) -> None:
    removed = Sparsity(percent / 100).removed(n)
    assert removed == (2 * percent * n + 100) // 200  # in whole numbers: round half up


def test_counts_do_not_follow_the_binary_neighbour_of_a_decimal() -> None:
    assert Sparsity(0.7).removed(45) == 32  # 31.5 in decimals, 31.499999999999996 in binary


@pytest.mark.parametrize("kept,group", [(2, 4), (1, 8), (7, 8), (1, 2), (50, 100)])
def test_n_of_n_m_is_the_number_kept(kept: int, group: int) -> None:
    scores = torch.rand(6, 200, generator=torch.Generator().manual_seed(1))
    mask = removal_mask(scores, NM(kept, group), "row")
    groups = scores.view(6, -1, group)
    left = (~mask).view(6, -1, group)
    assert bool((left.sum(-1) == kept).all())
    lowest_kept = groups.masked_fill(~left, 9).amin(-1)
    highest_removed = groups.masked_fill(left, -9).amax(-1)
    assert bool((lowest_kept >= highest_removed).all())


@pytest.mark.parametrize("given_", [1.5, -0.1, "abc", 1, "nan", True, None, "1e9"])
def test_a_sparsity_that_is_none_is_quoted(given_: object) -> None:
    with pytest.raises(UsageError, match=f"sparsity={given_!r}|sparsity={given_}"):
        parse_sparsity(given_)


def test_a_percentage_is_understood_as_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 0\.5\?"):
        parse_sparsity(50)


@pytest.mark.parametrize("text", ["5:4", "2:0", "x", "4:4", "0:4", "2:", "2/4", "-1:4"])
def test_a_pattern_that_is_none_is_quoted(text: str) -> None:
    with pytest.raises(UsageError, match="0 < N < M"):
        parse_pattern(text)
