"""`help()` of the public packages: every name is there with a text, and what a text shows as an example is true."""

from __future__ import annotations

import dataclasses
import doctest
import pydoc
import typing
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FACES = ("junkdna_harness", "difficulty", "junkdna_harness.compress", "junkdna_harness.recover")

REGISTERED = {"registry": "twice-wanda", "quantizers": "nearest-whole"}  # by examples


HOMES = {  # of packages and modules that are called like the function they are about
    "sweep": "junkdna_harness.faces",
    "recover": "junkdna_harness.recover.run",
    "fit": "difficulty.judge.fit",
}


def public(face: str) -> list[tuple[str, Any]]:
    """The names of a package and what they are; a package that is called like a function is that function."""
    module = import_module(face)
    found = []
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            home = HOMES[name]
            value = getattr(import_module(home), name)
        found.append((name, value))
    return found


def is_plain(value: Any) -> bool:
    """A constant, a type's other name, or a class that only holds data."""
    return (
        not callable(value)
        or typing.get_origin(value) is not None
        or (isinstance(value, type) and dataclasses.is_dataclass(value))
    )


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_has_a_text_and_an_example_that_is_true(
    face: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(face)
    assert set(module.__all__) <= set(dir(module))
    shown = pydoc.plaintext.document(module)
    assert ">>> " in str(module.__doc__) and all(name in shown for name in module.__all__)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    tests = finder.find(module, face, module=False, extraglobs={})
    for name, value in public(face):
        if face == "junkdna_harness" and name in ("prune", "quantize"):
            continue  # of `compress`, which is a face too
        if callable(value) and typing.get_origin(value) is None:
            assert value.__doc__, name
            globals_ = dict(vars(import_module(value.__module__)))
            found = finder.find(value, f"{face}.{name}", module=False, globs=globals_)
            assert any(one.examples for one in found) or is_plain(value), f"{face}.{name} shows no example"
            tests += found
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    for home, name in REGISTERED.items():  # for other tests of this process
        import_module(f"junkdna_harness.compress.{home}")._REGISTRY.pop(name, None)
    assert not said, "".join(said)
