from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from difficulty.errors import UsageError
from difficulty.runs.margins import gold_options, options_margin, sequence_margin
from difficulty.runs.read import read_runs
from difficulty.runs.table import write_table
from tests.difficulty.judge.simulated import table

STAMP = "2026-01-02T03-04-05.678901"


def block(method: str, level: float | None, **more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "pruned",
        "model": "tiny",
        "method": method,
        "level": level,
        "bits": None,
        "seed": 0,
        **more,
    }


def choice(doc_id: int, lls: list[float], gold: int, **more: Any) -> dict[str, Any]:
    return {
        "doc_id": doc_id, "doc": {"q": doc_id, "passage": "p1"}, "target": str(gold),
        "arguments": {f"gen_args_{i}": {"arg_0": "Q", "arg_1": f" o{i}"} for i in range(len(lls))},
        "filtered_resps": [[str(v), "False"] for v in lls], "filter": "none", "metrics": ["acc"], "doc_hash": f"hash{doc_id}",
        "prompt_hash": f"prompt{doc_id}", "acc": float(int(np.argmax(lls)) == gold), **more,
    }  # fmt: skip


def recite(doc_id: int, ll: float, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "doc_id": doc_id, "doc": {"q": doc_id}, "target": answer, "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": answer}},
        "filtered_resps": [[str(ll), "True"]], "filter": "none", "metrics": ["acc"], "doc_hash": f"r{doc_id}",
        "prompt_hash": "p", "acc": 1, **more,
    }  # fmt: skip


def write_run(
    folder: Path, tasks: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]], junkdna: dict[str, Any] | None = None,
    stamp: str = STAMP, version: str = "0.4.13",
) -> Path:  # fmt: skip
    """An output folder as lm-eval lays it out."""
    home = folder / "tiny"
    home.mkdir(parents=True, exist_ok=True)
    results = {
        "configs": {name: config for name, (config, _) in tasks.items()},
        "versions": dict.fromkeys(tasks, 1.0),
        "config": {"junkdna": junkdna} if junkdna else {},
        "model_name": "tiny",
        "lm_eval_version": version,
    }
    (home / f"results_{stamp}.json").write_text(json.dumps(results))
    for name, (_, samples) in tasks.items():
        text = "".join(json.dumps(sample) + "\n" for sample in samples)
        (home / f"samples_{name}_{stamp}.jsonl").write_text(text)
    return folder


MC = {
    "output_type": "multiple_choice",
    "metadata": {"family": "quiz", "tier": 2, "axis": "options", "cluster_field": "passage"},
}
LL = {"output_type": "loglikelihood", "metadata": {"family": "recall", "tier": 1, "chance": 0.1}}


def both(folder: Path, junkdna: dict[str, Any] | None = None, **more: Any) -> Path:
    tasks = {
        "quiz_t2": (MC, [choice(0, [-2.0, -1.0, -4.0], 1), choice(1, [-1.0, -3.0, -4.0], 1)]),
        "recall_t1": (LL, [recite(0, -0.6, "abc"), recite(1, -2.0, "ab")]),
    }
    return write_run(folder, tasks, junkdna, **more)


def test_a_logged_run_becomes_rows_with_margins(tmp_path: Path) -> None:
    runs = read_runs(both(tmp_path / "r"))
    rows = runs.table.set_index(["task", "item_id", "metric"])
    assert len(rows) == 8
    assert rows.loc[("quiz_t2", "hash0", "margin"), "value"] == 1.0
    assert rows.loc[("quiz_t2", "hash1", "margin"), "value"] == -2.0
    assert list(rows.loc[("quiz_t2", "hash0", "margin"), "option_loglik"]) == [-2.0, -1.0, -4.0]
    first = rows.loc[("recall_t1", "r0", "margin")]
    p = np.exp(-0.6 / 3)
    assert first["value"] == pytest.approx(np.log(p / (1 - p)))
    assert (first["n_symbols"], first["chance"]) == (3, 0.1)
    quiz = rows.loc[("quiz_t2", "hash0", "acc")]
    assert (quiz["family"], quiz["tier"], quiz["axis"], quiz["cluster_id"]) == ("quiz", 2, "options", "p1")
    assert quiz["chance"] == pytest.approx(1 / 3)
    assert (quiz["method"], quiz["level"], quiz["run"]) == ("dense", 0.0, "tiny dense")


def test_the_junkdna_block_identifies_the_run(tmp_path: Path) -> None:
    both(tmp_path / "a", block("magnitude", 0.5, effective_bits=9.0, sparsity_all=0.4))
    both(tmp_path / "b", block("wanda", 0.5, pattern="2:4"))
    both(tmp_path / "c", {**block("rtn", None), "kind": "quantized", "bits": 4})
    runs = read_runs([tmp_path / "a", tmp_path / "b", tmp_path / "c"])
    assert runs.runs["run"].tolist() == ["tiny magnitude 0.5", "tiny wanda 2:4 0.5", "tiny rtn 4 bits"]
    assert runs.runs["effective_bits"].iloc[0] == 9.0
    assert runs.manifests["tiny wanda 2:4 0.5"]["pattern"] == "2:4"


