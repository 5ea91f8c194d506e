"""Scores are those of lm-eval's `hf`, on every kind of model and request."""

from __future__ import annotations

import logging
import random

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from difficulty.errors import UsageError
from junkdna_harness.models.scoring import PrefixScoring
from tests.models_factory import make_model, make_tokenizer

SHARING = ("llama", "tied", "qwen3", "mixtral", "gpt2", "opt", "gpt_neox")


class Scorer(PrefixScoring, HFLM):
    """The mixin in front of `hf`, as our wrappers have it."""


def scorer(model, **arguments) -> Scorer:
    return Scorer(pretrained=model, tokenizer=make_tokenizer(), **{"batch_size": 4, **arguments})


def instances(pairs) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, 0, ("task", i, 1)) for i, pair in enumerate(pairs)]


def multiple_choice(n: int, seed: int, length: int = 40, header: str = "") -> list[tuple[str, str]]:
    rng = random.Random(seed)

    def word(size: int) -> str:
        return "".join(rng.choice("abcdefghij ") for _ in range(size)).strip() or "x"

    pairs = []
    for _ in range(n):
        context = header + word(rng.randint(length // 2, length))
        options = [" " + word(rng.randint(1, 8)) for _ in range(4)]
        pairs += [(context, option) for option in options]
    return pairs


def answers(lm: Scorer, pairs, prefix_cache: bool):
    lm._prefix_cache = prefix_cache
    return lm.loglikelihood(instances(pairs), disable_tqdm=True)


def assert_same(found, expected) -> None:
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=1e-4)


@pytest.mark.parametrize("arch", SHARING)
@pytest.mark.parametrize("batch_size", [1, 5, 64])  # questions side by side, and one under the other
def test_multiple_choice_scores_equal_hf(arch, batch_size):
    model, _ = make_model(arch)
    lm = scorer(model, batch_size=batch_size)
    pairs = multiple_choice(9, seed=batch_size)
    random.Random(0).shuffle(pairs)
    expected = answers(lm, pairs, prefix_cache=False)
    found = answers(lm, pairs, prefix_cache=True)
    assert lm._prefix_checked and lm._prefix_limit > 1000  # the cache was used and found sound
    assert_same(found, expected)


def test_greedy_answers_are_recognised():
    model, _ = make_model("llama", seed=3)
    lm = scorer(model)
    context = "one two three four five"
    first = max(
        ((answers(lm, [(context, chr(c))], False)[0][0], chr(c)) for c in range(33, 127)),
        key=lambda pair: pair[0],
    )[1]
    pairs = [(context, option) for option in (first, first + "a", "~" + first, "a")]
    expected = answers(lm, pairs, prefix_cache=False)
    assert expected[0][1]
    assert_same(answers(lm, pairs, prefix_cache=True), expected)


def test_contexts_and_options_of_every_odd_kind_equal_hf():
    model, _ = make_model("llama", seed=1)
    lm = scorer(model)
    pairs = [
        ("", " answer"),  # scored after the end-of-text token
        ("context ", "spaces move over"),
        ("same", " twice"),
        ("same", " twice"),
        ("a", "b"),
        ("a", "bc"),
        ("ab", "c"),  # the same tokens, cut elsewhere
        ("x" * 200, " too long for the window"),
        ("y" * 126, "abcdef"),
        ("y" * 126, "abXdef"),
        ("y" * 126, "Z"),
        ("q", "z" * 128),
    ]
    found = answers(lm, pairs, True)
    # With its logits cache, hf scores ("ab", "c") at the wrong position where ("a", "bc") is asked too.
    lm.logits_cache = False
    assert_same(found, answers(lm, pairs, False))


def test_truncation_is_told_once_for_all_requests(caplog):
    model, _ = make_model("llama")
    pairs = [("x" * 200, " one"), ("x" * 200, " two"), ("short", " one")]
    with caplog.at_level(logging.WARNING):
        answers(scorer(model), pairs, True)
    assert [r.message for r in caplog.records if "cut on the left" in r.message] == [
        "junkdna: 2 of 3 requests are longer than the model's 128 tokens and were cut on the left."
    ]


def test_no_request_gives_no_answer():
    model, _ = make_model("llama")
    assert answers(scorer(model), [], True) == []


@pytest.mark.parametrize("batch_size", [4, 64])
def test_a_few_shot_header_is_run_once(monkeypatch, batch_size):
    from junkdna_harness.models.forward import Runner

    model, _ = make_model("llama", seed=2)
    lm = scorer(model, batch_size=batch_size)
    pairs = multiple_choice(8, seed=5, length=20, header="q: what is it? a: this. " * 3)
    expected = answers(lm, pairs, False)
    run: list[int] = []
    forward = Runner._forward

    def counting(self, tokens, *rest, **named):
        run.append(tokens.numel())
        return forward(self, tokens, *rest, **named)

    monkeypatch.setattr(Runner, "_forward", counting)
    assert_same(answers(lm, pairs, True), expected)
    run.clear()
    answers(lm, pairs, True)
    assert 72 in run
    assert sum(run) < 8 * 72  # less than running the header for every document


def test_rolling_log_likelihoods_equal_hf():
    model, _ = make_model("llama", seed=4)
    lm = scorer(model)
    texts = [("some text " * n,) for n in (1, 5, 30)]
    requests = [Instance("loglikelihood_rolling", {}, text, 0, ("task", 0, 1)) for text in texts]
    lm._prefix_cache = False
    expected = lm.loglikelihood_rolling(requests, disable_tqdm=True)
    lm._prefix_cache = True
    assert lm.loglikelihood_rolling(requests, disable_tqdm=True) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("batch_size", ["auto", "auto:3"])
def test_automatic_batch_sizes_work(batch_size):
    model, _ = make_model("llama")
    lm = scorer(model, batch_size=batch_size, max_batch_size=8)
    pairs = multiple_choice(5, seed=0)
    found = answers(lm, pairs, True)
    assert lm.batch_sizes
    assert_same(found, answers(scorer(model), pairs, False))


def test_answers_reach_the_request_cache():
    model, _ = make_model("llama")
    lm = scorer(model)
    kept = {}

    class Hook:
        def add_partial(self, kind, strings, answer):
            kept[kind, strings] = answer

    lm.cache_hook = Hook()
    pairs = multiple_choice(3, seed=1)
    found = answers(lm, pairs, True)
    assert kept == {("loglikelihood", pair): answer for pair, answer in zip(pairs, found, strict=True)}


@pytest.mark.parametrize("arch", ["qwen2", "gpt_oss"])
def test_sliding_windows_share_only_what_fits_and_say_so(arch, caplog):
    model, _ = make_model(arch)
    lm = scorer(model)
    long, short = multiple_choice(4, seed=0, length=60), multiple_choice(4, seed=1, length=4)
    expected = answers(lm, long + short, False)
    with caplog.at_level(logging.WARNING):
        found = answers(lm, long + short, True)
        answers(lm, long, True)
    assert_same(found, expected)
    assert [r.message for r in caplog.records if "sliding window of 16" in r.message] == [
        "junkdna: contexts are shared between options up to 8 tokens only: the model attends within a sliding "
        "window of 16."
    ]


def test_recurrent_states_are_not_shared_and_it_is_said_once(caplog):
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(vocab_size=100, hidden_size=16, state_size=4, num_hidden_layers=2, pad_token_id=0)
    config.max_position_embeddings = 128
    lm = scorer(MambaForCausalLM(config).eval())
    pairs = multiple_choice(4, seed=0)
    expected = answers(lm, pairs, False)
    with caplog.at_level(logging.WARNING):
        found = answers(lm, pairs, True)
        answers(lm, pairs, True)
    assert_same(found, expected)
    assert sum("contexts are not shared" in r.message for r in caplog.records) == 1


def test_a_cache_that_changes_scores_is_found_out(caplog):
    model, _ = make_model("llama")
    lm = scorer(model)
    pairs = multiple_choice(4, seed=0)
    expected = answers(lm, pairs, False)
    forward = model.forward

    def forgetful(input_ids, **arguments):
        arguments.pop("position_ids", None)
        cache = arguments.get("cache") or arguments.get("past_key_values")
        if cache is not None and cache.get_seq_length():
            for layer in cache.layers:
                layer.keys = torch.zeros_like(layer.keys)
        return forward(input_ids, **arguments)

    forgetful.__wrapped__ = forward  # so that its signature is the model's
    model.forward = forgetful
    with caplog.at_level(logging.WARNING):
        found = answers(lm, pairs, True)
    assert_same(found, expected)
    assert any("changes log-likelihoods" in r.message for r in caplog.records)


def test_encoder_decoder_models_are_refused():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=100, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    with pytest.raises(UsageError, match="'t5' is an encoder-decoder model"):
        scorer(T5ForConditionalGeneration(config))


def test_bfloat16_scores_are_near_those_of_hf():
    model, _ = make_model("llama", dtype=torch.bfloat16)
    lm = scorer(model)
    pairs = multiple_choice(6, seed=0)
    expected, found = answers(lm, pairs, False), answers(lm, pairs, True)
    assert [v for v, _ in found] == pytest.approx([v for v, _ in expected], rel=0.05, abs=0.2)
