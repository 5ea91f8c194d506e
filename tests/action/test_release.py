"""The workflow that publishes a release: what of it can be run without a release."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml

from junkdna_harness import __version__
from tests.action.runner import ROOT

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())


@pytest.mark.parametrize(
    ("tag", "code"), [(f"v{__version__}", 0), (f"v{__version__}.post1", 1), (__version__, 1)]
)
def test_a_tag_that_is_not_the_version_stops_it(tag: str, code: int) -> None:
    (step,) = (step for step in WORKFLOW["jobs"]["build"]["steps"] if "TAG" in step.get("env", {}))
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=ROOT, env={**os.environ, "TAG": tag}, check=False
    )
    assert done.returncode == code


def test_only_the_job_that_publishes_may_ask_for_a_token_and_none_is_stored() -> None:
    jobs = WORKFLOW["jobs"]
    assert {name: job.get("permissions") for name, job in jobs.items()} == {
        "build": None,
        "publish": {"id-token": "write"},
    }
    assert WORKFLOW["permissions"] == {"contents": "read"} and "secrets." not in yaml.safe_dump(WORKFLOW)
