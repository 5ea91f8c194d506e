"""Step sizes of state-space layers are left alone unless they are named, and that is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from junkdna_harness.compress import PruneSpec, QuantSpec, find_targets, prune, quantize
from tests.models_factory import make_tokenizer


def mamba(kind: str = "mamba") -> Any:
    """A tiny Mamba."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=100, hidden_size=32, state_size=8, num_hidden_layers=2, pad_token_id=0
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture
def look(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "text.txt"
    file.write_text("\n".join(f"line {i} of the text says {i * i}" for i in range(300)))
    return {"calibration": str(file), "nsamples": 4, "seqlen": 32}


@pytest.mark.parametrize("kind", ["mamba", "falcon_mamba"])
@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_they_stay_as_they_are(kind: str, method: str, look: dict[str, Any]) -> None:
    model = mamba(kind)
    before = [block.mixer.dt_proj.weight.clone() for block in model.backbone.layers]
    report = prune(
        model,
        PruneSpec(method=method, sparsity=0.5, **look if method != "magnitude" else {}),
        make_tokenizer(),
    )
    assert all(
        torch.equal(b.mixer.dt_proj.weight, old) for b, old in zip(model.backbone.layers, before, strict=True)
    )
    assert {t.name.split(".")[-1] for t in find_targets(model)} == {"in_proj", "x_proj", "out_proj"}
    said = [warning for warning in report.warnings if "step sizes" in warning]
    assert said == [
        "256 weights that give the step sizes of state-space layers (dt_proj) were left alone; targets=dt_proj reaches them"
    ]
    assert not any("saw no calibration token" in warning for warning in report.warnings)


@pytest.mark.parametrize("method", ["wanda", "gptq"])
def test_named_they_are_compressed_by_what_they_see(method: str, look: dict[str, Any]) -> None:
    """Mamba takes their weight without calling the module: `weight @ x`, with tokens in the last dimension."""
    model = mamba()
    dt = model.backbone.layers[0].mixer.dt_proj
    dt.weight.data = torch.randn(dt.weight.shape) * 0.1
    old = dt.weight.clone()
    rank = dt.weight.shape[1]
    seen: list[torch.Tensor] = []

    def note(_: Any, __: Any, out: torch.Tensor) -> None:
        seen.append(out[..., :rank].flatten(0, 1))

    handle = model.backbone.layers[0].mixer.x_proj.register_forward_hook(note)
    if method == "gptq":
        report = quantize(
            model,
            QuantSpec(method="gptq", bits=4, targets=("dt_proj",), group_size=-1, **look),
            make_tokenizer(),
        )
        assert not torch.equal(dt.weight, old)
    else:
        report = prune(
            model, PruneSpec(method="wanda", sparsity=0.5, targets=("dt_proj",), **look), make_tokenizer()
        )
        inputs = max(seen, key=len)
        kept = old.abs() * inputs.norm(dim=0)
        expected = kept.argsort(dim=1)[:, : rank // 2]
        assert bool((dt.weight.gather(1, expected) == 0).all())
    handle.remove()
    assert not report.warnings
