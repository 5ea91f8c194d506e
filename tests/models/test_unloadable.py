"""Every verb that takes a checkpoint, on every way in which one can be broken: one sentence, another exit code than 0, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from difficulty.errors import UsageError
from junkdna_harness.cli import app
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from junkdna_harness.sequential.loading import load as load_for_gate
from tests.commands import lm_eval
from tests.models_factory import make_model, save_tiny

FILE, INDEX, SHARD = "model.safetensors", "model.safetensors.index.json", "model-00002-of-00002.safetensors"
LOST = "model.layers.1.mlp.up_proj.weight"
TASK = "difficulty_tiers_copying_t1"


def cut(name: str, size: Callable[[int], int]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: size(len(data))])

    return change


def write(name: str, content: bytes) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def gone(*names: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def header(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """The header of the weights' file, changed; its data stays."""

    def rewrite(folder: Path) -> None:
        data = (folder / FILE).read_bytes()
        size = int.from_bytes(data[:8], "little")
        values = json.loads(data[8 : 8 + size])
        change(values)
        text = json.dumps(values).encode()
        (folder / FILE).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])

    return rewrite


def claims_more(values: dict[str, Any]) -> None:
    name = max(values, key=lambda name: values[name].get("data_offsets", [0, 0])[1])
    values[name]["data_offsets"][1] *= 1000
    values[name]["shape"][0] *= 1000


