"""What was compressed is compressed again: zeros stay, bits are counted once, and the report says what had been done."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer import Typer
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import MANIFEST, base_model, read_manifest
from junkdna_harness.commands.inspect import inspect
from junkdna_harness.commands.prune import prune as prune_command
from junkdna_harness.commands.quantize import quantize as quantize_command
from junkdna_harness.compress import (
    NM,
    PruneSpec,
    QuantSpec,
    find_targets,
    measure,
    prune,
    quantize,
    sparsifier,
    weights_sha256,
)
from junkdna_harness.compress.masks import save_mask
from junkdna_harness.compress.pattern import pattern_in
from junkdna_harness.compress.report import CompressionReport
from tests.models_factory import ARCHITECTURES, make_model, make_tokenizer, save_tiny

app = Typer()
app.command()(prune_command)
app.command()(quantize_command)
app.command()(inspect)
WHAT = ("kind", "method", "pattern", "level", "bits", "quantizer", "effective_bits", "requested_sparsity")


def what(manifest: dict[str, Any] | CompressionReport) -> dict[str, Any]:
    """What decides which run it is, and at which size."""
    values = manifest if isinstance(manifest, dict) else manifest.to_dict()
    return {name: values[name] for name in WHAT}


def zero(model: nn.Module) -> dict[str, torch.Tensor]:
    return {target.name: target.weight == 0 for target in find_targets(model)}


@pytest.fixture
def text(tmp_path: Path) -> str:
    file = tmp_path / "text.txt"
    file.write_text("\n\n".join(f"Some words, number {i}, and again some words." for i in range(60)))
    return str(file)


@pytest.fixture
def made(tmp_path: Path, text: str) -> Any:
    """A function that runs a command on a folder and gives the new folder and its manifest."""
    number = count()

    def run(command: str, source: Path, *options: object) -> tuple[Path, dict[str, Any]]:
        output = tmp_path / f"made{next(number)}"
        given = [
            command,
            source,
            *options,
            "--calibration",
            text,
            "--nsamples",
            4,
            "--seqlen",
            32,
            "-o",
            output,
        ]
        result = CliRunner().invoke(app, [str(part) for part in given])
        if result.exception is not None:
            raise result.exception
        return output, json.loads((output / MANIFEST).read_text())

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save_tiny("llama", tmp_path / "tiny")


@pytest.mark.parametrize("quantizer", ["rtn", "gptq"])
@pytest.mark.parametrize("pruning", [("--pattern", "2:4"), ("--pattern", "1:8"), ("--sparsity", "0.7")])
def test_quantizing_a_pruned_checkpoint_is_the_run_of_pruning_with_bits(
    quantizer: str, pruning: tuple[str, str], made: Any, tiny: Path
) -> None:
    pruned, before = made("prune", tiny, *pruning)
    folder, after = made("quantize", pruned, "--method", quantizer, "--bits", 4)
    _, at_once = made("prune", tiny, *pruning, "--bits", 4, "--quantizer", quantizer)
    assert what(after) == what(at_once)
    assert after["weights_sha256"] == at_once["weights_sha256"]
    assert after["sparsity_targeted"] >= before["sparsity_targeted"]
    old, new = (load_file(f / "model.safetensors") for f in (pruned, folder))
    assert all(bool((new[name][tensor == 0] == 0).all()) for name, tensor in old.items())


@pytest.mark.parametrize("method", ["rtn", "gptq"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_without_a_manifest_the_zeros_stay_and_the_method_is_named_unknown(
    method: str, symmetric: bool, bits: int, text: str
) -> None:
    model, _ = make_model("llama")
    prune(model, PruneSpec(pattern="2:4"))
    before = zero(model)
    spec = QuantSpec(method=method, bits=bits, symmetric=symmetric, calibration=text, nsamples=4, seqlen=32)
    report = quantize(model, spec, make_tokenizer())
    assert all(bool(now[before[name]].all()) for name, now in zero(model).items())
    assert (report.kind, report.method, report.pattern, report.level) == ("pruned", "none", None, 0.5)
    assert (report.bits, report.quantizer) == (bits, method)
    assert any("stay zero; no manifest says" in warning for warning in report.warnings)
    assert report.effective_bits < bits + (16 + bits) / 16


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zeros_stay_in_every_architecture_and_dtype(arch: str, dtype: torch.dtype) -> None:
    model, _ = make_model(arch, dtype=dtype)
    prune(model, PruneSpec(sparsity=0.4))
    before = zero(model)
    quantize(model, QuantSpec(bits=3))
    assert all(bool(now[before[name]].all()) for name, now in zero(model).items())


def test_one_hash_has_one_number_of_bits_with_and_without_a_manifest(made: Any, tiny: Path) -> None:
    pruned, _ = made("prune", tiny, "--pattern", "1:8")  # positions cost less than a bitmap
    _, told = made("quantize", pruned)
    (pruned / MANIFEST).unlink()
    _, untold = made("quantize", pruned)
    assert told["weights_sha256"] == untold["weights_sha256"]
    assert told["effective_bits"] == untold["effective_bits"]
    assert untold["method"] == "none" and untold["level"] == 0.875


def test_a_dense_model_with_a_few_zeros_is_quantized_as_before() -> None:
    model, _ = make_model("llama")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[:2].zero_()  # 0.4 %
    report = quantize(model, QuantSpec(bits=4))
    assert (report.kind, report.method, report.level, report.effective_bits) == (
        "quantized",
        "rtn",
        None,
        5.25,
    )


@pytest.mark.parametrize("kept,group", [(2, 4), (1, 4), (1, 8), (3, 8), (1, 16)])
def test_n_m_is_found_in_the_weights(kept: int, group: int) -> None:
    model, _ = make_model("llama")
    prune(model, PruneSpec(pattern=f"{kept}:{group}"))
    assert pattern_in(find_targets(model), 1 - kept / group) == NM(kept, group)


def test_unstructured_weights_have_no_n_m() -> None:
    model, _ = make_model("llama")
    prune(model, PruneSpec(sparsity=0.5))
    assert pattern_in(find_targets(model), 0.5) is None


@pytest.mark.parametrize("method", ["magnitude", "largest", "random", "wanda", "sparsegpt"])
def test_nothing_is_un_pruned_and_the_measured_level_is_told(method: str, made: Any, tiny: Path) -> None:
    sparse, before = made("prune", tiny, "--sparsity", "0.7")
    folder, after = made("prune", sparse, "--method", method, "--sparsity", "0.3")
    assert after["level"] == pytest.approx(0.7, abs=1e-3) and after["requested_sparsity"] == 0.3
    assert after["sparsity_by_module"] == before["sparsity_by_module"]
    assert any(f"asked for 0.3, measured {after['level']:.4g}: " in warning for warning in after["warnings"])
    assert {**what(after), "requested_sparsity": 0.7} == what(before)
    assert after["weights_sha256"] == before["weights_sha256"]
    assert CliRunner().invoke(app, ["inspect", str(folder)]).exit_code == 0


@pytest.mark.parametrize(
    "method,scope",
    [(m, None) for m in ("magnitude", "largest", "random", "wanda", "sparsegpt")]
    + [(m, "global") for m in ("magnitude", "largest", "random")],
)
def test_zeros_go_first_and_count(method: str, scope: Any, text: str) -> None:
    model, _ = make_model("llama")
    prune(model, PruneSpec(method="random", sparsity=0.5, seed=5))
    before = zero(model)
    spec = PruneSpec(method=method, sparsity=0.8, scope=scope, calibration=text, nsamples=4, seqlen=32)
    report = prune(model, spec, make_tokenizer())
    assert all(bool(now[before[name]].all()) for name, now in zero(model).items())
    assert report.level == 0.8 and report.sparsity_targeted == pytest.approx(0.8, abs=0.01)


def test_a_method_of_ones_own_that_forgets_the_zeros_cannot_bring_them_back(text: str) -> None:
    from junkdna_harness.compress import Hessian

    @sparsifier("test_again_forgets", needs=Hessian, updates=True)
    def forgets(weight: torch.Tensor, hessian: Hessian, selection: Any) -> torch.Tensor:
        return weight + 1

    model, _ = make_model("llama")
    prune(model, PruneSpec(sparsity=0.6))
    before = zero(model)
    spec = PruneSpec(method="test_again_forgets", sparsity=0.3, calibration=text, nsamples=4, seqlen=32)
    prune(model, spec, make_tokenizer())
    assert all(torch.equal(now, before[name]) for name, now in zero(model).items())


def test_a_sparse_checkpoint_of_unknown_making_is_not_called_by_the_method_that_removed_nothing() -> None:
    model, _ = make_model("llama")
    prune(model, PruneSpec(sparsity=0.7))
    report = prune(model, PruneSpec(method="random", sparsity=0.3))
    assert (report.method, report.level, report.requested_sparsity) == (
        "none",
        pytest.approx(0.7, abs=1e-3),
        0.3,
    )
    assert any("nothing was removed" in warning for warning in report.warnings)


def test_a_mask_on_sparse_weights_has_the_level_of_both(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    save_mask(model, prune(model, PruneSpec(method="random", sparsity=0.3)), tmp_path / "m.safetensors")
    other, _ = make_model("llama", seed=1)
    prune(other, PruneSpec(sparsity=0.7))
    report = prune(other, PruneSpec(mask=str(tmp_path / "m.safetensors")))
    assert report.level == report.sparsity_targeted != 0.3
    assert any("asked for 0.3, measured 0.7" in warning for warning in report.warnings)
    again = prune(model, PruneSpec(mask=str(tmp_path / "m.safetensors")))  # its own zeros
    assert (again.method, again.level, again.warnings) == ("random", 0.3, ())


@pytest.mark.parametrize("source", ["quantize", "prune"])
def test_what_is_quantized_is_not_quantized_again(source: str, made: Any, tiny: Path) -> None:
    extra = ("--sparsity", "0.5") if source == "prune" else ()
    folder, _ = made(source, tiny, "--bits", 4, *extra)
    for command, options in (("quantize", ("--bits", 8)), ("prune", ("--sparsity", "0.7", "--bits", 3))):
        with pytest.raises(UsageError, match=r"quantized already \(rtn, 4 bits, by its junkdna\.json\)"):
            made(command, folder, *options)


def test_pruning_what_was_quantized_keeps_its_bits(made: Any, tiny: Path) -> None:
    rounded, before = made("quantize", tiny)
    _, after = made("prune", rounded, "--sparsity", "0.5")
    assert (after["kind"], after["method"], after["level"]) == ("pruned", "magnitude", 0.5)
    assert (after["bits"], after["quantizer"], after["group_size"]) == (4, "rtn", before["group_size"])
    assert after["effective_bits"] == pytest.approx(0.5 * 4 + 1 + 20 / 16)
    assert any("had been quantized before (rtn, 4 bits)" in warning for warning in after["warnings"])
    for options in (("--method", "none"), ("--sparsity", "0")):
        _, same = made("prune", rounded, *options)
        assert what(same) | {"requested_sparsity": None} == what(before)


def test_weights_that_leave_their_grid_count_as_dense_ones_and_it_is_said(made: Any, tiny: Path) -> None:
    rounded, _ = made("quantize", tiny)
    _, after = made("prune", rounded, "--method", "sparsegpt", "--sparsity", "0.5")
    assert after["bits"] is None and after["effective_bits"] == pytest.approx(9)
    assert any("moved its weights off their grid" in warning for warning in after["warnings"])


def test_measuring_or_copying_a_known_checkpoint_keeps_its_name(made: Any, tiny: Path) -> None:
    pruned, before = made("prune", tiny, "--method", "wanda", "--pattern", "2:4", "--bits", 4)
    _, copy = made("prune", pruned, "--method", "none")
    assert what(copy) == what(before) and copy["weights_sha256"] == before["weights_sha256"]


def test_a_manifest_of_other_weights_is_not_believed(made: Any, tiny: Path) -> None:
    pruned, _ = made("prune", tiny, "--pattern", "2:4")
    sparser, _ = made("prune", tiny, "--sparsity", "0.8")
    (pruned / MANIFEST).write_text((sparser / MANIFEST).read_text())
    _, after = made("quantize", pruned)
    assert (after["method"], after["level"], after["pattern"]) == ("none", 0.5, None)
    assert any("is not of these weights" in warning for warning in after["warnings"])


def test_a_broken_n_m_is_no_pattern_any_more(made: Any, tiny: Path) -> None:
    pruned, _ = made("prune", tiny, "--pattern", "2:4")
    file = pruned / "model.safetensors"
    tensors = load_file(file)
    row = tensors["model.layers.0.mlp.up_proj.weight"][0]
    row[int((row == 0).nonzero()[0])] = 0.1  # one of 768 zeros
    save_file(tensors, file, metadata={"format": "pt"})
    _, after = made("quantize", pruned)
    assert after["pattern"] is None and after["method"] == "magnitude" and after["level"] == 0.5
    assert any("says 2:4, which the weights do not keep" in warning for warning in after["warnings"])


@pytest.mark.parametrize(
    "recovered,zeros",
    [
        ("magnitude 2:4+sparse_transfer", 0.5),
        ("magnitude+sparse_to_dense", 0.0),
        ("dense+dense_transfer", 0.0),
    ],
)
def test_a_recovered_checkpoint_stays_a_recovered_one(recovered: str, zeros: float) -> None:
    model, _ = make_model("llama")
    level = 0.0 if recovered.startswith("dense") else 0.5
    if zeros:
        prune(model, PruneSpec(pattern="2:4"))
    shares = dict(measure(model).sparsity_by_module)
    manifest = {
        "kind": "pruned",
        "method": recovered,
        "level": level,
        "sparsity_by_module": shares,
        "recovery": {},
    }
    as_it_is = measure(model, manifest=manifest)
    assert (as_it_is.method, as_it_is.level) == (recovered, level)
    report = quantize(model, QuantSpec(bits=8), manifest=manifest)
    assert (report.kind, report.method, report.level, report.bits) == ("pruned", recovered, level, 8)


def test_pruning_what_was_trained_says_so() -> None:
    model, _ = make_model("llama")
    shares = dict(measure(model).sparsity_by_module)
    manifest = {
        "kind": "pruned",
        "method": "dense+dense_transfer",
        "level": 0.0,
        "sparsity_by_module": shares,
    }
    report = prune(model, PruneSpec(sparsity=0.5), manifest=manifest)
    assert (report.method, report.level) == ("magnitude", 0.5)
    assert any("had been trained before (dense+dense_transfer" in warning for warning in report.warnings)


@pytest.mark.parametrize("places", [("mlp",), ("self_attn",), ()])
def test_a_manifest_of_some_modules_is_no_manifest_of_others(
    places: tuple[str, ...], made: Any, tiny: Path
) -> None:
    """Pruned were the feed-forward layers alone; what is said of the others is what is measured on them."""
    pruned, _ = made("prune", tiny, "--pattern", "2:4", "--targets", "mlp")
    _, after = made("quantize", pruned, *(("--targets", *places) if places else ()))
    if places == ("mlp",):
        assert (after["method"], after["pattern"], after["level"]) == ("magnitude", "2:4", 0.5)
    elif places:
        assert (after["kind"], after["method"], after["level"]) == ("quantized", "rtn", None)
    else:
        assert (after["method"], after["pattern"]) == ("magnitude", None) and after["level"] < 0.4
        assert any("asked for 0.5, measured 0.3" in warning for warning in after["warnings"])


def test_python_reads_the_manifest_of_the_folder_that_transformers_loaded(made: Any, tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    pruned, before = made("prune", tiny, "--method", "random", "--sparsity", "0.6")
    model = AutoModelForCausalLM.from_pretrained(pruned)
    report = prune(model, PruneSpec(sparsity=0.2))
    assert (report.method, report.level) == ("random", before["level"])
    assert quantize(AutoModelForCausalLM.from_pretrained(pruned)).method == "random"
    assert quantize(AutoModelForCausalLM.from_pretrained(pruned), manifest={}).method == "none"


@pytest.mark.parametrize("damage", ["{", "[]", '{"level": "half", "kind": "pruned"}', '{"pattern": "4:2"}'])
def test_a_damaged_manifest_is_one_sentence_before_anything_is_written(
    damage: str, made: Any, tiny: Path, tmp_path: Path
) -> None:
    (tiny / MANIFEST).write_text(damage)
    with pytest.raises(UsageError):
        made("quantize", tiny)
    assert not (tmp_path / "made0").exists()


def test_the_root_of_the_chain_is_kept_and_shown(made: Any, tiny: Path) -> None:
    first, one = made("prune", tiny, "--sparsity", "0.5")
    second, two = made("prune", first, "--sparsity", "0.7")
    third, three = made("quantize", second)
    assert [m["base_model"] for m in (one, two, three)] == [str(tiny)] * 3
    assert one["before"] is None and two["before"]["level"] == 0.5 and three["before"]["level"] == 0.7
    assert three["before"]["weights_sha256"] == two["weights_sha256"]
    made_at = datetime.fromisoformat(three["created"])
    assert (
        made_at.utcoffset() is not None
        and abs((datetime.now(made_at.tzinfo) - made_at).total_seconds()) < 600
    )
    shown = " ".join(CliRunner().invoke(app, ["inspect", str(third)]).output.split())
    assert f"base model {tiny}" in shown and three["created"] in shown and "bits 4 by rtn" in shown


def test_the_root_is_found_through_manifests_that_do_not_name_it(made: Any, tiny: Path) -> None:
    first, _ = made("prune", tiny, "--sparsity", "0.5")
    values = read_manifest(first)
    del values["base_model"]
    (first / MANIFEST).write_text(json.dumps(values))
    assert base_model(str(first)) == str(tiny)
    values["source"] = {"model": str(first)}  # written over itself
    (first / MANIFEST).write_text(json.dumps(values))
    assert base_model(str(first)) == str(first)


def test_a_checkpoint_may_be_written_over_its_source(tiny: Path, text: str) -> None:
    run = CliRunner().invoke(app, ["prune", str(tiny), "--sparsity", "0.5", "-o", str(tiny), "--force"])
    assert run.exit_code == 0
    run = CliRunner().invoke(app, ["quantize", str(tiny), "-o", str(tiny), "--force"])
    assert run.exit_code == 0 and read_manifest(tiny)["method"] == "magnitude"
    assert read_manifest(tiny)["base_model"] == str(tiny)


def test_what_cannot_be_calibrated_changes_nothing() -> None:
    """Text for the second step, gptq, is asked for before the first step removes anything."""
    model, _ = make_model("llama")
    before = weights_sha256(model)
    with pytest.raises(UsageError, match="tokenizer"):
        prune(model, PruneSpec(bits=4, quantizer="gptq"))
    assert weights_sha256(model) == before


def test_rounding_codes_that_are_no_weights_is_refused() -> None:
    model, _ = make_model("llama")
    model.config.quantization_config = {"quant_method": "awq"}
    with pytest.raises(UsageError, match="awq"):
        prune(model, PruneSpec(method="none", bits=4))
