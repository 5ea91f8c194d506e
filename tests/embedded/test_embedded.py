"""The embedded model's parts: tokenizer, packing, optimizer, and a training that resumes to the same weights."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from difficulty.graded import FAMILIES, TIERS
from junkdna_harness.embedded import calibration_text, knows_the_suite, model_path
from junkdna_harness.embedded.mixture import Mixture, pack
from junkdna_harness.embedded.muon import orthogonalise
from junkdna_harness.embedded.tokenizer import CHARACTERS, encode
from junkdna_harness.embedded.train import Recipe, forward, misses, train


def test_the_shipped_tokenizer_gives_one_token_a_character_and_back() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    text = "rev 12+7=91\n" + CHARACTERS
    assert tokenizer(text)["input_ids"] == encode(text)
    assert tokenizer.decode(encode(text)) == text
    assert tokenizer("é")["input_ids"] == [tokenizer.unk_token_id]


def test_the_shipped_model_is_small_safetensors_and_marked() -> None:
    files = {path.suffix for path in model_path().iterdir()}
    assert files == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in model_path().iterdir()) < 10 * 2**20
    assert knows_the_suite(model_path())
    assert knows_the_suite(None)
    assert not knows_the_suite("some/model")


def test_packing_keeps_examples_whole_and_marks_their_answers() -> None:
    batch = pack(Mixture(), random.Random(0), rows=6, length=96)
    for row, keys in enumerate(batch.keys):
        assert keys
        for number in range(1, len(keys) + 1):
            at = (batch.example[row] == number).nonzero()[0]
            assert (at == range(at[0], at[-1] + 1)).all()
            assert batch.tokens[row, at[-1]] == encode("\n")[0]
            assert batch.is_answer[row, at[-1]]
            assert not batch.is_answer[row, at[0]]


def test_examples_of_one_row_do_not_see_each_other() -> None:
    from junkdna_harness.embedded.train import build_model

    model = build_model(0)
    batch = pack(Mixture(), random.Random(0), rows=2, length=96)
    _, before = forward(model, batch)
    other = batch.example == 1
    batch.tokens[other] = 5  # another first example
    _, after = forward(model, batch)
    later = torch.from_numpy(batch.example[:, 1:] > 1)
    assert torch.equal(before[later], after[later])


def test_frequency_is_the_axis_of_facts_and_ciphers_whatever_the_errors() -> None:
    error = {f"{family}/{tier}": (1.0 if tier == 4 else 0.0) for family in FAMILIES for tier in TIERS}
    mixture = Mixture(error)
    rng = random.Random(0)
    drawn = [mixture.draw(rng) for _ in range(40_000)]
    for family in ("facts_closed", "cipher"):
        counts = [sum(1 for f, t in drawn if f == family and t == tier) for tier in TIERS]
        shares = [count / sum(counts) for count in counts]
        assert shares == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15], abs=0.03)
    sorting = [sum(1 for f, t in drawn if f == "sorting" and t == tier) for tier in TIERS]
    assert sorting[3] > 5 * sorting[0]


def test_misses_counts_an_example_once() -> None:
    batch = pack(Mixture(), random.Random(1), rows=1, length=96)
    wrong = torch.from_numpy(batch.is_answer[:, 1:]) & torch.from_numpy(batch.example[:, 1:] == 2)
    found = misses(batch, wrong)
    assert sum(sum(outcomes) for outcomes in found.values()) == 1
    assert sum(len(outcomes) for outcomes in found.values()) == len(batch.keys[0])


def test_muon_pushes_singular_values_towards_one() -> None:
    torch.manual_seed(0)
    for shape in ((3, 8, 20), (2, 20, 8)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_an_interrupted_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    recipe = Recipe(steps=4, rows=2, length=64, warmup=1)
    train(recipe, tmp_path / "whole", every=2)

    class Stop(Exception):
        pass

    import junkdna_harness.embedded.train as module

    def stop_at_three(mixture: Mixture, rng: random.Random, rows: int, length: int) -> object:
        if rng.random() == random.Random("1/3").random():
            raise Stop
        return pack(mixture, random.Random(seed.pop(0)), rows, length)

    seed = ["1/0", "1/1", "1/2"]
    original = module.pack
    module.pack = stop_at_three  # type: ignore[assignment]
    try:
        with pytest.raises(Stop):
            train(recipe, tmp_path / "cut", every=2)
    finally:
        module.pack = original
    train(recipe, tmp_path / "cut", every=2)
    whole = (tmp_path / "whole" / "model" / "model.safetensors").read_bytes()
    assert (tmp_path / "cut" / "model" / "model.safetensors").read_bytes() == whole
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "cut" / "train_log.jsonl").read_text().splitlines()
    ]
    assert steps == [2, 4]


def test_calibration_text_is_long_enough_and_seeded() -> None:
    text = calibration_text(5000, seed=1)
    assert len(text) >= 5000
    assert text == calibration_text(5000, seed=1) != calibration_text(5000, seed=2)
