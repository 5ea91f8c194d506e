"""Two processes that train into one folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from difficulty.errors import UsageError
from junkdna_harness.recover import alone as module
from junkdna_harness.recover.alone import alone
from junkdna_harness.recover.run import recover
from junkdna_harness.recover.spec import RecoverSpec

HOLDER = """
import sys
from pathlib import Path
from junkdna_harness.recover.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_and_may_go_on_when_the_first_has_ended(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    output = tmp_path / "out"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="another process is training into .*out'"):
        recover(str(checkpoint), output)
    first.kill()  # its lock ends with it, though the file stays
    first.wait()
    assert (tmp_path / ".out.lock").exists()
    with alone(output):
        pass
    assert not (tmp_path / ".out.lock").exists()


def test_a_training_whose_place_was_taken_over_writes_no_checkpoint_and_no_result(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    class Stolen(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: object, state: Any, control: object, **kwargs: object) -> None:
            if state.global_step == 3:
                (tmp_path / ".out.lock").unlink()

    spec = RecoverSpec(arm="dense_transfer", data=str(lines), steps=6, save_every=1)
    with pytest.raises(UsageError, match="no longer held by this process"):
        recover(str(checkpoint), tmp_path / "out", spec, callbacks=(Stolen(),))
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in (tmp_path / ".out.training").glob("checkpoint-*")) == [
        f"checkpoint-{step}"
        for step in (2, 3)  # the last two are kept
    ]


def test_the_lock_is_the_first_process_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with alone(tmp_path / "out"):
        assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"), alone(tmp_path / "file" / "out"):
        pass


def test_what_is_refused_leaves_no_folder(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        recover(str(checkpoint), tmp_path / "new" / "out", RecoverSpec(data="nowhere.jsonl"))
    assert not (tmp_path / "new").exists()
