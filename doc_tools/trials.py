"""Files of a page that are more than files: a policy is that which a command wrote, jobs of GitHub and GitLab are run, and a hook of pre-commit."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import yaml

from junkdna_harness.gate.policy_file import policy_of_document, to_dict
from tests.action.runner import ROOT, use

if TYPE_CHECKING:
    from doc_tools.session import Session

HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))


def tried(session: Session, name: str, body: str) -> None:
    """Do with the file what is done with files of its name; an AssertionError says what is wrong with it."""
    if name == "gate.yaml":
        _policy(session, name, body)
    elif name.startswith(".github/workflows/"):
        _github(session, yaml.safe_load(body))
    elif name == ".gitlab-ci.yml":
        _gitlab(session, yaml.safe_load(body))
    elif name == ".pre-commit-config.yaml":
        _pre_commit(session, yaml.safe_load(body))


def _policy(session: Session, name: str, body: str) -> None:
    path = session.home / name
    policy = policy_of_document(yaml.safe_load(body), name)
    if path.exists():
        written = policy_of_document(yaml.safe_load(path.read_text(encoding="utf-8")), name)
        assert to_dict(policy) == to_dict(written), f"{name} is not the policy that was written"


def _github(session: Session, document: dict[str, Any]) -> None:
    (job,) = document["jobs"].values()
    *checkouts, step = job["steps"]
    assert all(re.fullmatch(r"actions/checkout@v\d+", checkout["uses"]) for checkout in checkouts)
    ours = checkouts[-1]["with"]  # an address of a variable cannot stand in `uses:` itself
    assert ours["repository"].startswith("${{ vars.") and re.fullmatch(r"v\d+\.\d+\.\d+", ours["ref"])
    assert step["uses"] == f"./{ours['path']}"
    ran = use({key: str(value) for key, value in step["with"].items()}, session.home, session.tools)
    assert (ran.code, ran.outputs["verdict"]) == (0, "pass"), ran.log[-3000:]


def _gitlab(session: Session, document: dict[str, Any]) -> None:
    (job,) = document.values()
    session.bash("\n".join(job["script"]))
    for name in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]):
        assert (session.home / name).is_file(), f"no {name}"


def _pre_commit(session: Session, document: dict[str, Any]) -> None:
    (repository,) = document["repos"]
    (chosen,) = repository["hooks"]
    (hook,) = [hook for hook in HOOKS if hook["id"] == chosen["id"]]
    session.bash(shlex.join([*shlex.split(hook["entry"]), *chosen.get("args", hook["args"])]))
