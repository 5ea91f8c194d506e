"""What the gate must know of two runs before it may compare them: direction, prompts, clusters, weights, what can be judged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from difficulty.errors import UsageError
from junkdna_harness.gate import Limits, RunItems, check
from junkdna_harness.gate.baseline import from_json, to_json
from junkdna_harness.gate.items import run_items
from tests.report.synthetic import one_run

RELATIVE = Limits(max_drop=None, max_relative_drop=0.1)


def falls(metric: str, **columns: object) -> tuple[RunItems, RunItems]:
    """(new, baseline): 200 items that fall from 1 to 0 on `metric`."""
    old = one_run({("a", 1): np.ones(200)}, metric=metric).assign(**columns)
    return run_items(old.assign(value=0.0)), run_items(old)


def through_file(run: RunItems) -> RunItems:
    """The run as a baseline file gives it back."""
    return from_json(json.loads(to_json(run)), "b.json")


@pytest.mark.parametrize(
    "metric",
    ["exact_match,get-answer", "exact_match,flexible-extract", "letter_acc", "acc,perplexity-filter"],
)
def test_letters_inside_a_word_or_filter_do_not_turn_the_metric_round(metric: str) -> None:
    new, old = falls(metric)
    assert check(new, old).verdict == "fail"
    assert check(old, new).verdict == "pass"


def test_what_the_results_say_of_the_direction_counts_more_than_the_name() -> None:
    new, old = falls("my_error", higher_is_better=True)
    assert check(new, old).verdict == "fail"
    assert check(new, through_file(old)).verdict == "fail"
    new, old = falls("acc", higher_is_better=False)
    assert check(new, old).verdict == "pass"


def test_what_the_user_says_counts_most() -> None:
    new, old = falls("acc,none")
    assert check(new, old, Limits(lower_is_better=("acc",))).verdict == "pass"
    new, old = falls("depth", higher_is_better=False)
    assert check(new, old, Limits(higher_is_better=("depth",))).verdict == "fail"


@pytest.mark.parametrize("metric", ["depth", "pct_stereotype,none", "exact_match_error"])
def test_a_metric_that_nobody_knows_is_refused(metric: str) -> None:
    with pytest.raises(UsageError, match=f"--higher-is-better {metric} or --lower-is-better {metric}"):
        check(*falls(metric))


def test_directions_that_contradict_or_name_no_metric_are_refused() -> None:
    new, old = falls("acc")
    with pytest.raises(UsageError, match="named by both"):
        check(new, old, Limits(lower_is_better=("acc",), higher_is_better=("acc",)))
    with pytest.raises(UsageError, match="'ac' is the metric of no task. Did you mean 'acc'"):
        check(new, old, Limits(higher_is_better=("ac",)))
    up, _ = falls("acc", higher_is_better=True)
    down, _ = falls("acc", higher_is_better=False)
    with pytest.raises(UsageError, match="better by one run and worse by the other"):
        check(up, down)


def test_other_prompts_for_the_same_items_are_refused_unless_allowed() -> None:
    table = one_run({("a", 1): np.ones(200)})
    prompts = [f"{i:08x}" * 8 for i in range(200)]
    old = run_items(table.assign(prompt_hash=prompts))
    new = run_items(table.assign(prompt_hash=["f" + p[1:] if i < 30 else p for i, p in enumerate(prompts)]))
    for baseline in (old, through_file(old)):
        assert check(old, baseline).verdict == "pass"
        with pytest.raises(
            UsageError, match="30 items were asked with different prompts.*--allow-different-prompts"
        ):
            check(new, baseline)
        allowed = check(new, baseline, allow_different_prompts=True)
        assert allowed.verdict == "pass"
        assert any("30 items were asked with different prompts" in note for note in allowed.notes)


def test_prompts_that_one_run_does_not_know_are_not_compared() -> None:
    table = one_run({("a", 1): np.ones(200)})
    known = run_items(table.assign(prompt_hash="a" * 64))
    assert check(known, run_items(table)).verdict == "pass"
    assert check(run_items(table.assign(prompt_hash="")), through_file(known)).verdict == "pass"


def test_other_versions_are_a_note_where_allowed() -> None:
    table = one_run({("a", 1): np.ones(200)})
    new, old = (run_items(table, versions={"a_t1": v}) for v in ("2.0", "1.0"))
    gate = check(new, old, allow_different_prompts=True)
    assert any("version 2.0 in the new run and 1.0 in the baseline" in note for note in gate.notes)


@pytest.mark.parametrize("noise", [1e-9, 5e-5])
def test_items_that_moved_by_rounding_decide_as_little_as_items_that_did_not(noise: float) -> None:
    old = one_run({("a", 1): np.tile([0.3, 0.9], 10)}, metric="f1")
    same = check(run_items(old), run_items(old))
    moved = check(run_items(old.assign(value=old["value"] + noise)), run_items(old))
    assert moved.verdict == same.verdict == "inconclusive"
    assert moved.comparisons[0].items_to_decide(0.05) == pytest.approx(
        same.comparisons[0].items_to_decide(0.05), rel=0.01
    )


def three_tasks(values: np.ndarray) -> pd.DataFrame:
    """Three tasks that ask the same questions in their own words: other items, one cluster per question."""
    parts = []
    for number in range(3):
        part = one_run({(f"task{number}", 1): values[number]})
        parts.append(part.assign(cluster_id=[f"question {i}" for i in range(len(part))]))
    return pd.concat(parts)


def test_clusters_that_span_tasks_are_one_cluster() -> None:
    run = run_items(three_tasks(np.ones((3, 250))))
    for baseline in (run, through_file(run)):
        overall = check(run, baseline).comparisons[0]
        assert (overall.loss.n_items, overall.loss.n_clusters, overall.loss.design_effect) == (750, 250, 3)


def test_equal_items_of_several_tasks_are_one_cluster_and_stay_so_in_a_file() -> None:
    parts = [one_run({("a", 1): np.ones(100)}).assign(task=f"t{n}", family=f"f{n}") for n in range(3)]
    parts.append(
        parts[0].assign(task="u", item_id=parts[0]["item_id"].str[::-1])
    )  # clusters: the others' items
    run = run_items(pd.concat(parts))
    for baseline in (run, through_file(run), through_file(through_file(run))):
        assert check(run, baseline).comparisons[0].loss.n_clusters == 100


def test_a_file_of_schema_1_has_clusters_of_its_tasks_and_equal_items_across_them() -> None:
    parts = [one_run({("a", 1): np.ones(100)}).assign(task=f"t{n}", family=f"f{n}") for n in range(2)]
    document = json.loads(to_json(run_items(pd.concat(parts))))
    document["schema"] = 1
    for entry in document["tasks"].values():
        entry["clusters"] = " ".join(str(i // 2) for i in range(100))
    baseline = from_json(document, "b.json")
    assert check(run_items(pd.concat(parts)), baseline).comparisons[0].loss.n_clusters == 50
    other = parts[1].assign(item_id=parts[1]["item_id"].str[::-1], cluster_id=parts[1]["item_id"].str[::-1])
    document["tasks"]["t1"]["items"] = " ".join(str(i)[:12] for i in other["item_id"])
    baseline = from_json(document, "b.json")
    assert check(run_items(pd.concat([parts[0], other])), baseline).comparisons[0].loss.n_clusters == 100


def test_a_cluster_that_only_the_new_run_knows_of_counts() -> None:
    plain = one_run({("a", 1): np.ones(200)})
    grouped = plain.assign(cluster_id=[f"passage {i // 4}" for i in range(200)])
    assert check(run_items(grouped), run_items(plain)).comparisons[0].loss.n_clusters == 50
    assert check(run_items(plain), run_items(grouped)).comparisons[0].loss.n_clusters == 50


def test_a_loss_at_the_limit_on_shared_questions_passes_no_more_often_than_alpha() -> None:
    """Three tasks ask the same 250 questions; were their items taken as 750, sixteen of a hundred would pass."""
    g = np.random.default_rng(0)
    limits = Limits(by="overall")
    run = run_items(three_tasks(np.ones((3, 250))))

    def scored(values: np.ndarray) -> RunItems:
        """Values by question; each task holds its questions in an order of its own."""
        return replace(
            run,
            tasks={
                name: replace(task, values=values[[int(c.split()[1]) for c in task.clusters]])
                for name, task in run.tasks.items()
            },
        )

    passed, n = 0, 500
    for _ in range(n):
        before = (g.random(250) < 0.9).astype(float)
        lost = (before == 1) & (g.random(250) < 0.02 / 0.9)
        passed += check(scored(np.where(lost, 0.0, before)), scored(before), limits).verdict == "pass"
    assert 0.01 <= passed / n <= 0.08


def text_run(nats: np.ndarray, words: np.ndarray, metric: str = "word_perplexity,none") -> RunItems:
    return run_items(one_run({("wikitext", 1): nats}, metric=metric).assign(weight=words))


def test_perplexity_is_judged_as_the_ratio_that_it_is_and_printed_as_perplexity() -> None:
    from junkdna_harness.gate.human import human
    from junkdna_harness.gate.json_output import as_json
    from junkdna_harness.presentation.lines import plain

    g = np.random.default_rng(0)
    words = np.ceil(g.lognormal(4, 0.8, 220))
    nats = 3.0 + g.normal(0, 0.3, 220)
    old, worse = text_run(nats, words), text_run(nats + g.normal(0.25, 0.05, 220), words)
    close = text_run(nats + g.normal(0.01, 0.02, 220), words)
    for baseline in (old, through_file(old)):
        gate = check(worse, baseline, RELATIVE)
        assert gate.verdict == "fail"
        assert check(close, baseline, RELATIVE).verdict == "pass"
        assert check(old, worse, RELATIVE).verdict == "pass"
    loss = gate.comparisons[0].loss
    assert loss.before == pytest.approx(np.exp((nats * words).sum() / words.sum()))
    assert f"{loss.before:.4f}" in plain(human(gate))
    assert json.loads(as_json(gate, 1))["cells"][0]["baseline"] == loss.before


def test_the_scale_that_a_run_says_counts_more_than_the_name_and_stays_in_a_file() -> None:
    words, nats = np.arange(1.0, 41.0), np.linspace(2, 3, 40)
    table = one_run({("t", 1): nats}, metric="my_text").assign(
        weight=words, scale="perplexity", higher_is_better=False
    )
    run = run_items(table)
    for baseline in (run, through_file(run)):
        loss = check(run, baseline, RELATIVE).comparisons[0].loss
        assert loss.before == pytest.approx(np.exp((nats * words).sum() / words.sum()))
    plain = through_file(run_items(table.assign(metric="word_perplexity", scale="mean")))
    assert plain.tasks["t_t1"].scale == "mean"


def test_a_relative_limit_of_bits_is_one_of_bits() -> None:
    words = np.arange(1.0, 211.0)
    nats = np.linspace(0.6, 0.9, 210)
    old = text_run(nats, words, "bits_per_byte,none")
    loss = check(text_run(nats * 1.02, words, "bits_per_byte,none"), old, RELATIVE).comparisons[0]
    assert loss.limit == pytest.approx(0.1 * (nats * words).sum() / words.sum() / np.log(2))
    assert loss.verdict == "pass"


def test_weights_that_differ_or_are_missing_are_refused() -> None:
    words, nats = np.arange(1.0, 41.0), np.linspace(2, 3, 40)
    old = text_run(nats, words)
    with pytest.raises(UsageError, match="1 items of task 'wikitext_t1' have other weights"):
        check(text_run(nats, np.r_[9.0, words[1:]]), old)
    plain = run_items(one_run({("wikitext", 1): nats}, metric="word_perplexity,none"))
    with pytest.raises(UsageError, match="have no weights in the new run"):
        check(plain, old)
    with pytest.raises(UsageError, match="lower is better"):
        check(old, old, Limits(higher_is_better=("word_perplexity",)))


def test_loglikelihoods_that_are_called_perplexity_are_refused() -> None:
    table = one_run({("lambada", 1): np.full(40, -3.0)}, metric="perplexity")
    for rows in (table, table.assign(scale="mean")):
        with pytest.raises(UsageError, match="seem to be log-likelihoods"):
            run_items(rows)


def test_a_task_that_cannot_be_judged_is_left_out_by_name() -> None:
    good = one_run({("a", 1): np.ones(200)})
    bad = one_run({("b", 1): np.full(200, np.nan)})
    both, alone = run_items(pd.concat([good, bad])), run_items(good)
    for new, old in ((both, both), (both, alone)):
        gate = check(new, old)
        assert gate.verdict == "pass"
        assert any(
            "left out: task 'b_t1' has 200 items whose acc is not a number" in note for note in gate.notes
        )
    whole = run_items(pd.concat([good, one_run({("b", 1): np.ones(200)})]))
    gate = check(both, whole)
    assert gate.verdict == "fail"
    assert any("task b_t1, as task 'b_t1' has 200 items" in missing for missing in gate.missing)


def test_answers_without_scores_are_never_judged() -> None:
    predicted = one_run({("b", 1): np.full(200, 999.0)}, metric="bypass")
    with pytest.raises(
        UsageError, match="task 'b_t1' holds answers without scores, as --predict_only leaves them"
    ):
        run_items(predicted)
    run = run_items(pd.concat([predicted, one_run({("a", 1): np.ones(200)})]))
    gate = check(run, run)
    assert gate.verdict == "pass"
    assert any("left out: task 'b_t1' holds answers without scores" in note for note in gate.notes)


def test_a_metric_that_only_some_tasks_have_leaves_the_others_out() -> None:
    table = pd.concat([one_run({("a", 1): np.ones(200)}), one_run({("b", 1): np.ones(200)}, metric="f1")])
    run = run_items(table, metric="f1")
    assert set(run.tasks) == {"b_t1"}
    read = from_json(json.loads(to_json(run_items(table))), "b.json", "f1")
    assert set(read.left_out) == {"a_t1"}
    assert any("left out: task 'a_t1' has no metric 'f1'" in note for note in check(run, run).notes)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": [0.0] * 5},
        {"values": [float("nan")] * 5},
        {"prompts": "a b"},
        {"higher_is_better": "yes"},
        {"scale": "log"},
    ],
)
def test_a_damaged_entry_is_told(change: dict[str, object]) -> None:
    document = json.loads(to_json(run_items(one_run({("a", 1): np.full(5, 0.5)}))))
    document["tasks"]["a_t1"] |= change
    with pytest.raises(UsageError, match="is damaged"):
        from_json(document, "b.json")
