"""A sweep with caches of few bits and rounded activations: each run by itself, and nothing of one left in the next."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.command import lm_eval_command
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.commands import junkdna

TASKS = "difficulty_tiers_names_t4"
HERE = LocalEngine(workers=1)
GRID = {"tasks": TASKS, "methods": "magnitude", "sparsity": "0.5", "limit": 25}


def swept(folder: Path, **options: object) -> dict[str, pd.Series]:
    """The values of each run, by its id."""
    assert run_sweep(build_plan(**{**GRID, **options}), folder, engine=HERE).exit_code == 0
    table = Store(folder).samples().sort_values(["run", "metric", "item_id"])
    return {str(run): rows["value"].reset_index(drop=True) for run, rows in table.groupby("run")}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kv") / "mixed"
    swept(folder, quantize="kv:4,2,rtn:4")
    return folder


def values(folder: Path) -> dict[str, pd.Series]:
    table = Store(folder).samples().sort_values(["run", "metric", "item_id"])
    return {str(run): rows["value"].reset_index(drop=True) for run, rows in table.groupby("run")}


def test_runs_beside_it_are_what_they_are_without_it(mixed: Path, tmp_path: Path) -> None:
    alone, found = swept(tmp_path / "alone", quantize="rtn:4"), values(mixed)
    assert found.keys() - alone.keys() == {"embedded kv 2 bits", "embedded kv 4 bits"}
    for run in alone:
        assert found[run].equals(alone[run]), run
    assert not found["embedded kv 2 bits"].equals(found["embedded dense"])
    assert not found["embedded kv 2 bits"].equals(found["embedded kv 4 bits"])


def test_what_all_runs_have_has_names_of_its_own_and_the_dense_one_has_it_not(
    mixed: Path, tmp_path: Path
) -> None:
    found = swept(tmp_path / "all", quantize="kv:4,rtn:4", model_args="activations=int8")
    assert list(found) == [
        "embedded aint8-kv 4 bits", "embedded dense", "embedded magnitude-aint8 0.5", "embedded rtn-aint8 4 bits",
    ]  # fmt: skip
    before = values(mixed)
    assert found["embedded dense"].equals(before["embedded dense"])
    assert not found["embedded magnitude-aint8 0.5"].equals(before["embedded magnitude 0.5"])
    for run in read_runs(tmp_path / "all").runs.itertuples():
        assert json.loads(run.manifest).get("activations") == (None if "dense" in run.run else "int8")


def test_effective_bits_count_the_cache(mixed: Path) -> None:
    runs = read_runs(mixed).runs.set_index("run")
    weights, numbers = 753_664, 4 * 2 * 128 * 128  # layers, keys and values, their width, tokens
    for bits in (4, 2):
        a_number = bits + (16 + bits) / 32  # heads of 32
        expected = 16 - (16 - a_number) * numbers / weights
        assert runs.loc[f"embedded kv {bits} bits", "effective_bits"] == pytest.approx(expected)
    assert runs.loc["embedded dense", "effective_bits"] == 16


def test_the_call_of_lm_eval_gives_the_same_scores(mixed: Path) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    from junkdna_harness.autoload import install, tasks_dir

    install()
    store = Store(mixed)
    given = store.plan()
    (cell,) = [cell for cell in given.cells if cell.method == "kv" and cell.bits == 2]
    assert "--model junkdna-quantized --model_args method=kv,bits=2" in lm_eval_command(given, cell).replace(
        "pretrained=embedded,", ""
    )
    results = lm_eval.simple_evaluate(
        "junkdna-quantized", "method=kv,bits=2", [TASKS], limit=25, device="cpu", bootstrap_iters=0,
        task_manager=TaskManager(include_path=tasks_dir(), include_defaults=False),
    )  # fmt: skip
    found = store.responses(given, cell).set_index("doc_id")
    for sample in results["samples"][TASKS]:
        answers = [a[0] for a in json.loads(found.loc[sample["doc_id"], "filtered_resps"])]
        assert answers == pytest.approx([a[0] for a in sample["filtered_resps"]], abs=1e-4)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"quantize": "kv:4,3"}, "bits=3 is no width of a cache here"),
        ({"quantize": "kv:4", "model_args": "kv_bits=8"}, "method=kv takes its bits=4 for the cache, and kv_bits=8 was given too"),
        ({"quantize": "rtn:4", "model_args": "scheme=W8A8"}, "scheme=W8A8 in --model-args is set by the sweep's grid"),
        ({"model_args": "kv_tokens=9"}, "kv_tokens=9 is of a cache of few bits"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_before_a_model_is_loaded(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        build_plan(**{**GRID, **options})
    assert message in str(error.value)


def test_arguments_of_weights_are_left_out_of_the_cache_alone() -> None:
    given = build_plan(**{**GRID, "quantize": "kv:4,rtn:4", "model_args": "group_size=32,targets=mlp.*"})
    arguments = {cell.method: dict(cell.arguments) for cell in given.cells if cell.kind == "quantize"}
    assert arguments == {
        "kv": {"method": "kv", "bits": 4},
        "rtn": {"group_size": 32, "targets": "mlp.*", "method": "rtn", "bits": 4},
    }


@pytest.mark.slow
def test_one_shot_statistics_work_beside_it(tmp_path: Path) -> None:
    found = swept(
        tmp_path / "one",
        methods="magnitude,wanda",
        one_shot=True,
        quantize="kv:2",
        model_args="activations=fp8",
    )
    assert set(found) == {
        "embedded dense", "embedded magnitude-afp8 0.5", "embedded wanda-afp8 0.5", "embedded afp8-kv 2 bits",
    }  # fmt: skip


@pytest.mark.slow
def test_through_the_command_and_its_verdicts(tmp_path: Path) -> None:
    run = junkdna(
        "sweep", "--tasks", "difficulty_tiers_names,difficulty_tiers_copying", "--methods", "magnitude", "--sparsity", "0.3,0.5,0.7",
        "--quantize", "kv:8,4,2,rtn:4,3", "--limit", "40", "--output", "s", cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    fitted = junkdna("fit", "s", "--json", "fit.json", cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr[-2000:]
    text = (tmp_path / "fit.json").read_text()
    for quantizer in ("kv", "rtn"):
        assert f"magnitude vs {quantizer}" in text
    assert "magnitude vs rtn" in " ".join(
        (fitted.stdout + fitted.stderr).split()
    )  # P4 is read off a quantizer of weights
    read = read_runs(tmp_path / "s").runs.set_index("run")["effective_bits"]
    assert read["embedded kv 8 bits"] > read["embedded kv 4 bits"] > read["embedded kv 2 bits"] > 12
