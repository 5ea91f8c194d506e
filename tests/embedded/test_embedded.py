"""The embedded models' parts: names, packing, the forward pass, the optimizer, and a training that resumes to the same weights."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import junkdna_harness.embedded.train as module
from difficulty.errors import UsageError
from difficulty.graded import FAMILIES, TIERS, Item
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.embedded import (
    SEED_MARK,
    SUITE,
    SUITE_MARK,
    calibration_text,
    is_embedded,
    knows_the_suite,
    model_path,
)
from junkdna_harness.embedded.forward import block_mask, forward, misses, states
from junkdna_harness.embedded.mixture import (
    ANSWER_WEIGHT,
    ARGMAX,
    PROMPT_WEIGHT,
    Batch,
    Mixture,
    as_example,
    pack,
    repeated,
)
from junkdna_harness.embedded.muon import orthogonalise
from junkdna_harness.embedded.tokenizer import Encoder, build_tokenizer, suite_words
from junkdna_harness.embedded.train import Recipe, build_model, train

SMALL = Recipe(steps=4, rows=4, length=128, width=64, layers=2, warmup=1)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer(suite_words(items_per_tier=200))


@pytest.fixture(scope="module")
def encode(tokenizer: Any) -> Encoder:
    return Encoder(tokenizer)


def evenly_missed(error: float = 1.0) -> Mixture:
    """A mixture in which all are missed as often."""
    return Mixture({f"{family}/{tier}": error for family in FAMILIES for tier in TIERS})


def packed(encode: Encoder, seed: int = 0, rows: int = 6) -> Batch:
    return pack(evenly_missed(), random.Random(seed), encode, rows, length=128)[0]


def test_the_names_of_the_embedded_models() -> None:
    assert model_path() == model_path("embedded") == model_path("embedded:0")
    paths = [model_path(f"embedded:{number}") for number in range(3)]
    assert len(set(paths)) == 3
    assert [resolve_pretrained(f"embedded:{number}") for number in range(3)] == [str(path) for path in paths]
    assert resolve_pretrained(None) == str(paths[0])
    assert all(is_embedded(name) for name in ("embedded", "embedded:0", "embedded:1", "embedded:2"))
    assert not any(is_embedded(name) for name in (None, "embedded:", "embedded:3", "some/model", 1))


@pytest.mark.parametrize("name", ["embedded:3", "embedded:", "embedded:01", "embedded:-1"])
def test_an_embedded_model_that_is_not_there_is_refused_in_a_sentence(name: str) -> None:
    for resolve in (model_path, resolve_pretrained):
        with pytest.raises(UsageError) as caught:
            resolve(name)
        assert str(caught.value) == (
            f"{name!r} is no embedded model. Write 'embedded' (the same as 'embedded:0'), 'embedded:1' or 'embedded:2'."
        )


def test_who_knows_the_suite(tmp_path: Path) -> None:
    assert knows_the_suite(None)
    assert knows_the_suite("embedded:2")
    assert not knows_the_suite("some/model")
    for edition, knows in ((SUITE, True), (1, False)):
        (tmp_path / "config.json").write_text(json.dumps({SUITE_MARK: edition}))
        assert knows_the_suite(tmp_path) == knows


def test_packing_keeps_examples_whole_and_weighs_their_answers_most(encode: Encoder) -> None:
    batch = packed(encode)
    assert (batch.example > 0).mean() > 0.85
    for row, keys in enumerate(batch.keys):
        assert keys
        for number in range(1, len(keys) + 1):
            at = (batch.example[row] == number).nonzero()[0]
            assert (at == range(at[0], at[-1] + 1)).all()
            assert batch.weight[row, at[0]] == 0
            text = encode.tokenizer.decode(batch.tokens[row, at])
            assert text.removesuffix("<eos>").endswith("\n")
            rivals = batch.rivals[
                (batch.rivals[:, 0] == row) & (batch.example[row, batch.rivals[:, 1]] == number)
            ]
            assert len(rivals)
            answer = np.unique(rivals[:, 1])
            written = (
                len(answer) if (rivals[:, 2] == ARGMAX).all() else 0
            )  # options may have more tokens than they differ in
            if written:
                assert batch.weight[row, answer] == pytest.approx(min(1, ANSWER_WEIGHT / written))
            assert (batch.weight[row, answer] >= PROMPT_WEIGHT * 0.3).all()
    assert (batch.weight[batch.example == 0] == 0).all()


def test_a_long_example_gets_a_long_row_and_a_longer_one_is_refused(
    encode: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = Item("a b c d e " * 20, " f.")
    monkeypatch.setattr("junkdna_harness.embedded.mixture.draw_training_item", lambda *_: long)
    (batch,) = pack(evenly_missed(), random.Random(0), encode, rows=8, length=64)
    assert batch.tokens.shape == (2, 256)
    with pytest.raises(ValueError, match="tokens, a row at most 64"):
        pack(evenly_missed(), random.Random(0), encode, rows=8, length=16)


def test_a_written_answer_has_all_tokens_as_rivals_and_an_option_the_others(encode: Encoder) -> None:
    written = as_example("f/1", Item("a b =", " b a."), encode)
    assert [position - written.answer.start for position, _ in written.rivals] == [0, 1, 2]
    assert {other for _, other in written.rivals} == {ARGMAX}
    option = as_example("f/1", Item("a or b:", " a", (" a", " b", " c")), encode)
    assert option.rivals == [(option.answer.start, encode(" b")[0]), (option.answer.start, encode(" c")[0])]


def test_the_forward_pass_is_that_of_transformers(tokenizer: Any, encode: Encoder) -> None:
    model = build_model(Recipe(width=64, layers=2), tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # norms' weights are 1 at first
    ids = torch.tensor([encode("Anna lives in Harwick. Ben lives in Selby. Anna lives in Harwick.\n")] * 2)
    ours = states(model, ids, block_mask(torch.ones_like(ids)), torch.float32)
    theirs = model.model(ids).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert theirs.abs().mean() > 0.1


def test_the_loss_and_the_misses_are_those_of_the_examples_one_by_one(
    tokenizer: Any, encode: Encoder
) -> None:
    model = build_model(Recipe(width=64, layers=2), tokenizer)
    batch = packed(encode, rows=2)
    loss, preferred = forward(model, batch)
    total, wrong = 0.0, dict[str, list[int]]()
    for row, keys in enumerate(batch.keys):
        for number, key in enumerate(keys, start=1):
            (at,) = (batch.example[row] == number).nonzero()
            ids = torch.from_numpy(batch.tokens[row, at])
            logits = model(ids[None]).logits[0].detach()
            nll = -logits.log_softmax(-1)[:-1].gather(1, ids[1:, None])[:, 0]
            total += float((nll * torch.from_numpy(batch.weight[row, at[1:]])).sum())
            missed = 0
            for _, column, other in batch.rivals[(batch.rivals[:, 0] == row)]:
                if column in at:
                    scores = logits[column - at[0] - 1]
                    rival = scores.max() if other == ARGMAX else scores[other]
                    missed |= int(rival > scores[batch.tokens[row, column]])
            wrong.setdefault(key, []).append(missed)
    assert loss.item() == pytest.approx(total, rel=1e-4)
    assert misses(batch, preferred) == wrong


def test_examples_of_one_row_do_not_see_each_other(tokenizer: Any, encode: Encoder) -> None:
    model = build_model(Recipe(width=64, layers=2), tokenizer)
    batch = packed(encode, rows=2)
    mask, tokens = block_mask(torch.from_numpy(batch.example)), torch.from_numpy(batch.tokens)
    before = states(model, tokens, mask, torch.float32)
    first = torch.from_numpy(batch.example == 1)
    after = states(model, tokens.masked_fill(first, 5), mask, torch.float32)
    assert torch.equal(before[~first], after[~first])
    assert not torch.equal(before[first], after[first])


def test_frequency_is_the_axis_of_facts_and_ciphers_whatever_the_errors() -> None:
    error = {f"{family}/{tier}": (1.0 if tier == 4 else 0.0) for family in FAMILIES for tier in TIERS}
    mixture = Mixture(error)
    rng = random.Random(0)
    drawn = [mixture.draw(rng) for _ in range(40_000)]
    for family in ("facts_closed", "cipher"):
        counts = [sum(1 for f, t in drawn if f == family and t == tier) for tier in TIERS]
        shares = [count / sum(counts) for count in counts]
        assert shares == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15], abs=0.03)
    opened = [sum(1 for f, t in drawn if f == "facts_open" and t == tier) for tier in TIERS]
    assert opened[3] > 5 * opened[0]


def test_tokens_that_follow_as_before_are_found() -> None:
    assert list(repeated([1, 2, 3, 1, 2, 4, 1, 2, 3])) == [4, 7, 8]
    assert list(repeated([5, 5, 5])) == [2]
    assert list(repeated([1, 2, 3])) == list(repeated([])) == []


def test_what_a_prompt_repeats_carries_loss(encode: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    item = Item("red cup, blue cup, red", " cup.")
    monkeypatch.setattr("junkdna_harness.embedded.mixture.draw_training_item", lambda *_: item)
    monkeypatch.setattr("junkdna_harness.embedded.mixture.PROMPT_SHARE", 0.0)
    batch = packed(encode, rows=1)
    ids, weight = encode(item.prompt + item.answer), batch.weight[0]
    expected = dict.fromkeys(repeated(ids), PROMPT_WEIGHT) | {len(ids) - 2: 1.0, len(ids) - 1: 1.0}
    assert {position: weight[position] for position in np.flatnonzero(weight[: len(ids)])} == expected


def test_a_model_begins_with_heads_that_look_back(tokenizer: Any) -> None:
    """Head 0 of the first layer at the token before; two heads of the second at what came after the same token."""
    model = build_model(Recipe(), tokenizer)
    model.config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(0)
    half = torch.randint(300, len(tokenizer), (8, 20), generator=generator)
    with torch.no_grad():
        seen = model(torch.cat([half, half], 1), output_attentions=True).attentions
    before = torch.stack([seen[0][:, 0, at, at - 1] for at in range(1, 40)]).mean()
    behind = torch.stack([seen[1][:, :, at, at - 19] for at in range(20, 40)]).mean((0, 1))
    assert before > 0.7
    assert behind[:2].min() > 5 * behind[2:].max()


def test_muon_pushes_singular_values_towards_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 8, 20), (2, 20, 8)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_an_interrupted_training_resumes_to_the_same_weights(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(SMALL, tmp_path / "whole", every=2, tokenizer=tokenizer)

    class Stop(Exception):
        pass

    original = module.train_step

    def stop_at_three(*arguments: Any) -> float:
        if arguments[4] == 3:
            raise Stop
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module, "train_step", stop_at_three)
        with pytest.raises(Stop):
            train(SMALL, tmp_path / "cut", every=2, tokenizer=tokenizer)
    train(SMALL, tmp_path / "cut", every=2, tokenizer=tokenizer)
    whole = (tmp_path / "whole" / "model" / "model.safetensors").read_bytes()
    assert (tmp_path / "cut" / "model" / "model.safetensors").read_bytes() == whole
    log = (tmp_path / "cut" / "model" / "train_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [2, 4]
    assert json.loads((tmp_path / "cut" / "model" / "recipe.json").read_text())["steps"] == 4


def test_another_seed_gives_other_weights_and_says_so(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM

    models = []
    for seed in (1, 2):
        recipe = Recipe(steps=1, rows=2, width=64, layers=2, seed=seed)
        train(recipe, tmp_path / str(seed), tokenizer=tokenizer)
        models.append(AutoModelForCausalLM.from_pretrained(tmp_path / str(seed) / "model"))
    assert [getattr(model.config, SEED_MARK) for model in models] == [1, 2]
    assert not torch.equal(models[0].lm_head.weight, models[1].lm_head.weight)


@pytest.mark.parametrize("dtype", [{}, {"dtype": "auto"}])
def test_weights_lie_in_16_bits_and_are_loaded_in_32(
    tmp_path: Path, tokenizer: Any, dtype: dict[str, str]
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    train(Recipe(steps=1, rows=2, width=64, layers=2), tmp_path, tokenizer=tokenizer)
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert "lm_head.weight" not in stored  # it is the embeddings' matrix
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", **dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.max_position_embeddings == tokenizer.model_max_length == 2048


def test_calibration_text_is_long_enough_and_seeded() -> None:
    text = calibration_text(5000, seed=1)
    assert len(text) >= 5000
    assert text == calibration_text(5000, seed=1) != calibration_text(5000, seed=2)


@pytest.mark.parametrize("number", range(3))
def test_a_shipped_model_is_safetensors_marked_and_made_by_the_recipe(
    number: int, suite_tokenizer: Any
) -> None:
    from transformers import AutoConfig, AutoTokenizer

    folder = model_path(f"embedded:{number}")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".jsonl", ".safetensors"}
    config = AutoConfig.from_pretrained(folder)
    assert (getattr(config, SUITE_MARK), getattr(config, SEED_MARK)) == (SUITE, number + 1)
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe == asdict(replace(Recipe(), seed=number + 1)), "train anew, or say the recipe that was used"
    last = json.loads((folder / "train_log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == recipe["steps"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.get_vocab() == suite_tokenizer.get_vocab(), "the suite's words have changed: train anew"


def test_the_shipped_models_are_small() -> None:
    folder = model_path().parent
    assert sum(path.stat().st_size for path in folder.glob("*/*")) < 10e6
