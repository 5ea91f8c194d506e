"""What a checkpoint says of itself is read in one place: its manifest, the chain to the base model, and whose weights it has."""

from __future__ import annotations

import ast
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import base_model, find_folders, know, method_of, of_block, plain_name, then
from difficulty.runs.identity import ARMS, Method
from difficulty.runs.read import read_runs
from difficulty.runs.weights import share_of_zeros, unlike
from tests.conftest import ROOT
from tests.difficulty.runs.logged import generated, write_log
from tests.difficulty.runs.test_evaluated import PRUNED, checkpoint, weights

MAY = time.mktime((2026, 5, 1, 0, 0, 0, 0, 0, 0))


def evaluated(log: Path, pretrained: str, **top: Any) -> Any:
    write_log(
        log, {"t": [generated(0, acc=1.0)]}, model="served", model_args={"pretrained": pretrained}, **top
    )
    return read_runs(log)


def test_the_name_of_the_manifest_and_the_share_of_zeros_stand_once() -> None:
    """Docstrings and sentences may speak of the file; what opens it goes through the reader."""
    found = []
    for path in [*(ROOT / "difficulty").rglob("*.py"), *(ROOT / "junkdna_harness").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value == "junkdna.json":
                found.append(path.relative_to(ROOT).as_posix())
    assert found == ["difficulty/runs/checkpoint.py"]


def test_a_root_is_named_alike_however_it_was_written(tmp_path: Path) -> None:
    for written in ("base", "./base", "base/", "././base//", ".\\base"):
        checkpoint(tmp_path / "ck", {**PRUNED, "base_model": written})
        assert know(tmp_path / "ck").model == base_model(tmp_path / "ck") == "base"  # type: ignore[union-attr]
    for name, number in (("embedded", 0), ("embedded:1", 1), ("embedded:2", 2)):
        home = f"/x/site-packages/junkdna_harness/embedded/models/{number}"
        for path in (home, f"{home}/", home.replace("/", "\\"), f"embedded:{number}"):
            assert plain_name(path) == name
    for path in ("/x/embedded/models/1", "/x/junkdna_harness/embedded/models/7", "embedded:7", "models/1"):
        assert plain_name(path) == path


def test_a_chain_goes_beside_the_folder_first_and_never_to_a_packaged_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "moved" / "first", {**PRUNED, "source": {"pretrained": "org/right"}})
    checkpoint(tmp_path / "moved" / "second", {**PRUNED, "source": {"pretrained": "first"}})
    checkpoint(tmp_path / "here" / "first", {**PRUNED, "source": {"pretrained": "org/other"}})
    checkpoint(tmp_path / "moved" / "embedded", {**PRUNED, "source": {"pretrained": "org/wrong"}})
    checkpoint(tmp_path / "moved" / "third", {**PRUNED, "source": {"pretrained": "embedded"}})
    monkeypatch.chdir(tmp_path / "here")
    assert base_model("../moved/second") == "org/right"
    assert base_model("../moved/third") == "embedded"
    assert base_model("first") == "org/other"


