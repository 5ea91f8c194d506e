"""Policies: how they are read, which comparisons they ask for, and what these decide, on runs whose truth is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from difficulty.errors import UsageError
from difficulty.runs.noise import Floor
from junkdna_harness.gate import Gate, Limits, RunItems, check
from junkdna_harness.gate.baseline import from_json, to_json
from junkdna_harness.gate.items import run_items
from junkdna_harness.gate.noise import with_noise_of
from junkdna_harness.gate.planned import plan_comparisons
from junkdna_harness.gate.policy_file import (
    RULE_KEYS,
    TOP,
    json_schema,
    policy_of_document,
    read_policy,
    to_dict,
)
from junkdna_harness.gate.simple import parse_drops
from junkdna_harness.gate.suggest import policy_text
from junkdna_harness.yaml_values import read_yaml
from tests.gate.test_fidelity import comparison
from tests.report.synthetic import one_run

CELLS = [(family, tier) for family in ("addition", "sorting") for tier in (1, 2)]


def table(lost: dict[tuple[str, int], int] | None = None, n: int = 250, gained: int = 0) -> pd.DataFrame:
    """Two families of two tiers, right on nine items of ten but for the first `lost[cell]` items; `gained` wrong ones are right."""
    values = {}
    for cell in CELLS:
        right = np.ones(n)
        right[::10] = 0
        right[0 : 10 * gained : 10] = 1
        right[1 : 1 + (lost or {}).get(cell, 0)] = 0
        values[cell] = right
    return one_run(values)


def run(lost: dict[tuple[str, int], int] | None = None, n: int = 250) -> RunItems:
    return run_items(table(lost, n))


def judged(rules: list[dict[str, Any]], new: RunItems, old: RunItems | None = None, **top: Any) -> Gate:
    return check(new, old or run(), policy_of_document({"rules": rules, **top}, "gate.yaml"))


def verdicts(gate: Gate) -> dict[str, str]:
    return {one.name: one.verdict for one in gate.comparisons}


def test_a_pattern_is_judged_for_each_value_and_a_name_for_that_one() -> None:
    gate = judged(
        [
            {"max_drop": 0.05},
            {"tier": "*", "max_drop": 0.05},
            {"family": "sorting", "max_drop": 0.05},
            {"family": "*", "tier": [1, 2], "max_drop": 0.05},
            {"task": "*_t2", "max_drop": 0.05},
        ],
        run(),
    )
    assert set(verdicts(gate)) == {
        "overall", "tier 1 of all", "tier 2 of all", "sorting", "addition_t2", "sorting_t2",
        *(f"{family} tier {tier}" for family, tier in CELLS),
    }  # fmt: skip
    assert {one.limit for one in gate.comparisons} == {0.05}
    assert gate.verdict == "pass"


def test_only_critical_rules_decide() -> None:
    broken = run({("sorting", 2): 60})
    rules = [{"max_drop": 0.1}, {"family": "*", "tier": "*", "max_drop": 0.05, "severity": "advisory"}]
    gate = judged(rules, broken)
    assert verdicts(gate)["sorting tier 2"] == "fail"
    assert (gate.verdict, gate.exit_code) == ("pass", 0)
    alone = judged(rules[1:], broken)
    assert alone.verdict == "pass" and any("no rule on tasks is critical" in note for note in alone.notes)
    rules[1]["severity"] = "critical"
    assert judged(rules, broken).verdict == "fail"


def test_advisory_rules_cost_critical_ones_nothing() -> None:
    """A fail is corrected for the critical comparisons alone."""
    broken = run({("sorting", 2): 20})
    few = judged([{"family": "sorting", "tier": 2, "max_drop": 0.02}], broken)
    many = judged(
        [
            {"family": "sorting", "tier": 2, "max_drop": 0.02},
            {"task": "*", "max_drop": 0.02, "severity": "advisory"},
        ],
        broken,
    )
    assert few.comparisons[0].p_holm == few.comparisons[0].p_exceeds == many.comparisons[0].p_holm
    assert {one.among for one in many.advisory} == {4}


@pytest.mark.parametrize("counts", ["inconclusive", "fail", "pass"])
def test_what_an_inconclusive_comparison_counts_as(counts: str) -> None:
    rule = {"max_drop": 0.02, "inconclusive": counts}
    gate = judged([rule], run(n=40), run(n=40))
    assert gate.comparisons[0].verdict == gate.verdict == "pass"  # 160 items in all
    gate = judged([{**rule, "family": "sorting", "tier": 1}], run(n=40), run(n=40))
    assert (gate.comparisons[0].verdict, gate.verdict) == ("inconclusive", counts)


def test_flips_count_both_ways() -> None:
    """12 lost and 12 gained of 1,000: no drop, and 24 flips; the upper bound is that of Clopper and Pearson, or nearly."""
    old, new = run_items(table()), run_items(table(dict.fromkeys(CELLS, 3), gained=3))
    gate = judged([{"max_drop": 0.02, "max_flips": 0.04}], new, old)
    drop, flips = gate.comparisons
    assert (drop.name, drop.loss.loss) == ("overall", 0.0)
    assert (flips.name, flips.loss.loss, flips.verdict) == ("overall (flips)", pytest.approx(0.024), "pass")
    exact = stats.beta.ppf(0.95, 25, 1000 - 24)
    assert flips.loss.bounds(0.05)[1] == pytest.approx(exact, abs=0.001)
    assert judged([{"max_flips": 0.01}], new, old).verdict == "fail"
    assert judged([{"max_flips": 0.024}], new, old).verdict == "inconclusive"


def test_a_relative_limit_of_a_low_baseline_is_taken_of_a_higher_score() -> None:
    low = one_run({("addition", 1): np.repeat([1.0, 0.0], [20, 980])})
    new = run_items(low)
    gate = judged([{"max_relative_drop": 0.2}], new, new)
    assert gate.comparisons[0].limit == pytest.approx(0.2 * 0.1)
    assert any("below low_baseline 0.1" in note for note in gate.notes)
    plain = judged([{"max_relative_drop": 0.2, "low_baseline": 0}], new, new)
    assert plain.comparisons[0].limit == pytest.approx(0.2 * 0.02)
    assert judged([{"max_relative_drop": 0.2, "max_drop": 0.01}], new, new).comparisons[0].limit == 0.01


def test_a_ratio_of_perplexities_is_of_perplexities() -> None:
    draw = np.random.default_rng(0)
    nats = one_run({("wikitext", 1): draw.normal(3, 0.5, 300)}, metric="word_perplexity").assign(
        weight=draw.integers(50, 90, 300).astype(float), scale="perplexity"
    )
    text, twice = run_items(nats), run_items(nats.assign(value=nats["value"] + 0.1))
    gate = judged([{"max_perplexity_ratio": 1.2}], twice, text)
    assert gate.comparisons[0].limit == pytest.approx(0.2 * text_score(text))
    assert gate.verdict == "pass"  # exp(0.1) = 1.105
    assert judged([{"max_perplexity_ratio": 1.05}], twice, text).verdict == "fail"
    with pytest.raises(UsageError, match="needs a perplexity, and none was logged there .there is: acc"):
        judged([{"max_perplexity_ratio": 1.2}], run())


def text_score(items: RunItems) -> float:
    (task,) = items.tasks.values()
    assert task.weights is not None
    return float(np.exp((task.values * task.weights).sum() / task.weights.sum()))


def test_any_column_of_a_table_selects() -> None:
    german = table().assign(language=lambda t: np.where(t.groupby("task").cumcount() < 100, "de", "fr"))
    worse = german.copy()
    worse.loc[(worse["language"] == "de") & (worse["value"] == 1), "value"] = 0.0
    old, new = run_items(german), run_items(worse)
    gate = judged([{"where": {"language": "*"}, "max_drop": 0.05}], new, old)
    assert {one.name: (one.loss.n_items, one.verdict) for one in gate.comparisons} == {
        "language de": (400, "fail"),
        "language fr": (600, "pass"),
    }
    assert judged([{"where": {"language": "fr"}, "tier": 1, "max_drop": 0.05}], new, old).verdict == "pass"
    read = from_json(json.loads(to_json(old)), "b.json")  # a baseline file keeps the column
    assert judged([{"where": {"language": "de"}, "max_drop": 0.05}], new, read).verdict == "fail"
    with pytest.raises(
        UsageError, match="'languag', a column that the baseline does not have. Did you mean 'language'"
    ):
        judged([{"where": {"languag": "de"}, "max_drop": 0.05}], new, old)


def test_a_rule_on_a_further_metric() -> None:
    two = pd.concat([table(), table().assign(metric="acc_norm")])
    worse = two.assign(value=np.where(two["metric"] == "acc_norm", 0.0, two["value"]))
    old, new = (run_items(t, also=("acc_norm",)) for t in (two, worse))
    rules = [{"max_drop": 0.05}, {"metric": "acc_norm", "max_drop": 0.05}]
    gate = judged(rules, new, old)
    assert [(one.metric, one.verdict) for one in gate.comparisons] == [("acc", "pass"), ("acc_norm", "fail")]
    read = from_json(json.loads(to_json(old)), "b.json")
    assert [one.verdict for one in judged(rules, new, read).comparisons] == ["pass", "fail"]
    assert to_json(read) == to_json(old)
    without = judged(rules, run_items(table()), old)
    assert without.verdict == "fail" and "acc_norm of task addition_t1" in without.missing
    with pytest.raises(
        UsageError,
        match="limits the metric 'acc_nrm', which the baseline does not have. Did you mean 'acc_norm'",
    ):
        judged([{"metric": "acc_nrm", "max_drop": 0.1}], new, old)
    optional = [{"max_drop": 0.05}, {"metric": "f1", "max_drop": 0.1, "required": False}]
    assert [one.metric for one in judged(optional, new, old).comparisons] == ["acc"]


def test_what_must_be_there() -> None:
    part = run_items(table()[lambda t: t["task"] != "sorting_t2"])
    rules = [{"family": "addition", "max_drop": 0.05}]
    gate = judged(rules, part)
    assert gate.verdict == "pass" and any("sorting_t2" in note for note in gate.notes)
    gate = judged(rules, part, required=["sorting_*"])
    assert gate.verdict == "fail" and any("sorting_t2" in missing for missing in gate.missing)
    with pytest.raises(
        UsageError,
        match="requires the task 'sortin_t1', which the baseline does not have. Did you mean 'sorting_t1'",
    ):
        judged(rules, part, required=["sortin_t1"])
    with pytest.raises(UsageError, match="no task of the baseline is 'subtraction'"):
        judged([{"task": "subtraction", "max_drop": 0.1}], run())
    with pytest.raises(UsageError, match="nothing is judged: no rule of"):
        judged([{"task": "subtraction", "max_drop": 0.1, "required": False}], run())
    assert (
        judged([*rules, {"task": "subtraction", "max_drop": 0.1, "required": False}], run()).verdict == "pass"
    )


def test_of_two_rules_the_more_exact_one_counts_and_equals_contradict() -> None:
    rules = [{"tier": "*", "max_drop": 0.02}, {"tier": 2, "max_drop": 0.05, "severity": "advisory"}]
    planned = plan_comparisons(run(), policy_of_document({"rules": rules}, "gate.yaml"))
    assert [(one.name, one.limit, one.rule.severity) for one in planned] == [
        ("tier 1 of all", 0.02, "critical"),
        ("tier 2 of all", 0.05, "advisory"),
    ]
    with pytest.raises(UsageError, match="contradict each other.*tier 2.*max_drop 0.02 and by max_drop 0.05"):
        judged([{"tier": 2, "max_drop": 0.02}, {"tier": 2, "max_drop": 0.05}], run())
    same = [{"tier": 2, "max_drop": 0.05}, {"tier": [1, 2], "max_drop": 0.05}]
    assert len(judged(same, run()).comparisons) == 2
    two = [{"tier": 2, "max_drop": 0.05}, {"tier": 2, "max_drop": 0.02, "severity": "advisory"}]
    assert len(judged(two, run()).comparisons) == 2


def test_a_loss_within_the_noise_floor_is_no_fail_and_says_so() -> None:
    floor = Floor(250, 60, 1.0, 250.0, 230.0, 40.0, 60.0, "mean")
    old, new = run(), run({("sorting", 2): 40})
    noisy = replace(old, tasks={name: replace(task, noise=floor) for name, task in old.tasks.items()})
    rules = [{"family": "sorting", "tier": 2, "max_drop": 0.02}]
    assert judged(rules, new, old).verdict == "fail"
    gate = judged(rules, new, noisy)
    assert gate.comparisons[0].within_noise and gate.verdict == "inconclusive"
    assert any("no more than the noise floor: that is no fail" in note for note in gate.notes)


def test_a_second_evaluation_of_the_baseline_is_its_noise_floor() -> None:
    old, again = run(), run({("sorting", 2): 30})
    noisy = with_noise_of(old, again)
    floor = noisy.tasks["sorting_t2"].noise
    assert floor is not None and (floor.changed, floor.n_items, floor.size) == (
        27,
        250,
        pytest.approx(27 / 250),
    )
    rules = [{"family": "sorting", "tier": 2, "max_drop": 0.02}]
    assert judged(rules, run({("sorting", 2): 28}), noisy).verdict == "inconclusive"
    assert judged(rules, run({("sorting", 2): 40}), noisy).verdict == "fail"
    part = run_items(table()[lambda t: t["family"] == "addition"])
    assert with_noise_of(old, part).tasks["sorting_t1"].noise is None
    with pytest.raises(UsageError, match="the noise floor is a second evaluation of the baseline's model"):
        with_noise_of(old, replace(again, about={**again.about, "method": "wanda"}))
    with pytest.raises(UsageError, match=r"and .* is other \(dense"):
        with_noise_of(old, replace(again, about={**again.about, "model": "other"}))
    with pytest.raises(UsageError, match="has no task of the baseline"):
        with_noise_of(old, run_items(one_run({("names", 1): np.ones(9)})))


def test_the_same_weights_with_every_answer_equal_pass_whatever_their_number() -> None:
    few = run(n=10)
    assert judged([{"max_drop": 0.02}], few, few).verdict == "inconclusive"
    known = replace(few, weights_sha256="ab" * 32)
    gate = judged([{"max_drop": 0.02}], known, known)
    assert gate.verdict == "pass" and gate.identical
    read = from_json(json.loads(to_json(known)), "b.json")
    assert judged([{"max_drop": 0.02}], known, read).identical
    for other in (
        replace(known, weights_sha256="cd" * 32),
        replace(known, dtype="bfloat16"),
        replace(known, about={**known.about, "method": "kv4"}),
        replace(run({("sorting", 1): 1}, n=10), weights_sha256="ab" * 32),
    ):
        assert judged([{"max_drop": 0.02}], other, known).verdict != "pass"


def test_rules_on_a_text_are_judged_with_the_others() -> None:
    policy = policy_of_document(
        {"rules": [{"max_drop": 0.05}, {"max_kl": 0.08, "min_agreement": 0.85}]}, "g.yaml"
    )
    gate = check(run(), run(), policy, text=comparison())
    assert [one.verdict for one in gate.text] == ["pass", "pass"] and gate.verdict == "pass"
    worse = check(run(), run(), policy, text=comparison(kl=0.2))
    assert worse.verdict == "fail" and all(one.verdict == "pass" for one in worse.comparisons)
    with pytest.raises(UsageError, match="needs what was measured on a text. Give --fidelity"):
        check(run(), run(), policy)
    optional = policy_of_document(
        {"rules": [{"max_drop": 0.05}, {"max_kl": 0.08, "required": False}]}, "g.yaml"
    )
    assert any("no text was given" in note for note in check(run(), run(), optional).notes)
    with pytest.raises(UsageError, match="has no rule `of: text`"):
        check(run(), run(), policy_of_document({"rules": [{"max_drop": 0.05}]}, "g.yaml"), text=comparison())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("rules: [{max_dorp: 0.02}]", "rule 1: the key 'max_dorp' is not known. Did you mean 'max_drop'"),
        ("ruls: []", "key 'ruls' is not known. Did you mean 'rules'"),
        ("rules: []", "no list of `rules`"),
        ("[]", "no mapping"),
        ("rules: [3]", "rule 1 is no mapping"),
        ("rules: [{tier: 4}]", "sets no limit"),
        ("rules: [{max_drop: two}]", "'two' is no number"),
        ("rules: [{max_drop: true}]", "True is no number"),
        ("rules: [{max_drop: -0.1}]", "max_drop -0.1 is not a loss"),
        ("rules: [{max_flips: 2}]", "max_flips 2.0 is not a share of items"),
        ("rules: [{max_perplexity_ratio: 0.9}]", "max_perplexity_ratio 0.9 is not a ratio"),
        ("rules: [{max_drop: .nan}]", "max_drop nan is not a loss"),
        (
            "rules: [{max_drop: 0.1, severity: urgent}]",
            "severity 'urgent' is not known. Choose from critical, advisory",
        ),
        ("rules: [{max_drop: 0.1, inconclusive: skip}]", "inconclusive 'skip' is not known"),
        ("rules: [{max_drop: 0.1, required: 1}]", "1 is neither true nor false"),
        ("rules: [{max_drop: 0.1, higher_is_better: true}]", "higher_is_better is of a metric"),
        ("rules: [{max_drop: 0.1, tier: [[1]]}]", "is no value or pattern"),
        ("rules: [{max_drop: 0.1, where: {tier: 4}}]", "'tier' stands under `where`"),
        ("rules: [{max_drop: 0.1, where: de}]", "`where` is no mapping"),
        ("rules: [{max_drop: 0.1, where: []}]", "`where` is no mapping"),
        ("{rules: [{max_drop: 0.1}], defaults: false}", "`defaults` is no mapping"),
        (
            "rules: [{max_drop: 0.02, max_drop: 0.9}]",
            "is no YAML .line 1: the key 'max_drop' stands there twice",
        ),
        ("alpha: 0.05\nrules: [{max_drop: 0.1}]\nalpha: 0.4", "line 3: the key 'alpha' stands there twice"),
        ("rules: [{max_kl: 0.1, tier: 4}]", "is on a text, which has no tasks"),
        ("rules: [{max_kl: 0.1, max_drop: 0.1}]", "max_drop is not a limit on text"),
        ("rules: [{max_drop: 0.1, of: paper}]", "of 'paper' is not known"),
        ("{rules: [{max_drop: 0.1}], alpha: 0.7}", "alpha 0.7 is not an error rate"),
        ("{rules: [{max_drop: 0.1}], schema: 9}", "schema 9, and this version reads 1"),
        ("{rules: [{max_drop: 0.1}], required: [3]}", "is no list of names"),
        ("{rules: [{max_drop: 0.1}], defaults: {tier: 4}}", "defaults: the key 'tier' is not known"),
        (
            "{rules: [{max_drop: 0.1, metric: acc, higher_is_better: true}, {max_drop: 0.1, metric: acc, higher_is_better: false}]}",
            "'acc' is better higher by one rule and lower by another",
        ),
        ("rules: [", "is no YAML .line"),
        ("!!python/object/apply:os.system [ls]", "is no YAML"),
    ],
)
def test_a_policy_with_a_mistake_is_one_sentence(tmp_path: Path, document: str, message: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(document)
    with pytest.raises(UsageError, match=message) as error:
        read_policy(path)
    assert "\n" not in str(error.value)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_policy(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is saved as UTF-16"):
        read_policy(tmp_path / "b.yaml")


def test_defaults_hold_where_a_rule_says_nothing() -> None:
    document = {
        "defaults": {"severity": "advisory", "max_drop": 0.03, "metric": "acc"},
        "rules": [{"tier": "*"}, {"max_flips": 0.1, "severity": "critical"}, {"max_kl": 0.1}],
    }
    first, second, third = policy_of_document(document, "g.yaml").rules
    assert (first.max_drop, first.severity, first.metric) == (0.03, "advisory", "acc")
    assert (second.max_drop, second.max_flips, second.severity) == (None, 0.1, "critical")
    assert (third.of, third.metric) == ("text", None)


def test_the_schema_says_what_the_reader_says() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(TOP)
    assert set(schema["$defs"]["rule"]["properties"]) == set(RULE_KEYS)
    whole = {
        "schema": 1, "alpha": 0.01, "required": ["a*"], "lower_is_better": ["latency"], "defaults": {"severity": "advisory"},
        "rules": [
            {"max_drop": 0.02, "max_flips": 0.1, "family": "a", "tier": [1, 2], "where": {"language": "de"}, "name": "n"},
            {"max_kl": 0.05, "of": "text", "required": False},
        ],
    }  # fmt: skip
    jsonschema.validate(whole, schema)
    policy = policy_of_document(whole, "g.yaml")
    again = to_dict(policy)
    jsonschema.validate(again, schema)
    assert policy_of_document(again, "g.yaml") == policy
    for wrong in (
        {"rules": [{"max_dorp": 1}]},
        {"rules": []},
        {"rules": [{"max_drop": -1}]},
        {"alpha": 2, **whole, "rules": 3},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_a_suggested_policy_can_be_read_and_says_what_its_items_can_decide() -> None:
    short = table()[lambda t: (t["family"] != "sorting") | (t.groupby("task").cumcount() < 25)]
    text = policy_text(run_items(short))
    policy = policy_of_document(yaml.safe_load(text), "g.yaml")
    limits = {
        (dict(r.where).get("family"), dict(r.where).get("tier")): (r.max_drop, r.severity)
        for r in policy.rules
    }
    assert limits["*", "*"] == (0.05, "critical")
    assert limits["sorting", "*"] == (0.1, "advisory")
    assert policy.required == ("addition_t*", "sorting_t*")
    jsonschema.validate(yaml.safe_load(text), json_schema())
    assert check(run_items(short), run_items(short), policy).verdict == "pass"


def test_a_suggested_policy_limits_other_metrics_by_their_own_score() -> None:
    both = pd.concat([table(), one_run({("text", 1): np.linspace(5, 9, 250)}, metric="bleu")])
    rules = policy_of_document(yaml.safe_load(policy_text(run_items(both))), "g.yaml").rules
    assert {rule.metric for rule in rules} == {"acc", "bleu"}
    assert all(
        rule.max_drop is None and rule.max_relative_drop == 0.05 for rule in rules if rule.metric == "bleu"
    )


def test_names_that_yaml_would_misread_are_quoted() -> None:
    odd = table().assign(task=lambda t: t["task"].replace({"addition_t1": "no", "sorting_t2": "a: b # c"}))
    read = yaml.safe_load(policy_text(run_items(odd)))
    assert {"no", "a: b # c"} <= set(read["required"])


def test_words_that_older_yaml_takes_for_truths_are_words(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(
        "rules: [{max_drop: 0.1, where: {language: [no, off]}, required: false}]"
    )
    assert [rule.where for rule in read_policy(tmp_path / "g.yaml").rules] == [
        (("language", "no"),),
        (("language", "off"),),
    ]


def test_limits_for_parts_on_the_command_line() -> None:
    assert parse_drops(["0.02", "tier4=0.05", "a=b=0.1"]) == (0.02, {"tier4": 0.05, "a=b": 0.1})
    for wrong, message in (
        (["x"], "'x' is no number"),
        (["tier4=x"], "is no number"),
        (["0.1", "0.2"], "given twice for all"),
        (["a=1", "a=2"], "given twice for 'a'"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_drops(wrong)

    def limits(at: dict[str, float]) -> dict[str, float]:
        return {one.name: one.limit for one in check(run(), run(), Limits(at=at)).comparisons}

    found = limits({"tier2": 0.05})
    assert {name for name, limit in found.items() if limit == 0.05} == {
        "tier 2 of all",
        "addition tier 2",
        "sorting tier 2",
    }
    found = limits({"sorting": 0.05, "tier2": 0.06, "sorting,tier2": 0.07})
    assert (found["sorting tier 1"], found["sorting tier 2"], found["addition tier 2"]) == (0.05, 0.07, 0.06)
    assert limits({"sorting_t1": 0.05})["sorting_t1"] == 0.05
    assert limits({"family:s*": 0.05})["sorting"] == 0.05
    with pytest.raises(UsageError, match="contradict each other"):
        limits({"sorting": 0.05, "tier2": 0.06})
    with pytest.raises(
        UsageError, match="'sortin' is no family, tier or task of the baseline. Did you mean 'sorting'"
    ):
        limits({"sortin": 0.05})


@pytest.mark.parametrize("n_rules", [1, 9])
def test_the_joint_decision_keeps_its_error_rate(n_rules: int) -> None:
    """400 draws: equal models rarely fail; models that lose just the limit in one cell, and nothing elsewhere, rarely pass."""
    draw = np.random.default_rng(5)
    rules = [
        {"max_drop": 0.04},
        {"tier": "*", "max_drop": 0.04},
        {"family": "*", "max_drop": 0.04},
        {"task": "*", "max_drop": 0.04},
    ]
    policy = policy_of_document(
        {"rules": rules if n_rules == 9 else [{"task": "sorting_t2", "max_drop": 0.04}]}, "g.yaml"
    )
    old, outcomes = table(n=120), {"equal": [], "worse": []}
    base = old["value"].to_numpy()
    cell = (old["task"] == "sorting_t2").to_numpy()
    before = run_items(old)
    for _ in range(400):
        u = draw.random(len(base))
        for name, loss in (("equal", 0.0), ("worse", 0.04)):
            # Answers flip both ways by noise, and are lost beyond it in one cell; base rates are 9 to 1.
            lost = u < np.where(cell, (0.01 + loss) / 0.9, 0.01 / 0.9)
            after = np.where(base == 1, ~lost, u < 0.01 / 0.1).astype(float)
            outcomes[name].append(check(run_items(old.assign(value=after)), before, policy))
    at_most = 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)
    assert len(outcomes["equal"][0].comparisons) == n_rules
    assert np.mean([gate.verdict == "fail" for gate in outcomes["equal"]]) <= at_most
    assert np.mean([gate.verdict == "pass" for gate in outcomes["worse"]]) <= at_most


@pytest.mark.parametrize(
    "rule", ["{task: mmlu_*, required: false, max_drop: 0.02}", "{max_kl: 0.1, required: false}"]
)
def test_a_policy_that_judges_nothing_is_no_pass(rule: str) -> None:
    policy = policy_of_document(read_yaml(f"rules: [{rule}]"), "gate.yaml")
    with pytest.raises(UsageError, match="nothing is judged: no rule of the policy 'gate.yaml' matches"):
        check(run(), run(), policy)


def test_a_rule_may_select_by_a_column_of_truths() -> None:
    marked = table().assign(translated=lambda t: np.arange(len(t)) % 2 == 0)
    gate = judged([{"max_drop": 0.1, "where": {"translated": True}}], run(), run_items(marked))
    assert [one.loss.n_items for one in gate.comparisons] == [len(marked) // 2]


def test_a_limit_that_cannot_be_exceeded_is_told() -> None:
    """`max_drop: 2` for two points, or a limit above all that a weak baseline has."""
    low = run_items(one_run({("addition", 1): np.repeat([1.0, 0.0], [15, 985])}))
    for rule, told in (
        ({"max_drop": 2}, "overall (limit 2, at most 0.015 can be lost)"),
        ({"max_drop": 0.02}, "overall (limit 0.02, at most 0.015 can be lost)"),
        ({"max_flips": 1}, "overall (flips) (limit 1, at most 1 can be lost)"),
    ):
        assert any(
            f"cannot fail, whatever the answers: {told}" in note for note in judged([rule], low, low).notes
        )
    for rule in ({"max_drop": 0.01}, {"max_drop": 2, "severity": "advisory"}, {"max_flips": 0.5}):
        assert not any("cannot fail" in note for note in judged([rule], low, low).notes)


def test_merged_keys_are_no_repeats() -> None:
    document = read_yaml("rules:\n- &all {max_drop: 0.02}\n- {<<: *all, tier: 2, max_drop: 0.05}")
    assert [rule.max_drop for rule in policy_of_document(document, "gate.yaml").rules] == [0.02, 0.05]


def test_the_policies_of_the_docs_can_be_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        jsonschema.validate(read_yaml(block), json_schema())
        policy_of_document(read_yaml(block), "docs")
