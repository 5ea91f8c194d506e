"""The study's plan: presets, files, and what cannot be asked for."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difficulty.errors import UsageError
from difficulty.runs.identity import ARMS, PAPER_ARMS, Run
from difficulty.runs.table import run_name
from junkdna_harness.study.asked import make_plan, shipped
from junkdna_harness.study.dry_run import describe
from junkdna_harness.study.plan import StudyPlan, quick
from junkdna_harness.study.run import check_trainings, claim, refuse_another
from junkdna_harness.study.stages import checkpoint, recovered_plan, sweep_plan, tokens_plan


def test_without_arguments_it_is_the_papers_grid_on_the_embedded_model() -> None:
    plan = make_plan()
    cells = sweep_plan(plan).cells
    pruned = [cell for cell in cells if cell.kind == "prune"]
    assert plan.pretrained == ("embedded:0", "embedded:1", "embedded:2") and plan.name == "embedded"
    assert {cell.method for cell in pruned} == {"magnitude", "wanda", "sparsegpt", "random"}
    for model, method in itertools.product(range(3), ("magnitude", "wanda", "sparsegpt", "random")):
        own = [cell for cell in pruned if cell.method == method and cell.model == model]
        assert [c.level for c in own if c.pattern is None] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        assert [c.pattern for c in own if c.pattern] == ["7:8", "6:8", "4:8", "2:8"]
    rounded = [(c.table_method, c.bits) for c in cells if c.kind == "quantize" and c.model == 1]
    whole = [("rtn", 8), ("rtn", 4), ("rtn", 3), ("rtn", 2)]
    assert rounded == [*whole, ("rtn-aint8", 8), ("rtn-aint8", 4), ("nvfp4", 4), ("mxfp4", 4)]
    later = sweep_plan(plan).later
    assert later is not None and (later.primary, later.controls) == ("magnitude", ("random", "largest"))
    assert later.refine == "P3"
    jobs = plan.jobs()
    assert {job.arm for job in jobs} == set(ARMS) and {job.seed for job in jobs} == {0, 1}
    budgets = {(job.model, job.steps) for job in jobs if not job.local}
    assert budgets == {(model, steps) for model in range(3) for steps in plan.steps} and len(plan.steps) == 2
    tokens = tokens_plan(plan)
    assert tokens.settings.tasks == ("difficulty_tiers_text",) and len(tokens.models) == 3


def test_smollm2_is_asked_the_suite_and_not_what_only_the_embedded_models_know() -> None:
    plan = make_plan("smollm2-135m", dtype="bfloat16")
    assert plan.tasks == ("difficulty_tiers",) and plan.data == "graded"
    grid = sweep_plan(plan)
    assert grid.models == ({"pretrained": "smollm2-135m", "dtype": "bfloat16"},)
    assert grid.later is not None and grid.later.controls == ("random", "largest")
    assert {c.method for c in grid.cells} == {"dense", "magnitude", "wanda", "rtn", "nvfp4"}
    assert len({job.steps for job in plan.jobs() if not job.local}) == 2 and {
        job.lr for job in plan.jobs()
    } == {
        2e-5,
        1e-4,
        None,
    }
    assert "sparse_transfer_lora" in {str(replace(job.recovery, steps=None, lr=None)) for job in plan.jobs()}
    assert all(cell.arguments["pretrained"].startswith("checkpoints/") for cell in recovered_plan(plan).cells)


def test_controls_and_refined_levels_can_be_left_out_and_named(tmp_path: Path) -> None:
    assert sweep_plan(replace(make_plan(), controls=(), refine=None)).later is None
    path = tmp_path / "plan.yaml"
    path.write_text("controls: [largest]\nrefine: P3\ndtype: float16\nmodel_args: {revision: main}\n")
    plan = make_plan(plan_file=path)
    later = sweep_plan(plan).later
    assert later is not None and later.controls == ("largest",) and later.refine == "P3"
    assert plan.model_args == {"revision": "main", "dtype": "float16"}
    assert make_plan(plan_file=path, dtype="float32").model_args["dtype"] == "float32"


def test_dense_transfer_is_trained_once_for_all_levels_and_once_a_fraction_and_seed() -> None:
    plan = make_plan(
        "embedded", recovery_levels="0.5,0.7", fractions="0.25,1", seeds="3,4", steps=9, arms=PAPER_ARMS
    )
    jobs = plan.jobs()
    dense = [job for job in jobs if job.arm == "dense_transfer"]
    assert len(dense) == 4
    assert len(jobs) == 4 + 3 * 2 * 2 * 2
    assert len({job.folder("magnitude") for job in jobs}) == len(jobs)
    assert {str(job.method("magnitude")) for job in dense} == {
        "dense+dense_transfer",
        "dense+dense_transfer@0.25",
    }
    assert {job.replicate for job in jobs} == {0, 1}


def test_all_trainings_ask_for_the_same_compute() -> None:
    plan = make_plan("embedded", recovery_levels="0.5,0.7", arms=PAPER_ARMS, steps=9, seeds=0)
    asked = {(s.steps, s.batch_size, s.lr, s.data, s.seed) for s in map(plan.recover_spec, plan.jobs())}
    assert len(asked) == 1


def test_recovered_runs_are_named_as_the_statistics_expect() -> None:
    plan = make_plan("embedded", recovery_levels="0.7", steps=300)
    grid = recovered_plan(plan)
    names = [grid.run_id(cell) for cell in grid.cells]
    assert names == [run_name("embedded", c.table_method, c.level, c.bits, c.replicate) for c in grid.cells]
    assert "embedded magnitude+sparse_transfer 0.7" in names
    assert "embedded dense+dense_transfer 0" in names
    assert grid.settings == sweep_plan(plan).settings


def test_several_budgets_and_rates_are_told_apart_by_name_and_each_has_its_dense_model() -> None:
    arms = "dense_transfer,sparse_transfer,dense_transfer_lora,sparse_transfer_lora,local_reconstruction"
    plan = make_plan(
        "org/model",
        arms=arms,
        steps="9,30",
        lr="2e-5,1e-4",
        adapter_lr="3e-4",
        recovery_levels="0.5",
        text=None,
    )
    names = {str(job.method("magnitude")) for job in plan.jobs()}
    rates = [f"~{steps}steps~lr{lr}" for steps in (9, 30) for lr in ("2e-05", "0.0001")]
    wanted = {
        f"{arm}{rate}" for arm in ("dense+dense_transfer", "magnitude+sparse_transfer") for rate in rates
    }
    one_rate = {
        f"{arm}_lora~{n}steps"
        for arm in ("dense+dense_transfer", "magnitude+sparse_transfer")
        for n in (9, 30)
    }
    assert names == wanted | one_rate | {"magnitude+local_reconstruction"}
    specs = {str(job.method("magnitude")): plan.recover_spec(job) for job in plan.jobs()}
    assert all(name.endswith(spec.suffix) for name, spec in specs.items() if spec.lr is not None)
    assert specs["dense+dense_transfer_lora~9steps"].lr == 3e-4
    assert specs["magnitude+local_reconstruction"].steps == plan.local_steps


def test_several_models_are_one_study_with_trainings_of_each() -> None:
    plan = make_plan("embedded:0,embedded:2", steps=5, recovery_levels="0.8")
    assert plan.pretrained == ("embedded:0", "embedded:2") and plan.limit == make_plan().limit
    assert {job.model for job in plan.jobs()} == {0, 1}
    grid = recovered_plan(plan)
    assert len({cell.arguments["pretrained"] for cell in grid.cells}) == len(grid.cells) == len(plan.jobs())
    assert "embedded:2 magnitude+sparse_transfer 0.8" in map(grid.run_id, grid.cells)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_plan_is_taken_by_its_name_and_by_its_file(name: str) -> None:
    assert make_plan(plan_file=Path(name)) == make_plan(plan_file=shipped()[name])
    assert make_plan(name if name != "embedded" else None) == make_plan(plan_file=shipped()[name])


BASES = ["magnitude", "largest", "wanda", "sparsegpt", "random"]
LEVELS = st.lists(st.integers(1, 9).map(lambda i: i / 10), unique=True, min_size=1, max_size=3)
SHARES = st.lists(
    st.one_of(st.just(1.0), st.integers(1, 99).map(lambda i: i / 100)), unique=True, min_size=1, max_size=3
)
OTHERS = st.lists(st.sampled_from([arm for arm in PAPER_ARMS if arm != "dense_transfer"]), unique=True)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(BASES),
    LEVELS,
    SHARES,
    OTHERS,
    st.lists(st.integers(0, 99), unique=True, min_size=1, max_size=3),
)
def test_every_training_is_read_back_from_its_name_and_has_a_folder_and_a_file_of_its_own(
    base, levels, shares, arms, seeds
):
    plan = StudyPlan(
        pretrained=("org/model",), arms=("dense_transfer", *arms), recovery_method=base, recovery_levels=tuple(levels),
        methods=tuple(BASES), fractions=tuple(shares), seeds=tuple(seeds), calibration="text.txt",
    )  # fmt: skip
    grid, jobs = recovered_plan(plan), plan.jobs()
    for cell, job in zip(grid.cells, jobs, strict=True):
        run = grid.run(cell)
        assert Run.parse(grid.run_id(cell)) == run
        assert run.method == job.method(base) and run.kind == "recovered"
        assert run.method.recoveries[0].share == pytest.approx(job.fraction)
    for names in ([grid.file_name(cell) for cell in grid.cells], [job.folder(base) for job in jobs]):
        assert len({name.casefold() for name in names}) == len(jobs)


def test_a_plan_file_overrides_the_preset_and_the_command_line_overrides_both(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "methods: magnitude,random\nsteps: 7\nlimit: 5\nfractions: [0.1, 1]\ntrainer: {bf16: true}\n"
    )
    plan = make_plan(plan_file=path, steps=9)
    assert (plan.methods, plan.steps, plan.limit, plan.fractions) == (
        ("magnitude", "random"),
        (9,),
        5,
        (0.1, 1.0),
    )
    assert plan.trainer == {"bf16": True}
    assert plan.nsamples == make_plan().nsamples


def test_a_model_of_the_command_line_comes_before_that_of_the_plan_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("pretrained: org/other\nlimit: 7\n")
    assert make_plan(plan_file=path).pretrained == ("org/other",)
    for asked in ("smollm2-135m", "embedded", "org/model", "glue"):
        plan = make_plan(asked, plan_file=path)
        assert plan.limit == 7 and plan.pretrained == (asked if asked != "glue" else "smollm2-135m",)


def test_a_plan_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"there is no plan '.*gleu.yaml'. Name a YAML file, or .*: .*embedded, glue-small, glue, smollm2-135m.",
    ):
        make_plan(plan_file=tmp_path / "gleu.yaml")


def test_trainings_are_seeds_that_follow_each_other_and_arms_that_share_one_share_the_replicate() -> None:
    assert make_plan(trainings=3) == make_plan(seeds="0,1,2") and make_plan(trainings=2) == make_plan()
    plan = make_plan("embedded", trainings=3, seeds="41", recovery_levels="0.5,0.7", steps=9)
    assert plan.seeds == (41, 42, 43)
    jobs = plan.jobs()
    assert len(jobs) == 3 * len(make_plan("embedded", recovery_levels="0.5,0.7", steps=9, seeds=0).jobs())
    by_seed = {seed: {job.replicate for job in jobs if job.seed == seed} for seed in plan.seeds}
    assert by_seed == {41: {0}, 42: {1}, 43: {2}}
    grid = recovered_plan(plan)
    runs = [grid.run_id(cell) for cell in grid.cells]
    for arm in ("dense+dense_transfer 0", "magnitude+sparse_transfer 0.7", "magnitude+dense_freezing 0.5"):
        assert {f"embedded {arm}{number}" for number in ("", " #1", " #2")} <= set(runs)
    assert {plan.recover_spec(job).seed for job in jobs if job.replicate == 2} == {43}


def test_a_dry_run_counts_trainings_and_draws() -> None:
    plan = make_plan(
        "embedded", trainings=3, replicates=2, methods="magnitude,wanda", sparsity="0,0.8,0.9", steps=9, arms=PAPER_ARMS,
        recovery_levels="0.8,0.9",
    )  # fmt: skip
    lines = describe(
        replace(
            plan,
            patterns=None,
            quantize="rtn:4,gptq:4",
            refine=None,
            text=(),
            text_limit=None,
            text_methods=(),
            text_sparsity=None,
        )
    )
    assert lines[1].startswith("sweep: 10 runs = dense")  # 1 + 2 + 2 x 2 + 1 + 2 x 1
    assert lines[1].endswith("; 2 draws of what is drawn by lot")
    assert (
        lines[2]
        == "replicates 2: nothing is drawn by lot for magnitude, largest, rtn, so each run of it is there once."
    )
    assert lines[3].startswith("then, for each level of magnitude, the sparsities of random, largest")
    assert (
        lines[4] == "later rounds: at most 60 more runs"
    )  # 2 levels x (2 draws of random, largest) x 10 evaluations
    assert lines[5] == "21 trainings: each of 7 once with each seed of 0, 1, 2"
    assert len([line for line in lines if line.startswith("train: ")]) == 21


def test_the_command_line_comes_before_the_plan_file_for_trainings_too(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("trainings: 3\n")
    assert make_plan(plan_file=path).seeds == (0, 1, 2)
    assert make_plan(plan_file=path, trainings=2).seeds == (0, 1)
    assert make_plan(plan_file=path, seeds="5").seeds == (5,)


def test_calibration_is_by_default_what_is_trained_on_and_the_embedded_models_own() -> None:
    assert "calibration" not in make_plan().calibration_arguments()
    assert make_plan("smollm2-135m").calibration_arguments()["calibration"] == "graded"
    trained = make_plan("org/model", data="task:arc_easy", recovery_levels="0.5")
    assert trained.calibration_arguments()["calibration"] == "task:arc_easy"
    given = make_plan("org/model", data="task:arc_easy", calibration="text.txt", recovery_levels="0.5")
    assert given.calibration_arguments()["calibration"] == "text.txt"


def test_a_model_may_be_written_as_model_args_write_it() -> None:
    assert make_plan("pretrained=smollm2-135m") == make_plan("smollm2-135m")


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_plan_has_a_quick_cut(name: str) -> None:
    plan = make_plan(plan_file=Path(name))
    small = quick(plan)
    assert len(small.recovery_levels) == 1 and small.controls == plan.controls
    assert len(small.jobs()) <= len(plan.jobs()) and max(small.steps) <= 20


def test_a_quick_study_has_its_recovery_level_in_the_sweep() -> None:
    small = quick(make_plan("embedded", recovery_levels="0.7"))
    assert len(sweep_plan(small).cells) < 12
    assert 0.7 in [cell.level for cell in sweep_plan(small).cells]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recovery_levels": "0.55"}, "has no run before recovery to compare with"),
        ({"recovery_levels": "a"}, "is no list of numbers"),
        ({"recovery_levels": "1.5"}, "is no sparsity between 0 and 1"),
        ({"arms": "sparse_transfer"}, "lack dense_transfer"),
        (
            {"trainings": 0},
            "trainings=0 is no whole number of at least 1. It is how often every arm is trained",
        ),
        ({"trainings": 3, "seeds": "1,2"}, "trainings 3 and seeds 1,2"),
        ({"training": 3}, "Did you mean 'trainings'"),
        ({"arms": "dense_transfer,sparse_transfr"}, "Did you mean 'sparse_transfer'"),
        ({"fractions": "0"}, "is not above 0 and at most 1"),
        ({"stepz": 3}, "a study has no option 'stepz'. Did you mean 'steps'"),
        ({"steps": 0}, "steps=0 is too few"),
        ({"seeds": "1,1"}, "seeds has 1 twice"),
        ({"recovery_levels": "0.5,0.50"}, "recovery_levels has 0.5 twice"),
    ],
)
def test_what_cannot_be_asked_for(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(**options)


def test_a_folder_belongs_to_one_study(tmp_path: Path) -> None:
    refuse_another(tmp_path / "s", StudyPlan())
    assert not (tmp_path / "s").exists()
    claim(tmp_path / "s", StudyPlan())
    claim(tmp_path / "s", StudyPlan())
    with pytest.raises(UsageError, match="holds another study: its steps is \\[300\\], not \\[301\\]"):
        refuse_another(tmp_path / "s", StudyPlan(steps=(301,)))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="exists and holds no study"):
        refuse_another(tmp_path / "x", StudyPlan())


def test_a_study_that_was_killed_before_it_was_claimed_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "s" / "sweep").mkdir(parents=True)
    for name in ("lock", ".study.json.partial", ".lock.1a2b.partial", "sweep/lock", "sweep/plan.json",
                 "sweep/.plan.json.partial"):  # fmt: skip
        (tmp_path / "s" / name).write_text("1")
        refuse_another(tmp_path / "s", StudyPlan())
    (tmp_path / "s" / "sweep" / "runs").mkdir()
    with pytest.raises(UsageError, match="exists and holds no study"):
        refuse_another(tmp_path / "s", StudyPlan())


def test_data_are_asked_for_only_where_something_is_left_to_train(tmp_path: Path) -> None:
    plan = StudyPlan(data=str(tmp_path / "gone.txt"))
    for folder in (None, tmp_path):
        with pytest.raises(UsageError, match="there is no file"):
            list(check_trainings(plan, folder))
    for job in plan.jobs():
        (output := checkpoint(tmp_path, plan, job)).mkdir(parents=True)
        (output / "junkdna.json").write_text("{}")
    assert list(check_trainings(plan, tmp_path)) == []


def test_importing_the_room_imports_neither_torch_nor_lm_eval() -> None:
    code = "import sys, junkdna_harness.study, junkdna_harness.commands.study; assert not {'torch', 'lm_eval', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
