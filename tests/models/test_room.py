"""What does not fit the model is refused in a sentence, before anything is computed; what is cut is said."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from junkdna_harness.border import TaskRefused
from junkdna_harness.models.pruned import PrunedLM
from tests.models_factory import make_model, make_tokenizer

LIMIT = 64


def loaded(prefix_cache: bool = True) -> Any:
    model, _ = make_model("llama")
    return PrunedLM(
        pretrained=model, tokenizer=make_tokenizer(), method=None, prefix_cache=prefix_cache, max_length=LIMIT
    )


def asked(kind: str, task: str, *arguments: Any) -> Instance:
    return Instance(kind, {}, arguments, 0, (task, 0, 1))


def generated(task: str, **options: Any) -> Instance:
    return asked("generate_until", task, "add 1", {"until": ["\n"], "do_sample": False, **options})


@pytest.mark.parametrize(
    "options", [{"max_gen_toks": LIMIT}, {"max_new_tokens": LIMIT + 1}, {"max_tokens": 1000}, {}]
)
def test_an_answer_as_long_as_the_model_names_its_task_alone(
    options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = loaded()
    monkeypatch.setattr(lm, "_model_generate", lambda *_, **__: pytest.fail("computed before it was refused"))
    requests = [generated("short", max_gen_toks=4), generated("long", **options)]  # 256 where nothing is said
    with pytest.raises(
        TaskRefused, match=f"task 'long' cannot be asked: .* takes {LIMIT} tokens in all"
    ) as told:
        lm.generate_until(requests, disable_tqdm=True)
    assert "\n" not in str(told.value) and "'short'" not in str(told.value)


def test_an_answer_that_leaves_room_for_a_token_is_generated() -> None:
    assert len(loaded().generate_until([generated("long", max_gen_toks=LIMIT - 1)], disable_tqdm=True)) == 1


@pytest.mark.parametrize("prefix_cache", [True, False])
@pytest.mark.parametrize(
    ("answer", "told"),
    [("b" * (LIMIT + 1), f"takes {LIMIT} tokens in all, and an answer has 65"), ("", "no token")],
)
def test_an_answer_that_cannot_be_scored_is_refused_by_name(
    prefix_cache: bool, answer: str, told: str
) -> None:
    lm = loaded(prefix_cache)
    requests = [asked("loglikelihood", "fits", "a", "b"), asked("loglikelihood", "other", "a", answer)]
    with pytest.raises(TaskRefused, match=f"task 'other' cannot be asked: .*{told}"):
        lm.loglikelihood(requests, disable_tqdm=True)
    assert len(lm.loglikelihood(requests[:1], disable_tqdm=True)) == 1


@pytest.mark.parametrize("prefix_cache", [True, False])
def test_prompts_that_are_cut_are_counted(prefix_cache: bool, caplog: pytest.LogCaptureFixture) -> None:
    requests = [asked("loglikelihood", "t", "a" * n, "b") for n in (LIMIT - 1, LIMIT, LIMIT + 1, 3 * LIMIT)]
    with caplog.at_level(logging.WARNING):
        loaded(prefix_cache).loglikelihood(requests, disable_tqdm=True)
    assert [r.getMessage() for r in caplog.records if r.getMessage().startswith("junkdna: ")] == [
        f"junkdna: 2 of 4 requests are longer than the model's {LIMIT} tokens and were cut on the left."
    ]
