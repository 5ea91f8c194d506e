"""Tokens as lm-eval tasks: through the real command, in a sweep, and against a direct reading of the model's logits."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from junkdna_harness.autoload import tasks_dir
from junkdna_harness.border import TaskRefused
from junkdna_harness.cli import app
from junkdna_harness.fidelity.load import load_side
from junkdna_harness.models import token_scores as module
from junkdna_harness.models.token_scores import token_scores
from junkdna_harness.sweep import build_plan, run_sweep
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.session import Session
from junkdna_harness.sweep.settings import TEXT_TASKS, Settings, make_settings
from junkdna_harness.texts import tiers
from junkdna_harness.texts.known import known, tokenized
from tests.commands import command, junkdna, lm_eval

FOLDER = Path(tasks_dir()) / "text"
METADATA = ("--metadata", json.dumps({"text": "embedded", "window": 128}))
WORDS = ["the", "keys", "near", "doors", "are", "here", "and", "lamps", "too", "under", "boats"]


def test_the_files_are_what_the_writer_writes() -> None:
    files = runpy.run_path(str(FOLDER / "write_configs.py"))["all_files"]()
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(files)
    for name, content in files.items():
        assert (FOLDER / name).read_text() == content, "run: python task_configs/text/write_configs.py"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`lm_eval` on the tokens of a text, 40 a tier."""
    folder = tmp_path_factory.mktemp("logged")
    done = lm_eval(
        "--model_args", "sparsity=0.4", "--tasks", f"{TEXT_TASKS}_copy", *METADATA, "--limit", "40", "--log_samples",
        "--output_path", "out", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-800:]
    return folder / "out"


