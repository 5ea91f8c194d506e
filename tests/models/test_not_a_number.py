"""A model whose answers are not numbers is refused, wherever the NaN comes from and whatever it is asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from difficulty.errors import UsageError
from junkdna_harness.models.finite import refuse_unfinite_model
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from tests.commands import lm_eval
from tests.models_factory import make_model, make_tokenizer

NAN, INF = float("nan"), float("inf")


def holed(arch: str, name: str, value: float) -> Any:
    model, _ = make_model(arch)
    dict(model.named_parameters())[name].data.view(-1)[3] = value
    return model


@pytest.mark.parametrize("kind", [PrunedLM, QuantizedLM])
@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("llama", "model.norm.weight"),
        ("llama", "lm_head.weight"),
        ("llama", "model.embed_tokens.weight"),
        ("tied", "model.embed_tokens.weight"),
        ("llama", "model.layers.1.mlp.up_proj.weight"),
        ("gpt2", "transformer.h.0.mlp.c_fc.bias"),
    ],
)
def test_weights_that_are_no_numbers_are_named(kind: Any, arch: str, name: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"(NaN|infinite) values in {name}"):
        kind(pretrained=holed(arch, name, value), tokenizer=make_tokenizer(), method=None)


def test_a_bias_may_forbid_a_token_and_a_weight_may_not() -> None:
    refuse_unfinite_model(holed("gpt2", "transformer.h.0.mlp.c_fc.bias", -INF), "m")
    with pytest.raises(UsageError, match="infinite values in lm_head.weight"):
        refuse_unfinite_model(holed("llama", "lm_head.weight", -INF), "m")


def test_buffers_may_be_infinite_but_not_nan() -> None:
    model, _ = make_model("llama")
    model.register_buffer("mask", torch.tensor([0.0, -INF]))
    refuse_unfinite_model(model, "m")
    model.register_buffer("scale", torch.tensor([NAN]))
    with pytest.raises(UsageError, match="NaN values in scale"):
        refuse_unfinite_model(model, "m")


def test_finite_weights_whose_sum_overflows_are_fine() -> None:
    model, _ = make_model("llama")
    model.lm_head.weight.data.fill_(3e38)
    refuse_unfinite_model(model, "m")


def breaking_after(lm: Any, tokens: int) -> Any:
    """`lm`, whose logits are NaN for inputs longer than `tokens`, as half precision overflows on some inputs only."""
    forward = lm.model.forward

    def broken(input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output = forward(input_ids, *args, **kwargs)
        if kwargs.get("position_ids") is not None:
            length = int(kwargs["position_ids"].max()) + 1
        else:
            length = input_ids.shape[1]
        if length > tokens:
            output.logits = output.logits * NAN
        return output

    broken.__signature__ = __import__("inspect").signature(forward)  # type: ignore[attr-defined]
    lm.model.forward = broken
    return lm


def asked(kind: str, *arguments: Any) -> list[Instance]:
    return [Instance(kind, {}, arguments, 0, ("task", 0, 1))]


LONG = "a" * 40
QUESTIONS = [
    lambda lm: lm.loglikelihood(asked("loglikelihood", LONG, " b"), disable_tqdm=True),
    lambda lm: lm.loglikelihood_rolling(asked("loglikelihood_rolling", LONG), disable_tqdm=True),
    lambda lm: lm.generate_until(
        asked("generate_until", LONG, {"until": ["\n"], "max_gen_toks": 4}), disable_tqdm=True
    ),
]


@pytest.mark.parametrize("ask", QUESTIONS, ids=["loglikelihood", "rolling", "generate"])
@pytest.mark.parametrize("prefix_cache", [True, False])
@pytest.mark.parametrize("kind", [PrunedLM, QuantizedLM])
def test_answers_that_are_no_numbers_are_refused(
    kind: Any, prefix_cache: bool, ask: Callable[[Any], Any]
) -> None:
    model, _ = make_model("llama")
    lm = kind(pretrained=model, tokenizer=make_tokenizer(), method=None, prefix_cache=prefix_cache)
    ask(lm)
    breaking_after(lm, 20)
    short = lm.loglikelihood(asked("loglikelihood", "ab", "c"), disable_tqdm=True)
    assert math.isfinite(short[0][0])
    with pytest.raises(UsageError, match="not numbers|not a number"):
        ask(lm)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "given", "told"),
    [
        (NAN, "method=none", "NaN values in model.norm.weight"),
        (NAN, "sparsity=0.5", "NaN values in model.norm.weight"),
        (6e4, "method=none,dtype=float16", "log-likelihoods are not a number"),  # too much for half precision
    ],
)
def test_lm_eval_ends_without_results(tmp_path: Path, value: float, given: str, told: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from junkdna_harness.embedded import model_path

    model = AutoModelForCausalLM.from_pretrained(model_path())
    model.model.norm.weight.data[:] = value
    model.save_pretrained(tmp_path / "holed")
    AutoTokenizer.from_pretrained(model_path()).save_pretrained(tmp_path / "holed")
    run = lm_eval(
        "--model_args", f"pretrained=./holed,{given}", "--tasks", "difficulty_tiers_hypernyms_t1", "--limit", "4",
        "--output_path", "out", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 2, run.stderr[-3000:]
    assert told in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.glob("out/**/*.json"))