def config(**changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        kept = {name: value for name, value in (values | changes).items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return change


def tensors(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def rewrite(folder: Path) -> None:
        values = load_file(folder / FILE)
        change(values)
        save_file(values, folder / FILE, {"format": "pt"})

    return rewrite


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / FILE), folder / "pytorch_model.bin")
    (folder / FILE).unlink()


def a_folder_instead(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def a_dangling_link(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("/nowhere/blob")

    return change


def own_code(folder: Path) -> None:
    config(model_type="ours", auto_map={"AutoConfig": "ours.Config", "AutoModelForCausalLM": "ours.Model"})(
        folder
    )
    (folder / "ours.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w')\n")


def no_permission(folder: Path) -> None:
    (folder / FILE).chmod(0)


# Fault -> what breaks a whole checkpoint, and words of the sentence. Those of weights are found by `inspect` too.
WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (write(FILE, b""), "cut off or damaged"),
    "cut within the length": (cut(FILE, lambda size: 5), "cut off or damaged"),
    "cut within the header": (cut(FILE, lambda size: 200), "cut off or damaged"),
    "cut within the data": (cut(FILE, lambda size: size // 2), "cut off or damaged"),
    "cut by one byte": (cut(FILE, lambda size: size - 1), "cut off or damaged"),
    "a header that claims more": (header(claims_more), "cut off or damaged"),
    "a header of a huge length": (write(FILE, b"\xff" * 7 + b"\x7f" + b"{}"), "cut off or damaged"),
    "a header that is no JSON": (write(FILE, (8).to_bytes(8, "little") + b"{nonsens"), "cut off or damaged"),
    "all zeros": (lambda folder: write(FILE, bytes((folder / FILE).stat().st_size))(folder), "cut off or damaged"),
    "where Git LFS keeps it": (write(FILE, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull"),
    "a folder for the weights": (a_folder_instead(FILE), "is no file"),
    "a dangling link for the weights": (a_dangling_link(FILE), "is a link to '/nowhere/blob', which is not there"),
    "no permission": (no_permission, "cannot be read"),
    "no weights": (gone(FILE), "holds no weights"),
    "pickles": (pickled, "only safetensors are read here"),
}  # fmt: skip
SHARDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard missing": (gone(SHARD), f"1 of the 2 files with its weights are missing, e.g. {SHARD}"),
    "a shard cut off": (cut(SHARD, lambda size: size // 2), f"{SHARD} is cut off or damaged"),
    "a shard that is a folder": (a_folder_instead(SHARD), f"{SHARD} is no file"),
    "a shard that is a dangling link": (a_dangling_link(SHARD), f"{SHARD} is a link to"),
}
OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "an index of other files": (
        lambda folder: write(INDEX, (folder / INDEX).read_bytes().replace(b"00002-of", b"00003-of"))(folder),
        "are missing",
    ),
    "an index that is no JSON": (cut(INDEX, lambda size: size // 2), "is not whole JSON"),
    "an index of nothing": (write(INDEX, b"{}"), "does not say in which files"),
    "an index that is a list": (write(INDEX, b"[]"), "holds no JSON object"),
    "an index of pickles": (
        lambda folder: (
            write(INDEX, (folder / INDEX).read_bytes().replace(b"2.safetensors", b"2.bin"))(folder),
            (folder / SHARD).rename(folder / SHARD.replace("safetensors", "bin")),
        ),
        "only safetensors are read here",
    ),
    "weights named in the config": (config(transformers_weights="adapter_model.bin"), "only safetensors are read here"),
    "code of its own": (own_code, "comes with code of its own"),
    "a config cut off": (cut("config.json", lambda size: size // 2), "is not whole JSON"),
    "an empty config": (write("config.json", b""), "is not whole JSON"),
    "a config of nothing": (write("config.json", b"{}"), "could not be loaded"),
    "a config that is a list": (write("config.json", b"[1]"), "holds no JSON object"),
    "a config of no text": (write("config.json", b"\xfe\x00\xff"), "is not UTF-8"),
    "a config in UTF-16": (write("config.json", b"\xff\xfe{\x00}\x00"), "is saved as UTF-16"),
    "a config of no known kind": (config(model_type="llamma"), "could not be loaded"),
    "a config without a kind": (config(model_type=None), "could not be loaded"),
    "a config whose kind is a number": (config(model_type=3), "could not be loaded"),
    "a config whose kind is a list": (config(model_type=["llama"]), "could not be loaded"),
    "a config with words for numbers": (config(hidden_size="thirty-two"), "could not be loaded"),
    "no config": (gone("config.json"), "a folder without config.json"),
    "a folder for the config": (a_folder_instead("config.json"), "a folder without config.json"),
    "a tokenizer cut off": (cut("tokenizer.json", lambda size: size // 2), "tokenizer.json' is not whole JSON"),
    "settings of the tokenizer cut off": (cut("tokenizer_config.json", lambda size: 20), "tokenizer_config.json' is not whole JSON"),
    "a tokenizer of nothing": (write("tokenizer.json", b"{}"), "tokenizer"),
    "settings of generation cut off": (cut("generation_config.json", lambda size: 20), "generation_config.json' is not whole JSON"),
    "a folder for the tokenizer": (a_folder_instead("tokenizer.json"), "tokenizer.json is no file"),
}  # fmt: skip
# What only loading shows.
LOADED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tensor missing": (tensors(lambda t: t.pop(LOST)), rf"lack 1 of the model's tensors ({LOST})"),
    "a tensor of another shape": (tensors(lambda t: t.update({LOST: t[LOST][:10].contiguous()})), "tensors of other shapes"),
    "a config of another width": (config(hidden_size=64, head_dim=None), "tensors of other shapes"),
    "a config of more layers": (config(num_hidden_layers=3), "of the model's tensors"),
    "tensors of other names": (tensors(lambda t: [t.update({"x." + n: t.pop(n)}) for n in list(t)]), "of the model's tensors"),
    "a config whose heads do not divide": (config(num_attention_heads=0), "could not be loaded"),
}  # fmt: skip
FAULTS = {**WEIGHTS, **SHARDS, **OTHERS, **LOADED}
NO_TOKENIZER = gone("tokenizer.json", "tokenizer_config.json")


def verb(*words: str) -> Callable[[str], object]:
    """The command, with the checkpoint's folder for FOLDER."""
    return lambda folder: app([word.replace("FOLDER", folder) for word in words], standalone_mode=False)


VERBS: dict[str, Callable[[str], object]] = {
    "inspect": verb("inspect", "FOLDER"),
    "prune": verb("prune", "FOLDER", "--method", "magnitude", "--sparsity", "0.5", "-o", "out"),
    "prune --dry-run": verb("prune", "FOLDER", "--method", "magnitude", "--sparsity", "0.5", "--dry-run"),
    "quantize": verb("quantize", "FOLDER", "--method", "rtn", "--bits", "4", "-o", "out"),
    "recover": verb("recover", "FOLDER", "--arm", "sparse_transfer", "--data", "../text.jsonl", "--steps", "1", "-o", "out"),
    "sweep": verb("sweep", "--model_args", "pretrained=FOLDER", "--tasks", TASK, "--methods", "magnitude", "--sparsity", "0.5", "-o", "out"),
    "sweep --dry-run": verb("sweep", "--model_args", "pretrained=FOLDER", "--tasks", TASK, "--methods", "magnitude", "--sparsity", "0.5", "--dry-run"),
    "study": verb("study", "FOLDER", "--quick", "--data", "../text.jsonl", "-o", "out"),
    "fidelity": verb("fidelity", "FOLDER", "--against", "FOLDER", "--text", "../text.jsonl"),
    "gate": lambda folder: load_for_gate(folder, device="cpu"),
    "gate --model hf": lambda folder: load_for_gate(folder, "hf", device="cpu"),
    "junkdna-pruned": lambda folder: PrunedLM.create_from_arg_obj({"pretrained": folder, "method": "none"}, {"device": "cpu"}),
    "junkdna-quantized": lambda folder: QuantizedLM.create_from_arg_obj({"pretrained": folder, "method": "rtn", "bits": 4}, {"device": "cpu"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A pruned checkpoint in one file, and in two with an index."""
    folder = tmp_path_factory.mktemp("whole")
    save_tiny("llama", folder / "dense")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        verb("prune", "FOLDER", "--method", "magnitude", "--sparsity", "0.5", "-o", "one")("dense")
    shutil.copytree(folder / "one", folder / "two")
    (folder / "two" / FILE).unlink()
    model, _ = make_model("llama")
    model.load_state_dict(load_file(folder / "one" / FILE))
    model.save_pretrained(folder / "two", max_shard_size="60KB")
    assert len(list((folder / "two").glob("*.safetensors"))) == 2
    (folder / "text.jsonl").write_text(
        "".join(json.dumps({"prompt": f"{n} and", "answer": f" {n + 1}"}) + "\n" for n in range(8))
    )
    return {False: folder / "one", True: folder / "two"}


@pytest.fixture
def broken(whole: dict[bool, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a broken checkpoint; the folder in which commands run is beside it."""
    (tmp_path / "work").mkdir()
    shutil.copy(whole[False].parent / "text.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path / "work")

    def make(fault: str) -> str:
        folder = tmp_path / "model"
        sharded = fault in SHARDS or "index" in fault
        shutil.copytree(whole[sharded], folder)
        FAULTS[fault][0](folder)
        return str(folder)

    return make


def refused(capsys: pytest.CaptureFixture[str], run: Callable[[str], object], folder: str) -> str:
    """The sentence with which `run` ends."""
    capsys.readouterr()
    try:
        found = run(folder)
    except UsageError as error:
        return str(error)
    except SystemExit as error:
        assert error.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("junkdna: ")
        return lines[-1].removeprefix("junkdna: ")
    if isinstance(found, int) and found:  # the exit code of `inspect`
        return capsys.readouterr().err.strip().splitlines()[-1].removeprefix("junkdna: ")
    raise AssertionError(f"it went on: {found!r}")


@pytest.mark.parametrize("fault", FAULTS)
def test_every_verb_refuses(
    fault: str, broken: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if fault == "no permission" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder, told = broken(fault), FAULTS[fault][1]
    wrong = {}
    for name, run in VERBS.items():
        if name == "inspect" and fault not in (*WEIGHTS, *SHARDS):
            continue
        if fault in LOADED and name in ("prune --dry-run", "sweep --dry-run", "gate --model hf"):
            continue
        try:
            sentence = refused(capsys, run, folder)
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}"
            continue
        if "\n" in sentence or (told not in sentence and name != "inspect"):
            wrong[name] = sentence
        if left := sorted(path.name for path in Path().iterdir()):
            wrong[name] = f"left {left} behind; {sentence}"
            shutil.rmtree("out")
    assert not wrong
    assert not (tmp_path / "ran").exists(), "code that came with the checkpoint was run"


def test_without_a_tokenizer_a_checkpoint_can_be_compressed_and_not_asked(
    broken: Callable[[str], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAULTS, "no tokenizer", (gone("tokenizer.json", "tokenizer_config.json"), ""))
    folder = broken("no tokenizer")
    for name, run in VERBS.items():
        if name in ("inspect", "prune", "prune --dry-run", "quantize", "sweep --dry-run"):
            continue
        assert "tokenizer" in refused(capsys, run, folder), name
        assert not list(Path().iterdir()), name
    for name in ("inspect", "prune", "quantize"):
        VERBS[name](folder)
        shutil.rmtree("out", ignore_errors=True)


def test_of_a_key_that_stands_twice_in_a_models_own_files_the_last_holds_as_for_transformers(
    broken: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(folder: Path) -> None:
        for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
            text = (folder / name).read_text().strip()
            (folder / name).write_text(f'{text[:-1]}, "use_cache": false, "use_cache": true}}')

    monkeypatch.setitem(FAULTS, "twice", (twice, ""))
    VERBS["prune --dry-run"](folder := broken("twice"))
    VERBS["junkdna-pruned"](folder)


def adapter(folder: Path, lose: str = "", **changes: Any) -> Path:
    """An adapter of the checkpoint beside it, some of its tensors lost."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder.parent / "model")
    made = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    made.save_pretrained(folder)
    if lose:
        values = load_file(folder / "adapter_model.safetensors")
        kept = {name: value for name, value in values.items() if lose not in name}
        assert len(kept) < len(values)
        save_file(kept, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


ADAPTERS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "tensors lost": ("layers.1", lambda folder: None, "its files lack tensors that its config asks for"),
    "cut off": ("", cut("adapter_model.safetensors", lambda size: size // 2), "is cut off or damaged"),
    "pickled": ("", lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"), "only safetensors"),
    "no weights": ("", gone("adapter_model.safetensors"), "holds no weights"),
    "a config cut off": ("", cut("adapter_config.json", lambda size: size // 2), "is not whole JSON"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ADAPTERS)
@pytest.mark.parametrize("alone", [False, True], ids=["peft=", "pretrained="])
def test_an_adapter_that_is_not_whole_is_refused(
    fault: str, alone: bool, whole: dict[bool, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lose, change, told = ADAPTERS[fault]
    shutil.copytree(whole[False], tmp_path / "model")
    folder = adapter(tmp_path / "adapter", lose)
    change(folder)
    given = (
        {"pretrained": str(folder)} if alone else {"pretrained": str(tmp_path / "model"), "peft": str(folder)}
    )
    run = lambda _: PrunedLM.create_from_arg_obj({**given, "method": "none"}, {"device": "cpu"})  # noqa: E731
    sentence = refused(capsys, run, "")
    assert told in sentence


def test_pickles_are_read_on_no_demand(whole: dict[bool, Path]) -> None:
    with pytest.raises(UsageError, match="use_safetensors=False asks for pickled weights"):
        PrunedLM(pretrained=str(whole[False]), device="cpu", use_safetensors=False)


def test_lm_eval_itself_ends_with_the_sentence(broken: Callable[[str], str]) -> None:
    fault = "a tensor missing"
    folder, told = broken(fault), FAULTS[fault][1]
    run = lm_eval(
        *(
            "--model_args",
            f"pretrained={folder},sparsity=0.5",
            "--tasks",
            TASK,
            "--limit",
            "2",
            "--output_path",
            "out",
        ),
        cwd=Path(),
    )
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 2 and last.startswith("junkdna: ") and told in last
    assert "Traceback" not in run.stderr and not Path("out").exists()


def test_a_model_of_the_hub_that_cannot_be_had_is_refused_before_a_folder_is_taken(
    broken: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sweep", "sweep --dry-run", "study", "recover"):
        assert "could not be loaded" in refused(capsys, VERBS[name], "nobody/nothing-of-that-name")
        assert not list(Path().iterdir()), name


@pytest.mark.parametrize("name", ["x" * 300, "./" + "x" * 300, "a\0b", "./a\0b", " ", "."])
def test_a_name_that_no_folder_can_have_is_one_sentence(
    name: str, broken: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    for verb_of in ("prune", "quantize", "recover", "fidelity", "gate", "junkdna-pruned"):
        assert "\n" not in refused(capsys, VERBS[verb_of], name), verb_of