def test_lm_eval_logs_right_and_margin_of_each_token(logged: Path) -> None:
    """Against the model's logits at that place of the text, read here anew."""
    rows = read_runs(logged).table
    assert set(rows["metric"]) == {"acc", "margin"} and set(rows["tier"]) == {1, 2, 3, 4}
    assert set(rows["family"]) == {"text_copy"} and (rows["chance"] == 0).all()
    samples = [
        json.loads(line)
        for path in logged.rglob("samples_*_t1_*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert len(samples) == 40
    side = load_side({"pretrained": "embedded", "sparsity": 0.4}, "cpu")
    (text, _) = tokenized("embedded", {}, 128)
    for sample in samples[:10]:
        doc = sample["doc"]
        ids = [side.lm.prefix_token_id, *text.documents[doc["document"]].ids.tolist()]
        begin = doc["place"] // 128 * 128
        if begin + 128 > len(ids) - 1:
            begin = max(0, len(ids) - 1 - 128)
        with torch.no_grad():
            logits = side.lm.model(torch.tensor([ids[begin : doc["place"] + 1]])).logits[0, -1].double()
        right = ids[doc["place"] + 1]
        others = torch.cat([logits[:right], logits[right + 1 :]])
        assert sample["margin"] == pytest.approx(float(logits[right] - others.max()), abs=1e-3)
        assert sample["acc"] == float(logits.argmax() == right)
        assert doc["context"] == doc["place"] + 1 - begin


def test_tokens_of_one_block_are_one_cluster(logged: Path) -> None:
    rows = read_runs(logged).table
    blocks = rows.groupby("cluster_id")["item_id"].nunique()
    assert len(blocks) > 10 and blocks.max() > 1


def test_a_limit_takes_tokens_from_all_over_the_text(logged: Path) -> None:
    samples = [
        json.loads(line)
        for path in logged.rglob("samples_*_t4_*.jsonl")
        for line in path.read_text().splitlines()
    ]
    places = sorted(sample["doc"]["place"] for sample in samples)
    (text, _) = tokenized("embedded", {}, 128)
    assert places[0] < len(text.token) / 4 and places[-1] > len(text.token) * 3 / 4


def test_a_sweep_scores_tokens_as_lm_eval_does(logged: Path, tmp_path: Path) -> None:
    plan = build_plan(
        None, None, "magnitude", "0.4,0.8", limit=40, text="embedded", window=128, quantize="rtn:4"
    )
    assert plan.settings.tasks == (TEXT_TASKS,)
    outcome = run_sweep(plan, tmp_path / "s")
    assert outcome.exit_code == 0
    swept = read_runs(tmp_path / "s").table
    assert set(swept["family"]) == {"text_frequency", "text_position", "text_copy"}
    ours = swept[
        (swept["method"] == "magnitude") & np.isclose(swept["level"], 0.4) & (swept["family"] == "text_copy")
    ]
    theirs = read_runs(logged).table
    key = ["task", "item_id", "metric"]
    both = ours.merge(theirs, on=key, suffixes=("", "_log"))
    assert len(both) == len(theirs) == len(ours) == 4 * 40 * 2
    assert np.abs(both["value"] - both["value_log"]).max() < 1e-3
    assert (both["cluster_id"] == both["cluster_id_log"]).all()
    manifest = json.loads(next((tmp_path / "s" / "runs").glob("magnitude_0.4*.json")).read_text())
    assert '--metadata \'{"text": ["embedded"], "window": 128}\'' in manifest["lm_eval"]
    again = run_sweep(plan, tmp_path / "s")
    assert not again.finished and len(again.skipped) == 4


def test_verdicts_on_tokens(tmp_path: Path) -> None:
    done = junkdna(
        "sweep",
        "--methods",
        "magnitude",
        "--sparsity",
        "0.5,0.9",
        "--text",
        "embedded",
        "--limit",
        "60",
        "--output",
        "s",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-500:]
    fitted = junkdna("fit", "s", "--json", "f.json", cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr[-500:]
    claims = json.loads((tmp_path / "f.json").read_text())["claims"]
    p1 = {c["family"]: c for c in claims if c["claim"] == "P1"}
    assert {"text_copy", "text_frequency", "text_position"} <= set(p1)
    assert p1["text_frequency"]["ci_low"] > 0.2 and p1["text_frequency"]["verdict"] == "supported"


def test_a_sweep_goes_on_without_a_tier_that_a_text_lacks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The keys near the door are here. " * 40)
    plan = build_plan(None, None, "magnitude", "0.5", text=str(tmp_path / "a.txt"), limit=5, window=64)
    outcome = run_sweep(plan, tmp_path / "s")
    assert len(outcome.finished) == 2 and outcome.exit_code == 1
    (failed,) = {json.dumps(tasks, sort_keys=True) for tasks in outcome.failed_tasks.values()}
    assert "the text has no token in tier" in failed and "text_position" not in failed
    assert set(read_runs(tmp_path / "s").table["family"]) >= {"text_position", "text_copy"}


def test_texts_of_another_content_do_not_join_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" ".join(f"{word} {i}." for i, word in enumerate(WORDS * 12)))
    options: dict[str, Any] = {
        "methods": "magnitude",
        "text": str(tmp_path / "a.txt"),
        "limit": 5,
        "window": 32,
    }
    run_sweep(build_plan(None, None, sparsity="0.5", **options), tmp_path / "s")
    (tmp_path / "a.txt").write_text(" ".join(f"{word} {i}." for i, word in enumerate(reversed(WORDS * 12))))
    with pytest.raises(UsageError, match="is not what the runs in this folder were made with"):
        run_sweep(build_plan(None, None, sparsity="0.5,0.6", **options), tmp_path / "s", extend=True)


def test_any_model_of_transformers_answers_and_others_are_refused(tmp_path: Path) -> None:
    from junkdna_harness.embedded import model_path

    done = command(
        "lm_eval", "--model", "hf", "--model_args", f"pretrained={model_path()}", "--tasks", f"{TEXT_TASKS}_position", *METADATA,
        "--limit", "3", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "text_position_t1" in done.stdout, done.stderr[-500:]
    refused = command(
        "lm_eval",
        "--model",
        "dummy",
        "--tasks",
        f"{TEXT_TASKS}_position",
        *METADATA,
        "--limit",
        "3",
        cwd=tmp_path,
    )
    assert refused.returncode == 2 and "need a model's logits, which DummyLM does not give" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"text": "no.txt"}, "there is no text file 'no.txt'"),
        ({"text": "embedded", "window": 4096}, "windows of 4096 tokens are more than the 2048"),
    ],
)
def test_mistakes_under_lm_eval_are_one_sentence(tmp_path: Path, metadata: dict[str, Any], told: str) -> None:
    """One is found when the task is loaded, the other when the model is asked."""
    done = lm_eval(
        "--tasks", f"{TEXT_TASKS}_copy_t1", "--metadata", json.dumps(metadata), "--limit", "2", cwd=tmp_path
    )
    assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr


