"""The noise floor: what it is, what lies within it, and that a second evaluation is never judged as a run."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from difficulty import fit
from difficulty.errors import UsageError
from difficulty.runs.identity import Method, Run
from difficulty.runs.label import Label, read_label, write_label
from difficulty.runs.noise import Floor, mark, noise_floor, pool
from difficulty.runs.read import read_runs
from difficulty.runs.table import read_table, validate, write_table
from difficulty.text import NOISE_MARK, noise_legend, with_noise_mark
from junkdna_harness.commands.label import label as label_command
from junkdna_harness.commands.show import show as show_command
from junkdna_harness.commands.table import table as table_command
from tests.difficulty.judge.simulated import table as simulated
from tests.difficulty.runs.logged import chosen, write_log
from tests.difficulty.runs.noisy import FIRST, noisy, rows


def floor(first: object, second: object, **more: object) -> Floor:
    return Floor.of(np.asarray(first, dtype=float), np.asarray(second, dtype=float), **more)


def test_items_that_flip_in_both_directions_count_though_the_mean_stays() -> None:
    found = floor(FIRST, (1, 1, 1, 1, 1, 0, 1, 0))
    assert (found.changed, found.n_items, found.largest, found.difference) == (2, 8, 1.0, 0.0)
    assert found.size == found.mean_change == 2 / 8
    assert found.within(0.25) and found.within(-0.25) and found.within(0.0)
    assert not found.within(0.2500001) and not found.within(-0.3)


def test_a_difference_that_is_the_floor_but_for_rounding_is_within_it() -> None:
    found = floor([1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0])
    assert found.within(3 * (1 / 7)) and found.within(0.1 + 0.2 + 3 / 7 - 0.3)


def test_nothing_is_within_a_floor_of_zero_not_even_nothing() -> None:
    found = floor(FIRST, FIRST)
    assert found.changed == 0 and found.size == 0
    assert not found.within(0.0) and not found.within(0.01)


def test_the_mean_change_bounds_the_change_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=50)
    second = first + rng.normal(0.1, 0.3, size=50)
    found = floor(first, second)
    assert found.difference == pytest.approx((second - first).mean())
    assert found.mean_change == pytest.approx(np.abs(second - first).mean())
    assert found.size == found.mean_change > abs(found.difference)
    assert found.largest == pytest.approx(np.abs(second - first).max())


def test_floors_of_perplexities_and_bits_are_on_their_own_scale() -> None:
    v, u, w = np.array([1.0, 2.0, 0.5]), np.array([1.1, 1.9, 0.5]), np.array([10.0, 20.0, 70.0])
    before, after = (np.exp((w * x).sum() / w.sum()) for x in (v, u))
    found = floor(v, u, weights=w, scale="perplexity")
    assert found.difference == pytest.approx(after - before)
    assert found.mean_change == pytest.approx(before * math.expm1((w * np.abs(u - v)).sum() / w.sum()))
    bits = floor(v, u, weights=w, scale="bits")
    assert bits.difference == pytest.approx((w * (u - v)).sum() / w.sum() / math.log(2))


def test_pooled_floors_are_the_floor_of_all_items() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(30), rng.random(30)
    parts = [floor(first[:7], second[:7]), floor(first[7:], second[7:])]
    whole, found = floor(first, second), pool(parts)
    assert found is not None
    assert (found.n_items, found.changed, found.largest) == (whole.n_items, whole.changed, whole.largest)
    assert found.size == pytest.approx(whole.size) and found.difference == pytest.approx(whole.difference)
    assert pool([]) is None and pool([parts[0], None]) is None
    assert pool([parts[0], floor(first, second, scale="perplexity")]) is None


def two_tiers() -> pd.DataFrame:
    """Tier 1 has a floor of 1/4 in acc, tier 2 of 0; margins move by .5 in tier 1."""
    parts = [noisy()]
    for again in (False, True):
        parts.append(rows("dense", (1, 0, 0, 0), "sums_t2", tier=2, again=again))
        margins = np.arange(8) + (0.5 if again else 0.0)
        parts.append(rows("dense", margins, metric="margin", again=again))
    parts.append(rows("magnitude", (1, 0, 0, 0), "sums_t2", tier=2, level=0.5))
    parts.append(rows("magnitude", np.arange(8) - 0.6, metric="margin", level=0.5))
    return pd.concat(parts, ignore_index=True)


def read(table: pd.DataFrame, folder: Path, name: str = "t.parquet"):
    write_table(table, folder / name)
    return read_runs(folder / name)


def test_where_the_floor_is_asked_for(tmp_path: Path) -> None:
    noise = read(two_tiers(), tmp_path).noise["m"]
    assert noise.within("sums_t1", "acc", 0.25) is True
    assert noise.within(("sums", 1), None, 0.26) is False
    assert noise.within(("sums", 2), "acc", 0.0) is False, "a floor of 0 marks nothing"
    assert noise.at("sums").size == pytest.approx(2 / 12)
    assert noise.within({"tier": 1}, "margin", -0.5) is True
    for where, metric in (("sums_t3", "acc"), (("sums", 3), None), ("sums_t2", "margin"), ("sums", "f1")):
        assert noise.within(where, metric, 0.0) is None
    assert noise.among("sums_t1", "acc", ["sums_t1-5", "sums_t1-0"]).size == 0.5
    assert noise.among("sums_t1", "acc", ["sums_t1-0"]).size == 0
    assert noise.among("sums_t1", "acc", ["sums_t1-0", "another"]) is None
    assert not noise.identical and "2 of 12 items" in noise.sentence()


def test_cells_are_marked_by_the_floor_of_their_column(tmp_path: Path) -> None:
    noise = read(two_tiers(), tmp_path).noise["m"]
    cells = pd.DataFrame(
        {
            "family": "sums", "tier": [1, 1, 1, 2, 9], "method": ["dense", *["magnitude"] * 4],
            "level": [0, 0.1, 0.5, 0.5, 0.5], "loss": [0.0, -0.25, 0.3, 0.0, 0.0],
            "latent_loss": [0.0, 0.6, -0.5, 0.0, np.nan],
        },
        index=[4, 5, 6, 7, 8],
    )  # fmt: skip
    assert mark(cells, noise).tolist() == [False, True, False, False, False]
    assert mark(cells, noise, column="latent_loss").tolist() == [False, False, True, False, False]
    assert mark(cells, noise).index.equals(cells.index) and mark(cells, noise).dtype == bool
    assert not mark(cells, None).any()


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_a_second_evaluation_is_read_apart_and_written_again(tmp_path: Path, name: str) -> None:
    found = read(noisy(), tmp_path, name)
    assert found.names == ["m dense", "m magnitude 0.5"] == found.table["run"].unique().tolist()
    assert "noise_floor" not in found.table and len(found.again) == 8
    write_table(found.tidy(), tmp_path / f"again_{name}")
    again = read_runs(tmp_path / f"again_{name}")
    assert again.noise == found.noise and again.names == found.names


def test_tables_without_it_are_as_they_were(tmp_path: Path) -> None:
    plain = noisy()
    plain = plain[~plain["noise_floor"]].drop(columns="noise_floor")
    found = read(plain, tmp_path)
    assert found.noise == {} and found.again is None and "noise_floor" not in found.tidy()


def test_who_knows_nothing_of_it_judges_without_it() -> None:
    table = simulated(0.4, items=60)
    dense = table[table["method"] == "dense"]
    second = dense.assign(noise_floor=True, value=1.0 - dense["value"], run="x dense noise-floor")
    both = pd.concat([table, second], ignore_index=True)
    assert len(validate(both)) == len(table)
    with_it, without = (fit(one, n_resamples=100) for one in (both, table))
    assert with_it.cells.equals(without.cells)
    with pytest.raises(UsageError, match="nothing but a noise floor"):
        validate(second)


def test_a_second_evaluation_read_by_itself_is_said_to_be_one(tmp_path: Path) -> None:
    found = read(rows("dense", FIRST, again=True), tmp_path)
    assert found.names == ["m dense noise-floor"] and found.noise == {}
    assert "second evaluation of the dense weights" in found.warnings[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t[t["noise_floor"] | (t["method"] != "dense")], "there is no dense run"),
        (lambda t: t.assign(item_id=t["item_id"] + t["noise_floor"].map(str)), "no item of the dense run"),
        (lambda t: t.assign(prompt_hash=np.where(t["noise_floor"], "a", "b")), "other prompts"),
    ],
)
def test_a_second_evaluation_of_something_else_is_not_used_and_told(
    tmp_path: Path, change, said: str
) -> None:
    found = read(change(noisy()), tmp_path)
    assert found.noise == {} and any(said in warning for warning in found.warnings)


def test_the_names_of_runs_are_read_back() -> None:
    again = Run("llama", Method("dense"), noise_floor=True)
    assert str(again) == "llama dense noise-floor"
    assert Run.parse(str(again)) == again != Run("llama", Method("dense"))
    assert Run.parse("llama dense noise-floor #2").replicate == 2
    with pytest.raises(UsageError, match="second evaluation of the dense model"):
        Run("llama", Method("wanda"), 0.5, noise_floor=True)


def logged(folder: Path, answers: str, **more: object) -> Path:
    """lm_eval's output on eight questions of two options, right where `answers` has a 1."""
    samples = [chosen(i, (-1.0, -2.0) if a == "1" else (-2.0, -1.0), 0) for i, a in enumerate(answers)]
    return write_log(folder, {"sums": samples}, "multiple_choice", **more)


