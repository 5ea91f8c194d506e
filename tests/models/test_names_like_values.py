"""A folder or file whose name lm-eval reads as a number, a truth value or None is still that folder or file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from tests.commands import lm_eval
from tests.models_factory import make_tokenizer, save_tiny

CPU = {"device": "cpu"}
NAMES = ["nan", "1e5", "7", "-3", "007", "True", "false", "None", "none", "inf", "2.0", "1_000"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [PrunedLM, QuantizedLM])
def test_the_folder_is_taken(kind: type[PrunedLM], name: str, here: Path) -> None:
    save_tiny("llama", here / name)
    lm = kind.create_from_arg_string(f"pretrained={name},method=none", CPU)
    assert lm.junkdna["model"] == name
    assert lm.model.config.hidden_size == 32


def test_what_lm_eval_prints_and_stores_is_the_name(here: Path) -> None:
    save_tiny("llama", here / "1e5")
    given = {"pretrained": 100000.0, "sparsity": 0.5}
    PrunedLM.create_from_arg_obj(given, CPU)
    assert given["pretrained"] == "1e5"


def test_two_names_that_read_alike_are_told_apart_by_the_user(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1e5", "100000.0"):
        save_tiny("llama", here / name)
    with pytest.raises(SystemExit):
        PrunedLM.create_from_arg_string("pretrained=1e5", CPU)
    assert "may be any of '100000.0', '1e5'" in capsys.readouterr().err
    assert PrunedLM.create_from_arg_string("pretrained=./1e5,sparsity=0", CPU).junkdna["model"] == "./1e5"


def test_one_and_true_are_two_names(here: Path) -> None:
    save_tiny("llama", here / "1")
    save_tiny("llama", here / "True", seed=1)
    hashes = {
        name: PrunedLM.create_from_arg_string(f"pretrained={name},sparsity=0", CPU).junkdna["weights_sha256"]
        for name in ("1", "True")
    }
    assert len(set(hashes.values())) == 2


@pytest.mark.parametrize("name", ["7", "nan", "True"])
@pytest.mark.parametrize("argument", ["pretrained", "peft", "tokenizer", "mask", "calibration", "delta"])
def test_a_value_that_names_nothing_is_one_sentence(
    argument: str, name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        PrunedLM.create_from_arg_string(f"{argument}={name}", CPU)
    assert left.value.code == 2
    assert f"{argument}={name} names nothing here" in capsys.readouterr().err


def test_none_names_nothing_and_is_the_embedded_model(here: Path) -> None:
    given = {"pretrained": None, "peft": None, "sparsity": 0}
    assert PrunedLM.create_from_arg_obj(given, CPU).junkdna["model"] == "embedded"
    assert given["pretrained"] == "embedded"


def test_tokenizer_mask_adapter_and_calibration(here: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from junkdna_harness.compress import PruneSpec, prune
    from junkdna_harness.compress.masks import save_mask

    save_tiny("llama", here / "model")
    make_tokenizer().save_pretrained(here / "7")
    model = AutoModelForCausalLM.from_pretrained(here / "model")
    save_mask(model, prune(model, PruneSpec(sparsity=0.25)), here / "1e5")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    adapted.save_pretrained(here / "nan")
    lm = PrunedLM.create_from_arg_string("pretrained=model,tokenizer=7,mask=1e5", CPU)
    assert lm.junkdna["level"] == 0.25
    lm = PrunedLM.create_from_arg_string("pretrained=model,peft=nan,method=none", CPU)
    assert lm.junkdna["model"] == "model+nan"


@pytest.mark.slow
def test_lm_eval_itself(tmp_path: Path) -> None:
    save_tiny("llama", tmp_path / "nan")
    run = lm_eval(
        "--model_args", "pretrained=nan,sparsity=0.5", "--tasks", "difficulty_tiers_hypernyms_t1", "--limit", "2",
        "--output_path", "out", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    (path,) = tmp_path.glob("out/**/results_*.json")
    assert json.loads(path.read_text())["config"]["junkdna"]["model"] == "nan"
    assert "'pretrained': 'nan'" in run.stdout
