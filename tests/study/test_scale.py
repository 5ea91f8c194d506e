"""Models that are too large to be tried here: shipped plans, what a dry run says of them, and the same on three layers with Ray."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from difficulty.errors import UsageError
from junkdna_harness.recover.data import load_data
from junkdna_harness.study.asked import make_plan, shipped
from junkdna_harness.study.dry_run import dry_run
from junkdna_harness.study.estimate import Shape, calibration_flops
from junkdna_harness.study.on_ray import a_mark, see
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.run import claim, refuse_another, run_study
from junkdna_harness.study.running import running
from junkdna_harness.study.scale import GPUS, Asked, arm_of, disk_bytes, memories, stages
from junkdna_harness.study.stages import checkpoint, train_one
from junkdna_harness.study.stand_in import know, number_of_weights, of_architecture, skeleton
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.engines.ray import Tasks
from junkdna_harness.sweep.machine import Machine
from tests.conftest import ROOT
from tests.study.big_models import BIG, cut, save_three_layers
from tests.sweep.same_store import differences

# transformers counts 1,235,814,400 in Llama-3.2-1B; the others are table 1 of 2307.09288 and table 3 of 2407.21783 to the last weight.
WEIGHTS = {"1b": 1_235_814_400, "7b": 6_738_415_616, "70b": 70_553_706_496}


@pytest.mark.parametrize("name", BIG)
def test_a_plan_for_a_large_model_says_that_it_was_not_run_and_has_the_model_in_numbers(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    assert "Not yet run at this size" in text.partition("\npretrained")[0]
    plan = make_plan(name)
    config = of_architecture(plan.architecture)
    assert number_of_weights(config) == WEIGHTS[name]
    assert all(parameter.is_meta for parameter in skeleton(config).parameters())  # no byte of them is taken
    assert {"difficulty_tiers", "difficulty_tiers_hard"} <= set(plan.tasks) and plan.controls
    assert {"sparse_transfer_lora", "local_reconstruction"} <= set(plan.arms) and len(plan.steps) == 2
    assert plan.run["engine"] == "ray" and plan.model_args["dtype"] == "bfloat16"
    assert make_plan(plan_file=Path(name), limit=3) == replace(plan, limit=3)


def test_where_a_study_runs_does_not_make_it_another_one(tmp_path: Path) -> None:
    plan = StudyPlan(run={"workers": 2, "engine": "ray"})
    claim(tmp_path, plan)
    refuse_another(
        tmp_path, replace(plan, run={"workers": 3, "batch_size": 8}, architecture={"model_type": "llama"})
    )
    assert "run" not in plan.to_dict()
    where = running({"workers": 2, "batch_size": 8, "device_map": "auto"}, {"workers": 1, "engine": None})
    assert (where.engine, where.machine.batch_size, where.machine.device_map) == (LocalEngine(1), 8, "auto")


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"worker": 2}, "run has no option 'worker'. Did you mean 'workers'?"),
        ({"engine": "slurm"}, "engine 'slurm' is unknown. Choose local or ray."),
        ({"gpus": 2}, "gpus 2 are those of one Ray worker, and the engine is local."),
        ({"engine": "ray", "gpus": 2}, "gpus 2 per worker need device_map: auto"),
        ({"training_gpus": 0}, "training_gpus"),
        ({"workers": 1.5}, "workers"),
    ],
)
def test_what_a_plan_cannot_say_of_where_it_runs(run: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        StudyPlan(run=run)


def test_a_dry_run_needs_neither_the_model_nor_a_network(tmp_path: Path) -> None:
    plan = replace(make_plan("70b"), tasks=("difficulty_tiers_names",))
    said: list[str] = []
    dry_run(plan, said.append, tmp_path / "s")
    told = "\n".join(said)
    assert (
        "meta-llama/Llama-3.1-70B is not here; its architecture is taken from the plan, not read from the model"
        in told
    )
    assert "70,553,706,496 weights, of which 68,451,041,280 are targets, in 80 blocks" in told
    assert "400 items per run" in told and "by 80 of them and the tokenizer of the embedded models" in told
    assert "a small model of this architecture, measured on" in told
    assert re.search(r"^evaluation +141\.1 GB +2 +2 +2 +4 +136\.9 GB$", told, re.MULTILINE)
    assert {line.split("  ")[0] for line in told.splitlines()} >= {
        "sweep: sparsegpt", "sweep: sparsegpt N:M", "sweep: gptq", "training: sparse_transfer_lora", "evaluation of the trained", "all",
    }  # fmt: skip
    assert "disk: 2.8 TB for 10 results" in told and "float32" in told
    assert not any(tmp_path.iterdir())


def test_a_checkpoint_that_is_here_is_believed_and_what_the_plan_says_otherwise_is_named(
    tmp_path: Path,
) -> None:
    plan = make_plan("70b")
    folder = save_three_layers(plan, tmp_path / "m")
    found = know(str(folder), plan.architecture)
    assert found is not None and found.read and found.loadable and found.config.num_hidden_layers == 3
    assert (
        "num_hidden_layers is 3 in the checkpoint, and 80 in the plan's architecture" in found.contradictions
    )
    assert not any("rope_scaling" in line or "tie_word" in line for line in found.contradictions)
    said: list[str] = []
    dry_run(cut("70b", folder, methods=("magnitude",), quantize=None, patterns=None), said.append)
    assert any(line.startswith(f"note: {folder}: hidden_size is 64 in the checkpoint") for line in said)
    assert not any("taken from the plan" in line for line in said)


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ({"hidden_size": 8}, "architecture needs model_type"),
        ({"model_type": "lama"}, "architecture of lama cannot be used"),
        ({"model_type": "llama", "hidden_size": "wide"}, "architecture of llama cannot be used"),
    ],
)
def test_an_architecture_that_is_none(architecture: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        know("org/model", architecture)
    assert know("org/model", {}) is None


def test_stages_memory_and_disk_by_hand() -> None:
    shape = Shape("square", 1000.0, 2, ((10, 20), (20, 10)))
    plan = StudyPlan(
        methods=("magnitude", "sparsegpt"), sparsity="0,0.5", patterns="4:8", quantize=None, controls=(), nsamples=3, seqlen=8, steps=(2,),
        local_steps=5, batch_size=4, arms=("dense_transfer", "dense_transfer_lora", "sparse_transfer_lora", "dense_freezing", "local_reconstruction"),
    )  # fmt: skip
    asked = Asked(tokens_a_run=100, tokens_an_example=7.0, seqlen=64)
    found = {one.name: one for one in stages(plan, asked, shape)}
    run = 2 * 1000 * 100
    passes, solved = calibration_flops("sparsegpt", shape, 24)
    assert (found["sweep: sparsegpt"].bf16, found["sweep: sparsegpt"].fp32) == (run + passes, solved)
    assert found["sweep: magnitude N:M"].bf16 == run and found["evaluation of the trained"].bf16 == 5 * run
    # In float32 where the trainer is not told otherwise; of a local reconstruction the blocks alone, 800 weights.
    assert found["training: dense_transfer"].fp32 == 6 * 1000 * 2 * 4 * 7
    assert found["training: local_reconstruction"].fp32 == 12 * 800 * 5 * 4 * 7
    texts = replace(plan, text=("starter",), text_sparsity="0,0.5")
    (of_texts,) = (
        one for one in stages(texts, replace(asked, tokens_a_text_run=30), shape) if "texts" in one.name
    )
    assert (of_texts.number, of_texts.bf16) == (3, 3 * 2 * 1000 * 30)
    half = stages(replace(plan, trainer={"bf16": True}), asked, shape)
    assert {one.name: one.bf16 for one in half}["training: dense_transfer"] == 6 * 1000 * 2 * 4 * 7
    held = {one.what: (one.bytes, one.main) for one in memories(plan, asked, shape, 2)}
    assert held == {
        "evaluation": (2000, 1600),
        "calibrated pruning and rounding": (2000 + 24 * 20 * 2 + 12 * 20**2, 1600),
        "training: dense_transfer": (16_000, 4000),
        "training: dense_transfer_lora": (4000 + 3200 + 800, 4000),
        "training: sparse_transfer_lora": (4000 + 3200 + 800, 4000),
        "training: dense_freezing": (16_000 + 800 + 3200, 8000),
        "training: local_reconstruction": (28 * 400, 8000 + 800 + 2 * 4 * 4 * 5 * 7 * 20),
    }
    assert disk_bytes(plan, shape)[0] == 5 * 4000
    big = next(
        one for one in memories(plan, asked, replace(shape, parameters=1e11), 2) if one.what == "evaluation"
    )
    assert [big.gpus(gpu) for gpu in GPUS] == [3, 3, 2]  # 200 GB, on nine tenths of 80, 80 and 141


def test_a_worker_with_gpus_keeps_its_model_for_the_next_task() -> None:
    """Ray ends a worker with a GPU after one task by default: a model of 70 billion weights would be loaded for every run."""
    options: dict[str, Any] = {}

    def remote(**given: Any) -> Any:
        options.update(given)
        return lambda function: function

    context = SimpleNamespace(gcs_address="")
    ray: Any = SimpleNamespace(remote=remote, get_runtime_context=lambda: context)
    Tasks(ray, print, {"CPU": 1, "GPU": 4}, lambda one, result: (), lambda one, why: (), print)
    assert (options["num_gpus"], options["max_calls"], options["max_retries"]) == (4, 0, 0)


def test_a_node_that_does_not_see_the_folder_is_told_of(tmp_path: Path) -> None:
    with a_mark(tmp_path) as mark:
        see(mark)
        with pytest.raises(
            UsageError, match=r"does not see the study's folder '/elsewhere', where its trainings go"
        ):
            see(Path("/elsewhere") / mark.name)
        mark.write_text("of another")
        with pytest.raises(UsageError, match="does not see the study's folder"):
            see(mark)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_every_training_of_a_plan_runs_on_three_layers_of_its_model(name: str, tmp_path: Path) -> None:
    """In bfloat16 under autocast, with gradients checkpointed and accumulated, and the model laid out by a device_map, as the plan says."""
    plan = cut(name, tmp_path / "m", steps=(1,))
    plan = replace(plan, run={**plan.run, "device_map": {"": "cpu"}})
    save_three_layers(plan, tmp_path / "m")
    load_data(plan.data)  # drawn once, for all
    for job in plan.jobs():
        assert "loss" in train_one(plan, tmp_path / "s", job), arm_of(job)
        assert (checkpoint(tmp_path / "s", plan, job) / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_killed_study_on_ray_goes_on_and_comes_to_what_one_machine_comes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan for 70 billion weights, on three layers with two Ray workers: killed in its trainings, and started again."""
    pytest.importorskip("ray")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    plan = cut(
        "70b", tmp_path / "m", methods=("magnitude", "wanda"), quantize="W8A8,nvfp4", run={"batch_size": 4}
    )
    save_three_layers(plan, tmp_path / "m")
    file = tmp_path / "plan.yaml"
    values = {**asdict(plan), "run": {**make_plan("70b").run, **plan.run, "workers": 2}}
    file.write_text(
        yaml.safe_dump({name: list(v) if isinstance(v, tuple) else v for name, v in values.items()})
    )
    command = [
        sys.executable,
        "-m",
        "junkdna_harness",
        "study",
        "--plan",
        str(file),
        "-o",
        str(tmp_path / "ray"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    while not list((tmp_path / "ray").glob("checkpoints/*/junkdna.json")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "ray" / "fit.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The hypothesis is" in done.stdout and "P6 " in done.stdout
    run_study(plan, tmp_path / "local", LocalEngine(1), Machine(batch_size=4), say=lambda _: None)
    for tables in ("sweep/samples", "sweep/responses", "recovered/samples", "recovered/responses"):
        assert not differences(tmp_path / "ray" / tables, tmp_path / "local" / tables)
    assert (tmp_path / "ray" / "claims.csv").read_text() == (tmp_path / "local" / "claims.csv").read_text()
