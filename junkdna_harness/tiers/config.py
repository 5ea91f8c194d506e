"""lm-eval task files as plain data: read with their `include` chain, copied into other files, and made live again.

lm-eval's own reader turns `!function utils.fn` into the function, which cannot be written out again, or into a
string, which cannot be told from other strings. Here it becomes a `FunctionRef`, written as
`{python_module: m, python_function: fn}` for what ships with lm-eval, or `{python_file: /abs/utils.py,
python_function: fn}` for a user's own file.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import read_text
from junkdna_harness.harness.tasks import packaged_tasks
from junkdna_harness.yaml_values import yaml_of


@dataclass(frozen=True)
class FunctionRef:
    """A function that a task file names: in `file` (absolute), or in the importable `module`."""

    name: str
    file: str | None = None
    module: str | None = None

    def plain(self) -> dict[str, str]:
        """As it is written into a file."""
        where = {"python_file": self.file} if self.file else {"python_module": str(self.module)}
        return {**where, "python_function": self.name}

    def load(self) -> Any:
        """The function (or class) itself.

        Raises:
            UsageError: the file or module is gone, or has no such name.
        """
        place = self.file or self.module
        try:
            module = _module_of_file(self.file) if self.file else importlib.import_module(str(self.module))
            return getattr(module, self.name)
        except (ImportError, OSError, AttributeError) as error:
            raise UsageError(
                f"the task needs the function {self.name!r} of {place!r}, which cannot be loaded ({error}). "
                "Put the file back, or run `junkdna tiers build` again."
            ) from error


def read_config(path: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A task file with everything it includes, functions as `FunctionRef`; `above` are the files that include it.

    Raises:
        UsageError: one of them is not there, is no YAML or no task.
    """
    import yaml

    path = Path(path).resolve()
    loader = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    yaml.add_constructor(
        "!function", lambda _, node: _function_ref(str(node.value), path.parent), Loader=loader
    )
    text = read_text(path, "the task file", "Put it back, or run `junkdna tiers build` again.")
    own = yaml_of(text, f"the task file {str(path)!r}", "Correct it.", loader)
    if not isinstance(own, dict):
        raise UsageError(f"{str(path)!r} holds no task: a task file is a mapping of keys to values.")
    included = own.pop("include", None) or []
    merged: dict[str, Any] = {}
    for entry in included if isinstance(included, list) else [included]:
        if not isinstance(entry, str) or path in above:
            what = "what includes itself" if path in above else f"{entry!r}, which is no name"
            raise UsageError(f"the task file {str(path)!r} includes {what}. Name the file of another task.")
        inherited = read_config(path.parent / entry, (*above, path))
        inherited.pop("task_list", None)
        merged.update(inherited)
    return {**merged, **own}


def to_plain(value: Any) -> Any:
    """The same, functions written out as plain mappings."""
    if isinstance(value, FunctionRef):
        return value.plain()
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list | tuple) else value


def to_live(value: Any) -> Any:
    """The same, every function loaded; a new structure that shares nothing with `value`."""
    if isinstance(value, FunctionRef):
        return value.load()
    if isinstance(value, Mapping):
        if set(value) in ({"python_file", "python_function"}, {"python_module", "python_function"}):
            return FunctionRef(
                value["python_function"], value.get("python_file"), value.get("python_module")
            ).load()
        return {key: to_live(item) for key, item in value.items()}
    return [to_live(item) for item in value] if isinstance(value, list) else value


def _function_ref(spec: str, folder: Path) -> FunctionRef:
    """Where `!function spec` in a file of `folder` points: a .py beside it first, as lm-eval does."""
    module, _, name = spec.rpartition(".")
    beside = (folder / f"{module.replace('.', '/')}.py").resolve()
    if not beside.is_file():
        return FunctionRef(name, module=module)
    packaged = packaged_tasks().resolve()
    if beside.is_relative_to(packaged):
        dotted = ".".join(beside.relative_to(packaged).with_suffix("").parts)
        return FunctionRef(name, module=f"lm_eval.tasks.{dotted}")
    return FunctionRef(name, file=str(beside))


def _module_of_file(path: str) -> Any:
    """A module loaded from a file, once per process (under the name that lm-eval gives it)."""
    name = str(Path(path).with_suffix(""))
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python file at {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module


def load_function(spec: str) -> Callable[..., Any]:
    """The function that "module:function" names."""
    module, _, name = spec.partition(":")
    loaded: Callable[..., Any] = FunctionRef(name, module=module).load()
    return loaded