def test_windows_that_are_none() -> None:
    for window, told in (("wide", "window='wide' is no number of tokens"), (1, "predicts nothing")):
        with pytest.raises(UsageError, match=told):
            tokenized("embedded", {}, window)


def test_mistakes_of_a_sweep_are_one_sentence(tmp_path: Path) -> None:
    for arguments, told in (
        (("--text", "no.txt"), "there is no text file 'no.txt'"),
        (("--window", "64", "--tasks", "difficulty_tiers"), "window is of a text's tokens. Add --text FILE."),
        ((), "nothing is asked: give --tasks difficulty_tiers, or --text FILE."),
    ):
        with pytest.raises(UsageError, match=told):
            app(
                [
                    "sweep",
                    "--methods",
                    "magnitude",
                    "--sparsity",
                    "0.5",
                    *arguments,
                    "--output",
                    str(tmp_path / "s"),
                ],
                standalone_mode=False,
            )
        assert not (tmp_path / "s" / "runs").exists()


def test_a_noise_floor_asks_the_windows_in_other_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    scored = module.score_windows

    def noted(logits: Any, windows: Any, batch_size: int) -> Any:
        sizes.append(batch_size)
        return scored(logits, windows, batch_size)

    monkeypatch.setattr(module, "score_windows", noted)
    plan = build_plan(None, None, quantize="rtn:4", text="embedded", limit=5, window=128, noise_floor=True)
    session = Session(plan, 0, Machine())
    for cell in plan.cells:
        session.run(cell)
    assert [cell.noise_floor for cell in plan.cells] == [False, True, False] and sizes == [1, 2, 1]


def test_another_tokenizer_than_the_tasks_is_refused() -> None:
    text, _ = tokenized("embedded", {}, 64)
    lm = load_side({"pretrained": "embedded"}, "cpu").lm
    request = SimpleNamespace(args=(f"{text.sha256}:0:5",))
    assert len(token_scores(lm, [request, request])) == 2
    lm.custom_prefix_token_id = 7
    with pytest.raises(TaskRefused, match="tokens are not those of 'embedded' as it was loaded"):
        token_scores(lm, [request])
    assert known(text.sha256) is text


def test_settings_of_texts_are_written_only_where_there_are_some() -> None:
    plain = make_settings("a", {})
    assert (
        "text" not in plain.to_dict()
        and plain.metadata() == {}
        and Settings.from_dict(plain.to_dict()) == plain
    )
    both = make_settings("a,b", {"text": ["x.txt", "y.txt"], "window": 9})
    assert both.tasks == ("a", "b", TEXT_TASKS) and both.metadata() == {
        "text": ["x.txt", "y.txt"],
        "window": 9,
    }
    assert Settings.from_dict(json.loads(json.dumps(both.to_dict()))) == both


def test_a_text_without_a_tier_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("key" * 30)
    load = runpy.run_path(str(FOLDER / "text.py"))["load"]
    with pytest.raises(
        UsageError, match="the text has no token in tier 1 of family 'text_frequency'. Give more text."
    ):
        load("text_frequency", 1, str(tmp_path / "a.txt"))


def test_every_family_of_tokens_is_cut_in_a_real_text() -> None:
    text, _ = tokenized(None, {})
    for name, family in tiers.FAMILIES.items():
        counts = pd.Series(family(text)).value_counts()
        assert set(counts.index) == {1, 2, 3, 4} and counts.min() > 100, name
