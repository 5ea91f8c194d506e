"""Lists of levels: what is read, and what is refused with which sentence."""

from __future__ import annotations

import pytest

from difficulty.errors import UsageError
from junkdna_harness.sweep.choose import engine_and_machine
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.grid import parse_names, parse_patterns, parse_quantize, parse_sparsities
from junkdna_harness.sweep.machine import Machine, parse_devices
from junkdna_harness.sweep.plan import build_plan


def test_ranges_include_both_ends_and_have_no_binary_tails():
    assert parse_sparsities("0:0.9:0.1") == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def test_lists_and_ranges_mix_and_are_sorted():
    assert parse_sparsities("0.95,0.1:0.3:0.1") == (0.1, 0.2, 0.3, 0.95)


def test_a_range_stops_before_its_end_where_the_step_does_not_reach_it():
    assert parse_sparsities("0:0.5:0.2") == (0.0, 0.2, 0.4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("0.5,0.5", "overlaps itself: 0.5 is there twice"),
        ("0:0.5:0.1,0.5:0.9:0.1", "overlaps itself: 0.5"),
        ("0.9:0.1:0.1", "empty range"),
        ("0:0.9:0", "empty range"),
        ("0:0.9", "first:last:step"),
        ("2:4", "go to --patterns"),
        ("0:0.9:0.0001", "more than 1000"),
        ("1", "outside [0, 1)"),
        ("-0.1", "outside [0, 1)"),
        ("half", "no number"),
        ("nan", "no number"),
    ],
)
def test_wrong_sparsities_are_refused(text, told):
    with pytest.raises(UsageError, match="sparsity") as error:
        parse_sparsities(text)
    assert told in str(error.value)


def test_patterns_keep_their_order():
    assert parse_patterns("7:8, 4:8,2:4") == ("7:8", "4:8", "2:4")


@pytest.mark.parametrize("text", ["", "4:4", "0:4", "5:4", "24", "2:4,2:4"])
def test_wrong_patterns_are_refused(text):
    with pytest.raises(UsageError):
        parse_patterns(text)


def test_a_quantizer_holds_until_the_next_is_named():
    assert parse_quantize("rtn:8,4,gptq:4,3") == (("rtn", 8), ("rtn", 4), ("gptq", 4), ("gptq", 3))


@pytest.mark.parametrize("text", ["", "8,4", "rtn", "rtn:x", "rtn:4,4", "rtn:4.5"])
def test_wrong_quantizers_are_refused(text):
    with pytest.raises(UsageError):
        parse_quantize(text)


def test_names_are_distinct():
    assert parse_names("a, b", "tasks") == ("a", "b")
    with pytest.raises(UsageError, match="a is there twice"):
        parse_names("a,a", "tasks")


def test_devices_of_one_kind_need_their_number_only():
    assert parse_devices("cuda:0,1") == ("cuda:0", "cuda:1")
    assert parse_devices(None) == ()
    with pytest.raises(UsageError):
        parse_devices("cuda:0,0")


@pytest.mark.parametrize(
    ("workers", "devices", "expected"),
    [
        (None, (), None),
        (4, (), None),  # forked on the CPU, where they share the model
        (4, ("cpu",), None),
        (None, ("cuda:0",), None),
        (1, ("cuda:0", "cuda:1"), None),
        (3, ("cuda:0",), ["cuda:0"] * 3),
        (None, ("cuda:0", "cuda:1"), ["cuda:0", "cuda:1"]),
        (3, ("cuda:0", "cuda:1"), ["cuda:0", "cuda:1", "cuda:0"]),
    ],
)
def test_workers_that_load_the_model_themselves_take_the_devices_in_turn(workers, devices, expected):
    machine = Machine(device=devices[0] if devices else "cpu")
    assert LocalEngine(workers, devices)._for_each_worker(machine) == expected


@pytest.mark.parametrize("workers", [0, -1, "two", 1.5])
def test_workers_are_a_count(workers):
    with pytest.raises(UsageError, match="workers"):
        engine_and_machine({"workers": workers})


def test_a_scheme_says_weights_and_activations_at_once() -> None:
    assert parse_quantize("rtn:4,w4a8,NVFP4A16,gptq:3") == (
        ("rtn", 4),
        ("W4A8", 4),
        ("NVFP4A16", 4),
        ("gptq", 3),
    )
    plan = build_plan("difficulty_tiers", quantize="rtn:8,W8A8,W4A8")
    names = [plan.run_id(cell) for cell in plan.cells]
    assert names == [
        "embedded dense",
        "embedded rtn 8 bits",
        "embedded rtn-aint8 8 bits",
        "embedded rtn-aint8 4 bits",
    ]
    with pytest.raises(UsageError, match="two runs of this plan are called 'embedded rtn 8 bits'"):
        build_plan("difficulty_tiers", quantize="rtn:8,W8A16")
