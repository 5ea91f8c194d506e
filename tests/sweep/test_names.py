"""Every run that a sweep can plan has one name and one file, and the name is read back as the run."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difficulty.errors import UsageError
from difficulty.runs.identity import Run
from junkdna_harness.compress import sparsifier
from junkdna_harness.sweep.plan import LONGEST_STEM, Plan, PlannedRun, Settings, build_plan
from junkdna_harness.sweep.resume import compare

NAMES = [
    "org/model",
    "./a folder",
    "nan",
    "7",
    "1e5",
    "true",
    "a 4 bits",
    "m 2:4",
    "x #1",
    "C:/x 0.5",
    "ORG/model",
]
methods = st.lists(
    st.sampled_from(["magnitude", "largest", "random", "wanda", "sparsegpt"]), unique=True, min_size=1
)
sparsities = st.lists(st.integers(1, 999).map(lambda i: i / 1000), unique=True, max_size=4)
patterns = st.lists(st.sampled_from(["2:4", "1:4", "7:8", "1:2", "12:16"]), unique=True, max_size=3)
quantizers = st.lists(st.sampled_from(["rtn:8", "rtn:4", "gptq:4", "gptq:2"]), unique=True, max_size=3)
models = st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=3)


@sparsifier("Magnitude")
def capital(weight):
    """A method whose name differs from another in a capital."""
    return weight.abs()


@settings(max_examples=60, deadline=None)
@given(models, methods, sparsities, patterns, quantizers, st.integers(1, 3))
def test_every_planned_run_is_read_back_from_its_name_and_has_a_file_of_its_own(
    names, methods, sparsities, patterns, quantizers, replicates
):
    if not sparsities and not patterns:
        sparsities = [0.5]
    plan = build_plan(
        "t", [f"pretrained={name}" for name in names], methods, sparsities or None, patterns or None, quantizers or None,
        replicates,
    )  # fmt: skip
    for cell in plan.cells:
        assert Run.parse(plan.run_id(cell)) == plan.run(cell)
        assert plan.run(cell).model == names[cell.model]
    stems = [plan.file_name(cell) for cell in plan.cells]
    assert len({stem.casefold() for stem in stems}) == len(stems)
    assert all(stem.isascii() and not set(stem) & set('/\\:*?"<>| ') for stem in stems)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert plan.to_dict()["runs"] == {plan.file_name(c): plan.run_id(c) for c in plan.cells}


def test_names_that_differ_in_a_capital_or_a_replaced_sign_have_files_of_their_own():
    plan = build_plan("t", None, ["magnitude", f"{__name__}:Magnitude"], "0.5")
    given = [
        PlannedRun(0, "checkpoint", name, 0.5, arguments={"pretrained": name})
        for name in ("a+x", "a_x", "A_x", "a@x")
    ]
    plan = dataclasses.replace(plan, cells=(*plan.cells, *given))
    stems = [plan.file_name(cell).casefold() for cell in plan.cells]
    assert len(set(stems)) == len(stems)


def test_the_files_of_earlier_runs_keep_their_names():
    old = Plan(({"pretrained": "m"},), (PlannedRun(0, "checkpoint", "a_x", 0.5),), Settings(("t",)))
    new = dataclasses.replace(old, cells=(PlannedRun(0, "checkpoint", "A_x", 0.5), *old.cells))
    grown = compare(old, new, extend=True)
    assert grown.file_name(grown.cells[0]) == old.file_name(old.cells[0]) == "a_x_0.5"
    assert grown.file_name(grown.cells[1]).startswith("A_x_0.5-")


def test_a_long_name_is_cut_and_stays_its_own():
    cells = tuple(PlannedRun(0, "checkpoint", "a" * 300 + end, 0.5) for end in "bc")
    plan = Plan(({"pretrained": "m"},), cells, Settings(("t",)))
    stems = {plan.file_name(cell) for cell in cells}
    assert len(stems) == 2 and all(len(stem) <= LONGEST_STEM + 13 for stem in stems)


@pytest.mark.parametrize("method", ["two words", "mine+sparse_transfer"])
def test_a_method_whose_name_would_be_read_as_something_else_is_refused(method):
    plan = Plan(({"pretrained": "m"},), (PlannedRun(0, "prune", method, 0.5),), Settings(("t",)))
    with pytest.raises(UsageError, match="cannot be told apart from others"):
        plan.check()


def test_two_runs_of_one_name_are_refused():
    plan = Plan(
        ({"pretrained": "m"},),
        (PlannedRun(0, "prune", "a", 0.5), PlannedRun(0, "prune", "a", 0.5 + 1e-12)),
        Settings(("t",)),
    )
    with pytest.raises(UsageError, match=r"two runs of this plan are called 'm a 0\.5'"):
        plan.check()


@pytest.mark.parametrize("name", ["7", "1e5", "nan", "true", "0.50"])
def test_a_models_name_stays_text(name):
    assert build_plan("t", f"pretrained={name}", "magnitude", "0.5").models == ({"pretrained": name},)
    assert build_plan("t", {"pretrained": name}, "magnitude", "0.5").models == ({"pretrained": name},)


def test_no_model_is_the_embedded_one():
    assert build_plan("t", "pretrained=None", "magnitude", "0.5").models == ({"pretrained": "embedded"},)
