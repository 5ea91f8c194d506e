"""The trend over a history: a loss that creeps in below every limit raises an alarm, and noise does not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from difficulty.errors import UsageError
from difficulty.stats.drift import drift_evidence
from junkdna_harness.commands.check import check as command
from junkdna_harness.gate import Limits, RunItems, check
from junkdna_harness.gate.history import append, read_history
from junkdna_harness.gate.trend import trend
from junkdna_harness.gate.trend_outputs import sparkline, trend_json, trend_text
from tests.gate.made_up import answers, keep, run, task, two_tiers
from tests.gate.test_check_command import folder

app = typer.Typer()
app.command()(command)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gates.jsonl"


def creeping(steps: int = 12, per_step: int = 2, from_wrong: int = 20) -> list[RunItems]:
    """A start and runs that lose so many items of tier 2 each."""
    return [two_tiers(f"run{n}", (20, from_wrong + per_step * n)) for n in range(steps + 1)]


@pytest.mark.parametrize("rolling", [True, False])
def test_a_creeping_loss_raises_an_alarm_while_no_check_fails(path: Path, rolling: bool) -> None:
    gates = keep(path, creeping(), rolling=rolling)
    if rolling:
        assert {gate.verdict for gate in gates} == {"pass"}  # a point per commit, 5 are allowed
    found = trend(read_history(path))
    assert found.exit_code == 1 and found.start == "the first entry's baseline"
    (tier,) = [one for one in found.drifts if one.name == "addition tier 2"]
    assert 2 < tier.alarms[0].at < 8 and tier.alarms[0].since == -1
    np.testing.assert_allclose(tier.losses, np.arange(1, 13) * 0.01)
    (other,) = [one for one in found.drifts if one.name == "addition tier 1"]
    assert not other.alarms and other.peak == 0


def test_the_evidence_is_that_of_the_items_from_the_start_on(path: Path) -> None:
    runs = creeping(5)
    keep(path, runs)
    found = trend(read_history(path))
    assert found.threshold == pytest.approx(len(found.drifts) / 0.05)
    for one, keys in zip(
        found.drifts, (("addition_t1", "addition_t2"), ("addition_t1",), ("addition_t2",)), strict=True
    ):
        values = np.stack([np.concatenate([made.tasks[key].values for key in keys]) for made in runs])
        groups = np.repeat(np.arange(len(keys)), 200)
        np.testing.assert_allclose(one.log_e, drift_evidence(values, groups=groups))


def test_after_an_alarm_the_evidence_starts_anew_and_since_starts_where_it_is_told(path: Path) -> None:
    keep(path, creeping(16))
    found = trend(read_history(path))
    tier = found.drifts[-1]
    first, second = tier.alarms[:2]
    assert second.since == first.at and second.loss == pytest.approx(0.01 * (second.at - first.at))
    assert tier.log_e[first.at + 1] < 1
    commit = str(found.entries[first.at].commit)
    later = trend(read_history(path), since=commit)
    assert len(later.entries) == 16 - first.at - 1 and later.start == f"commit {commit}"
    np.testing.assert_allclose(later.drifts[-1].log_e[0], tier.log_e[first.at + 1])
    assert later.drifts[-1].alarms[0].at == second.at - first.at - 1


def test_noise_and_commits_that_change_nothing_raise_no_alarm(path: Path) -> None:
    rng = np.random.default_rng(7)
    chance = np.where(rng.random(400) < 0.1, rng.random(400), rng.random(400) < 0.8)
    runs = []
    for n in range(16):
        values = (rng.random(400) < chance).astype(float)
        runs.append(run(f"r{n}", [task("addition", 1, values[:200]), task("addition", 2, values[200:])]))
    keep(path, [*runs, *[replace(runs[-1], name=f"same{n}") for n in range(3)]])
    found = trend(read_history(path))
    assert found.exit_code == 0
    assert found.drifts[0].log_e[-3:].tolist() == [found.drifts[0].log_e[-1]] * 3
    assert any(one.peak > 0.5 for one in found.drifts)  # there was noise


def test_a_loss_in_the_first_entry_alone_is_seen_against_the_baseline(path: Path) -> None:
    keep(
        path,
        [two_tiers("base", (20, 20)), two_tiers("new", (20, 50)), two_tiers("same", (20, 50))],
        Limits(0.5),
    )
    assert trend(read_history(path)).drifts[-1].alarms[0].at == 0


def test_a_metric_of_which_less_is_better_is_followed_the_other_way(path: Path) -> None:
    def errors(name: str, wrong: int) -> RunItems:
        return run(name, [task("a", 1, 1 - answers(wrong), "wer", higher_is_better=False)])

    keep(path, [errors(f"r{n}", 10 + 3 * n) for n in range(11)], Limits(0.5))
    worse = trend(read_history(path)).drifts[0]
    assert worse.alarms and worse.losses[-1] == pytest.approx(0.15)
    path.unlink()
    keep(path, [errors(f"r{n}", 40 - 3 * n) for n in range(11)], Limits(0.5))
    better = trend(read_history(path)).drifts[0]
    assert not better.alarms and better.losses[-1] == pytest.approx(-0.15)


def test_perplexity_is_followed_in_nats_and_named_asymptotic(path: Path) -> None:
    rng = np.random.default_rng(8)
    nats, weights = rng.normal(2, 0.5, 300), rng.integers(5, 50, 300).astype(float)

    def text(name: str, shift: float, n: int = 300) -> RunItems:
        values = nats[:n] + shift + rng.normal(0, 0.02, n) * (shift > 0)
        return run(
            name,
            [
                task(
                    "text",
                    1,
                    values,
                    "word_perplexity",
                    weights=weights[:n],
                    scale="perplexity",
                    higher_is_better=False,
                )
            ],
        )

    keep(path, [text(f"r{n}", 0.003 * n) for n in range(7)], Limits(1.0))
    found = trend(read_history(path))
    one = found.drifts[0]
    assert one.alarms and one.asymptotic and "asymptotic" in found.notes[0]
    assert one.scores[0] == pytest.approx(math.exp(np.average(nats, weights=weights)))
    assert one.losses[-1] == pytest.approx(one.scores[-1] - one.scores[0]) and one.losses[-1] > 0
    generous = trend(read_history(path), tolerance=0.1).drifts[0]
    assert not generous.alarms
    path.unlink()
    keep(path, [text(f"r{n}", 0.003 * n, 100) for n in range(7)], Limits(1.0))
    few = trend(read_history(path))
    assert few.drifts[0].too_few and not few.alarmed and "needs 200 items" in few.notes[0]


def test_items_that_an_entry_did_not_ask_keep_what_they_scored_last(path: Path) -> None:
    runs = creeping(4, per_step=5)
    part = replace(runs[2], tasks={"addition_t1": runs[2].tasks["addition_t1"]})
    keep(path, [runs[0], runs[1], part, runs[3], runs[4]], rolling=False)
    tier = trend(read_history(path)).drifts[-1]
    assert tier.name == "addition tier 2"
    np.testing.assert_allclose(tier.losses, [0.025, 0.025, 0.075, 0.1])


def test_items_of_one_cluster_count_once(path: Path) -> None:
    def asked(n: int, clusters: bool) -> RunItems:
        made = task("addition", 1, answers(10 + 4 * n))
        named = tuple(f"passage{i // 4}" for i in range(200))
        return run(f"r{n}", [replace(made, clusters=named) if clusters else made])

    found = []
    for clusters in (False, True):
        keep(path, [asked(n, clusters) for n in range(6)], Limits(0.5))
        found.append(trend(read_history(path)).drifts[0].peak)
        path.unlink()
    assert 0 < found[1] < found[0] / 2


def test_rules_on_other_columns_and_further_severities_are_followed_on_their_items(path: Path) -> None:
    from junkdna_harness.gate.policy import Policy, Rule

    language = tuple("de" if i % 2 else "en" for i in range(200))
    policy = Policy((Rule(max_drop=0.5), Rule(max_drop=0.1, severity="advisory"), Rule(max_drop=0.5, where=(("language", "de"),)), Rule(max_flips=0.5)))  # fmt: skip
    made = [
        run(f"r{n}", [task("addition", 1, answers(2 * n), columns={"language": language})]) for n in range(3)
    ]
    for old, new in zip(made, made[1:], strict=False):
        append(path, check(new, old, policy), 0, new.name)
    found = trend(read_history(path))
    assert [(one.name, one.n_items) for one in found.drifts] == [("overall", 200), ("language de", 100)]
    np.testing.assert_allclose(found.drifts[1].losses, [0.01, 0.02])


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def error(*arguments: object) -> str:
    result = invoke(*arguments)
    assert isinstance(result.exception, UsageError), result.output
    return str(result.exception)


def test_the_command_appends_and_shows(tmp_path: Path, path: Path) -> None:
    def right(wrong: int) -> dict:
        return {("addition", 1): answers(10), ("addition", 2): answers(wrong)}

    made = [folder(tmp_path / f"run{n}", right(10 + 2 * n)) for n in range(10)]
    for n in range(9):
        judged = invoke(
            made[n + 1], "--against", made[n], "--max-drop", "0.05", "--history", path, "--commit", f"{n:08d}"
        )
        assert judged.exit_code == 0 and "PASS" in judged.stdout
    again = invoke(
        made[9], "--against", made[8], "--max-drop", "0.05", "--history", path, "--commit", f"{8:08d}"
    )
    assert "stands in" in again.output
    out = tmp_path / "trend.json"
    shown = invoke("--trend", path, "--json", out)
    assert shown.exit_code == 1 and shown.stdout.startswith("ALARM: addition tier 2")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    document = json.loads(out.read_text())
    assert document["alarm"] and document["exit_code"] == 1 and len(document["entries"]) == 9
    assert document["comparisons"][-1]["alarms"][0]["commit"] in shown.stdout
    assert json.loads(invoke("--trend", path, "--json", "-").stdout) == document
    assert invoke("--trend", path, "--since", f"{6:08d}").exit_code == 0
    strict = invoke("--trend", path, "--false-alarm-rate", "1e-9")
    assert strict.exit_code == 0 and strict.stdout.startswith("no alarm")
    assert invoke("--trend", path, "--tolerance", "0.01").exit_code == 0


def test_mistakes_are_one_sentence_each(tmp_path: Path, path: Path) -> None:
    keep(path, creeping(2))
    made = folder(tmp_path / "run", {("addition", 1): answers(1)})
    assert "means nothing to it" in error(made, "--trend", path)
    assert "--policy means nothing" in error("--trend", path, "--policy", "p.yaml")
    assert "or show a history" in error("--against", made)
    assert "--since is of --trend" in error(made, "--against", made, "--since", "abc")
    assert "is no rate" in error("--trend", path, "--false-alarm-rate", "5")
    assert "is no loss" in error("--trend", path, "--tolerance", "-1")
    assert "is no commit in" in error("--trend", path, "--since", "feed")
    assert "is the beginning of 2 commits" in error("--trend", path, "--since", "0")
    assert "is the newest entry" in error("--trend", path, "--since", "000002")
    assert "cannot be read" in error("--trend", tmp_path / "nowhere")
    assert "Give --against" in error(made, "--write-baseline", tmp_path / "b.json", "--history", path)
    assert "Give --history" in error(made, "--against", made, "--commit", "abc")
    assert "history of another suite" in error(
        made, "--against", made, "--max-drop", "0.05", "--history", path
    )
    assert "--history is of runs" in error(made, "--max-kl", "0.1", "--history", path)


def test_flips_alone_have_no_trend(path: Path) -> None:
    from junkdna_harness.gate.policy import Policy, Rule

    gate = check(two_tiers("a", (2, 2)), two_tiers("base", (1, 1)), Policy((Rule(max_flips=0.5),)))
    append(path, gate, 0)
    with pytest.raises(UsageError, match="no comparison of a drop"):
        trend(read_history(path))


def test_a_long_history_with_hostile_names_fits_80_columns(path: Path) -> None:
    runs = [run(f"r{n}", [task("a\x1b[31m" + "b" * 60, 1, answers(10 + n))]) for n in range(41)]
    for old, new in zip(runs, runs[1:], strict=False):
        gate = check(new, old, Limits(0.5))
        append(path, gate, gate.exit_code, f"\x1b]0;{new.name}" if new.name == "r40" else f"c{new.name}" * 8)
    found = trend(read_history(path))
    text = trend_text(found)
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 80
    assert "are not shown" in text and json.loads(trend_json(found))["schema"] == 1


def test_a_sparkline_goes_from_the_highest_to_the_lowest() -> None:
    assert sparkline(np.array([1.0, 0.5, 0.0])) == "█▅▁"
    assert len(sparkline(np.linspace(1, 0, 200))) == 20