def test_a_chain_that_bites_its_tail_or_leads_nowhere_ends(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a", {**PRUNED, "source": {"pretrained": str(tmp_path / "b")}})
    checkpoint(tmp_path / "b", {**PRUNED, "source": {"pretrained": str(tmp_path / "a")}})
    assert base_model(tmp_path / "a") in (str(tmp_path / "a"), str(tmp_path / "b"))
    for name in ("x" * 5000, "~nobody-at-all/x", "a\0b", "C:\\models\\llama"):
        assert base_model(name) == name
        checkpoint(tmp_path / "ck", {**PRUNED, "source": {"pretrained": name}})
        assert base_model(tmp_path / "ck") == name


@pytest.mark.parametrize(
    ("values", "said"),
    [({"level": "half"}, "level='half', which is no number"), ({"bits": True}, "bits=True, which is no number"),
     ({"level": 7}, "level=7, which is no share"), ({"sparsity_targeted": -0.1}, "which is no share"),
     ({"requested_sparsity": [0.5]}, "which is no number"), ({"method": 3}, "method=3, which is no name"),
     ({"method": " "}, "which is no name")],
)  # fmt: skip
def test_a_manifest_with_an_impossible_value_is_refused_by_name(
    tmp_path: Path, values: dict[str, Any], said: str
) -> None:
    checkpoint(tmp_path / "ck", {**PRUNED, **values})
    with pytest.raises(UsageError, match=said):
        evaluated(tmp_path / "log", str(tmp_path / "ck"))
    with pytest.raises(UsageError, match=said):
        evaluated(tmp_path / "wrapped", "m", block={**PRUNED, **values})


def test_a_manifest_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    checkpoint(tmp_path / "ck")
    (tmp_path / "ck" / "junkdna.json").write_text(json.dumps(PRUNED), encoding="utf-8-sig")
    assert know(tmp_path / "ck").level == 0.7  # type: ignore[union-attr]
    (tmp_path / "ck" / "junkdna.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(UsageError, match="is not UTF-8"):
        know(tmp_path / "ck")


@given(
    st.sampled_from(["magnitude", "wanda 2:4", "rtn", "magnitude+sparse_transfer", "pruned"]),
    st.sampled_from(["wanda", "magnitude"]),
    st.sampled_from(["", "2:4"]),
    st.sampled_from(["", *ARMS]),
)
def test_what_is_pruned_on_top_of_something_is_a_method_of_its_own(
    before: str, method: str, pattern: str, arm: str
) -> None:
    name = f"{method}+{arm}" if arm else method
    block = {"kind": "pruned", "method": name, "pattern": pattern or "0.7", "level": 0.7, "on_top_of": before}
    found = of_block(block)[0]
    assert found == then(before, method_of({**block, "on_top_of": None})) == Method.parse(str(found))
    assert found.base == f"{before.replace(' ', '_')}+{method}" and found.recovered == bool(arm)


def test_zeros_of_rounding_are_no_level_and_zeros_that_rounding_filled_are_told() -> None:
    block = {"kind": "pruned", "method": "magnitude", "level": 0.5, "requested_sparsity": 0.5, "bits": 2}
    assert of_block({**block, "sparsity_targeted": 0.8})[1:] == (0.5, 2, ())
    _, level, _, notes = of_block({**block, "sparsity_targeted": 0.3})
    assert level == 0.3 and "asked for 0.5, measured 0.3" in notes[0]


def test_what_was_asked_for_is_the_level_as_long_as_the_weights_bear_it_out() -> None:
    block = {"kind": "pruned", "method": "magnitude+random", "level": 0.9004, "sparsity_targeted": 0.9004}
    assert of_block({**block, "requested_sparsity": 0.9})[1] == 0.9
    assert of_block({**block, "requested_sparsity": 0.5})[1] == 0.9004


def saved(folder: Path, dtype: str, **changes: Any) -> Path:
    """A checkpoint as `junkdna prune` writes it."""
    torch = pytest.importorskip("torch")
    from junkdna_harness.compress import PruneSpec, prune
    from junkdna_harness.compress.checkpoint import save_checkpoint
    from tests.models_factory import make_model

    model, _ = make_model("llama", dtype=getattr(torch, dtype))
    save_checkpoint(model, None, prune(model, PruneSpec(sparsity=0.7)), folder, {"pretrained": "org/root"})
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_that_were_changed_since_are_seen_without_torch(tmp_path: Path, dtype: str) -> None:
    folder = saved(tmp_path / "ck", dtype)
    manifest = json.loads((folder / "junkdna.json").read_text())
    assert unlike(folder, manifest["tensors"]) == ""
    assert share_of_zeros(folder) == pytest.approx(0.7, abs=0.01)
    assert evaluated(tmp_path / "log", str(folder)).names == ["org/root magnitude 0.7"]
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[:8], "little")
    entry = json.loads(content[8 : 8 + size])["model.layers.0.mlp.up_proj.weight"]
    content[8 + size + entry["data_offsets"][0]] ^= (
        1  # as training under the mask would: the zeros stay where they are
    )
    file.write_bytes(content)
    read = evaluated(tmp_path / "again", str(folder))
    assert (read.runs["model"][0], read.runs["method"][0]) == ("served", "none")
    assert read.runs["level"][0] == pytest.approx(0.7, abs=0.01)
    assert "is not believed: 'model.layers.0.mlp.up_proj.weight' is not what it says" in " ".join(
        read.warnings
    )


def test_a_manifest_beside_the_weights_of_another_architecture_is_not_believed(tmp_path: Path) -> None:
    folder = weights(checkpoint(tmp_path / "ck", {**PRUNED, "tensors": {"other.weight": {"sha256": "0"}}}), 0)
    assert know(folder).method == Method("dense")  # type: ignore[union-attr]
    assert "'other.weight' is not among its weights" in " ".join(know(folder).notes)  # type: ignore[union-attr]


def test_the_neighbourhood_of_the_log_wins_over_the_current_folder_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for logs that were copied here from another machine, with their checkpoints."""
    checkpoint(tmp_path / "theirs" / "ck", {**PRUNED, "base_model": "theirs"})
    checkpoint(tmp_path / "ours" / "ck", {**PRUNED, "base_model": "ours", "level": 0.5})
    monkeypatch.chdir(tmp_path / "ours")
    read = evaluated(tmp_path / "theirs" / "out", "ck")
    assert read.names == ["theirs magnitude 0.7"]
    (note,) = read.warnings
    assert "'ck' may be" in note and "nearest to the log and taken" in note and "junkdna label" in note
    (tmp_path / "ours" / "ck" / "junkdna.json").write_text(
        (tmp_path / "theirs" / "ck" / "junkdna.json").read_text()
    )
    assert not evaluated(tmp_path / "theirs" / "out", "ck").warnings  # a copy is no other model


def test_a_folder_that_was_made_after_the_evaluation_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(tmp_path / "theirs" / "ck", {**PRUNED, "created": "2026-06-01T00:00:00+00:00"})
    checkpoint(tmp_path / "ours" / "ck", {**PRUNED, "base_model": "ours", "created": "2026-04-01T00:00:00"})
    monkeypatch.chdir(tmp_path / "ours")
    assert evaluated(tmp_path / "theirs" / "out", "ck", date=MAY).names == ["ours magnitude 0.7"]


def test_a_folder_of_results_is_not_taken_for_the_model_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lm-eval calls the folder of its results after the model."""
    checkpoint(tmp_path / "ck", PRUNED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "ck").mkdir(parents=True)  # of another run
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    for runs in ("runs", "link"):
        log = write_log(tmp_path / runs / "deep", {"t": [generated(0, acc=1.0)]}, model="ck")
        assert read_runs(log).names == ["base magnitude 0.7"]
    inside = write_log(tmp_path / "ck", {"t": [generated(0, acc=1.0)]}, model="ck")
    assert find_folders("ck", inside / "ck" / "results.json") == []


def test_old_manifests_and_links_that_are_younger_than_the_log_are_told(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "ck", PRUNED)  # without a time in it
    read = evaluated(tmp_path / "log", str(folder), date=MAY)
    assert read.names == ["base magnitude 0.7"]
    assert "was written, or copied, after this evaluation" in " ".join(read.warnings)
    os.utime(folder / "junkdna.json", (MAY - 9, MAY - 9))
    assert not evaluated(tmp_path / "log", str(folder), date=MAY).warnings
    (tmp_path / "latest").symlink_to(folder)
    read = evaluated(tmp_path / "log", str(tmp_path / "latest"), date=MAY)
    assert "is a link that was set after this evaluation" in " ".join(read.warnings)
    plain = weights(checkpoint(tmp_path / "plain"), 0.5)
    assert "was written, or copied, after" in " ".join(
        evaluated(tmp_path / "log", str(plain), date=MAY).warnings
    )


@pytest.mark.parametrize("name", ["/gone/away/ck", "./gone", "~/gone-away", "C:\\models\\ck", "..\\gone"])
def test_a_folder_that_is_not_here_is_named_and_the_run_is_a_guess(tmp_path: Path, name: str) -> None:
    read = evaluated(tmp_path / "log", name)
    assert len(read.guessed) == 1
    assert any(f"the folder {name!r} is neither near the log nor here" in text for text in read.warnings)


def test_a_path_that_was_written_on_windows_is_found_beside_the_log(tmp_path: Path) -> None:
    checkpoint(tmp_path / "models" / "ck", PRUNED)
    assert evaluated(tmp_path / "out", "models\\ck").names == ["base magnitude 0.7"]
    assert evaluated(tmp_path / "out", ".\\models\\ck\\").names == ["base magnitude 0.7"]


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-at-all/x", "a\0b", "x/" * 300])
def test_a_name_that_can_be_no_path_is_a_guess_like_any_other(tmp_path: Path, name: str) -> None:
    assert len(evaluated(tmp_path / "log", name).guessed) == 1


def test_an_adapter_on_another_model_than_it_was_trained_on_is_a_guess(tmp_path: Path) -> None:
    checkpoint(tmp_path / "base", PRUNED)
    checkpoint(tmp_path / "other", model_type="gpt2")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    manifest = {**PRUNED, "method": "magnitude+sparse_transfer_lora", "base_model": "root"}

    def read(pretrained: str, trained: str) -> Any:
        told = {**manifest, "source": {"model": trained}}
        (tmp_path / "adapter" / "junkdna.json").write_text(json.dumps(told))
        arguments = {"pretrained": pretrained, "peft": str(tmp_path / "adapter")}
        return read_runs(
            write_log(tmp_path / "log", {"t": [generated(0, acc=1.0)]}, model="m", model_args=arguments)
        )

    name = "root magnitude+sparse_transfer_lora 0.7"
    for trained in ("base", str(tmp_path / "base"), "./base/"):
        found = read(str(tmp_path / "base"), trained)
        assert (found.names, found.warnings) == ([name], ())
    found = read(str(tmp_path / "other"), "base")
    assert found.guessed == ["m dense"] and "which is another model" in " ".join(found.warnings)
    found = read("org/base", "base")
    assert found.names == [name] and "cannot be seen from here" in " ".join(found.warnings)


def test_a_hub_model_in_the_cache_is_known_by_its_snapshot_and_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "cache" / "models--org--sparse"
    for commit, revision, level in (("a" * 40, "main", 0.5), ("b" * 40, "deep", 0.8)):
        told = {**PRUNED, "level": level, "requested_sparsity": level, "sparsity_targeted": level}
        checkpoint(home / "snapshots" / commit, {**told, "base_model": "org/dense"})
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / revision).write_text(f"{commit}\n")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    for options, level in (({}, 0.5), ({"revision": "deep"}, 0.8), ({"revision": "b" * 40}, 0.8)):
        arguments = {"pretrained": "org/sparse", **options}
        log = write_log(
            tmp_path / "log", {"t": [generated(0, acc=1.0)]}, model="m", model_args=arguments, date=MAY
        )
        assert read_runs(log).names == [f"org/dense magnitude {level}"]
        assert not read_runs(log).warnings  # downloaded while it was evaluated, so it is younger
    assert base_model("org/sparse") == "org/dense"
