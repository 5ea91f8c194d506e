"""The `junkdna` command: every verb has help, mistakes get one sentence, the doctor finds faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from junkdna_harness.cli import app
from junkdna_harness.precision import choose
from tests.commands import junkdna


def test_every_verb_says_what_it_does() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert command.help, name


def test_a_mistake_gets_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    run = junkdna("fit", str(tmp_path / "nothing"))
    assert run.returncode == 2
    assert run.stderr.startswith("junkdna: ")
    assert "Traceback" not in run.stderr
    assert run.stderr.count("\n") == 1


def test_tasks_dir_is_where_the_suite_is() -> None:
    folder = Path(junkdna("tasks-dir").stdout.strip())
    assert (folder / "graded" / "difficulty_tiers.yaml").is_file()


def test_the_doctor_is_content_here() -> None:
    run = junkdna("doctor")
    assert run.returncode == 0, run.stdout
    assert "junkdna-pruned, junkdna-quantized" in run.stdout
    assert "extra smollm2" in run.stdout
    (line,) = (line for line in run.stdout.splitlines() if "dtype=auto-cpu here" in line)
    assert line.split()[-1] == choose("cpu").dtype


def test_the_doctor_says_when_autoload_is_off() -> None:
    run = junkdna("doctor", JUNKDNA_NO_AUTOLOAD="1")
    assert "off by JUNKDNA_NO_AUTOLOAD" in run.stdout


def test_the_doctor_fails_where_lm_eval_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "lm_eval"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('broken on purpose')")
    run = junkdna("doctor", PYTHONPATH=str(tmp_path))
    assert run.returncode == 1
    assert "broken on purpose" in run.stdout
