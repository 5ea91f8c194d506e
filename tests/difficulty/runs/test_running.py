"""What is rounded while a model runs, in the names of runs and in manifests."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import of_block
from difficulty.runs.identity import DENSE, Method, Run
from difficulty.runs.running import KEYS, Running, leaves_weights, weights_alone

EVERY = [
    Running(activations, scale, bits, group)
    for activations, scale, bits, group in product((None, "int8", "fp8"), ("dynamic", "static"), (None, 8, 4, 2), (None, 32))
    if (activations or bits) and (bits or not group) and (activations or scale == "dynamic")
]  # fmt: skip
METHODS = [
    "rtn",
    "gptq",
    "magnitude 2:4",
    "fp8-e5m2",
    "magnitude+wanda",
    "wanda+sparse_transfer_lora@0.25",
    "module_of_mine",
]


@pytest.mark.parametrize("method", METHODS)
def test_names_are_read_as_they_were_written_and_are_all_different(method: str) -> None:
    names = set()
    for running in EVERY:
        named = running.named(Method.parse(method))
        assert Method.parse(str(named)) == named
        assert (named.pattern, named.recoveries) == (
            Method.parse(method).pattern,
            Method.parse(method).recoveries,
        )
        run = Run("my model", named, 0.5, 4, 1)
        assert Run.parse(str(run)) == run
        names.add(str(named))
    assert len(names) == len(EVERY) and method not in names


def test_of_whole_weights_the_bits_are_those_of_the_cache_or_else_of_the_activations() -> None:
    assert Running(kv_bits=4).alone == ("kv", 4)
    assert Running("int8", kv_bits=2).alone == ("aint8-kv", 2)
    assert Running("fp8", "static").alone == ("afp8static", 8)
    runs = {str(Run("m", Method(running.alone[0]), None, running.alone[1])) for running in EVERY}
    assert len(runs) == len(EVERY)
    assert all(leaves_weights(running.alone[0]) for running in EVERY)
    assert not any(leaves_weights(str(running.named(Method("rtn")))) for running in EVERY)
    assert not any(map(leaves_weights, ("rtn", "gptq", "awq", "kvasir", "none", "dense")))
    for run in runs:
        assert Run.parse(run).kind == "quantized" and str(Run.parse(run)) == run


def test_nothing_has_no_name() -> None:
    assert not Running() and Running().named(Method("rtn")) == Method("rtn")
    assert Running.of({"method": "rtn", "bits": 4}) == Running()


@pytest.mark.parametrize("running", EVERY, ids=str)
def test_a_manifest_says_it_in_full(running: Running) -> None:
    block = {
        "activations": running.activations, "activation_scale": running.activation_scale, "kv_bits": running.kv_bits,
        "kv_group_size": running.kv_group_size,
    }  # fmt: skip
    assert Running.of(block) == running


@pytest.mark.parametrize(
    "block,message",
    [
        ({"kv_bits": 5}, "x.json says kv_bits=5, which is none of 8, 4, 2"),
        ({"activations": "int4"}, "activations='int4', which is none of int8, fp8"),
        ({"activations": "int8", "activation_scale": "now"}, "activation_scale='now', which is none of dynamic, static"),
        ({"kv_bits": 4, "kv_group_size": 0}, "kv_group_size=0, which is no count"),
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_one_sentence(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Running.of(block, "x.json")


def test_whole_weights_with_a_rounded_cache_are_not_the_dense_run() -> None:
    block = {
        "kind": "pruned",
        "method": "magnitude-kv4",
        "level": 0.0,
        "sparsity_targeted": 0.0,
        "bits": None,
    }
    assert of_block(block)[0] == Method(DENSE)
    assert of_block({**block, "kv_bits": 4})[0] == Method("magnitude-kv4")


def test_the_weights_alone_are_what_the_manifest_says_of_them() -> None:
    alone = {"kind": "quantized", "method": "rtn", "bits": 8, "effective_bits": 8.4}
    manifest = {
        **alone,
        "method": "rtn-kv4",
        "effective_bits": 6.0,
        "kv_bits": 4,
        "kv_tokens": 128,
        "weights_alone": alone,
        "base_model": "m",
    }
    assert weights_alone(manifest) == {**alone, "base_model": "m"}
    assert not set(weights_alone(manifest)) & set(KEYS)
    plain = {"method": "rtn", "bits": 8}
    assert weights_alone(plain) == plain
