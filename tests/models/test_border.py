"""A `UsageError` is one sentence and exit code 2 under lm-eval's command, and an exception everywhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from difficulty.errors import UsageError
from junkdna_harness import border

RAISER = """
import sys
from difficulty.errors import UsageError
from junkdna_harness.border import end_lm_eval_with_a_sentence
end_lm_eval_with_a_sentence()
end_lm_eval_with_a_sentence()
raise {0}("no such thing")
"""


@pytest.mark.parametrize(
    ("program", "error", "code", "told"),
    [
        ("lm_eval", "UsageError", 2, "junkdna: no such thing\n"),
        ("lm-eval", "UsageError", 2, "junkdna: no such thing\n"),
        ("lm_eval", "KeyError", 1, "Traceback"),
        ("mine.py", "UsageError", 1, "Traceback"),
    ],
)
def test_how_a_program_ends(tmp_path: Path, program: str, error: str, code: int, told: str) -> None:
    (tmp_path / program).write_text(RAISER.format(error))
    run = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == code
    assert run.stderr == told if code == 2 else told in run.stderr


def test_in_this_process_nothing_is_hooked() -> None:
    before = sys.excepthook
    border.end_lm_eval_with_a_sentence()
    assert sys.excepthook is before


def test_a_task_for_another_model_is_an_exception_in_a_library() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "task_configs" / "graded"))
    try:
        import graded
    finally:
        sys.path.pop(0)
    with pytest.raises(UsageError, match="only the embedded model was taught"):
        graded.load("facts_closed", 1, pretrained="gpt2")
