"""`junkdna-quantized`: defaults, the block in the results, and formats that transformers quantizes to on loading."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from junkdna_harness.compress import find_targets
from junkdna_harness.compress.loaded import loading_config
from junkdna_harness.models.quantized import QuantizedLM
from tests.models_factory import save_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(
        save_tiny("llama", tmp_path_factory.mktemp("tiny") / "model", hidden_size=64, intermediate_size=128)
    )


def test_without_arguments_it_is_the_embedded_model_at_four_bits() -> None:
    arguments: dict[str, object] = {}
    lm = QuantizedLM.create_from_arg_obj(arguments, {"device": "cpu"})
    assert arguments == {
        "pretrained": "embedded",
        "method": "rtn",
        "bits": 4,
    }  # what lm-eval prints and stores
    block = lm.get_model_info()["junkdna"]
    assert (block["kind"], block["method"], block["bits"], block["model"]) == (
        "quantized",
        "rtn",
        4,
        "embedded",
    )
    assert block["group_size"] == 64 and block["effective_bits"] == 4 + 20 / 64
    assert all(len(row.unique()) <= 16 for t in find_targets(lm.model) for row in t.weight.reshape(-1, 64))


@pytest.mark.parametrize("bits", [8, 6, 4, 3, 2])
def test_effective_bits_count_more_than_the_codes(bits: int, tiny: str) -> None:
    lm = QuantizedLM(pretrained=tiny, method="rtn", bits=bits, device="cpu")
    assert bits < lm.junkdna["effective_bits"] < bits + 0.5


def test_none_leaves_the_model_alone(tiny: str) -> None:
    lm = QuantizedLM(pretrained=tiny, method=None, device="cpu")
    assert lm.junkdna["bits"] is None and lm.junkdna["effective_bits"] == 16


@pytest.mark.parametrize(
    "arguments,message",
    [
        ("bits=5.5", "bits=5.5"),
        ("method=gtpq", "Did you mean 'gptq'"),
        ("group_sise=64", "Did you mean 'group_size'"),
    ],
)
def test_a_mistake_ends_with_one_sentence(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        QuantizedLM.create_from_arg_string(arguments, {"device": "cpu"})
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(
    "method,extra", [("bnb-int8", "bnb"), ("bnb-nf4", "bnb"), ("torchao-int8", "torchao")]
)
def test_a_missing_extra_is_named_with_its_command(
    method: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"pip install 'junkdna-harness\[{extra}\]'"):
        loading_config(method)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method,package,bits",
    [("bnb-int8", "bitsandbytes", 8), ("bnb-nf4", "bitsandbytes", 4), ("torchao-int8", "torchao", 8)],
)
def test_formats_of_other_packages_are_loaded_and_counted(
    method: str, package: str, bits: int, tiny: str
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    lm = QuantizedLM(pretrained=tiny, method=method, device="cpu")
    block = lm.junkdna
    assert block["bits"] == bits and bits < block["effective_bits"] < bits + 1
    assert block["sparsity_targeted"] is None
    assert Path(tiny).is_dir() and len(lm.tok_encode("abc")) == 3
    kind = type(lm.model.model.layers[0].mlp.up_proj).__name__
    assert (
        kind
        in {"bnb-int8": ("Linear8bitLt",), "bnb-nf4": ("Linear4bit",), "torchao-int8": ("Linear",)}[method]
    )
