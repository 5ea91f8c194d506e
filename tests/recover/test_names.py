"""A recovered run is called what it is: in its manifest, in the block of the wrappers, and read back."""

from __future__ import annotations

import inspect
import itertools
import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from difficulty.errors import UsageError
from difficulty.runs import identity
from difficulty.runs.checkpoint import method_of
from difficulty.runs.identity import ADAPTERS, ARMS, LOCAL_RECONSTRUCTION, Method, Recovery
from junkdna_harness import recover as room
from junkdna_harness.compress import PruneSpec, QuantSpec, prune, quantize
from junkdna_harness.compress.checkpoint import save_checkpoint
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from junkdna_harness.recover import RecoverSpec, spec
from junkdna_harness.recover.run import recover
from tests.models_factory import make_tokenizer

QUICK = {"steps": 2, "batch_size": 4, "lr": 0.01}


@given(
    st.sampled_from(ARMS),
    st.sampled_from(spec.FREEZES),
    st.sampled_from([None, *ADAPTERS]),
    st.floats(1e-6, 1.0, exclude_min=True),
    st.sampled_from(
        [
            "magnitude",
            "magnitude 2:4",
            "dense",
            "rtn",
            "magnitude_2:4+wanda",
            "wanda+sparse_transfer_dora@0.5",
        ]
    ),
    st.sampled_from([(), ("steps",), ("lr",), ("steps", "lr")]),
    st.integers(1, 10**6),
    st.floats(1e-9, 0.1),
)
def test_every_recovery_is_read_back_as_it_was(
    arm: str,
    freeze: str,
    adapter: str | None,
    fraction: float,
    before: str,
    name_by: tuple[str, ...],
    steps: int,
    lr: float,
) -> None:
    asked = RecoverSpec(
        arm=arm, freeze="removed" if arm == LOCAL_RECONSTRUCTION else freeze,
        adapter=None if arm == LOCAL_RECONSTRUCTION else adapter, fraction=fraction,
        name_by=name_by, steps=steps, lr=lr,
    )  # fmt: skip
    method = Method.parse(before).then(asked.recovery)
    assert Method.parse(str(method)) == method
    assert method.recoveries[-1] == asked.recovery == Recovery.parse(asked.suffix.removeprefix("+"))
    assert str(method).endswith(asked.suffix)


def test_a_run_is_named_by_steps_and_rate_where_that_is_asked_for() -> None:
    asked = RecoverSpec(steps=40, lr=2e-5, fraction=0.25, adapter="lora")
    assert asked.suffix == "+sparse_transfer_lora@0.25"
    assert replace(asked, name_by=("lr", "steps")).suffix == "+sparse_transfer_lora@0.25~40steps~lr2e-05"
    with pytest.raises(UsageError, match="name_by='data' is unknown"):
        replace(asked, name_by=("data",))
    with pytest.raises(UsageError, match="has no adapter"):
        replace(asked, arm=LOCAL_RECONSTRUCTION)
    with pytest.raises(UsageError, match="Give lr="):
        _ = RecoverSpec(name_by=("lr",)).suffix


def test_a_spec_is_built_by_names_and_its_words_stand_once() -> None:
    with pytest.raises(TypeError):
        RecoverSpec("dense_transfer")  # type: ignore[misc]
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(RecoverSpec).parameters.values())
    assert room.ARMS is identity.ARMS and spec.ARMS is identity.ARMS


def block_of(kind: Any, folder: Path | str, **arguments: Any) -> dict[str, Any]:
    block: dict[str, Any] = kind(pretrained=str(folder), device="cpu", **arguments).junkdna
    return block


