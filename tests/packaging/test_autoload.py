"""`lm_eval` finds our models and tasks; what the user includes wins over them; a broken part stops nothing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from junkdna_harness import autoload


def test_models_are_registered_lazily() -> None:
    import lm_eval.models  # noqa: F401
    from lm_eval.api.registry import model_registry

    assert set(autoload.MODELS) <= set(model_registry)


def test_names_that_lm_eval_already_knows_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.api import registry

    class KnowsPruned:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def __contains__(self, name: str) -> bool:
            return name == "junkdna-pruned"

        def register(self, name: str, target: str) -> None:
            self.asked.append(name)

    known = KnowsPruned()
    monkeypatch.setattr(registry, "model_registry", known)
    autoload._add_models(None)
    assert known.asked == ["junkdna-quantized"]


def test_our_tasks_are_indexed_behind_the_defaults_only() -> None:
    import lm_eval.tasks.manager as manager

    defaults = Path(manager.__file__).parent
    seen: list[list[Path]] = []
    module = ModuleType("manager")
    module.__file__ = manager.__file__
    module.TaskIndex = type("TaskIndex", (), {"build": staticmethod(lambda paths: seen.append(paths))})  # type: ignore[attr-defined]
    autoload._add_tasks(module)
    module.TaskIndex.build([defaults, "theirs"])  # type: ignore[attr-defined]
    module.TaskIndex.build(["theirs"])  # type: ignore[attr-defined]
    module.TaskIndex.build([defaults, autoload.tasks_dir()])  # type: ignore[attr-defined]
    ours = Path(autoload.tasks_dir())
    assert seen == [[defaults, ours, Path("theirs")], [Path("theirs")], [defaults, ours]]


def test_a_failure_is_told_and_does_not_raise(capsys: pytest.CaptureFixture[str]) -> None:
    autoload.apply("lm_eval.tasks.manager", SimpleNamespace())
    message = capsys.readouterr().err
    assert "could not join lm_eval.tasks.manager" in message
    assert "junkdna doctor" in message


def test_installing_twice_waits_once() -> None:
    import sys

    autoload.install()
    autoload.install()
    assert sum(isinstance(finder, autoload._Finder) for finder in sys.meta_path) == 1


def test_the_entry_point_of_the_tasks_leads_to_our_task_folder() -> None:
    """As lm-eval resolves it: to the folder of the package that it names, here in a checkout."""
    import importlib.util
    import re

    declared = (Path(autoload.__file__).parents[1] / "pyproject.toml").read_text()
    (package,) = re.findall(r'entry-points."lm_eval.tasks"\]\njunkdna = "(.+)"', declared)
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    assert list(spec.submodule_search_locations) == [autoload.tasks_dir()]


def test_a_task_folder_inside_the_package_is_left_to_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "junkdna_harness"
    (package / "task_configs").mkdir(parents=True)
    monkeypatch.setattr(autoload, "__file__", str(package / "autoload.py"))
    assert autoload._Finder().find_spec(autoload.TASKS_PACKAGE) is None  # type: ignore[no-untyped-call]
