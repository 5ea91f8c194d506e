"""`action.yml`, run step by step in a scratch repository as a runner would run it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.action.runner import ACTION, commands, use
from tests.gate.test_check_command import folder, right, run

STEPS = ACTION["runs"]["steps"]
HOSTILE = "a'b\"c $(touch pwned) `touch pwned` ; touch pwned\n::error::x && touch pwned #\\"
# Writes down its name and its arguments, each ended by a NUL, and a verdict where one is asked for.
RECORD = """printf '%s\\0' "$(basename "$0")" "$@" >> calls
for argument in "$@"; do
  case "$argument" in --json=*) echo '{"verdict": "pass", "items_used": 7}' > "${argument#--json=}" ;; esac
done"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose gate compares results that are there with a committed baseline."""
    home = tmp_path / "work space"
    good = folder(home / "good", {("addition", 1): right(), ("addition", 2): right()})
    folder(home / "bad", {("addition", 1): right(), ("addition", 2): right(wrong=90)})
    assert run(good, "--write-baseline", home / "baseline.json").exit_code == 0
    subprocess.run(["git", "init", "-q", str(home)], check=True)
    return home


@pytest.mark.parametrize(("new", "code", "verdict"), [("good", 0, "pass"), ("bad", 1, "fail")])
def test_results_that_are_there_are_judged(
    repository: Path, tmp_path: Path, new: str, code: int, verdict: str
) -> None:
    inputs = {"mode": "check", "new": new, "against": "baseline.json"}
    ran = use(inputs, repository, commands(tmp_path / "bin"))
    assert (ran.code, ran.outputs["verdict"], ran.outputs["exit-code"]) == (code, verdict, str(code)), ran.log
    assert json.loads(Path(ran.outputs["json"]).read_text())["verdict"] == verdict
    assert ET.parse(ran.outputs["junit-xml"]).getroot().tag == "testsuites"
    assert f"junkdna check: {verdict}" in ran.summary
    assert ("\n::error " in f"\n{ran.log}") == (verdict == "fail")
    uploaded = dict(ran.used)["actions/upload-artifact@v6"]
    assert uploaded["name"] == "junkdna-gate"
    assert {path.name for path in Path(uploaded["path"]).parent.glob("gate.*")} == {"gate.json", "gate.xml"}
    assert (tmp_path / "bin" / "pip.txt").read_text().splitlines() == [
        "install",
        str(Path(__file__).parents[2]),
    ]


@pytest.mark.slow
def test_a_model_is_evaluated_and_judged(tmp_path: Path) -> None:
    """The embedded model without 70 % of its weights, against itself with all of them."""
    home = tmp_path / "home"
    home.mkdir()
    tools = commands(tmp_path / "bin")
    inputs = {
        "mode": "check",
        "tasks": "difficulty_tiers_copying_t1",
        "lm-eval-args": "--limit\n60\n",
        "install": "none",
    }
    # Without a baseline there is no verdict; what was evaluated is one from then on.
    first = use(inputs | {"against": "nothing", "model-args": "sparsity=0"}, home, tools)
    assert (first.code, first.outputs["verdict"]) == (2, "error"), first.log
    assert "::error title=junkdna gate::there is no verdict (exit code 2)" in first.log
    dense = str(Path(first.outputs["json"]).parent / "new")
    worse = use(inputs | {"against": dense, "model-args": "sparsity=0.7"}, home, tools)
    assert (worse.code, worse.outputs["verdict"]) == (1, "fail"), worse.log
    assert not (tmp_path / "bin" / "pip.txt").exists()


