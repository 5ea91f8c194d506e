"""What a new manifest says of where its weights come from: the root, what had been done, and what was pruned on top of it."""

from __future__ import annotations

import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import MANIFEST, know, method_of
from difficulty.runs.identity import Method
from junkdna_harness.commands.inspect import inspect
from junkdna_harness.commands.prune import prune as prune_command
from junkdna_harness.commands.quantize import quantize as quantize_command
from junkdna_harness.compress import PruneSpec, QuantSpec, measure, prune, quantize
from junkdna_harness.compress.checkpoint import save_checkpoint
from junkdna_harness.compress.manifest import manifest_of, origin
from junkdna_harness.compress.origin import Origin
from junkdna_harness.embedded import model_path
from tests.models_factory import make_model, make_tokenizer, save_tiny

app = Typer()
app.command()(prune_command)
app.command()(quantize_command)
app.command()(inspect)


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return save_tiny("llama", tmp_path / "dense")


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """A function that runs a command on a model and gives the new folder and its manifest."""
    number = count()

    def run(command: str, source: Path | str, *options: object) -> tuple[Path, dict[str, Any]]:
        output = tmp_path / f"made{next(number)}"
        result = CliRunner().invoke(app, [str(p) for p in (command, source, *options, "-o", output)])
        if result.exception is not None:
            raise result.exception
        return output, json.loads((output / MANIFEST).read_text())

    return run


def method(folder: Path) -> str:
    """As tables have it; all readers of the folder agree."""
    known, read = know(folder), Origin.read(folder)
    assert known is not None and read is not None and known.method == read.method
    return str(known.method)


def test_a_pruning_of_what_was_pruned_or_rounded_is_never_called_by_itself(made: Any, dense: Path) -> None:
    pruned, _ = made("prune", dense, "--pattern", "2:4")
    again, manifest = made("prune", pruned, "--method", "random", "--sparsity", "0.8")
    assert (manifest["method"], manifest["on_top_of"]) == ("random", "magnitude_2:4")
    assert manifest["before"]["method"] == "magnitude"
    assert method(again) == "magnitude_2:4+random"
    third, manifest = made("prune", again, "--sparsity", "0.9")
    assert method(third) == "magnitude_2:4+random+magnitude"
    rounded, _ = made("quantize", third)
    assert method(rounded) == "magnitude_2:4+random+magnitude"
    copy, manifest = made("prune", again, "--method", "none")
    assert method(copy) == method(again)
    codes, _ = made("quantize", dense)
    holed, _ = made("prune", codes, "--sparsity", "0.5")
    assert method(holed) == "rtn+magnitude"
    shown = CliRunner().invoke(app, ["inspect", str(again)]).output
    assert "on top of magnitude_2:4" in " ".join(shown.split())


def test_a_pruning_of_a_strangers_sparse_model_is_not_called_by_itself_either(made: Any, dense: Path) -> None:
    pruned, _ = made("prune", dense, "--sparsity", "0.5")
    (pruned / MANIFEST).unlink()
    again, manifest = made("prune", pruned, "--sparsity", "0.8")
    assert method(again) == "pruned+magnitude" and manifest["base_model"] == str(pruned)


@pytest.mark.parametrize("recovered", ["magnitude+sparse_transfer", "dense+dense_transfer"])
def test_a_pruning_after_a_training_is_no_pruning_of_the_dense_model(recovered: str, tmp_path: Path) -> None:
    """A method has one base and then its trainings, so what was pruned after a training is a base of its own."""
    model, _ = make_model("llama")
    if recovered.startswith("magnitude"):
        prune(model, PruneSpec(sparsity=0.5))
    level = 0.5 if recovered.startswith("magnitude") else 0.0
    shares = dict(measure(model).sparsity_by_module)
    told = {"kind": "pruned", "method": recovered, "level": level, "sparsity_by_module": shares}
    report = prune(model, PruneSpec(sparsity=0.8), manifest=told)
    assert (report.method, report.on_top_of) == ("magnitude", recovered)
    assert any("had been trained before" in warning for warning in report.warnings)
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "out", {"pretrained": "org/model"})
    found = method_of(json.loads((tmp_path / "out" / MANIFEST).read_text()))
    assert str(found) == method(tmp_path / "out") == f"{recovered}+magnitude"
    assert not found.recovered and found.base != "magnitude"


