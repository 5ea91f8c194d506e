"""Which tokens are run through the model, and that every request is scored by the right ones."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from junkdna_harness.models.prefix_plan import Row, build_batches, build_rows, group_by_header, split_request

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)
pairs = st.lists(st.tuples(tokens, tokens), min_size=1, max_size=30)


def scored_tokens(rows: list[Row]) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """For every request, what precedes each token that is scored for it, and the token."""
    found: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for row in rows:
        for target in row.targets:
            found.setdefault(target.slot, []).append((row.tokens[: target.position + 1], target.token))
        for tail in row.tails:
            for target in tail.targets:
                before = row.tokens + tail.tokens[: target.position + 1]
                found.setdefault(target.slot, []).append((before, target.token))
    return found


@given(pairs, st.integers(0, 20))
def test_every_continuation_token_is_scored_once_after_all_that_precedes_it(given_pairs, limit):
    rows = build_rows(given_pairs, lambda length: length <= limit)
    found = scored_tokens(rows)
    for slot, (context, continuation) in enumerate(given_pairs):
        expected = [(context + continuation[:i], token) for i, token in enumerate(continuation)]
        assert sorted(found[slot]) == sorted(expected)


@given(pairs)
def test_no_row_is_run_twice(given_pairs):
    rows = build_rows(given_pairs, lambda length: False)
    assert len({row.tokens for row in rows}) == len(rows)


def test_options_of_one_token_need_one_row_and_no_tail():
    rows = build_rows([((5, 6, 7), (1,)), ((5, 6, 7), (2,)), ((5, 6, 7), (3,))], lambda length: True)
    assert [(row.tokens, row.tails) for row in rows] == [((5, 6, 7), [])]


def test_long_context_is_run_once_and_its_options_continue_it():
    context = tuple(range(40))
    rows = build_rows([(context, (1, 2)), (context, (3, 4, 5)), (context, (1, 9))], lambda length: True)
    assert [row.tokens for row in rows] == [context]
    assert [tail.tokens for tail in rows[0].tails] == [
        (3, 4),
        (1,),
    ]  # options 1 2 and 1 9 differ in their last token


def test_a_row_too_long_for_the_cache_is_run_whole():
    context = tuple(range(40))
    rows = build_rows([(context, (1, 2)), (context, (3, 4))], lambda length: length <= 40)
    assert sorted(row.tokens for row in rows) == [(*context, 1), (*context, 3)]


@settings(max_examples=50)
@given(pairs, st.integers(1, 7))
def test_batches_hold_every_row_once_with_their_header_in_front(given_pairs, size):
    header = tuple(range(10, 60))
    rows = build_rows([(header + context, option) for context, option in given_pairs], lambda length: True)
    batches = list(build_batches(rows, lambda rows, position: size, headers=True))
    assert sorted(row.tokens for batch in batches for row in batch.rows) == sorted(row.tokens for row in rows)
    for batch in batches:
        assert len(batch.rows) <= size
        for row in batch.rows:
            assert row.tokens[: len(batch.header)] == batch.header
            assert len(batch.header) < row.context  # the context's last token predicts the first answer token


def test_two_subjects_get_two_headers_though_all_share_a_description():
    description = tuple(range(40))
    first, second = description + tuple(range(100, 200)), description + tuple(range(300, 400))
    rows = [Row((*head, i, 7), len(head) + 2) for head in (first, second) for i in range(8)]
    groups = {header: len(members) for header, members in group_by_header(rows)}
    assert groups == {first: 8, second: 8}


def test_a_short_common_beginning_is_no_header():
    rows = [Row((1, 2, 3, i, 7), 5) for i in range(50)]
    assert [header for header, _ in group_by_header(rows)] == [()]


@given(tokens, tokens, st.integers(6, 12))
def test_left_truncation_is_that_of_hf(context, continuation, max_length):
    seen, kept = split_request(list(context), list(continuation), max_length)
    window = [*context, *continuation][-(max_length + 1) :]
    assert [*seen, *kept] == window
