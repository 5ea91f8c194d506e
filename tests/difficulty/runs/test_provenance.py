"""The column `tiers_from`: what may stand in it, and which runs of a table it means."""

from __future__ import annotations

import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.provenance import TIERS_FROM, cell, cut_from, makers, makers_of
from difficulty.runs.rows import task_rows
from difficulty.runs.table import validate


def table(*runs: tuple, made: object = "", family: str = "f") -> pd.DataFrame:
    """Runs as (model, method, level, bits, replicate), of one item each, on tiers that `made` made."""
    rows = [
        {
            "model": model, "method": method, "level": level, "bits": bits, "replicate": replicate, "family": family,
            "tier": 1, "item_id": "i", "metric": "acc", "value": 1.0, TIERS_FROM: cell(made, "a test"),
        }
        for model, method, level, bits, replicate in runs
    ]  # fmt: skip
    return validate(pd.DataFrame(rows))


DENSE = ("org/m", "dense", 0.0, None, 0)
PRUNED = [("org/m", "magnitude", level, None, 0) for level in (0.5, 0.7)]
RANDOM = [("org/m", "random", 0.5, None, replicate) for replicate in (0, 1)]
ROUNDED = ("org/m", "rtn", None, 4, 0)


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        ([{"model": "org/m"}], ["org/m dense"]),
        ([{"model": "Org__M"}], ["org/m dense"]),  # as lm-eval names its folders
        (["org/m magnitude 0.7"], ["org/m magnitude 0.7"]),
        ([{"model": "org/m", "method": "magnitude", "level": 0.7}], ["org/m magnitude 0.7"]),
        ([{"model": "org/m", "method": "rtn", "bits": 4}], ["org/m rtn 4 bits"]),
        ([{"model": "org/m", "method": "random", "level": 0.5, "replicate": 1}], ["org/m random 0.5 #1"]),
        (["org/m dense", "org/m magnitude 0.5"], ["org/m dense", "org/m magnitude 0.5"]),
        ([{"model": "org/m", "method": "magnitude", "level": 0.6}], []),
        ([{"model": "other"}], []),
        ([{"model": "org/m", "cross_fitted": True}], []),
        ([], []),
        (None, []),
    ],
)
def test_a_maker_is_the_run_of_its_model_method_level_bits_and_replicate(made, wanted):
    given = table(DENSE, *PRUNED, *RANDOM, ROUNDED, made=made)
    assert cut_from(given) == ({"f": tuple(wanted)} if wanted else {})


def test_weights_count_more_than_names_because_replicates_are_numbered_anew_in_every_table():
    made = [{"model": "org/m", "method": "random", "level": 0.5, "weights_sha256": "b" * 64}]
    given = table(DENSE, *RANDOM, made=made)
    runs = pd.DataFrame({"run": list(given["run"].unique()), "weights_sha256": [None, "a" * 64, "b" * 64]})
    assert cut_from(given, runs) == {"f": ("org/m random 0.5 #1",)}
    assert cut_from(given) == {"f": ("org/m random 0.5",)}  # no hash is known: by name


def test_each_family_has_makers_of_its_own_and_only_runs_that_were_evaluated_on_it_count():
    first = table(DENSE, *PRUNED, made=["org/m dense"], family="f")
    second = table(*PRUNED, made=["org/m dense", "org/m magnitude 0.5"], family="g")
    third = table(DENSE, family="h")
    both = validate(pd.concat([first, second, third], ignore_index=True))
    assert cut_from(both) == {"f": ("org/m dense",), "g": ("org/m magnitude 0.5",)}
    assert {family: len(found) for family, found in makers_of(both).items()} == {"f": 1, "g": 2}


def test_what_one_log_says_of_the_tiers_holds_for_the_others():
    """A log made before the tiers said where they come from."""
    said, silent = table(PRUNED[0], made=["org/m dense"]), table(DENSE)
    both = validate(pd.concat([said, silent.drop(columns=TIERS_FROM)], ignore_index=True))
    assert cut_from(both) == {"f": ("org/m dense",)}
    assert cut_from(silent.drop(columns=TIERS_FROM)) == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("5", "Write a list there"),
        ("llama dense", "Write a list there"),
        ('[{"method": "wanda"}]', "names no run"),
        ("[5]", "names no run"),
        ('["llama"]', "names no model and method"),
        ('[{"model": "m", "levels": 0.5}]', "An entry has run, model"),
        ('[{"model": "m", "level": "0.5"}]', "level='0.5'"),
        ('[{"model": "m", "cross_fitted": "no"}]', "cross_fitted='no'"),
    ],
)
def test_what_is_no_list_of_runs_is_refused_wherever_it_stands(given, told):
    with pytest.raises(UsageError, match=told):
        makers(given, "here")
    plain = table(DENSE).drop(columns=TIERS_FROM)
    with pytest.raises(UsageError, match=told):
        validate(plain.assign(**{TIERS_FROM: given}))
    sample = {"doc_id": 0, "doc_hash": "h", "metrics": ["acc"], "acc": 1.0, "filter": "none"}
    with pytest.raises(UsageError, match=f"task 't' has|{told}"):
        task_rows("t", {"metadata": {TIERS_FROM: given}}, [sample])


def test_a_cell_is_the_same_text_for_the_same_runs_and_reads_back():
    text = cell([{"level": 0.5, "method": "wanda", "model": "m"}], "here")
    assert text == cell(["m wanda 0.5"], "here")
    assert cell(text, "here") == text and cell(None, "here") == "" == cell(float("nan"), "here")
