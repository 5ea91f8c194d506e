"""A runner of GitHub Actions, small enough for tests: the `run:` steps of a composite action or a job, one after the other, by bash.

Steps that use other actions are not run; they are listed with their inputs. Expressions are those that are needed here:
`inputs.x`, `steps.x.outputs.y`, `github.x`, comparisons with texts, `always()` and `&&`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
Context = dict[str, Any]


@dataclass
class Ran:
    """What a run of an action left behind. `outputs` are the action's own, `summary` its page, `used` the other actions."""

    code: int = 0
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def commands(folder: Path, **scripts: str) -> Path:
    """A folder of commands for PATH: `junkdna` and `lm_eval` of this checkout, a `pip` that only writes down its arguments in
    `pip.txt`, and `scripts`, which may replace them."""
    folder.mkdir(parents=True)
    python = f'exec "{sys.executable}"'
    found = {
        "python": f'if [ "$1 $2" = "-m pip" ]; then printf "%s\\n" "${{@:3}}" >> "{folder}/pip.txt"; else {python} "$@"; fi',
        "junkdna": f'{python} -m junkdna_harness.cli "$@"',
        "lm_eval": f'{python} -m lm_eval "$@"',
        **scripts,
    }
    found.setdefault("pip", 'exec python -m pip "$@"')
    for name, body in found.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


def use(inputs: dict[str, str], workspace: Path, bin_folder: Path) -> Ran:
    """The action with these inputs, on a checkout in `workspace`."""
    unknown = set(inputs) - set(ACTION["inputs"])
    assert not unknown, f"the action has no input {unknown}"
    given = {name: str(entry.get("default", "")) for name, entry in ACTION["inputs"].items()} | inputs
    missing = [name for name, entry in ACTION["inputs"].items() if entry.get("required") and not given[name]]
    assert not missing, f"the action requires {missing}"
    context: Context = {"inputs": given, "github": {"action_path": str(ROOT)}, "steps": {}}
    ran = run_steps(ACTION["runs"]["steps"], context, workspace, bin_folder)
    ran.outputs = {name: filled(entry["value"], context) for name, entry in ACTION["outputs"].items()}
    return ran


def run_steps(steps: list[dict[str, Any]], context: Context, workspace: Path, bin_folder: Path) -> Ran:
    """Every step whose condition holds; after a step that failed, those alone that say `always()`."""
    ran = Ran()
    temporary = workspace.parent / "runner temp"  # a blank, as on some machines
    temporary.mkdir(exist_ok=True)
    for number, step in enumerate(steps):
        condition = step.get("if", "success()")
        if not holds(condition, context) or (ran.code and "always()" not in condition):
            continue
        if "uses" in step:
            ran.used.append(
                (step["uses"], {k: filled(str(v), context) for k, v in step.get("with", {}).items()})
            )
            continue
        files = {name: temporary / f"{name}{number}" for name in ("output", "summary", "env", "path")}
        for file in files.values():
            file.touch()
        script = temporary / f"step{number}.sh"
        script.write_text(filled(step["run"], context))
        assert step["shell"] == "bash"
        environment = os.environ | {name: filled(str(v), context) for name, v in step.get("env", {}).items()}
        environment |= {
            "GITHUB_ACTIONS": "true",
            "CI": "true",
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]),
            "GITHUB_ENV": str(files["env"]),
            "GITHUB_PATH": str(files["path"]),
            "RUNNER_TEMP": str(temporary),
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }
        done = subprocess.run(
            [shutil.which("bash") or "bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=workspace / filled(step.get("working-directory", "."), context),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        ran.log += done.stdout + done.stderr
        ran.code = ran.code or done.returncode
        ran.summary += files["summary"].read_text(encoding="utf-8")
        if "id" in step:
            lines = files["output"].read_text().splitlines()
            context["steps"][step["id"]] = dict(line.split("=", 1) for line in lines)
    return ran


def filled(text: str, context: Context) -> str:
    """The text with its expressions replaced by what they stand for, as a runner does it: without any escaping."""
    return _EXPRESSION.sub(lambda match: value(match[1], context), text)


def value(expression: str, context: Context) -> str:
    """What an expression stands for."""
    if re.fullmatch(r"'[^']*'", expression):
        return expression[1:-1]
    head, *rest = expression.split(".")
    if head == "steps":
        name, outputs, key = rest
        assert outputs == "outputs"
        return str(context["steps"].get(name, {}).get(key, ""))
    (key,) = rest
    return str(context[head][key])


def holds(condition: str, context: Context) -> bool:
    """Whether an `if:` is true."""
    for clause in condition.split(" && "):
        if clause in ("always()", "success()"):
            continue
        left, operator, right = re.fullmatch(r"(\S+) (==|!=) (\S+)", clause).groups()  # type: ignore[union-attr]
        if (value(left, context) == value(right, context)) != (operator == "=="):
            return False
    return True
