"""The hook of `.pre-commit-hooks.yaml`: its command, run as pre-commit runs it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from difficulty.errors import UsageError
from tests.gate.test_check_command import folder, right, run

(HOOK,) = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    good = folder(tmp_path / "good", {("addition", 1): right(), ("addition", 2): right()})
    assert run(good, "--write-baseline", tmp_path / "baseline.json").exit_code == 0
    (tmp_path / "gate.yaml").write_text(
        "rules:\n- max_drop: 0.02\n- {tier: '*', max_drop: 0.05, severity: advisory}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hook() -> str:
    program, verb, *arguments = [*shlex.split(HOOK["entry"]), *HOOK["args"]]
    assert (program, verb) == ("junkdna", "check")
    result = run(*arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    return " ".join(result.stdout.split())


def test_a_policy_that_fits_its_baseline_is_accepted(home: Path) -> None:
    assert hook() == "1 critical and 2 advisory comparisons on 400 items of m dense, from 2 rules."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n- {max_dorp: 0.02}\n", "Did you mean 'max_drop'"),
        ("rules:\n- {family: additoin, max_drop: 0.02}\n", "no family of the baseline is 'additoin'"),
        ("rules: [", "is no YAML"),
    ],
)
def test_a_policy_that_does_not_is_refused(home: Path, text: str, told: str) -> None:
    (home / "gate.yaml").write_text(text)
    with pytest.raises(UsageError, match=told):
        hook()


def test_a_damaged_baseline_is_refused(home: Path) -> None:
    (home / "baseline.json").write_text("{}")
    with pytest.raises(UsageError, match="is not a baseline file"):
        hook()


def test_it_runs_where_one_of_the_two_files_changed() -> None:
    changed = ("gate.yaml", "ci/gate.yml", "models/baseline.json")
    others = ("investigate.yaml", "old_baseline.json", "gate.yaml.bak", "README.md")
    assert [re.search(HOOK["files"], name) is not None for name in (*changed, *others)] == [True] * 3 + [
        False
    ] * 4
    assert HOOK["pass_filenames"] is False


def test_validating_and_judging_are_not_mixed_up(home: Path) -> None:
    """A run that is forgotten must not look like a gate that passed."""
    for arguments, told in (
        ((), "there is nothing to judge"),
        (("--against", "baseline.json"), "there is nothing to judge"),
        (("--validate",), "nothing to validate"),
        (("good", "--validate", "--policy", "gate.yaml"), "judges nothing"),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, UsageError) and told in str(result.exception)
