"""Which runs stand beside a series: the same, a stand-in that is named, or nothing, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from junkdna_harness.study.against.ours import Ours
from junkdna_harness.study.against.panels import Counterpart, counterparts
from junkdna_harness.study.against.points import Series, read_points
from tests.study.against.made_up import TIERS, line, ours, points

TRAINED = (
    "magnitude",
    "dense+dense_transfer",
    "magnitude+sparse_transfer",
    "magnitude+sparse_to_dense",
    "magnitude+dense_freezing",
)
SHARED = ("dense+dense_transfer@0.1", "magnitude+sparse_transfer@0.1")
GLUE = {
    "difficulty_tiers_finetune_inference_t1": ("inference", "gap", 1, 0.5),
    "difficulty_tiers_finetune_inference_t2": ("inference", "gap", 2, 0.5),
}


def panel(
    folder: Path, figure: str, name: str, *series: str, levels: tuple[object, ...] = (20, 40)
) -> list[Series]:
    rows = [row for one in series for row in line(figure, name, one, dict.fromkeys(levels, 90.0))]
    return read_points(points(folder, *rows))


def found(mine: Ours, series: list[Series], at: int = 0) -> list[Counterpart]:
    there = counterparts(mine, series, series[at])
    assert not isinstance(there, str), there
    return there


def test_tasks_of_the_paper_are_taken_where_the_study_has_all_of_a_panel(tmp_path: Path) -> None:
    series = panel(tmp_path, "task_complexity", "NLI", "QNLI (easy)", "RTE (hard)")
    easy, hard = (found(ours(GLUE, TRAINED), series, k)[0] for k in (0, 1))
    assert (easy.stand_in, hard.stand_in) == ("", "")
    assert easy.what == "difficulty_tiers_finetune_inference_t1; magnitude+sparse_transfer"
    assert hard.what.startswith("difficulty_tiers_finetune_inference_t2")


def test_one_task_of_a_pair_alone_is_not_set_against_a_stand_in(tmp_path: Path) -> None:
    tasks = {**TIERS, "glue_qnli": ("qnli", "gap", 1, 0.5)}
    series = panel(tmp_path, "task_complexity", "NLI", "QNLI (easy)", "RTE (hard)")
    one = found(ours(tasks, TRAINED), series)[0]
    assert one.stand_in == "tier 1 of 2 families for QNLI"


def test_the_easiest_and_the_hardest_tier_stand_in(tmp_path: Path) -> None:
    series = panel(tmp_path, "task_complexity", "p", "SST-2 (easy)", "COLA (hard)")
    mine = ours(score=lambda task, method, level: 1 - level * (0.2 if task.endswith("_t1") else 0.5))
    easy, hard = (found(mine, series, k)[0] for k in (0, 1))
    assert easy.stand_in == "tier 1 of 2 families for SST-2; before training for after it"
    assert hard.stand_in.startswith("the hardest tier of 2 families for CoLA")
    assert easy.raw.kept == pytest.approx([1 - 0.2 * x for x in (0.2, 0.4, 0.6, 0.8)])
    assert hard.raw.kept == pytest.approx([1 - 0.5 * x for x in (0.2, 0.4, 0.6, 0.8)])
    assert not easy.trained


def test_trained_runs_stand_before_those_that_were_not_and_are_measured_against_the_trained_dense_model(
    tmp_path: Path,
) -> None:
    series = panel(tmp_path, "task_complexity", "p", "SST-2 (easy)", "COLA (hard)")
    mine = ours(methods=TRAINED, score=lambda task, method, level: 0.8 if "dense_transfer" in method else 0.4 if "+" in method else 1 - level)  # fmt: skip
    trained, bare = found(mine, series)
    assert (trained.trained, bare.trained) == (True, False)
    assert trained.raw.kept == pytest.approx([0.5] * 4)
    assert bare.raw.kept == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_chance_is_taken_off_by_the_mean_of_the_tasks(tmp_path: Path) -> None:
    series = panel(tmp_path, "task_complexity", "p", "SST-2 (easy)", "COLA (hard)")
    one = found(ours(), series)[0]  # tier 1: chance 0 and 0.5
    assert one.corrected.kept == pytest.approx([(1 - x - 0.25) / 0.75 for x in (0.2, 0.4, 0.6, 0.8)])
    assert one.raw.floor == pytest.approx(0.25)
    assert all(one.raw.low <= one.raw.kept) and all(one.raw.kept <= one.raw.high)
    assert all(one.raw.low < one.raw.high)


def test_shares_of_data_are_matched_with_their_own_dense_model(tmp_path: Path) -> None:
    series = panel(tmp_path, "data_suffiency", "QNLI", "10% data", "100% data", "25% data")
    mine = ours(methods=(*TRAINED, *SHARED), score=lambda task, method, level: {"dense+dense_transfer@0.1": 0.8, "magnitude+sparse_transfer@0.1": 0.6}.get(method, 1.0))  # fmt: skip
    little, all_of_it = found(mine, series, 0)[0], found(mine, series, 1)[0]
    assert little.raw.kept == pytest.approx([0.75] * 4)
    assert all_of_it.what == "all 4 tasks; magnitude+sparse_transfer"
    assert counterparts(mine, series, series[2]) == (
        "the study has no runs of magnitude with sparse transfer on 25 % of the data at sparsities (or a dense score that is at chance)"
    )


def test_the_arms_of_a_figure_are_those_of_the_study(tmp_path: Path) -> None:
    series = panel(tmp_path, "baselines_across_tasks", "MNLI", "Sparse to Dense Transfer", "Sparse Transfer", "Dense Transfer with Freezing")  # fmt: skip
    mine = ours(methods=TRAINED)
    assert [found(mine, series, k)[0].what for k in range(3)] == [
        "all 4 tasks; magnitude+sparse_to_dense", "all 4 tasks; magnitude+sparse_transfer", "all 4 tasks; magnitude+dense_freezing",
    ]  # fmt: skip
    assert all(len(found(mine, series, k)) == 1 for k in range(3))


def test_of_several_budgets_the_longest_is_taken(tmp_path: Path) -> None:
    series = panel(
        tmp_path, "baselines_across_tasks", "MNLI", "Sparse Transfer", "Dense Transfer with Freezing"
    )
    methods = [
        f"{m}~{k}steps" for m in ("dense+dense_transfer", "magnitude+sparse_transfer") for k in (50, 200)
    ]
    one = found(ours(methods=["magnitude", *methods]), series)[0]
    assert one.what == "all 4 tasks; magnitude+sparse_transfer~200steps"
    assert one.stand_in == "all tasks of the study for MNLI"


def test_a_dense_model_that_was_not_trained_is_told(tmp_path: Path) -> None:
    series = panel(tmp_path, "task_complexity", "p", "SST-2 (easy)", "COLA (hard)")
    one = found(ours(methods=("magnitude", "magnitude+sparse_transfer")), series)[0]
    assert "the untrained dense model for the trained one" in one.stand_in


def test_patterns_stand_beside_patterns(tmp_path: Path) -> None:
    series = panel(
        tmp_path, "open_closed_junk", "Wanda [N:M]", "Closed Book", "Open Book", levels=("4:8", "2:8")
    )
    tasks = {"a_t1": ("facts_open", "f", 1, 0.0), "a_t2": ("facts_closed", "f", 1, 0.0)}
    mine = ours(tasks, ("wanda 4:8",), levels=(0.5,))
    closed = found(mine, series)[0]
    assert [str(level) for level in closed.raw.levels] == ["4:8"]
    assert closed.stand_in == "made-up facts (facts_closed) for TriviaQA"
    assert "no runs of wanda at sparsities" in str(
        counterparts(mine, panel(tmp_path, "open_closed_junk", "Wanda", "Closed Book"), panel(tmp_path, "open_closed_junk", "Wanda", "Closed Book")[0])
    )  # fmt: skip


def test_books_of_trivia_questions_are_taken_before_made_up_facts(tmp_path: Path) -> None:
    series = panel(tmp_path, "open_closed_junk", "Magnitude", "Closed Book", "Open Book")
    tasks = {
        "difficulty_tiers_triviaqa_book_t1": ("triviaqa", "open_closed_book", 1, 0.0),
        "difficulty_tiers_triviaqa_book_t2": ("triviaqa", "open_closed_book", 2, 0.0),
        "facts": ("facts_closed", "f", 1, 0.0),
    }
    one = found(ours(tasks), series)[0]
    assert (one.what, one.stand_in) == ("difficulty_tiers_triviaqa_book_t2; magnitude", "")


@pytest.mark.parametrize(
    ("figure", "name", "told"),
    [
        ("mbart", "Minority (hard task)", "no translation, nor tiers by language"),
        ("open_closed_junk", "Closed Book", "asks nothing with and without the book"),
        ("task_complexity", "RTE (hard)", "no family with several tiers"),
    ],
)
def test_why_nothing_stands_beside_a_series_is_told(
    tmp_path: Path, figure: str, name: str, told: str
) -> None:
    series = panel(tmp_path, figure, "p", name)
    assert told in str(counterparts(ours({"t": ("x", "a", 1, 0.0)}), series, series[0]))


def test_languages_stand_in_for_translation(tmp_path: Path) -> None:
    tasks = {f"belebele_t{k}": ("belebele", "language", k, 0.25) for k in (1, 2, 3)}
    series = panel(tmp_path, "mbart", "few-shot", "Majority (easy task)", "Minority (hard task)")
    assert [found(ours(tasks), series, k)[0].what for k in (0, 1)] == [
        "belebele_t1; magnitude",
        "belebele_t3; magnitude",
    ]


def test_trainings_of_one_model_are_averaged_at_the_levels_that_all_have(tmp_path: Path) -> None:
    series = panel(tmp_path, "task_complexity", "p", "SST-2 (easy)", "COLA (hard)")
    mine = ours(models=("m:0", "m:1"))
    assert (mine.name, mine.models) == ("m", ("m:0", "m:1"))
    assert found(mine, series)[0].raw.kept == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_a_dense_score_at_chance_has_no_curve(tmp_path: Path) -> None:
    series = panel(tmp_path, "task_complexity", "p", "SST-2 (easy)", "COLA (hard)")
    assert "a dense score that is at chance" in str(
        counterparts(ours(score=lambda *_: 0.25), series, series[0])
    )
