"""Every block of docs/gate.md is run, in order and in one folder; what it shows is what was printed.

- `bash` is run by bash and ends with 0, or with what its last line says (`# exit code N`).
- `yaml` begins with the name of its file, is written there, and tried as what it is: a policy that a command wrote already is the same; the
  jobs of GitHub and GitLab are run, and a hook of pre-commit.
- `python` is run; each line of `text` was printed by the block before, whatever the digits; `text example` is of something larger than
  a test can run, and keeps to 80 columns.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.cells import cell_len

from junkdna_harness.gate.policy_file import policy_of_document, to_dict
from tests.action.runner import ROOT, commands, use

pytestmark = pytest.mark.slow
BLOCK = re.compile(r"^```([\w ]*)\n(.*?)^```$", re.M | re.S)
TEXT = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
BLOCKS = [(kind, body) for kind, body in BLOCK.findall(TEXT)]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


class Folder:
    """The folder in which the blocks are run, and what the last one printed."""

    def __init__(self, path: Path) -> None:
        self.home = path / "home"
        self.home.mkdir()
        self.tools = commands(path / "bin")
        self.printed = ""

    def run(self, *command: str) -> int:
        environment = os.environ | {
            "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }
        done = subprocess.run(
            command, cwd=self.home, env=environment, capture_output=True, text=True, check=False
        )
        self.printed = done.stdout + done.stderr
        return done.returncode

    def bash(self, body: str) -> None:
        said = re.search(r"# exit code (\d)\s*$", body)
        assert self.run("bash", "-e", "-c", body) == int(said[1] if said else 0), (
            f"{body}\n{self.printed[-3000:]}"
        )

    def python(self, body: str) -> None:
        assert self.run(sys.executable, "-c", body) == 0, f"{body}\n{self.printed[-3000:]}"

    def text(self, body: str) -> None:
        told = {without_digits(line) for line in self.printed.splitlines()}
        # Which items are shown, and their texts, is another test's business.
        lines = [line for line in body.splitlines() if line and not line.startswith(("   ", "1 "))]
        assert lines and not [line for line in lines if without_digits(line) not in told], self.printed[
            -4000:
        ]

    def text_example(self, body: str) -> None:
        assert max(map(cell_len, body.splitlines())) <= 80

    def yaml(self, body: str) -> None:
        name = body.partition("\n")[0].removeprefix("# ")
        document = yaml.safe_load(body)
        if name == "gate.yaml":
            self.policy(name, document, body)
        elif name.startswith(".github/workflows/"):
            self.github(document)
        elif name == ".gitlab-ci.yml":
            self.gitlab(document)
        elif name == ".pre-commit-config.yaml":
            self.pre_commit(document)
        else:
            raise AssertionError(f"nobody tries {name}")

    def policy(self, name: str, document: dict[str, Any], body: str) -> None:
        path = self.home / name
        if path.exists():
            written = policy_of_document(yaml.safe_load(path.read_text(encoding="utf-8")), name)
            assert to_dict(policy_of_document(document, name)) == to_dict(written)
        path.write_text(body, encoding="utf-8")

    def github(self, document: dict[str, Any]) -> None:
        (job,) = document["jobs"].values()
        *checkouts, step = job["steps"]
        assert all(re.fullmatch(r"actions/checkout@v\d+", checkout["uses"]) for checkout in checkouts)
        ours = checkouts[-1]["with"]  # an address of a variable cannot stand in `uses:` itself
        assert ours["repository"].startswith("${{ vars.") and re.fullmatch(r"v\d+\.\d+\.\d+", ours["ref"])
        assert step["uses"] == f"./{ours['path']}"
        ran = use({key: str(value) for key, value in step["with"].items()}, self.home, self.tools)
        assert (ran.code, ran.outputs["verdict"]) == (0, "pass"), ran.log[-3000:]

    def gitlab(self, document: dict[str, Any]) -> None:
        (job,) = document.values()
        self.bash("\n".join(job["script"]))
        for name in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]):
            assert (self.home / name).is_file()

    def pre_commit(self, document: dict[str, Any]) -> None:
        (repository,) = document["repos"]
        (chosen,) = repository["hooks"]
        (hook,) = [hook for hook in HOOKS if hook["id"] == chosen["id"]]
        self.bash(shlex.join([*shlex.split(hook["entry"]), *chosen.get("args", hook["args"])]))


def without_digits(line: str) -> str:
    """Another processor's rounding may flip an item; what is printed has the same form."""
    return re.sub(r"\d", "0", line)


def test_every_block_does_what_the_page_says(tmp_path: Path) -> None:
    kinds = {kind for kind, _ in BLOCKS}
    assert {"bash", "yaml", "text", "python"} <= kinds <= {"bash", "yaml", "text", "text example", "python"}
    assert TEXT.count("\n```") == 2 * len(BLOCKS)
    folder = Folder(tmp_path)
    for kind, body in BLOCKS:
        getattr(folder, kind.replace(" ", "_"))(body)