def test_two_trainings_are_named_in_order_and_their_root_is_known(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    started = datetime.now(timezone.utc)
    first = RecoverSpec(data=str(lines), fraction=0.5, **QUICK)
    recover(str(checkpoint), tmp_path / "one", first, PruneSpec(pattern="2:4"))
    second = RecoverSpec(data=str(lines), adapter="lora", rank=2, **QUICK)
    done = recover(str(tmp_path / "one"), tmp_path / "two", second)
    name = "magnitude 2:4+sparse_transfer@0.5+sparse_transfer_lora"
    manifest = json.loads((tmp_path / "two" / "junkdna.json").read_text())
    assert (manifest["method"], manifest["base_model"]) == (name, str(checkpoint))
    assert manifest["recovery"]["before"]["fraction"] == 0.5
    made = datetime.fromisoformat(manifest["created"])
    assert made.utcoffset().total_seconds() == 0  # type: ignore[union-attr]
    assert abs((made - started).total_seconds()) < 600
    assert method_of(done.manifest).recoveries == (first.recovery, second.recovery)
    for kind in (PrunedLM, QuantizedLM):
        block = block_of(kind, tmp_path / "two", method="none")
        assert (block["model"], block["method"], block["level"]) == (str(checkpoint), name, 0.5)
        assert block["recovery"]["arm"] == "sparse_transfer"
    assert block_of(PrunedLM, tmp_path / "two")["method"] == name  # nothing is pruned without being asked for
    again = block_of(PrunedLM, tmp_path / "two", sparsity=0.8)
    assert Method.parse(again["method"]).base == name.replace(" ", "_") + "+magnitude"
    quantized = block_of(QuantizedLM, tmp_path / "two", bits=3)
    assert (quantized["method"], quantized["level"], quantized["bits"]) == (name, 0.5, 3)


def test_zeros_that_grew_back_are_no_reason_to_prune_again(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    asked = RecoverSpec(arm="sparse_to_dense", data=str(lines), **QUICK)
    recover(str(checkpoint), tmp_path / "out", asked, PruneSpec(sparsity=0.5))
    block = block_of(PrunedLM, tmp_path / "out")
    assert (block["method"], block["level"]) == ("magnitude+sparse_to_dense", 0.5)
    assert block["sparsity_targeted"] < 0.1


def sparse_base(checkpoint: Path, output: Path) -> Path:
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    report = prune(model, PruneSpec(sparsity=0.5))
    save_checkpoint(model, make_tokenizer(), report, output, {"pretrained": str(checkpoint)})
    return output


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_kept_alone_answers_as_the_merged_one_and_is_known(
    checkpoint: Path, lines: Path, tmp_path: Path, adapter: str
) -> None:
    base = sparse_base(checkpoint, tmp_path / "base")
    for merge in ("keep", "masked"):
        asked = RecoverSpec(
            data=str(lines), adapter=adapter, rank=2, merge=merge, steps=4, batch_size=4, lr=0.05
        )
        recover(str(base), tmp_path / merge, asked)
    merged = PrunedLM(pretrained=str(tmp_path / "masked"), device="cpu")
    for given_as in (
        {"pretrained": str(base), "peft": str(tmp_path / "keep")},
        {"pretrained": str(tmp_path / "keep")},
    ):
        kept = PrunedLM(**given_as, device="cpu")
        block = kept.junkdna
        assert (block["model"], block["method"], block["level"]) == (
            str(checkpoint), f"magnitude+sparse_transfer_{adapter}", 0.5,
        )  # fmt: skip
        assert block["sparsity_targeted"] == merged.junkdna["sparsity_targeted"] == 0.5
        assert block["warnings"] == []
        ids = torch.tensor([[5, 6, 7, 8]])
        torch.testing.assert_close(kept.model(ids).logits, merged.model(ids).logits, rtol=1e-4, atol=1e-4)


def test_an_adapter_on_another_base_or_changed_is_not_believed(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    base = sparse_base(checkpoint, tmp_path / "base")
    asked = RecoverSpec(data=str(lines), adapter="lora", rank=2, merge="keep", **QUICK)
    recover(str(base), tmp_path / "keep", asked)
    adapter = str(tmp_path / "keep")
    block = block_of(PrunedLM, checkpoint, peft=adapter, method="none")
    assert block["model"] == f"{checkpoint}+{adapter}" and block["method"] == "none"
    assert "trained on other weights" in block["warnings"][0]
    weights = load_file(tmp_path / "keep" / "adapter_model.safetensors")
    save_file({n: w + 1 for n, w in weights.items()}, tmp_path / "keep" / "adapter_model.safetensors")
    block = block_of(PrunedLM, base, peft=adapter, method="none")
    assert "is not believed" in block["warnings"][0]


def test_an_adapter_on_rounded_weights_is_known(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    report = quantize(model, QuantSpec(bits=4))
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "q", {"pretrained": str(checkpoint)})
    asked = RecoverSpec(arm="dense_transfer", data=str(lines), adapter="lora", rank=2, merge="keep", **QUICK)
    recover(str(tmp_path / "q"), tmp_path / "keep", asked)
    block = block_of(QuantizedLM, tmp_path / "keep")
    assert (block["model"], block["method"], block["bits"]) == (str(checkpoint), "rtn+dense_transfer_lora", 4)


@pytest.mark.parametrize(
    ("options", "pruning", "message"),
    [
        ({"arm": "dense_freezing"}, PruneSpec(), "would write another model than was trained"),
        ({"arm": "sparse_transfer"}, PruneSpec(), "would be lost"),
    ],
)
def test_an_adapter_that_could_not_be_evaluated_is_not_written(
    checkpoint: Path, lines: Path, tmp_path: Path, options: dict[str, Any], pruning: PruneSpec, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        asked = RecoverSpec(**options, data=str(lines), adapter="lora", merge="keep")
        recover(str(checkpoint), tmp_path / "out", asked, pruning)


def test_a_checkpoint_that_is_not_what_its_manifest_says_is_recovered_under_no_name_of_its_own(
    checkpoint: Path, lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = sparse_base(checkpoint, tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    done = recover(str(base), tmp_path / "out", RecoverSpec(data=str(lines), **QUICK))
    assert done.manifest["method"] == "pruned+sparse_transfer"
    assert "is not believed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arm", "adapter"), list(itertools.product(("dense_transfer", "sparse_to_dense"), (None, "dora")))
)
def test_a_measured_copy_is_called_dense(
    checkpoint: Path, lines: Path, tmp_path: Path, arm: str, adapter: str | None
) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    report = prune(model, PruneSpec(method="none"))
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "copy", {"pretrained": str(checkpoint)})
    asked = RecoverSpec(arm=arm, data=str(lines), adapter=adapter, **QUICK)
    pruning = None if arm == "dense_transfer" else PruneSpec()
    done = recover(str(tmp_path / "copy"), tmp_path / "out", asked, pruning)
    base = "dense" if pruning is None else "magnitude"
    assert done.manifest["method"] == base + asked.suffix
    assert done.manifest["base_model"] == str(checkpoint)


def test_a_recovery_says_what_came_before_it_and_takes_no_root_from_a_manifest_that_is_not_believed(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    base = sparse_base(checkpoint, tmp_path / "base")
    told = json.loads((base / "junkdna.json").read_text())
    done = recover(str(base), tmp_path / "one", RecoverSpec(data=str(lines), **QUICK))
    before = done.manifest["before"]
    assert (before["method"], before["level"]) == ("magnitude", 0.5)
    assert before["weights_sha256"] == told["weights_sha256"]
    assert done.manifest["base_model"] == str(checkpoint)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    done = recover(str(base), tmp_path / "two", RecoverSpec(data=str(lines), **QUICK))
    assert (done.manifest["base_model"], done.manifest["before"]) == (str(base), None)


def test_pruning_further_before_a_training_is_named_in_order(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    base = sparse_base(checkpoint, tmp_path / "base")
    asked = RecoverSpec(data=str(lines), **QUICK)
    done = recover(str(base), tmp_path / "out", asked, PruneSpec(method="random", sparsity=0.8))
    assert method_of(done.manifest) == Method("magnitude+random", None, (asked.recovery,))
    assert block_of(PrunedLM, tmp_path / "out")["method"] == "magnitude+random+sparse_transfer"
