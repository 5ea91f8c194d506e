"""The architecture check (`benchmarks/architectures.py`) on a dozen kinds of model, and that it can fail."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DOZEN = (
    "llama", "gpt2", "bloom", "falcon", "mpt", "gemma3n_text", "mamba", "jamba", "zamba2", "mixtral", "qwen2_moe", "deepseek_v3", "gpt_oss",
    "hunyuan_v1_moe", "longcat_flash", "zaya", "dbrx", "qwen3_5",
)  # fmt: skip
CHOICES = {
    "mixtral": "gate", "gpt_oss": "router", "hunyuan_v1_moe": "gate.wg", "longcat_flash": "router.classifier", "zaya": "gate.router_mlp.out_proj",
    "jetmoe": "router.layer", "afmoe": "router.gate", "llama4_text": "router", "gemma4_text": "router.proj",
}  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("architectures")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOZEN)
def test_nothing_fails(kind: str, bench: Any) -> None:
    row = bench.check(kind)
    assert row.state == "ok", row.said


@pytest.mark.parametrize("kind", ["dory", "bart"])
def test_what_cannot_be_done_is_a_sentence(kind: str, bench: Any) -> None:
    row = bench.check(kind)
    assert row.state == "refused" and set(row.cells) == set(bench.STEPS)
    assert all(sentence.endswith(".") for sentence in row.said.values())


@pytest.mark.parametrize("kind", CHOICES)
def test_the_layers_that_choose_are_seen_at_work(kind: str, bench: Any) -> None:
    """The oracle of the check: without it, that no target chooses experts would mean nothing."""
    model = bench.make(kind)
    chosen = bench.choosing_layers(model)
    names = {name.removesuffix(".weight") for name, p in model.named_parameters() if id(p) in chosen}
    assert names and all(name.endswith(CHOICES[kind]) for name in names)


def test_a_router_among_the_targets_fails(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("junkdna_harness.compress.targets.find_mixtures", without_routers)
    row = bench.check("hunyuan_v1_moe")
    assert row.cells["targets"] == "FAIL" and "mlp.gate.wg" in row.said["targets"]


def without_routers(*arguments: Any) -> Any:
    from junkdna_harness.compress.mixtures import Mixtures, find_mixtures

    return Mixtures(find_mixtures(*arguments).stacks)


def test_another_model_in_the_folder_fails(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = bench.load

    def other(source: Any) -> Any:
        model, tokenizer = load(source)
        if "dense" not in str(source.pretrained):
            nn.init.normal_(model.lm_head.weight)
        return model, tokenizer

    monkeypatch.setattr(bench, "load", other)
    row = bench.check("llama")
    assert row.cells["magnitude"] == "FAIL" and "other logits" in row.said["magnitude"]
    assert row.cells["score"] == "ok"


def test_rows_that_are_there_are_not_run_again(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    file = tmp_path / "rows.json"
    cells = dict.fromkeys(bench.STEPS, "ok")
    file.write_text(json.dumps([{"kind": "llama", "cells": cells, "said": {}, "left": 0.25}]))
    monkeypatch.setattr(
        sys, "argv", ["architectures.py", "--only", "llama", "--json", str(file), "--workers", "1"]
    )
    monkeypatch.setattr(bench, "_quiet", lambda: None)
    monkeypatch.setattr(bench, "check", lambda name: pytest.fail("run again"))
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert (
        "| llama | ok | ok | ok | ok | ok | ok | ok | 25% |" in printed and "1 kinds: targets 1 ok" in printed
    )


def test_most_kinds_of_the_installed_transformers_have_a_tiny_model(bench: Any) -> None:
    """From config to skeleton, without weights: what a new release adds shows up here as a small number."""
    made = 0
    for kind in bench.kinds():
        try:
            with torch.device("meta"):
                config = bench.tiny_config(kind)
                size = sum(p.numel() for p in bench.auto_class(config).from_config(config).parameters())
        except Exception:
            continue
        made += size < 20_000_000
    assert made >= 0.9 * len(bench.kinds())