def test_level_zero_is_dense_and_equal_dense_runs_count_once(tmp_path: Path) -> None:
    both(tmp_path / "a", block("magnitude", 0.0))
    both(tmp_path / "b", block("random", 0.0))
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    assert runs.runs["method"].tolist() == ["dense"]
    assert "is used once" in runs.warnings[0]


def test_runs_that_differ_in_their_seed_are_replicates(tmp_path: Path) -> None:
    for seed in (3, 1):
        both(tmp_path / str(seed), block("random", 0.5, seed=seed))
    runs = read_runs(tmp_path)
    assert sorted(runs.runs["replicate"]) == [0, 1]
    assert runs.manifests["tiny random 0.5"]["seed"] == 1


def trained(base: str, arm: str, level: float, seed: int, **more: Any) -> dict[str, Any]:
    return block(f"{base}+{arm}", level, recovery={"arm": arm, "seed": seed}, **more)


def test_trainings_that_share_a_seed_share_the_replicate_whatever_the_arm(tmp_path: Path) -> None:
    for seed in (41, 42, 43):
        both(tmp_path / f"s{seed}", trained("magnitude", "sparse_transfer", 0.5, seed))
    for seed in (43, 42):
        both(tmp_path / f"d{seed}", trained("dense", "dense_transfer", 0.0, seed))
    runs = read_runs(tmp_path)
    found = {run: manifest["recovery"]["seed"] for run, manifest in runs.manifests.items()}
    assert found == {
        "tiny magnitude+sparse_transfer 0.5": 41, "tiny magnitude+sparse_transfer 0.5 #1": 42,
        "tiny magnitude+sparse_transfer 0.5 #2": 43,
        "tiny dense+dense_transfer 0 #1": 42, "tiny dense+dense_transfer 0 #2": 43,
    }  # fmt: skip


def test_trainings_of_several_masks_are_numbered_within_their_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        both(tmp_path / f"m{seed}", {**trained("random", "sparse_transfer", 0.5, 7), "seed": seed})
    both(tmp_path / "d", trained("dense", "dense_transfer", 0.0, 7))
    assert set(read_runs(tmp_path).manifests) == {
        "tiny random+sparse_transfer 0.5", "tiny random+sparse_transfer 0.5 #1", "tiny dense+dense_transfer 0",
    }  # fmt: skip


def test_a_single_training_has_no_number_whatever_its_seed(tmp_path: Path) -> None:
    both(tmp_path / "a", trained("magnitude", "sparse_transfer", 0.5, 3))
    both(tmp_path / "b", trained("dense", "dense_transfer", 0.0, 5))
    assert set(read_runs(tmp_path).runs["replicate"]) == {0}


def test_replicates_with_the_same_weights_are_told(tmp_path: Path) -> None:
    for seed in (0, 1):
        both(tmp_path / str(seed), block("magnitude", 0.5, seed=seed, weights_sha256="ab"))
        both(tmp_path / f"r{seed}", block("random", 0.5, seed=seed, weights_sha256=f"c{seed}"))
    (told,) = [w for w in read_runs(tmp_path).warnings if "same weights" in w]
    assert "'tiny magnitude 0.5' and 'tiny magnitude 0.5 #1'" in told


def test_the_same_run_twice_is_refused_with_both_files(tmp_path: Path) -> None:
    both(tmp_path, block("magnitude", 0.5))
    both(tmp_path, block("magnitude", 0.5), stamp="2026-02-02T03-04-05.000000")
    with pytest.raises(
        UsageError, match=r"evaluated twice on quiz_t2, recall_t1: .*results_2026-01.*results_2026-02"
    ):
        read_runs(tmp_path)
    assert len(read_runs(tmp_path / "tiny" / f"results_{STAMP}.json").runs) == 1


def test_tasks_of_one_run_in_two_folders_are_put_together(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"quiz_t2": (MC, [choice(0, [-1.0, -2.0], 0)])})
    write_run(tmp_path / "b", {"recall_t1": (LL, [recite(0, -1.0, "x")])})
    runs = read_runs([tmp_path / "a", tmp_path / "b"])
    assert len(runs.runs) == 1
    assert set(runs.table["task"]) == {"quiz_t2", "recall_t1"}


def test_a_document_that_the_data_set_holds_twice_makes_two_items_of_one_cluster(tmp_path: Path) -> None:
    samples = [recite(0, -1.0, "x"), recite(1, -1.0, "x", doc_hash="r0")]
    rows = read_runs(write_run(tmp_path, {"recall_t1": (LL, samples)})).table
    rows = rows[rows["metric"] == "acc"]
    assert rows["item_id"].tolist() == ["r0", "r0#2"]
    assert rows["cluster_id"].tolist() == ["r0", "r0"]


