"""A run and its name are one: whatever sweep, prune, recover and study can make is written and read back unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difficulty.errors import UsageError
from difficulty.runs.identity import (
    ADAPTERS,
    ARMS,
    DENSE_FREEZING,
    LOCAL_RECONSTRUCTION,
    PAPER_ARMS,
    Method,
    Recovery,
    Run,
)

BASES = (
    "dense",
    "none",
    "magnitude",
    "largest",
    "random",
    "wanda",
    "sparsegpt",
    "rtn",
    "gptq",
    "bitsandbytes",
    "my_own-2",
)
adapters = st.sampled_from([None, *ADAPTERS])
steps = st.one_of(st.none(), st.integers(1, 10**9))
rates = st.one_of(st.none(), st.floats(1e-300, 0.999))
shares = st.one_of(st.just(1.0), st.floats(1e-6, 1.0))
recoveries = st.one_of(
    st.builds(Recovery, st.sampled_from(PAPER_ARMS), st.just(False), adapters, shares, steps, rates),
    st.builds(Recovery, st.just(DENSE_FREEZING), st.just(True), adapters, shares, steps, rates),
    st.builds(Recovery, st.just(LOCAL_RECONSTRUCTION), st.just(False), st.none(), shares, steps, rates),
)
patterns = st.one_of(
    st.none(), st.tuples(st.integers(1, 7), st.integers(8, 16)).map(lambda p: f"{p[0]}:{p[1]}")
)
methods = st.builds(Method, st.sampled_from(BASES), patterns, st.lists(recoveries, max_size=3).map(tuple))
models = st.one_of(
    st.sampled_from(
        ["embedded", "org/model", "./a folder", "C:/x 0.5", "nan", "7", "1e5", "a 4 bits", "m 2:4", "x #1"]
    ),
    st.text(st.characters(codec="ascii", exclude_characters="\n"), min_size=1).filter(
        lambda s: s.strip() == s
    ),
)
levels = st.one_of(st.none(), st.floats(0, 0.999), st.fractions(0, 1).map(float).filter(lambda x: x < 1))
runs = st.builds(
    Run,
    models,
    methods,
    levels,
    st.one_of(st.none(), st.sampled_from([8, 6, 4, 3, 2, 4.5])),
    st.integers(0, 99),
)


@given(runs)
def test_a_run_is_read_back_from_its_name(run: Run) -> None:
    assert Run.parse(str(run)) == run


@given(methods)
def test_a_method_is_read_back_from_its_name(method: Method) -> None:
    assert Method.parse(str(method)) == method


@given(st.text(min_size=1).filter(lambda s: s.strip() == s))
def test_the_name_of_somebody_elses_method_is_kept(text: str) -> None:
    assert str(Method.parse(text)) == text or Method.parse(text) == Method.parse(str(Method.parse(text)))


@pytest.mark.parametrize(
    ("text", "kind", "series"),
    [
        ("m dense", "dense", "dense"),
        ("m magnitude 0.5", "pruned", "magnitude"),
        ("m magnitude 2:4 0.5", "pruned", "magnitude N:4"),
        ("m magnitude 0.5 4 bits", "pruned", "magnitude 4 bits"),
        ("m rtn 4 bits", "quantized", "rtn"),
        ("m magnitude+sparse_transfer 0.5", "recovered", "magnitude+sparse_transfer"),
        ("m magnitude+sparse_transfer_lora 0.5", "recovered", "magnitude+sparse_transfer_lora"),
        ("m magnitude+dense_freezing_kept_dora@0.25 0.5", "recovered", "magnitude+dense_freezing_kept_dora@0.25"),
        ("m magnitude+sparse_transfer+sparse_to_dense@0.1 0.5", "recovered", "magnitude+sparse_transfer+sparse_to_dense@0.1"),
        ("m dense+dense_transfer 0", "recovered", "dense+dense_transfer"),
        ("m magnitude 2:4+sparse_transfer_lora@0.25~300steps~lr2e-05 0.5", "recovered", "magnitude N:4+sparse_transfer_lora@0.25~300steps~lr2e-05"),
        ("m magnitude+local_reconstruction~50steps 0.5", "recovered", "magnitude+local_reconstruction~50steps"),
        ("m dense+dense_transfer~lr0.001 0 #2", "recovered", "dense+dense_transfer~lr0.001"),
    ],
)  # fmt: skip
def test_what_a_run_is(text: str, kind: str, series: str) -> None:
    run = Run.parse(text)
    assert (run.kind, run.series, str(run)) == (kind, series, text)


@pytest.mark.parametrize("text", ["", "dense", " dense", "#1"])
def test_what_names_no_run_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no model and method"):
        Run.parse(text)


def test_an_unknown_training_is_no_training() -> None:
    method = Method.parse("magnitude+frobnicate")
    assert (method.base, method.recoveries) == ("magnitude+frobnicate", ())
    with pytest.raises(UsageError, match="Did you mean 'sparse_transfer'"):
        Recovery.parse("sparse_transfr")


def test_every_arm_is_read_and_the_four_of_the_paper_come_first() -> None:
    assert [Recovery.parse(arm).arm for arm in ARMS] == list(ARMS) == [*PAPER_ARMS, LOCAL_RECONSTRUCTION]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sparse_transfer~0steps", "at least 1"),
        ("sparse_transfer~lr1.5", "above 0 and below 1"),
        ("local_reconstruction_lora", "has no adapter"),
        ("sparse_transfer@--", "is unknown"),
        ("sparse_transfer~lr", "is unknown"),
        ("sparse_transfer~lr2e-05~3steps", "is unknown"),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recovery.parse(text)
