"""Questions side by side in one pass: every token sees its own text and nothing else, and headers run once."""

from __future__ import annotations

import logging
import random
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from junkdna_harness.models.forward import Runner, prepare
from junkdna_harness.models.packing import LINE_TOKENS, MOST_ROWS, PASS_TOKENS, Packed, cut, pack, size_of
from junkdna_harness.models.parts import visible
from junkdna_harness.models.prefix_plan import build_rows
from tests.models.test_scoring import answers, assert_same, multiple_choice, scorer
from tests.models_factory import make_model

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)
pairs = st.lists(st.tuples(st.integers(0, 2), tokens, tokens), min_size=1, max_size=12)


def packed(pairs, batch_size: int) -> list[Packed]:
    passes, rest = pack(build_rows(pairs, lambda length: True, 256), batch_size, lambda row: True)
    assert not rest
    return passes


@settings(max_examples=60)
@given(pairs, st.integers(1, 4))
def test_every_token_sees_its_own_text_alone_and_every_answer_is_scored_once(drawn, size):
    headers = [tuple(range(100, 140)), tuple(range(200, 233)), ()]
    asked = [(headers[i] + context, option) for i, context, option in drawn]
    found: dict[int, list] = {}
    for batch in packed(asked, size):
        assert len(batch.lines) <= size and len(batch.headers) <= size
        prepared = prepare(batch)
        part = prepared.rows
        before = None
        width = max(map(len, batch.headers), default=0)
        if batch.headers:
            before = torch.tensor([len(batch.headers[line.parent]) for line in batch.lines])
        mask = visible(part.layout, before, width)
        for i, line in enumerate(batch.lines):
            header = batch.headers[line.parent] if batch.headers else ()
            cached = torch.tensor([*header, *[-1] * (width - len(header))], dtype=torch.long)
            everything = torch.cat([cached, part.tokens[i]])
            for row, kept, token, slot in zip(part.row, part.kept, part.token, part.slot, strict=True):
                if row == i:
                    at = int(part.keep[kept]) - i * part.tokens.shape[1]
                    text = tuple(everything[mask[i, 0, at]].tolist())
                    assert part.layout[2, i, at] == len(text) - 1
                    found.setdefault(prepared.slots[slot], []).append((text, int(token)))
    for slot, (context, option) in enumerate(asked):
        expected = [(context + option[:j], token) for j, token in enumerate(option)]
        assert sorted(found[slot]) == sorted(expected)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=7), st.integers(1, 4))
def test_passes_are_cut_where_padding_and_passes_cost_least(lengths, most):
    lengths.sort(reverse=True)

    def cost(parts) -> int:
        return sum(lengths[a] * (b - a) + PASS_TOKENS for a, b in parts)

    every = []
    for n in range(len(lengths)):
        for places in combinations(range(1, len(lengths)), n):
            edges = [0, *places, len(lengths)]
            every.append(list(zip(edges, edges[1:], strict=False)))
    allowed = [parts for parts in every if all(b - a <= most for a, b in parts)]
    parts = cut(lengths, most)
    assert parts in allowed
    assert cost(parts) == min(map(cost, allowed))


def test_a_line_is_no_longer_than_the_longest_row_needs_it():
    rng = random.Random(0)
    contexts = [tuple(rng.choices(range(50), k=rng.randint(5, 200))) for _ in range(40)]
    asked = [(context, (i, 7)) for context in contexts for i in range(2)]
    rows = build_rows(asked, lambda length: True, 256)
    longest = max(size_of(row, 0) for row in rows)
    for batch in packed(asked, 4):
        for line in batch.lines:
            assert sum(size_of(row, 0) for row in line.rows) <= max(longest, LINE_TOKENS)


def subjects_in_turn(subjects: int, rounds: int) -> list[tuple[str, str]]:
    rng = random.Random(0)
    headers = [f"about {i}: " + "".join(rng.choices("abcdefgh ", k=60 + i)) for i in range(subjects)]
    contexts = [
        headers[i] + "".join(rng.choices("abcdef", k=8 + i % 3))
        for _ in range(rounds)
        for i in range(subjects)
    ]
    return [(context, f" {option}") for context in contexts for option in ("yes", "no", "maybe")]


def counted(monkeypatch) -> list[torch.Size]:
    """The shapes of all that is run through the model from now on."""
    shapes: list[torch.Size] = []
    forward = Runner._forward

    def counting(self, tokens, *rest, **named):
        shapes.append(tokens.shape)
        return forward(self, tokens, *rest, **named)

    monkeypatch.setattr(Runner, "_forward", counting)
    return shapes


@pytest.mark.parametrize("arch", ["llama", "gpt2", "opt"])
def test_headers_are_found_where_subjects_take_turns(arch, monkeypatch, caplog):
    model, _ = make_model(arch, seed=1)
    lm = scorer(model, batch_size=3)
    asked = subjects_in_turn(subjects=7, rounds=2)
    expected = answers(lm, asked, False)
    assert_same(answers(lm, asked, True), expected)  # and in the order of the requests
    assert lm._prefix_packs
    shapes = counted(monkeypatch)
    with caplog.at_level(logging.INFO):
        answers(lm, asked, True)
    headers = sum(60 + i + len("about 0: ") for i in range(7))
    rest = 14 * (8 + 2 + 3 + 2 + 5)  # questions, and their options without the last token
    assert sum(shape.numel() for shape in shapes) < headers + 1.6 * rest
    (said,) = [r.message for r in caplog.records if "what these share runs once" in r.message]
    told = int(said.split()[1].replace(",", ""))
    assert headers + rest - 20 < told <= sum(shape.numel() for shape in shapes)  # the rest is padding
    assert max(shape[0] for shape in shapes) <= 3  # neither headers nor lines beyond the batch size


