"""How `lm_eval` finds the models and tasks of this package without a flag.

lm-eval 0.4 looks for plugins nowhere, so `junkdna_harness.pth` imports this module in every Python start of the
environment. It therefore imports next to nothing, never raises, and only waits: when `lm_eval.models` is imported
it adds our models to the registry, when `lm_eval.tasks.manager` is imported it adds our task folder to what
is searched. Newer lm-eval registers models and finds task folders by entry point; what it knows already is left alone.
The entry point of the tasks names `junkdna_harness.task_configs`, the folder in the installed package; in a checkout
that folder lies beside the package, and the finder below says where.
`JUNKDNA_NO_AUTOLOAD=1` turns it off.
"""

from __future__ import annotations

import os
import sys

MODELS = {
    "junkdna-pruned": "junkdna_harness.models.pruned:PrunedLM",
    "junkdna-quantized": "junkdna_harness.models.quantized:QuantizedLM",
}
TASKS_PACKAGE = "junkdna_harness.task_configs"
OFF_VARIABLE = "JUNKDNA_NO_AUTOLOAD"


def tasks_dir() -> str:
    """The folder of our task YAMLs: the checkout's in an editable install, else the one in the package."""
    package = os.path.dirname(os.path.abspath(__file__))
    checkout = os.path.join(os.path.dirname(package), "task_configs")
    return checkout if os.path.isdir(checkout) else os.path.join(package, "task_configs")


def _add_models(_module: object) -> None:
    from lm_eval.api.registry import model_registry

    for name, target in MODELS.items():
        if name not in model_registry:
            model_registry.register(name, target=target)


def _add_tasks(module: object) -> None:
    index = module.TaskIndex  # type: ignore[attr-defined]
    build = index.build

    def build_with_ours(paths, *args, **kwargs):  # type: ignore[no-untyped-def]
        paths = [str(path) for path in paths]
        defaults = os.path.dirname(os.path.abspath(module.__file__))  # type: ignore[attr-defined]
        ours = tasks_dir()
        known = {os.path.realpath(path) for path in paths}
        if os.path.realpath(defaults) in known and os.path.realpath(ours) not in known:
            # Right behind lm-eval's own, so that a user's --include_path can override both.
            place = [os.path.realpath(path) for path in paths].index(os.path.realpath(defaults)) + 1
            paths.insert(place, ours)
        from pathlib import Path

        return build([Path(path) for path in paths], *args, **kwargs)

    index.build = staticmethod(build_with_ours)


_ACTIONS = {"lm_eval.models": _add_models, "lm_eval.tasks.manager": _add_tasks}


class _Finder:
    """Waits on `sys.meta_path` for the modules of `_ACTIONS`, acts once each has been executed, and finds our tasks."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name == TASKS_PACKAGE:
            return _task_folder_of_a_checkout()  # type: ignore[no-untyped-call]
        if name not in _ACTIONS:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _Finder) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _act_after_loading(spec, name)  # type: ignore[no-untyped-call]
                return spec
        return None


def _task_folder_of_a_checkout():  # type: ignore[no-untyped-def]
    """The spec of a package that is nothing but our task folder; None where Python's own finders see it."""
    folder = tasks_dir()
    if os.path.dirname(folder) == os.path.dirname(os.path.abspath(__file__)) or not os.path.isdir(folder):
        return None
    from importlib.machinery import ModuleSpec

    spec = ModuleSpec(TASKS_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [folder]
    return spec


def _act_after_loading(spec, name):  # type: ignore[no-untyped-def]
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None:
        return

    def exec_module(module):  # type: ignore[no-untyped-def]
        execute(module)
        apply(name, module)

    loader.exec_module = exec_module


def apply(name: str, module: object) -> None:
    """Do what `name` is waited for; a failure is told on stderr and never stops lm-eval."""
    if getattr(module, "_junkdna_harness", False):
        return
    try:
        _ACTIONS[name](module)
        module._junkdna_harness = True  # type: ignore[attr-defined]
    except Exception as error:
        print(f"junkdna: could not join {name}: {error!r}. Run `junkdna doctor`.", file=sys.stderr)


def install() -> None:
    """Wait for lm-eval, or act at once on the parts of it that are imported already. Safe to call twice."""
    for name in _ACTIONS:
        if name in sys.modules:
            apply(name, sys.modules[name])
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


if os.environ.get(OFF_VARIABLE, "") in ("", "0"):
    try:
        install()
    except Exception as error:  # a broken install of ours must not break Python
        print(f"junkdna: autoload failed: {error!r}", file=sys.stderr)
