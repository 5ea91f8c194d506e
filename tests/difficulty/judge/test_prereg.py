"""A registered plan: read as it was written or refused, and every departure from it told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from difficulty.errors import UsageError
from difficulty.judge.departures import Facts, departures, facts_of
from difficulty.judge.fit import fit
from difficulty.judge.prereg import (
    KIND,
    SCALES,
    Prereg,
    content_sha256,
    read_prereg,
    require_same_study,
    write_prereg,
)
from difficulty.judge.verdicts import Rules
from tests.difficulty.judge.simulated import table

LEVELS = (0.2, 0.4, 0.6, 0.8)


def content(**changed: Any) -> dict[str, Any]:
    """The plan of `table()`: two families of three tiers, magnitude at four levels."""
    runs = [("dense", 0.0), *(("magnitude", level) for level in LEVELS)]
    tasks = {
        f"{f}_t{t}": {"family": f, "axis": "", "tier": t, "n_items": 60} for f in "ab" for t in (1, 2, 3)
    }
    whole = {
        "kind": KIND, "schema": 1, "registered": "2026-01-01T00:00:00+00:00", "version": "1", "models": ["m"],
        "model_args": [], "grid": {}, "families": {"a": [1, 2, 3], "b": [1, 2, 3]}, "tasks": tasks,
        "runs": [
            {"model": "m", "method": method, "level": level, "bits": None, "replicate": 0, "arguments": {"seed": 0}}
            for method, level in runs
        ],
        "evaluation": {"tasks": ["a", "b"], "limit": None, "seed": [0, 1234, 1234, 1234]},
        "verdicts": {
            "claims": ["P1", "P2"], "scales": SCALES, "margins": True, "metric": None,
            "rules": dict(Rules().__dict__), "n_resamples": 200, "seed": 0,
        },
    }  # fmt: skip
    return {**whole, **changed}


@pytest.fixture
def registered(tmp_path: Path) -> Prereg:
    return write_prereg(tmp_path / "p.json", content())


@pytest.fixture(scope="module")
def facts() -> Facts:
    rows = table(0.4)
    return facts_of(
        fit(rows, n_resamples=200, claims=("P1", "P2")),
        "1",
        rows.assign(task=rows["family"] + "_t" + rows["tier"].astype(str)),
    )


def test_what_was_judged_as_registered_has_no_departure(registered, facts):
    assert facts.items == dict.fromkeys(registered.tasks, 60)
    assert departures(registered, facts) == ()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"conditions": {"magnitude": dict.fromkeys([(v, None) for v in (0.2, 0.4, 0.6)], 1)}}, "magnitude lacks the registered level 0.8."),
        ({"conditions": {"magnitude": dict.fromkeys([(v, None) for v in (*LEVELS, 0.5)], 1)}}, "magnitude has level 0.5, not registered."),
        ({"conditions": {"magnitude": dict.fromkeys([(v, None) for v in LEVELS], 3)}}, "magnitude has 3 replicates at levels 0.2, 0.4, 0.6, 0.8; registered: 1."),
        ({"conditions": {"wanda": {(0.5, None): 1}}}, "registered methods are missing: magnitude."),
        ({"conditions": {"wanda": {(0.5, None): 1}}}, "methods that were not registered: wanda."),
        ({"families": {"a": (1, 2, 3)}}, "registered families are missing: b."),
        ({"families": {"a": (1, 2, 3), "b": (1, 2)}}, "family b has the tiers 1, 2; registered were 1, 2, 3."),
        ({"families": {"a": (1, 2, 3), "b": (1, 2, 3), "c": (1,)}}, "families that were not registered: c."),
        ({"items": {"a_t1": 60, "z": 5}}, "tasks that were not registered: z."),
        ({"items": {"a_t1": 60}}, "registered tasks are missing: a_t2, a_t3, b_t1, b_t2, b_t3."),
        ({"items": {**dict.fromkeys(content()["tasks"], 60), "a_t1": 59}}, "1 task has another number of items than registered: a_t1 59 for 60."),
        ({"rules": {**Rules().__dict__, "delta_tier": 0.2}}, "the verdicts use delta-tier=0.2; registered was 0.1."),
        ({"rules": {**Rules().__dict__, "alpha": 0.1}}, "the verdicts use alpha=0.1; registered was 0.05."),
        ({"rules": {**Rules().__dict__, "new": 1.0}}, "the verdicts use new=1.0; registered was null."),
        ({"claims": ("P2",)}, "registered claims are missing: P1."),
        ({"claims": ("P1", "P2", "P3")}, "claims that were not registered: P3."),
        ({"scales": {"with margins": ["T", "A"]}}, "the scales that decide with margins are T, A; registered were T, S, A."),
        ({"margins": False}, "margins are not used where they were logged; registered was the opposite."),
        ({"n_resamples": 400}, "the number of resamples is 400; registered was 200."),
        ({"seed": 7}, "the seed of the resamples is 7; registered was 0."),
        ({"metric": "acc_norm"}, 'the metric is "acc_norm"; registered was null.'),
        ({"version": "2"}, "the verdicts are those of version 2; registered was 1."),
        ({"evaluation": {"seed": [1, 1, 1, 1]}}, "the runs were evaluated with seed=[1, 1, 1, 1]; registered was [0, 1234, 1234, 1234]."),
        ({"evaluation": {"limit": 5.0}}, "the runs were evaluated with limit=5.0; registered was null."),
        (
            {"arguments": {"m magnitude 0.2": {"seed": 1}}},
            '1 run was made with other arguments than registered: m magnitude 0.2 with {"seed": 1}, registered was {"seed": 0}.',
        ),
    ],
)  # fmt: skip
def test_each_departure_is_a_sentence(registered, facts, changed, told):
    found = departures(registered, replace(facts, **changed))
    assert told in found
    assert len(found) == (2 if "wanda" in str(changed) or "z" in changed.get("items", {}) else 1)


def test_a_level_as_measured_is_the_level_that_was_asked_for(registered, facts):
    near = {"magnitude": {(level - 0.003, None): 1 for level in LEVELS}}
    assert departures(registered, replace(facts, conditions=near)) == ()


def test_levels_that_a_registered_rule_may_add_are_told_with_that_rule(tmp_path, facts):
    prereg = write_prereg(tmp_path / "r.json", content(grid={"by_rule": ["refine P3"]}))
    more = {"magnitude": dict.fromkeys([(v, None) for v in (*LEVELS, 0.5)], 1)}
    (told,) = departures(prereg, replace(facts, conditions=more))
    assert (
        told == "magnitude has level 0.5, not registered (registered was that levels are added by refine P3)."
    )
    ruled = replace(facts, conditions=more, by_rule={("magnitude", (0.5, None)): "refine P3"})
    assert departures(prereg, ruled) == ()
    other = replace(ruled, by_rule={("magnitude", (0.5, None)): "match-loss"})
    assert departures(prereg, other) == (told,)


def test_a_control_whose_levels_are_matched_is_registered_without_levels(tmp_path, facts):
    prereg = write_prereg(
        tmp_path / "r.json", content(grid={"by_rule": ["match-loss"], "matched": ["random"]})
    )
    assert departures(prereg, facts) == ("registered methods are missing: random.",)
    there = {**facts.conditions, "random": {(0.31, None): 1}}
    ruled = replace(facts, conditions=there, by_rule={("random", (0.31, None)): "match-loss"})
    assert departures(prereg, ruled) == ()


def test_bits_and_patterns_and_replicates_of_a_plan_are_compared_by_series(tmp_path, facts):
    runs = [
        {"model": "m", "method": "magnitude 2:4", "level": 0.5, "bits": None, "replicate": 0},
        {"model": "m", "method": "rtn", "level": None, "bits": 4, "replicate": 0},
        *({"model": "m", "method": "random", "level": 0.5, "bits": None, "replicate": r} for r in (0, 1)),
        {"model": "other", "method": "wanda", "level": 0.5, "bits": None, "replicate": 0},
    ]
    prereg = write_prereg(tmp_path / "r.json", content(runs=runs, models=["m", "other"]))
    there = {"magnitude N:4": {(0.5, None): 1}, "rtn": {(None, 4.0): 1}, "random": {(0.5, None): 2}}
    assert departures(prereg, replace(facts, conditions=there)) == ()
    there["rtn"] = {(None, 3.0): 1}
    assert departures(prereg, replace(facts, conditions=there)) == (
        "rtn lacks the registered level 4 bits.",
        "rtn has level 3 bits, not registered.",
    )


def test_a_file_is_never_written_over_by_another_plan(tmp_path, registered):
    path = tmp_path / "p.json"
    before = path.read_bytes()
    again = write_prereg(
        path, content(registered="2027-01-01T00:00:00+00:00", version="2")
    )  # the same plan, later
    assert again == registered and path.read_bytes() == before
    other = content()
    other["verdicts"] = {**other["verdicts"], "rules": {**other["verdicts"]["rules"], "delta": 0.1}}
    with pytest.raises(UsageError, match=r"another plan: its verdicts\.rules\.delta is 0\.05, not 0\.1\."):
        write_prereg(path, other)
    assert path.read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="preregistration '.*notes.txt' is not whole JSON"):
        write_prereg(tmp_path / "notes.txt", content())
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_edited_file_is_refused_by_name(tmp_path, registered):
    path = tmp_path / "p.json"
    assert read_prereg(path).sha256 == content_sha256(content())
    path.write_text(path.read_text().replace('"delta_tier": 0.1', '"delta_tier": 0.3'))
    with pytest.raises(UsageError, match=r"p\.json' was edited after it was written"):
        read_prereg(path)
    path.write_text(
        json.dumps(json.loads(path.read_text().replace("0.3", "0.1")), indent=7)
    )  # only laid out anew
    assert read_prereg(path).content == registered.content


def edited(**changed: Any) -> str:
    """A file whose hash is right, whatever is in it."""
    whole = {name: value for name, value in content(**changed).items() if value is not None}
    return json.dumps({**whole, "sha256": content_sha256(whole)})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not whole JSON"),
        ("[]", "is no preregistration"),
        ('{"schema": 1}', "is no preregistration"),
        (edited(schema=2), "of schema 2, and this version reads schema 1"),
        (edited(verdicts={}), "no whole preregistration"),
        (edited(runs=None), "no whole preregistration"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_preregistration_is_refused(tmp_path, text, told):
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=told):
        read_prereg(tmp_path / "x.json")


@pytest.mark.parametrize(("models", "tasks"), [(["other"], ["a_t1"]), (["m"], ["arc_easy"])])
def test_a_file_of_another_suite_or_model_is_one_refusal(registered, models, tasks):
    told = rf"another study: it registers tasks a_t1, a_t2, a_t3 and 3 more of model m, the runs are of tasks {tasks[0]} of model {models[0]}"
    with pytest.raises(UsageError, match=told):
        require_same_study(registered, models, tasks)
    require_same_study(registered, ["./m/"], ["a_t1", "more"])
