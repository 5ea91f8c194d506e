"""What can be decided is known before the run: numbers of each comparison, the joint chance, and the command."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.runs.noise import Floor
from difficulty.stats.power import detectable, items_for, power
from junkdna_harness.commands.power import power as command
from junkdna_harness.gate import Policy, Rule, RunItems, to_json
from junkdna_harness.gate.ahead import items_ahead
from junkdna_harness.gate.items import run_items
from junkdna_harness.gate.power import outlook
from junkdna_harness.gate.power_text import power_text
from tests.report.synthetic import one_run

OVERALL, FAMILIES = Rule(0.02), Rule(0.02, where=(("family", "*"),))
app = typer.Typer()
app.command()(command)


def baseline(n: int = 250, families: int = 3, **columns: object) -> RunItems:
    cells = {(f"family{f}", t): np.ones(n) for f in range(families) for t in (1, 2)}
    table = one_run(cells)
    return run_items(table.assign(**columns) if columns else table)


def test_each_comparison_has_the_numbers_of_the_test_that_will_judge_it() -> None:
    rules = Policy((OVERALL, FAMILIES, Rule(0.05, where=(("tier", "1"),), severity="advisory")))
    found = outlook(baseline(), rules, 0.02)
    one = next(one for one in found.prospects if one.planned.name == "family1")
    assert (one.discordance, one.effective, one.planned.n_items) == (0.02, 500, 500)
    assert one.items == {p: items_for(p, 0.01, 0.01, 0.02) for p in (0.8, 0.95)}
    assert one.passes == power(500, 0.01, 0.01, 0.02)
    assert one.sees == detectable(500, 0.02, 0.02, 0.05 / 4)  # Holm over the four critical ones
    advisory = next(one for one in found.prospects if not one.planned.rule.critical)
    assert advisory.sees == detectable(750, 0.02, 0.05, 0.05)
    assert (found.measured, found.guessed) == (False, False)
    assert outlook(baseline(), rules).guessed


def test_a_limit_that_would_pass_is_named_where_the_items_are_too_few() -> None:
    one = outlook(baseline(60, 1), Policy((OVERALL,)), 0.02).prospects[0]
    assert not one.decided and one.wider is not None
    assert power(120, 0.01, 0.01, one.wider) >= 0.8 > power(120, 0.01, 0.01, one.wider - 1e-3)


def test_items_of_one_cluster_count_once() -> None:
    n = 6 * 250
    run = baseline(cluster_id=[f"c{i // 5}" for i in range(n)])
    one = outlook(run, Policy((OVERALL,)), 0.0).prospects[0]
    assert (one.planned.n_items, one.effective) == (n, n // 5)
    assert one.items[0.8] == 5 * 149


def test_flips_of_an_equal_model_all_count() -> None:
    one = outlook(baseline(), Policy((Rule(max_flips=0.05),)), 0.02).prospects[0]
    assert one.items[0.8] == items_for(0.8, 0.02, 0.0, 0.05)


def test_a_noise_floor_measures_what_changes_and_how_far_an_unbounded_metric_varies() -> None:
    run = baseline()
    floor = Floor.of(np.ones(250), np.r_[np.zeros(5), np.ones(245)])
    noisy = replace(run, tasks={key: replace(task, noise=floor) for key, task in run.tasks.items()})
    found = outlook(noisy, Policy((OVERALL,)))
    assert found.measured and found.prospects[0].discordance == 0.02
    assert outlook(noisy, Policy((OVERALL,)), 0.1).prospects[0].discordance == 0.1

    values = np.full(300, 3.0)
    nats = run_items(one_run({("text", 1): values}, metric="nll").assign(higher_is_better=False))
    unknown = outlook(nats, Policy((OVERALL,)))
    assert unknown.joint is None and unknown.prospects[0].passes is None
    assert "unbounded" in power_text(unknown, 0.05)
    moved = values + np.random.default_rng(0).normal(0, 0.1, 300)
    known = replace(
        nats, tasks={key: replace(task, noise=Floor.of(values, moved)) for key, task in nats.tasks.items()}
    )
    one = outlook(known, Policy((OVERALL,))).prospects[0]
    deviation = float(np.abs(moved - values).mean()) * math.sqrt(math.pi / 2)
    expected = max(200, math.ceil(((1.6448536 + 0.8416212) * deviation / 0.02) ** 2))
    assert one.items[0.8] == expected


def test_the_joint_chance_is_the_product_of_rules_that_share_no_item_and_no_less_than_it_where_they_do() -> (
    None
):
    run = baseline(300)
    alone = outlook(run, Policy((FAMILIES,)), 0.02)
    each = [one.passes or 0.0 for one in alone.prospects]
    assert alone.joint == pytest.approx(math.prod(each), abs=4 * math.sqrt(0.25 / 2000))
    single = outlook(run, Policy((OVERALL,)), 0.05)
    assert single.joint == pytest.approx(single.prospects[0].passes, abs=0.03)
    both = outlook(run, Policy((OVERALL, FAMILIES)), 0.02)
    assert (
        both.joint is not None and math.prod(one.passes or 0.0 for one in both.prospects) - 0.03 <= both.joint
    )
    assert both.joint <= (alone.joint or 0.0)


def test_the_command_prints_80_columns_and_the_same_numbers_as_json(tmp_path: Path) -> None:
    path, out = tmp_path / "base.json", tmp_path / "power.json"
    path.write_text(to_json(baseline(120)))
    result = CliRunner().invoke(
        app, ["--baseline", str(path), "--discordance", "0.02", "--max-drop", "0.02", "--json", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 80
    assert "family0 tier 1 and 5 more" in result.output and "judging family0 as a whole" not in result.output
    found = json.loads(out.read_text())
    one = next(one for one in found["comparisons"] if one["name"] == "overall")
    assert one["items_80"] == items_for(0.8, 0.01, 0.01, 0.02)
    assert f"{one['items_80']:,}" in result.output
    assert 0 <= found["joint_power"] <= one["power"]


def test_tasks_that_nobody_has_asked_yet_are_counted_with_their_clusters() -> None:
    run = items_ahead(["difficulty_tiers_agreement_t1"])
    (task,) = run.tasks.values()
    assert (task.family, task.tier, task.metric, len(task.values)) == ("agreement", 1, "acc", 250)
    assert task.clusters[0] == "The bright chair was"
    assert (
        len(next(iter(items_ahead(["difficulty_tiers_agreement_t1"], limit=40).tasks.values())).values) == 40
    )
    with pytest.raises(UsageError, match="no metric 'f1'"):
        items_ahead(["difficulty_tiers_agreement_t1"], metric="f1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no items to plan with"),
        (["--tasks", "x", "--discordance", "0.9"], "not a share of answers"),
        (["--tasks", "x", "--noise-floor", "y"], "Give --baseline too"),
        (["--baseline", "x", "--noise-floor", "y", "--discordance", "0.1"], "Give one of them"),
        (["--tasks", "x", "--max-relative-drop", "0.05"], "Give --baseline, which has one"),
        (["--baseline", "x", "--limit", "5"], "Leave it out with --baseline"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_sentence(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError) and message in str(result.exception)


def test_planning_with_a_baseline_loads_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    path.write_text(to_json(baseline(60)))
    code = (
        "import sys; from junkdna_harness.cli import app\n"
        f"app(['power', '--baseline', {str(path)!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'lm_eval' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