def test_several_filters_make_several_metrics_and_one_margin(tmp_path: Path) -> None:
    samples = [recite(0, -1.0, "x", filter=f) for f in ("strict", "flexible")]
    rows = read_runs(write_run(tmp_path, {"recall_t1": (LL, samples)})).table
    assert sorted(rows["metric"]) == ["acc,flexible", "acc,strict", "margin"]


def test_a_cut_off_line_is_named_with_its_file(tmp_path: Path) -> None:
    both(tmp_path)
    path = tmp_path / "tiny" / f"samples_quiz_t2_{STAMP}.jsonl"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(UsageError, match=r"samples_quiz_t2_.*jsonl', line 2, is not a whole sample"):
        read_runs(tmp_path)


def test_bad_folders_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds neither"):
        read_runs(tmp_path)
    with pytest.raises(UsageError, match="there is no"):
        read_runs(tmp_path / "absent")
    with pytest.raises(UsageError, match="no run was given"):
        read_runs([])
    both(tmp_path)
    (tmp_path / "tiny" / f"samples_quiz_t2_{STAMP}.jsonl").unlink()
    left = read_runs(tmp_path)
    assert set(left.table["task"]) == {"recall_t1"}
    assert "has no samples for quiz_t2, which are left out" in " ".join(left.warnings)
    (tmp_path / "tiny" / f"samples_recall_t1_{STAMP}.jsonl").unlink()
    with pytest.raises(UsageError, match="has no samples for quiz_t2, recall_t1.*--log_samples"):
        read_runs(tmp_path)
    (tmp_path / "tiny" / f"results_{STAMP}.json").write_text("{")
    with pytest.raises(UsageError, match="is not whole JSON"):
        read_runs(tmp_path)


def test_other_versions_are_a_warning(tmp_path: Path) -> None:
    both(tmp_path / "a")
    both(tmp_path / "b", block("magnitude", 0.5), version="0.4.9")
    warnings = " ".join(read_runs([tmp_path / "a", tmp_path / "b"]).warnings)
    assert "different lm-eval versions (0.4.13, 0.4.9)" in warnings


def test_a_sweep_store_is_read_with_its_runs_table(tmp_path: Path) -> None:
    rows = table(items=3)
    for number, (run, part) in enumerate(rows.groupby("run")):
        (tmp_path / "samples").mkdir(exist_ok=True)
        (tmp_path / "runs").mkdir(exist_ok=True)
        write_table(part, tmp_path / "samples" / f"{number}.parquet")
        facts = {"run": run, "effective_bits": 9.5, "manifest": {"seed": 4}}
        (tmp_path / "runs" / f"{number}.json").write_text(json.dumps(facts))
    runs = read_runs(tmp_path)
    assert len(runs.table) == len(rows)
    assert (runs.runs["effective_bits"] == 9.5).all()
    assert runs.manifests["m magnitude 0.4"] == {"seed": 4}


def test_a_run_of_a_sweep_without_manifest_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    rows = table(items=3)
    for number, (_, part) in enumerate(rows.groupby("run")):
        write_table(part, tmp_path / "samples" / f"{number}.parquet")
    (tmp_path / "runs" / "0.json").write_text(json.dumps({"run": "m dense"}))
    assert read_runs(tmp_path).runs["run"].tolist() == ["m dense"]
    (tmp_path / "runs" / "0.json").unlink()
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UsageError, match="has no finished run yet"):
        read_runs(tmp_path)


def test_margins_in_closed_form() -> None:
    assert options_margin([-1.0, -2.0, -0.5], [0]) == -0.5
    assert options_margin([-1.0, -2.0], [0, 1]) is None
    assert options_margin([-1.0, -np.inf], [0]) is None
    assert sequence_margin(-2 * np.log(2), 2) == pytest.approx(0.0)
    assert sequence_margin(0.0, 3) == 16.0
    assert sequence_margin(-1e9, 3) == -16.0


def test_gold_is_read_as_index_or_words_whichever_agrees_with_the_accuracy() -> None:
    texts, scores = [["2", "1"], ["2", "1"]], [[-1.0, -2.0], [-2.0, -1.0]]
    assert gold_options(["1", "1"], texts, scores, {"acc": [0.0, 1.0]})[0] == [[1], [1]]  # as an index
    assert gold_options(["2", "1"], texts, scores, {"acc": [1.0, 1.0]})[0] == [[0], [1]]  # as words
    gold, problem = gold_options(["?", "1"], texts, scores, {"acc": [1.0, 1.0]})
    assert gold == [None, None]
    assert problem


def test_reading_needs_neither_torch_nor_lm_eval() -> None:
    code = "import sys, difficulty.runs.read, difficulty.judge.fit; print([m for m in ('torch', 'lm_eval', 'transformers') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