def results(folder: Path) -> Path:
    return next(folder.rglob("results_*.json"))


def test_plain_logs_give_it_with_a_label(tmp_path: Path) -> None:
    dense, second = logged(tmp_path / "a", "11111100"), logged(tmp_path / "b", "11111010")
    app = typer.Typer()
    app.command()(label_command)
    said = CliRunner().invoke(app, [str(second), "--noise-floor"])
    assert said.exit_code == 0 and "model dense noise-floor" in said.output
    label = json.loads(next((tmp_path / "b").rglob("label_*.json")).read_text())
    assert (label["schema"], label["noise_floor"], label["method"]) == (2, True, "dense")
    found = read_runs([dense, second])
    assert found.names == ["m dense"] and found.noise["m"].floor("sums").size == 0.25
    by_option = read_runs(
        [dense, logged(tmp_path / "c", "11111010")], labels=[f"{tmp_path / 'c'}=dense noise-floor"]
    )
    assert by_option.noise == found.noise
    wrong = CliRunner().invoke(app, [str(second)])
    assert isinstance(wrong.exception, UsageError) and "--noise-floor" in str(wrong.exception)


def test_labels_without_it_are_written_and_read_as_before(tmp_path: Path) -> None:
    place = results(logged(tmp_path, "11"))
    label = Label(Method("wanda"), 0.5)
    written = json.loads(write_label(place, label).read_text())
    assert written["schema"] == 1 and "noise_floor" not in written
    assert read_label(place) == label
    with pytest.raises(UsageError, match="not dense"):
        Label(Method("wanda"), 0.5, noise_floor=True)


