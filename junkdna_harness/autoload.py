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
from _thread import _local

MODELS = {
    "junkdna-pruned": "junkdna_harness.models.pruned:PrunedLM",
    "junkdna-quantized": "junkdna_harness.models.quantized:QuantizedLM",
}
TASKS_PACKAGE = "junkdna_harness.task_configs"
OFF_VARIABLE = "JUNKDNA_NO_AUTOLOAD"

# What this thread is asking other finders for. One of them may ask us in turn; another thread's import is not to pass by us meanwhile.
_asking = _local()


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
    if "_junkdna_harness" in vars(index):  # on the class: a reload of either module makes what it makes anew
        return
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
    index._junkdna_harness = True


_ACTIONS = {"lm_eval.models": _add_models, "lm_eval.tasks.manager": _add_tasks}


class _Finder:
    """Waits on `sys.meta_path` for the modules of `_ACTIONS`, acts once each has been executed, and finds our tasks."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name == TASKS_PACKAGE:
            return _task_folder_of_a_checkout()  # type: ignore[no-untyped-call]
        if name not in _ACTIONS or getattr(_asking, name, False):
            return None
        setattr(_asking, name, True)
        try:
            spec = self._found_by_others(name, path, target)  # type: ignore[no-untyped-call]
        finally:
            setattr(_asking, name, False)
        if spec is not None:
            _act_after_loading(spec, name)  # type: ignore[no-untyped-call]
        return spec

    def _found_by_others(self, name, path, target):  # type: ignore[no-untyped-def]
        """What the finders behind us find; those before us were asked already, and may be the ones who ask."""
        finders = list(sys.meta_path)
        places = [place for place, finder in enumerate(finders) if finder is self]
        for finder in finders[places[0] + 1 if places else 0 :]:
            if hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
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
    if spec.loader is None or _is_ours(
        spec.loader, "_Loader"
    ):  # no __init__.py; a spec that its finder keeps
        return
    try:
        spec.loader = _stand_in(spec.loader, name)  # type: ignore[no-untyped-call]
    except Exception as error:  # a spec of another kind, which cannot be changed
        _tell(name, error)


def _stand_in(loader, name):  # type: ignore[no-untyped-def]
    """What stands in for a module's loader until the module is executed, and acts then.

    The loader itself stays as it is: one of a zip file or of frozen modules is shared by all of them.
    """

    class _Loader:  # made here and not above, where it would be made in every Python start
        def __init__(self) -> None:
            # Only what the loader can do: Python looks at which methods are there.
            if hasattr(loader, "exec_module"):
                self.exec_module = self._execute
            if hasattr(loader, "load_module"):
                self.load_module = self._load

        def __getattr__(self, key: str) -> object:
            return getattr(loader, key)

        def _execute(self, module: object) -> None:
            self._give_back(module)
            loader.exec_module(module)
            apply(name, module)

        def _load(self, asked: str) -> object:
            module = loader.load_module(asked)
            self._give_back(module)
            apply(name, module)
            return module

        def _give_back(self, module: object) -> None:
            """The module names its own loader again, which others ask for its source or its files."""
            for holder, key in ((module, "__loader__"), (getattr(module, "__spec__", None), "loader")):
                if getattr(holder, key, None) is self:
                    setattr(holder, key, loader)

    return _Loader()


def apply(name: str, module: object) -> None:
    """Do what `name` is waited for, unless it is done; a failure is told on stderr and never stops lm-eval."""
    try:
        _ACTIONS[name](module)
    except Exception as error:
        _tell(name, error)


def _tell(name: str, error: Exception) -> None:
    print(f"junkdna: could not join {name}: {error!r}. Run `junkdna doctor`.", file=sys.stderr)


def _is_ours(thing: object, kind: str) -> bool:
    """By name: a reload of this module makes classes of its own, while what the old ones made is still in use."""
    return type(thing).__module__ == __name__ and type(thing).__name__ == kind


def install() -> None:
    """Wait for lm-eval, or act at once on the parts of it that are imported already. Safe to call twice."""
    for name in _ACTIONS:
        if name in sys.modules:
            apply(name, sys.modules[name])
    waiting = [place for place, finder in enumerate(sys.meta_path) if _is_ours(finder, "_Finder")]
    if waiting:
        sys.meta_path[waiting[0]] = _Finder()
        for place in reversed(waiting[1:]):
            del sys.meta_path[place]
    else:
        sys.meta_path.insert(0, _Finder())


if os.environ.get(OFF_VARIABLE, "") in ("", "0"):
    try:
        install()
    except Exception as error:  # a broken install of ours must not break Python
        print(f"junkdna: autoload failed: {error!r}", file=sys.stderr)
