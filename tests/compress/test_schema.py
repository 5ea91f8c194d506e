"""One schema for the arguments: names, readers, the command line's help and the docs' tables; and no torch for it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from difficulty.errors import UsageError
from junkdna_harness.commands.prune import prune as prune_command
from junkdna_harness.commands.quantize import quantize as quantize_command
from junkdna_harness.compress import PRUNE_ARGUMENTS, QUANT_ARGUMENTS, PruneSpec, QuantSpec, sparsifiers
from junkdna_harness.compress.notation import read_bool, read_pattern
from junkdna_harness.compress.registry import BUILT_IN
from junkdna_harness.compress.schema import argument_names, arguments_table, help_of
from tests.packaging.test_light_imports import HEAVY, loaded_after

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [(PruneSpec, prune_command), (QuantSpec, quantize_command)]


@pytest.mark.parametrize(
    "statement",
    [
        "import junkdna_harness.compress",
        "import junkdna_harness.compress.manifest",
        "from junkdna_harness.compress.notation import read_bool",
        "from junkdna_harness.compress.registry import check_method; check_method('sparsegpt')",
        "from junkdna_harness.compress import PruneSpec; PruneSpec(method='wanda', pattern='2:4', bits=4)",
        "from junkdna_harness.compress import QuantSpec; QuantSpec.from_strings({'method': 'gptq', 'bits': '3'})",
        "import junkdna_harness.commands.prune, junkdna_harness.commands.quantize",
        "from junkdna_harness.compress.spec import PruneSpec\ntry: PruneSpec(method='wandda')\nexcept ValueError: pass",
    ],
)
def test_what_is_asked_for_is_checked_without_torch(statement: str) -> None:
    assert not loaded_after(statement) & HEAVY


def test_no_module_is_called_like_a_name_of_its_package() -> None:
    import junkdna_harness.compress as package

    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
    assert not modules & set(package.__all__)
    assert set(package._HOME) == set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'prun'"):
        _ = package.prun


def test_built_in_methods_are_those_that_register_themselves() -> None:
    assert set(BUILT_IN) <= set(sparsifiers())


def test_the_names_are_those_of_the_fields_with_the_seed_by_both_of_its_names() -> None:
    assert argument_names(PruneSpec) == PRUNE_ARGUMENTS
    assert "mask_seed" in PRUNE_ARGUMENTS and "seed" in PRUNE_ARGUMENTS and "mask" in PRUNE_ARGUMENTS
    assert set(QUANT_ARGUMENTS) < set(PRUNE_ARGUMENTS)


@pytest.mark.parametrize("spec,command", COMMANDS)
def test_the_command_line_has_every_argument_with_the_schemas_help_and_default(
    spec: type, command: Any
) -> None:
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    for name in {*argument_names(spec)} - {"mask_seed"}:
        (option,) = hints[name].__metadata__
        assert option.help == help_of(spec, name)
        default, field = parameters[name].default, spec.__dataclass_fields__[name].default
        assert default == field or default is None or (name, default) == ("bits", "4")


@pytest.mark.parametrize("spec", [PruneSpec, QuantSpec])
def test_the_docs_have_the_schemas_table(spec: type) -> None:
    assert arguments_table(spec) in (ROOT / "docs" / "compression.md").read_text()


@pytest.mark.parametrize(
    "given,value", [("True", True), (" yes", True), (1, True), ("no", False), (False, False)]
)
def test_truth_values(given: object, value: bool) -> None:
    assert read_bool("symmetric", given) is value


def test_what_is_no_truth_value_is_one_sentence() -> None:
    with pytest.raises(
        UsageError, match="prefix_cache='maybe' is neither true nor false. Write prefix_cache=true"
    ):
        read_bool("prefix_cache", "maybe")


@pytest.mark.parametrize("text", ["2:4", "1:8", "0.5", "0.37", "0"])
def test_a_pattern_is_read_as_it_was_written(text: str) -> None:
    assert str(read_pattern(text)) == text


@pytest.mark.parametrize("text", ["4:2", "a:b", "half", "1.5"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_pattern(text)