@pytest.mark.parametrize("mode", ["gate", "check"])
def test_inputs_arrive_as_they_are_and_run_nothing(tmp_path: Path, mode: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    tools = commands(tmp_path / "bin", junkdna=RECORD, lm_eval=RECORD)
    names = ("model", "model-args", "against", "policy", "inconclusive", "wrapper", "tasks")
    inputs = {name: f"{name}{HOSTILE}" for name in names}
    lines = {"args": f"--note\n{HOSTILE}", "install": "none"}
    if mode == "check":
        lines["lm-eval-args"] = f"--limit\n{HOSTILE}"
    ran = use({"mode": mode, **inputs, **lines}, home, tools)
    assert ran.code == 0, ran.log
    assert (ran.outputs["verdict"], ran.outputs["items-used"]) == ("pass", "7")
    assert {path.name for path in home.rglob("*")} == {"calls"}
    said = (home / "calls").read_text().split("\0")
    wanted = ["model-args", "against", "policy", "inconclusive"]
    if mode == "check":
        assert f"--model_args=pretrained={inputs['model']},{inputs['model-args']}" in said
        wanted = ["against", "policy", "inconclusive", "tasks"]
    else:
        assert said[-3:] == ["--", inputs["model"], ""]
    assert f"--model={inputs['wrapper']}" in said
    for name in wanted:
        assert f"--{name.replace('-args', '_args')}={inputs[name]}" in said
    further = lines["args"].splitlines()
    first = said.index("--note")
    assert said[first : first + len(further)] == further


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({}, "--model_args=method=none"),
        ({"model": "./m"}, "--model_args=pretrained=./m,method=none"),
        ({"model": "./m", "wrapper": "hf"}, "--model_args=pretrained=./m"),
        ({"model-args": "sparsity=0.3"}, "--model_args=sparsity=0.3"),
    ],
)
def test_nothing_is_done_to_a_model_unless_it_is_asked_for(
    tmp_path: Path, given: dict[str, str], argument: str
) -> None:
    """junkdna-pruned alone would take away half of the weights."""
    tools = commands(tmp_path / "bin", junkdna=RECORD, lm_eval=RECORD)
    home = tmp_path / "home"
    home.mkdir()
    assert use({"mode": "check", "against": "b", "install": "none", **given}, home, tools).code == 0
    said = (home / "calls").read_text().split("\0")
    assert [part for part in said if part.startswith("--model_args")] == [argument]


def test_what_is_installed_is_what_was_asked_for(repository: Path, tmp_path: Path) -> None:
    inputs = {"mode": "check", "new": "good", "against": "baseline.json"}
    tools = commands(tmp_path / "bin")
    use(inputs | {"install": "junkdna-harness==0.1.0\n\nvllm; touch pwned\n"}, repository, tools)
    told = (tmp_path / "bin" / "pip.txt").read_text().splitlines()
    assert told == ["install", "junkdna-harness==0.1.0", "vllm; touch pwned"]
    assert not list(tmp_path.rglob("pwned"))


def test_a_mode_that_is_none_is_refused(tmp_path: Path) -> None:
    ran = use(
        {"mode": "gait", "against": "b.json", "artifact": "", "python-version": ""},
        tmp_path,
        commands(tmp_path / "bin"),
    )
    assert (ran.code, ran.outputs["verdict"], ran.used) == (2, "error", [])
    assert "neither gate nor check" in ran.log


@pytest.mark.parametrize("given", [{"new": "runs/new"}, {"lm-eval-args": "--limit=5"}])
def test_what_is_of_mode_check_is_refused_in_mode_gate(tmp_path: Path, given: dict[str, str]) -> None:
    """The default mode would judge the model of the package in place of the results that were named."""
    tools = commands(tmp_path / "bin", junkdna=RECORD, lm_eval=RECORD)
    home = tmp_path / "home"
    home.mkdir()
    ran = use({"against": "b", "install": "none", **given}, home, tools)
    assert (ran.code, ran.outputs["verdict"]) == (2, "error") and not (home / "calls").exists()
    assert "::error title=junkdna gate::the inputs new and lm-eval-args are of mode check" in ran.log


def test_no_input_stands_in_the_text_of_a_script() -> None:
    """`${{ inputs.x }}` within `run:` would run whatever it holds."""
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert scripts and not [script for script in scripts if "${{" in script]


def test_other_actions_are_pinned_to_a_version() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert len(used) == 2 and all(re.fullmatch(r"actions/[a-z-]+@v\d+(\.\d+)*", name) for name in used)


def test_every_input_is_described_and_used() -> None:
    text = str(STEPS)
    for name, entry in ACTION["inputs"].items():
        assert entry["description"].endswith(".") and f"inputs.{name}" in text, name
