"""Commands in processes that need not import torch and lm-eval first: each is forked from one that has imported them.

A `python -m lm_eval` spends 9 s of CPU on imports and on reading the 14,000 task files that come with lm-eval, in each of
the many tests that start one. `Warm` starts a process that has done both, and for every command this process
forks a child: with the command's own arguments, folder, environment and output, which then runs the module as
`python -m` does and ends as Python ends. Of this project the parent imports nothing but what the `.pth` file does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import random
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Of others alone, and nothing that reads its environment for what a test sets.
IMPORTED = [
    "torch",
    "torch._dynamo",
    "torch.utils.collect_env",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "scipy.optimize",
    "safetensors.torch",
    "transformers.generation.utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "datasets",
    "accelerate",
    "peft",
    "typer",
    "rich.console",
    "rich.table",
    "lm_eval.tasks",
    "lm_eval.models.huggingface",
    "lm_eval.evaluator",
    "lm_eval.loggers",
]


def remember_task_files() -> None:
    """From now on this process parses each task file that comes with lm-eval, and that no test changes, once."""
    from lm_eval.tasks import _index

    read = _index.load_yaml
    theirs = f"{Path(_index.__file__).parent}{os.sep}"
    parsed: dict[tuple[str, object], bytes] = {}

    def remembered(path: str | Path, *, resolve_func: bool = True, recursive: bool = True) -> dict[str, Any]:
        if resolve_func or not str(path).startswith(theirs):
            return read(path, resolve_func=resolve_func, recursive=recursive)
        key = (str(path), recursive)
        if key not in parsed:
            parsed[key] = pickle.dumps(read(path, resolve_func=False, recursive=recursive))
        found: dict[str, Any] = pickle.loads(parsed[key])
        return found

    _index.load_yaml = remembered


def remember_what_is_installed() -> None:
    """From now on this process lists the installed packages, which each of lm-eval's results tells, once."""
    from torch.utils import collect_env

    collect_env.get_pip_packages = cache(collect_env.get_pip_packages)


class Warm:
    """A process that has imported everything. It ends when this object, or the process that made it, does."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=ROOT, env=self.environment,
        )  # fmt: skip

    def run(
        self, module: str, *arguments: str, cwd: Path | None, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """What `subprocess.run` gives of `python -m module arguments...`."""
        assert self._process.stdin and self._process.stdout
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            asked = [module, arguments, str(cwd or Path.cwd()), dict(environment), str(out), str(err)]
            self._process.stdin.write(json.dumps(asked) + "\n")
            answer = self._process.stdout.readline()
            assert answer, "the process from which commands are forked has ended"
            command = [sys.executable, "-m", module, *arguments]
            return subprocess.CompletedProcess(command, int(answer), out.read_text(), err.read_text())

    def close(self) -> None:
        self._process.communicate()


def _serve() -> list[Any]:
    """Forks one child for each line that comes in, and tells its exit code. Returns in a child, with what it is to do."""
    with open(0, "rb", closefd=False) as asked, open(1, "wb", buffering=0, closefd=False) as answers:
        while line := asked.readline():
            child = os.fork()
            if not child:
                command: list[Any] = json.loads(line)
                return command
            answers.write(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.exit()


def _become(
    module: str, arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str
) -> None:
    """Run the module as `python -m module arguments...` does, started in `cwd` with this environment."""
    for descriptor, path, how in (
        (0, os.devnull, os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT),
        (2, err, os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(path, how, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    importlib.reload(sys.modules["lm_eval.caching.cache"])  # it reads LM_HARNESS_CACHE_PATH when imported
    sys.path[0] = cwd
    sys.argv = [module, *arguments]
    random.seed()  # every Python start draws numbers of its own
    sys.modules["numpy"].random.seed()
    runpy._run_module_as_main(module)  # type: ignore[attr-defined]


def _main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    from lm_eval.tasks import TaskManager
    from torch.utils import collect_env

    remember_task_files()
    TaskManager()
    remember_what_is_installed()
    collect_env.get_pip_packages(collect_env.run)
    gc.collect()
    gc.freeze()  # what all children share is not looked through in each
    _become(*_serve())


if __name__ == "__main__":
    _main()