def test_prompts_that_begin_each_in_its_own_way_cost_no_more_than_their_tokens(monkeypatch):
    model, _ = make_model("llama")
    lm = scorer(model)
    asked = multiple_choice(12, seed=0, length=60)
    assert_same(answers(lm, asked, True), answers(lm, asked, False))
    shapes = counted(monkeypatch)
    answers(lm, asked, True)
    once = sum(len(context) for context in {context for context, _ in asked})
    assert sum(shape.numel() for shape in shapes) < 1.2 * (once + sum(len(option) - 1 for _, option in asked))


def test_the_output_head_sees_only_what_is_scored():
    model, _ = make_model("llama")
    lm = scorer(model)
    asked = [("a question", " one"), ("a question", " two"), ("another question", " one")]
    answers(lm, asked, True)
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda *call: seen.append(call[2].shape[:2]))
    answers(lm, asked, True)
    # The last token of each question, and three of the four tokens of every option.
    assert seen == [(1, 2 + 3 * 3)]


def test_a_question_alone_scores_as_among_others():
    model, _ = make_model("llama", seed=5)
    lm = scorer(model)
    asked = subjects_in_turn(3, 3) + multiple_choice(5, seed=2)
    together = answers(lm, asked, True)
    for i in (0, 13, len(asked) - 1):
        assert_same(answers(lm, asked[i : i + 1], True), together[i : i + 1])


def altered(model, name: str, change) -> None:
    """Let `model` run with `change(value)` for its argument `name`, wherever it is given."""
    forward = model.forward

    def altering(input_ids, **arguments):
        if arguments.get(name) is not None:
            arguments[name] = change(arguments[name])
        return forward(input_ids, **arguments)

    altering.__wrapped__ = forward  # so that its signature is the model's
    model.forward = altering


def test_a_model_that_minds_no_such_mask_is_found_out(caplog):
    model, _ = make_model("llama")
    lm = scorer(model)
    asked = multiple_choice(6, seed=0)
    expected = answers(lm, asked, False)
    altered(model, "attention_mask", lambda mask: mask if mask.ndim == 2 else None)
    with caplog.at_level(logging.INFO):
        found = answers(lm, asked, True)
    assert_same(found, expected)
    assert lm._prefix_packs is False and lm._prefix_limit > 1000  # contexts are shared all the same
    assert any("not put side by side" in r.message for r in caplog.records)


def texts(n: int, length: int, seed: int, header: str = "") -> list[tuple[str, str]]:
    rng = random.Random(seed)
    return [(header + "".join(rng.choices("abcdefgh", k=length)), " yes") for _ in range(n)]


def test_a_mask_is_not_found_sound_where_nothing_stands_side_by_side():
    """The longest lines hold one text each, and need no mask; the shorter ones of the same request do."""
    model, _ = make_model("llama")
    lm = scorer(model, batch_size=2)
    asked = texts(4, 120, seed=0) + texts(8, 12, seed=1)
    expected = answers(lm, asked, False)
    altered(model, "attention_mask", lambda mask: mask if mask.ndim == 2 else torch.ones_like(mask).tril())
    assert_same(answers(lm, asked, True), expected)
    assert lm._prefix_packs is False


def test_the_rounding_of_autocast_does_not_pass_for_a_fault():
    model, _ = make_model("llama")
    for parameter in model.parameters():
        parameter.data *= 2
    lm = scorer(model, mixed_precision_dtype="bfloat16")
    answers(lm, multiple_choice(6, seed=0), True)
    assert lm._prefix_packs


def test_a_cache_is_not_found_sound_by_requests_that_need_none():
    model, _ = make_model("llama")
    lm = scorer(model, batch_size=2)
    short, few_shot = (
        texts(6, 12, seed=0),
        texts(6, 12, seed=1, header="a header of forty tokens, or a few more: "),
    )
    expected = answers(lm, few_shot, False)
    altered(model, Runner(model, lm.device).cache_argument, without_values)
    answers(lm, short, True)
    assert lm._prefix_packs
    assert_same(answers(lm, few_shot, True), expected)


def without_values(cache):
    for layer in cache.layers:
        layer.values = layer.values * 0
    return cache


def test_large_batches_are_planned_row_by_row():
    model, _ = make_model("llama")
    asked = [(tuple(range(20)), (1, 2)), (tuple(range(20)), (3, 4))]
    requests = [(None, list(context), list(option)) for context, option in asked]
    for size in (MOST_ROWS, MOST_ROWS + 1):
        batches = scorer(model, batch_size=size).plan_scoring(requests)
        assert [isinstance(batch, Packed) for batch in batches] == [size <= MOST_ROWS]
