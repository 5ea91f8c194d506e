"""Tensors of files are hashed and counted as those in memory are, in pieces that memory hardly notices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from difficulty.errors import UsageError
from junkdna_harness.compress.hashing import tensor_sha256
from junkdna_harness.compress.stored import Stored, stored_tensors


def kinds() -> dict[str, torch.Tensor]:
    some = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)).round()
    return {
        "fp32": some,
        "negative zeros": -torch.zeros(7, 3),
        "bf16": some.bfloat16(),
        "fp16": some[0].half(),
        "codes": some.to(torch.int8),
        "fp8": some.to(torch.float8_e4m3fn),
        "fp8 of negative zeros": (-torch.zeros(5)).to(torch.float8_e5m2),
        "unsigned": some.abs().to(torch.uint16),
        "truth": some > 0,
        "one": torch.tensor(0.0),
        "none": torch.zeros(0, 4),
    }


@pytest.mark.parametrize("piece", [8, 1024, 1 << 22])
def test_files_are_described_as_their_tensors_are(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkdna_harness.compress.stored._PIECE", piece)
    save_file(kinds(), tmp_path / "a.safetensors")
    save_file({"last": torch.eye(3)}, tmp_path / "b.safetensors")
    expected = [
        Stored(name, tensor_sha256(tensor), tuple(tensor.shape), int((tensor.float() == 0).sum()))
        for file in ("a", "b")
        for name, tensor in sorted(load_file(tmp_path / f"{file}.safetensors").items())
    ]
    found = list(stored_tensors(tmp_path))
    assert sorted(found, key=lambda one: (one.name == "last", one.name)) == expected
    assert {one.name: one.numel for one in found} == {
        **{name: tensor.numel() for name, tensor in kinds().items()},
        "last": 9,
    }


def peak() -> int:
    """Bytes that the process held at most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("the peak of memory cannot be reset here")
    save_file({"small": torch.ones(8)}, tmp_path / "a.safetensors")
    list(stored_tensors(tmp_path))  # what the first call loads is not the file's
    size = 100 << 20
    save_file({"large": torch.ones(size // 4)}, tmp_path / "a.safetensors")
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    (found,) = stored_tensors(tmp_path)
    assert found.zeros == 0 and found.numel == size // 4
    assert peak() - before < size // 4


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    save_file(kinds(), tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:-10])
    with pytest.raises(UsageError, match=r"a\.safetensors' cannot be read"):
        list(stored_tensors(tmp_path))
    with pytest.raises(UsageError, match="holds no safetensors file"):
        list(stored_tensors(tmp_path / "elsewhere"))
