"""`--push-to-hub`: who may write is asked first, and what is uploaded is the checkpoint alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from difficulty.errors import UsageError
from junkdna_harness.cli import app
from junkdna_harness.compress.checkpoint_files import parts_of
from junkdna_harness.hub import PushError, Repository, check, push
from tests.hub.fake_hub import TOKEN, Hub, running

WRITTEN = {"README.md", "config.json", "generation_config.json", "junkdna.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    with running() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_pruned_checkpoint_is_uploaded_whole_and_private(hub: Hub, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("prune", "-o", out, "--push-to-hub", "lab/tiny", "--push-branch", "half")
    assert result.exit_code == 0, result.output
    assert hub.private == {"lab/tiny": True}
    files = hub.repositories["lab/tiny"]["half"]
    assert set(files) == WRITTEN and hub.repositories["lab/tiny"]["main"] == {}
    assert all((out / name).read_bytes() == data for name, data in files.items())
    card = files["README.md"].decode()
    assert 'from_pretrained("lab/tiny")' in card and "pretrained=lab/tiny" in card
    assert f"{hub.url}/lab/tiny" in result.output and TOKEN not in result.output


def test_quantize_and_recover_upload_too(hub: Hub, tmp_path: Path) -> None:
    first, second = tmp_path / "q", tmp_path / "r"
    result = run("quantize", "--bits", 4, "-o", first, "--push-to-hub", "me/four", "--public")
    assert result.exit_code == 0, result.output
    options = (
        "--arm",
        "dense_transfer",
        "--adapter",
        "lora",
        "--merge",
        "keep",
        "--steps",
        1,
        "--batch-size",
        2,
    )
    result = run("recover", first, "-o", second, *options, "--push-to-hub", "me/five")
    assert result.exit_code == 0, result.output
    assert hub.private == {"me/four": False, "me/five": True}
    assert set(hub.repositories["me/four"]["main"]) == WRITTEN
    assert set(hub.repositories["me/five"]["main"]) == {path.name for path in second.iterdir()}
    card = hub.repositories["me/five"]["main"]["README.md"].decode()
    assert (
        "library_name: peft" in card and "pretrained=q,peft=me/five" in card and "junkdna recover q " in card
    )


def test_nothing_else_of_the_folder_goes_up_and_old_weights_go(hub: Hub, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "README.md", "notes.md", "optimizer.pt", "modeling_own.py", ".env", "wandb/run.json", "model_old.safetensors"):  # fmt: skip
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_text("{}")
    (tmp_path / "c" / "LICENSE").symlink_to(tmp_path / "c" / ".env")
    hub.repositories["me/old"] = {"main": {"model-00001-of-00002.safetensors": b"old", "pytorch_model.bin": b"old", "eval.md": b"kept"}}  # fmt: skip
    hub.private["me/old"] = True
    ours, others = parts_of(tmp_path / "c")
    assert ours == ["README.md", "config.json", "model.safetensors"]
    assert others == [
        "model_old.safetensors",
        "modeling_own.py",
        "notes.md",
        "optimizer.pt",
        "wandb/run.json",
    ]
    push(tmp_path / "c", ours, Repository("me/old"), "again")
    assert set(hub.repositories["me/old"]["main"]) == {*ours, "eval.md"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other/x", "'other' is neither that user nor one of its organizations. Write one of me, lab, club"),
        ("club/x", "its role in 'club' is read"),
        ("x", "Write me/x"),
        ("a/b/c", "is no name of a repository"),
        ("lab/a b", "is no name of a repository"),
    ],
)
def test_a_name_that_cannot_be_written_is_refused_before_anything_is_loaded(
    name: str, words: str, hub: Hub, tmp_path: Path
) -> None:
    result = run("prune", "no/such/model", "-o", tmp_path / "out", "--push-to-hub", name)
    assert isinstance(result.exception, UsageError) and words in str(result.exception), result.exception
    assert not any("POST" in asked for asked in hub.asked) and list(tmp_path.iterdir()) == []


def test_who_may_write_is_looked_at(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(Repository("lab/x")) == "lab/x can be made on the Hub, as me"
    hub.me["auth"] = {"accessToken": {"role": "read"}}
    with pytest.raises(UsageError, match="its token is for reading alone"):
        check(Repository("lab/x"))
    rights = [{"entity": {"name": "me"}, "permissions": ["repo.content.read", "repo.write"]}]
    hub.me["auth"] = {"accessToken": {"role": "fineGrained", "fineGrained": {"scoped": rights}}}
    assert check(Repository("me/x"))
    with pytest.raises(UsageError, match="its token has no right to write there"):
        check(Repository("lab/x"))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UsageError, match="the Hub refuses the token") as caught:
        check(Repository("me/x"))
    assert "hf_wrong" not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.hf_api.get_token", lambda: None)
    with pytest.raises(UsageError, match="nobody is logged in"):
        check(Repository("me/x"))


def test_what_everybody_can_read_is_not_written_unasked(hub: Hub) -> None:
    hub.repositories["me/open"], hub.private["me/open"] = {"main": {}}, False
    hub.repositories["me/own"], hub.private["me/own"] = {"main": {}}, True
    with pytest.raises(UsageError, match="everybody can read it. Give --public"):
        check(Repository("me/open"))
    with pytest.raises(UsageError, match="and private"):
        check(Repository("me/own", private=False))
    assert check(Repository("me/open", private=False)) == "me/open can be written on the Hub, as me"
    assert check(Repository("me/own")) == "me/own can be written on the Hub, as me"


def test_a_hub_that_is_not_there_is_one_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub.refuse["whoami"] = 500
    with pytest.raises(UsageError, match="the Hub cannot be asked about 'me/x'"):
        check(Repository("me/x"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        check(Repository("me/x"))


def test_an_upload_that_fails_leaves_the_checkpoint_whole(hub: Hub, tmp_path: Path) -> None:
    hub.refuse["/commit/"] = 403
    out = tmp_path / "out"
    result = run("prune", "-o", out, "--push-to-hub", "lab/tiny")
    assert isinstance(result.exception, PushError) and result.exception.exit_code == 1
    said = str(result.exception)
    assert f"the checkpoint is whole in {str(out)!r}" in said and f"hf upload lab/tiny {out}" in said
    assert run("inspect", out).exit_code == 0 and {path.name for path in out.iterdir()} == WRITTEN


def test_options_that_say_nothing_alone_are_refused(tmp_path: Path) -> None:
    for given, words in ((["--public"], "Add --push-to-hub"), (["--push-branch", "b"], "Add --push-to-hub")):
        result = run("prune", "-o", tmp_path / "out", *given)
        assert isinstance(result.exception, UsageError) and words in str(result.exception)
    result = run("prune", "--save-mask", tmp_path / "m", "--push-to-hub", "a/b")
    assert "Add --output DIR" in str(result.exception)
