"""The dense model's logits are computed once, are exactly those, and are never another model's."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from difficulty.errors import UsageError
from junkdna_harness.fidelity import cache
from junkdna_harness.fidelity.load import Side, load_side
from junkdna_harness.fidelity.run import How, fidelity, over_grid
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.texts.documents import Document, read_documents

HOW = How(window=64, limit=300)


@pytest.fixture
def documents() -> list[Document]:
    return read_documents(["embedded"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows the dense model was asked."""
    calls: list[int] = []

    def counted(lm: Any) -> Callable[[Tensor], Tensor]:
        def logits(inputs: Tensor) -> Tensor:
            calls.append(len(inputs))
            found: Tensor = lm._model_call(inputs)
            return found

        return logits

    monkeypatch.setattr(cache, "logits_of", counted)
    return calls


def test_a_folder_gives_the_same_figures_without_asking_again(
    dense: Side, pruned: Side, documents: list[Document], asked: list[int], tmp_path: Path
) -> None:
    plain = fidelity(dense, pruned, documents, HOW).to_dict()
    kept = replace(HOW, cache=tmp_path / "c")
    assert fidelity(dense, pruned, documents, kept).to_dict() == plain
    assert sum(asked) == 5
    assert fidelity(dense, pruned, documents, kept).to_dict() == plain
    assert fidelity(dense, load_side({"sparsity": 0.2}, "cpu"), documents, kept).figures["kl_mean"] > 0
    assert sum(asked) == 5  # for another compressed model too
    fidelity(dense, pruned, documents, replace(kept, limit=400))
    assert sum(asked) == 5 + 3  # the windows that changed: the shorter last one, and two more


def test_a_grid_asks_the_dense_model_once(dense: Side, documents: list[Document], asked: list[int]) -> None:
    plan = build_plan("text", {"pretrained": "embedded"}, "magnitude", "0.2,0.4,0.6")
    found = list(over_grid(dense, load_side({"pretrained": "embedded"}, "cpu"), plan, documents, HOW))
    assert len(found) == 3 and sum(asked) == 5


def test_what_does_not_fit_in_memory_is_computed_again(
    dense: Side, documents: list[Document], asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "free_memory", lambda: 0)
    plan = build_plan("text", {"pretrained": "embedded"}, "magnitude", "0.2,0.4")
    found = list(over_grid(dense, load_side({"pretrained": "embedded"}, "cpu"), plan, documents, HOW))
    assert len(found) == 2 and sum(asked) == 10


def test_a_file_that_was_cut_is_computed_again(
    dense: Side, pruned: Side, documents: list[Document], asked: list[int], tmp_path: Path
) -> None:
    kept = replace(HOW, cache=tmp_path / "c")
    first = fidelity(dense, pruned, documents, kept).to_dict()
    path = sorted((tmp_path / "c").glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:1000])
    assert fidelity(dense, pruned, documents, kept).to_dict() == first and sum(asked) == 6


def test_another_models_logits_are_refused(
    dense: Side, pruned: Side, documents: list[Document], tmp_path: Path
) -> None:
    kept = replace(HOW, cache=tmp_path / "c")
    fidelity(dense, pruned, documents, kept)
    other = load_side({"pretrained": "embedded:1"}, "cpu")
    with pytest.raises(UsageError, match="holds the logits of another model: its weights_sha256 differs"):
        fidelity(other, pruned, documents, kept)
    half = load_side({"pretrained": "embedded"}, "cpu", "bfloat16")
    with pytest.raises(UsageError, match="holds the logits of another model"):
        fidelity(half, pruned, documents, kept)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is no cache of logits"):
        fidelity(dense, pruned, documents, replace(HOW, cache=tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_who_was_killed_before_the_first_logits_holds_nobody_up(
    dense: Side, pruned: Side, documents: list[Document], tmp_path: Path
) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".dense.json.partial").write_text("{")
    fidelity(dense, pruned, documents, replace(HOW, cache=tmp_path / "c"))
    assert "dense.json" in [path.name for path in (tmp_path / "c").iterdir()]


def test_a_disk_without_room_is_told_before_anything_is_computed(
    dense: Side,
    pruned: Side,
    documents: list[Document],
    asked: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage(10, 10, 10))
    with pytest.raises(UsageError, match=r"the dense logits take .* and .* has 10 B left"):
        fidelity(dense, pruned, documents, replace(HOW, cache=tmp_path / "c"))
    assert not asked and not (tmp_path / "c").exists()


def test_logits_are_kept_as_they_were(dense: Side, tmp_path: Path) -> None:
    inputs = torch.arange(1, 33)[None]
    with torch.inference_mode():
        first = cache.DenseLogits(dense.lm, tmp_path / "c", 32)(inputs)
        again = cache.DenseLogits(dense.lm, tmp_path / "c", 32)(inputs)
        assert torch.equal(first, again) and torch.equal(first, dense.lm._model_call(inputs))