def test_measuring_a_recovered_model_names_the_recovery() -> None:
    model, _ = make_model("llama")
    prune(model, PruneSpec(pattern="2:4"))
    shares = dict(measure(model).sparsity_by_module)
    name = "magnitude 2:4+sparse_transfer_lora@0.5"
    told = {"kind": "pruned", "method": name, "level": 0.5, "sparsity_by_module": shares}
    report = measure(model, manifest=told)
    assert (report.method, report.level, report.on_top_of) == (name, 0.5, None)


@pytest.mark.parametrize("change", [PruneSpec(sparsity=0.9), PruneSpec(method="none"), QuantSpec(bits=4)])
def test_a_manifest_that_is_not_believed_gives_no_root(tmp_path: Path, change: Any) -> None:
    """It was copied from another model's folder: its root would lend this model's scores to that one."""
    save_tiny("llama", tmp_path / "mine", seed=1)
    model, _ = make_model("llama")
    report = prune(model, PruneSpec(sparsity=0.5))
    save_checkpoint(model, make_tokenizer(), report, tmp_path / "other", {"pretrained": "org/other"})
    shutil.copy(tmp_path / "other" / MANIFEST, tmp_path / "mine" / MANIFEST)
    from transformers import AutoModelForCausalLM

    mine = AutoModelForCausalLM.from_pretrained(tmp_path / "mine")
    act: Any = prune if isinstance(change, PruneSpec) else quantize
    report = act(mine, change, make_tokenizer())
    source = {"pretrained": str(tmp_path / "mine")}
    manifest = save_checkpoint(mine, make_tokenizer(), report, tmp_path / "out", source)
    assert any("is not of these weights" in warning for warning in report.warnings)
    assert (manifest["base_model"], manifest["before"]) == (str(tmp_path / "mine"), None)


def test_the_embedded_model_by_its_folder_is_the_embedded_model() -> None:
    assert origin({"pretrained": str(model_path())})["base_model"] == "embedded"
    assert origin({"model": "embedded"})["base_model"] == "embedded"
    assert origin({"pretrained": "./some/model/"})["base_model"] == "some/model"
    assert origin({})["base_model"] is None


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that puts a folder into the hub's cache under a name."""
    import transformers.utils.hub as transformers_hub
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    for module in (constants, transformers_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))

    def put(folder: Path, name: str, commit: str = "0" * 40, revision: str = "main") -> None:
        home = cache / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, home / "snapshots" / commit)
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / revision).write_text(commit)

    return put


def test_the_manifest_of_a_hub_model_is_read_from_its_snapshot(made: Any, dense: Path, hub: Any) -> None:
    pruned, before = made("prune", dense, "--pattern", "2:4")
    hub(pruned, "org/sparse")
    _, after = made("quantize", "org/sparse")
    assert (after["method"], after["pattern"], after["level"]) == ("magnitude", "2:4", 0.5)
    assert after["base_model"] == str(dense)
    assert after["before"]["weights_sha256"] == before["weights_sha256"]
    again, _ = made("prune", "org/sparse", "--sparsity", "0.8")
    assert method(again) == "magnitude_2:4+magnitude"
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained("org/sparse")  # as Python users load it
    assert measure(loaded).method == "magnitude"


def test_each_revision_of_a_hub_model_has_its_own_manifest(made: Any, dense: Path, hub: Any) -> None:
    for number, sparsity in enumerate(("0.5", "0.8")):
        folder, _ = made("prune", dense, "--sparsity", sparsity)
        hub(folder, "org/sparse", str(number) * 40, ("main", "deep")[number])
    assert manifest_of("org/sparse")["level"] == 0.5
    assert manifest_of("org/sparse", "deep")["level"] == manifest_of("org/sparse", "1" * 40)["level"] == 0.8
    _, after = made("quantize", "org/sparse", "--revision", "deep")
    assert (after["level"], after["before"]["level"]) == (0.8, 0.8)
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained("org/sparse")  # which of the two is not written in it
    assert measure(loaded).method == "none"
    assert manifest_of("org/elsewhere") == {} and manifest_of("./nowhere") == {}


def test_a_damaged_manifest_of_a_hub_model_is_refused(made: Any, dense: Path, hub: Any) -> None:
    (dense / MANIFEST).write_text("[")
    hub(dense, "org/bad")
    with pytest.raises(UsageError, match="is not whole JSON"):
        made("quantize", "org/bad")


def test_a_method_of_the_dense_model_is_on_top_of_nothing() -> None:
    model, _ = make_model("llama")
    report = prune(model, PruneSpec(sparsity=0.5))
    assert report.on_top_of is None and method_of(report.to_dict()) == Method("magnitude")