def test_our_wrappers_block_says_it_and_other_weights_are_seen(tmp_path: Path) -> None:
    block = {"kind": "dense", "method": "dense", "level": 0.0, "model": "m", "weights_sha256": "a" * 64}
    dense = logged(tmp_path / "a", "11111100", block=block)
    second = logged(tmp_path / "b", "11111010", block={**block, "noise_floor": True})
    assert read_runs([dense, second]).noise["m"].floor("sums").changed == 2
    other = logged(
        tmp_path / "c", "11111010", block={**block, "noise_floor": True, "weights_sha256": "b" * 64}
    )
    found = read_runs([dense, other])
    assert found.noise == {} and any("other weights than the dense run" in w for w in found.warnings)


def test_one_mark_and_one_legend() -> None:
    assert with_noise_mark("", True) == "" and with_noise_mark("1", False) == "1"
    assert noise_legend(True).startswith(NOISE_MARK) and noise_legend(False) == ""
    assert "identical" not in noise_legend(True) and noise_legend(False, identical=True).startswith(
        "noise floor 0"
    )


def command(verb: object, *arguments: object) -> str:
    app = typer.Typer()
    app.command()(verb)
    done = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "160"})
    assert done.exception is None or (isinstance(done.exception, SystemExit) and not done.exit_code), (
        done.output
    )
    return done.output


def test_show_marks_scores_near_those_of_the_dense_run(tmp_path: Path) -> None:
    write_table(two_tiers(), tmp_path / "t.parquet")
    shown = command(show_command, tmp_path / "t.parquet", "--run", "m magnitude 0.5")
    lines = shown.splitlines()
    easy, hard = (next(line for line in lines if score in line) for score in (" 62.50 [", " 25.00 ["))
    assert easy.count(NOISE_MARK) == 1
    assert NOISE_MARK not in hard, "the floor of tier 2 is 0"
    assert noise_legend(True, what="difference from dense") in shown and "2 of 12 items" in shown
    dense = command(show_command, tmp_path / "t.parquet", "--run", "m dense")
    assert NOISE_MARK not in dense


def test_show_marks_nothing_that_is_beyond_the_floor(tmp_path: Path) -> None:
    write_table(noisy(compressed=(0, 0, 0, 0, 0, 0, 0, 0)), tmp_path / "t.parquet")
    assert NOISE_MARK not in command(show_command, tmp_path / "t.parquet", "--run", "m magnitude 0.5")


def test_the_tidy_table_keeps_it_and_says_how_large_it_is(tmp_path: Path) -> None:
    write_table(noisy(), tmp_path / "t.parquet")
    said = command(table_command, tmp_path / "t.parquet", "--output", tmp_path / "o.csv")
    assert "2 of 8 items scored otherwise" in said and "2 runs" in said
    assert read_table(tmp_path / "o.csv")["noise_floor"].sum() == 8


def test_the_floor_of_runs_without_a_common_item_is_none() -> None:
    one, other = (validate(rows("dense", FIRST, task).drop(columns="noise_floor")) for task in ("a", "b"))
    assert noise_floor(one, other) is None
