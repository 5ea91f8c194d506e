"""A result that could not be written is refused before the work, by every verb and for each of its outputs; nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from difficulty.errors import UsageError
from junkdna_harness.cli import app

NO = "f/out"  # below a file
# Verb, then each option that names an output; inputs need not exist, for they are not reached.
OUTPUTS = [
    ("prune", "embedded", ["--output", "--save-mask"]),
    ("quantize", "embedded", ["--output"]),
    ("recover", "embedded", ["--output"]),
    ("tiers build", "--task arc_easy --by answer_length", ["--output"]),
    ("tiers build", "--task arc_easy --by answer_length --dry-run", ["--plot"]),
    ("fidelity", "--sparsity 0.5 --methods magnitude", ["--json", "--html", "--plots", "--tokens"]),
    ("table", "runs", ["--output"]),
    ("compare", "runs other", ["--json"]),
    ("fit", "runs", ["--json", "--csv", "--cells"]),
    ("report", "runs", ["--markdown", "--csv", "--latex", "--html", "--plots"]),
    (
        "check",
        "runs --against other",
        ["--json", "--junit-xml", "--history", "--write-baseline", "--write-policy"],
    ),
    ("check", "--trend runs", ["--json"]),
    ("gate", "embedded --against other", ["--json", "--junit-xml", "--history"]),
    ("power", "--tasks difficulty_tiers", ["--json"]),
]


@pytest.mark.parametrize(
    ("verb", "arguments", "option"), [(v, a, option) for v, a, options in OUTPUTS for option in options]
)
def test_an_output_that_cannot_be_written_is_refused_first(
    verb: str, arguments: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_text("a file")
    given = [NO + ".csv" if option == "--tokens" else NO]
    run = CliRunner().invoke(app, [*verb.split(), *arguments.split(), option, *given])
    assert run.exit_code, run.output
    assert isinstance(run.exception, UsageError), (run.output, run.exception)
    assert "f/out" in str(run.exception) and "Not a directory" in str(run.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["f"] and (tmp_path / "f").read_text() == "a file"


@pytest.mark.parametrize("mask", ["out", "out/mask.safetensors", "./x/../out/deep/mask.safetensors"])
def test_a_mask_is_not_written_into_the_checkpoint_that_is_to_appear_whole(
    mask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["prune", "--sparsity", "0.5", "-o", "out", "--save-mask", mask])
    assert isinstance(run.exception, UsageError) and "--save-mask" in str(run.exception)
    assert list(tmp_path.iterdir()) == []
