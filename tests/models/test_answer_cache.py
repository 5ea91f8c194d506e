"""`--use_cache`: each model finds its own answers in the file, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM

from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from tests.models_factory import make_tokenizer, save_tiny

CONTEXT = "one two three"
REQUESTS = {
    "loglikelihood": [
        Instance("loglikelihood", {}, (CONTEXT, c), 0, ("t", i, 1)) for i, c in enumerate("abc")
    ],
    "loglikelihood_rolling": [Instance("loglikelihood_rolling", {}, (CONTEXT,), 0, ("t", 0, 1))],
    "generate_until": [
        Instance("generate_until", {}, (CONTEXT, {"until": ["\n"], "max_gen_toks": 5}), 0, ("t", 0, 1))
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny("llama", tmp_path / "model")


def answers(lm: Any, file: Path, silent: bool = False) -> dict[str, Any]:
    """What the model answers with the cache in between; `silent` makes sure that it is not asked."""
    cached = CachingLM(lm, str(file))
    if silent:
        for kind in REQUESTS:
            setattr(lm, kind, lambda *_: pytest.fail("the model was asked"))
    found = {kind: getattr(cached, kind)(requests) for kind, requests in REQUESTS.items()}
    cached.dbdict.close()
    return found


def make(kind: Any, folder: Path, **arguments: Any) -> Any:
    return kind(pretrained=str(folder), device="cpu", **arguments)


STATES: list[tuple[Any, dict[str, Any]]] = [
    (PrunedLM, {"sparsity": 0}),
    (PrunedLM, {"sparsity": 0.5}),
    (PrunedLM, {"sparsity": 0.9}),
    (PrunedLM, {"sparsity": 0.5, "method": "random"}),
    (PrunedLM, {"sparsity": 0.5, "method": "random", "mask_seed": 1}),
    (PrunedLM, {"sparsity": 0.5, "bits": 3}),
    (PrunedLM, {"sparsity": 0, "dtype": "bfloat16"}),
    (QuantizedLM, {"bits": 3}),
    (QuantizedLM, {"bits": 2}),
    (QuantizedLM, {"bits": 3, "group_size": 16}),
    (QuantizedLM, {"bits": 3, "kv_bits": 2}),  # the weights of those above
    (QuantizedLM, {"bits": 3, "kv_bits": 4}),
    (QuantizedLM, {"bits": 3, "kv_bits": 4, "kv_group_size": 4}),
    (QuantizedLM, {"bits": 3, "activations": "int8"}),
    (QuantizedLM, {"bits": 3, "activations": "fp8"}),
    (PrunedLM, {"sparsity": 0.5, "kv_bits": 2}),
    (HFLM, {}),
]


def test_every_state_gets_its_own_answers_from_one_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "cache.db"
    for kind, arguments in STATES:
        expected = {
            name: getattr(make(kind, folder, **arguments), name)(requests)
            for name, requests in REQUESTS.items()
        }
        for silent in (False, True):
            if kind is HFLM and silent:
                continue
            assert answers(make(kind, folder, **arguments), file, silent) == expected, arguments


def test_plain_hf_does_not_find_ours_and_we_do_not_find_hfs(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "cache.db"
    lm = make(PrunedLM, folder, sparsity=0.9)
    ours = answers(lm, file)
    assert answers(make(HFLM, folder), file) != ours
    assert answers(make(PrunedLM, folder, sparsity=0.9), file, silent=True) == ours


def test_the_same_weights_by_another_way_share_their_answers(folder: Path, tmp_path: Path) -> None:
    lm = make(PrunedLM, folder, sparsity=0.5)
    first = answers(lm, tmp_path / "cache.db")
    lm.model.save_pretrained(tmp_path / "saved")
    make_tokenizer().save_pretrained(tmp_path / "saved")
    again = make(QuantizedLM, tmp_path / "saved", method="none", batch_size=3, prefix_cache=False)
    assert answers(again, tmp_path / "cache.db", silent=True) == first


def test_another_checkpoint_in_the_same_path_is_another_model(folder: Path, tmp_path: Path) -> None:
    first = answers(make(PrunedLM, folder, sparsity=0), tmp_path / "cache.db")
    save_tiny("llama", folder, seed=1)
    assert answers(make(PrunedLM, folder, sparsity=0), tmp_path / "cache.db") != first


@pytest.mark.parametrize("change", [{"max_length": 5}, {"add_bos_token": True}, {"rope": 500.0}])
def test_what_else_decides_an_answer_is_part_of_the_key(
    folder: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    import json

    first = answers(make(PrunedLM, folder, sparsity=0), tmp_path / "cache.db")
    if "rope" in change:  # of the config, not of the weights
        config = json.loads((folder / "config.json").read_text())
        config["rope_parameters"] = {"rope_type": "default", "rope_theta": change["rope"]}
        (folder / "config.json").write_text(json.dumps(config))
        change = {}
    lm = make(PrunedLM, folder, sparsity=0, **change)
    lm.generate_until = lambda requests: ["" for _ in requests]  # a context of 5 tokens leaves no room for it
    assert answers(lm, tmp_path / "cache.db")["loglikelihood_rolling"] != first["loglikelihood_rolling"]


def test_adapters_are_part_of_the_weights(folder: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"),
    )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(tmp_path / "adapter")
    found = [
        answers(make(kind, folder, method="none", **given), tmp_path / "cache.db")["loglikelihood"]
        for kind in (PrunedLM, QuantizedLM)
        for given in ({}, {"peft": str(tmp_path / "adapter")})
    ]
    assert found[0] == found[2] != found[1]
    assert found[1] == found[3]


def test_what_is_no_number_is_not_kept(folder: Path, tmp_path: Path) -> None:
    from junkdna_harness.harness.answer_cache import KeyedHook

    lm = make(PrunedLM, folder, sparsity=0)
    cached = CachingLM(lm, str(tmp_path / "cache.db"))
    assert isinstance(lm.cache_hook, KeyedHook)
    lm.cache_hook.add_partial("loglikelihood", ("a", "b"), (float("nan"), False))
    lm.cache_hook.add_partial("loglikelihood_rolling", ("a",), float("inf"))
    assert len(cached.dbdict) == 0
    lm.cache_hook.add_partial("loglikelihood", ("a", "b"), (-1.0, False))
    assert len(cached.dbdict) == 1


@pytest.mark.slow
def test_lm_eval_scores_each_level_by_itself_and_finds_its_answers_again(tmp_path: Path) -> None:
    import json

    from tests.commands import command

    scores: dict[str, float] = {}
    for number, level in enumerate(["0", "0.9", "0", "0.9"]):
        run = command(
            "lm_eval", "--model", "junkdna-pruned", "--model_args", f"sparsity={level}", "--tasks", "difficulty_tiers_hypernyms_t4", "--limit", "60",
            "--use_cache", "c", "--cache_requests", "true", "--output_path", f"out{number}", cwd=tmp_path,
            LM_HARNESS_CACHE_PATH=str(tmp_path / "requests"),
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        (path,) = tmp_path.glob(f"out{number}/**/results_*.json")
        acc = json.loads(path.read_text())["results"]["difficulty_tiers_hypernyms_t4"]["acc,none"]
        assert scores.setdefault(level, acc) == acc
        left = "Requests remaining: 0" in run.stderr + run.stdout
        assert left == (number >= 2)
    assert scores["0"] > 0.9 > 0.6 > scores["0.9"]
