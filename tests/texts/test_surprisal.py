"""Tiers by another model's loss: what they are, and that none is judged by its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from difficulty.errors import UsageError
from difficulty.fit import fit
from difficulty.runs.read import read_runs
from junkdna_harness.cli import app
from junkdna_harness.embedded import model_path
from junkdna_harness.models.surprisal import surprisal
from junkdna_harness.sweep import build_plan, run_sweep
from junkdna_harness.sweep.settings import SURPRISAL_TASKS, make_settings
from junkdna_harness.texts.known import tokenized
from tests.models_factory import make_model, make_tokenizer

JUDGED = {"pretrained": "embedded", "device": "cpu"}


def test_tiers_are_the_quarters_of_the_other_models_loss() -> None:
    text, _ = tokenized("embedded", {}, 128)
    tiers, maker = surprisal(text, "embedded:1", JUDGED)
    model = AutoModelForCausalLM.from_pretrained(model_path("embedded:1"), dtype=torch.float32).eval()
    losses = []
    for window in text.windows:
        with torch.no_grad():
            logs = (
                model(torch.from_numpy(window.inputs[None]))
                .logits[0, window.first :]
                .double()
                .log_softmax(-1)
            )
        losses += (-logs[torch.arange(len(window.targets)), torch.from_numpy(window.targets)]).tolist()
    ranks = np.argsort(np.argsort(losses))
    expected = ranks * 4 // len(losses) + 1
    assert (tiers == expected).mean() > 0.999
    assert maker.run.model == "embedded:1" and maker.run.is_dense and maker.weights_sha256


def test_a_model_makes_no_tiers_for_itself_or_its_states(tmp_path: Path) -> None:
    text, _ = tokenized("embedded", {}, 128)
    with pytest.raises(UsageError, match="is the model that is judged, or a state of it"):
        surprisal(text, "embedded", JUDGED)
    with pytest.raises(UsageError, match="is the model that is judged, or a state of it"):
        surprisal(text, "embedded:0", JUDGED)
    words = [
        "prune",
        "embedded",
        "--method",
        "magnitude",
        "--sparsity",
        "0.5",
        "--output",
        str(tmp_path / "half"),
    ]
    app(words, standalone_mode=False)
    for by, judged in ((str(tmp_path / "half"), "embedded"), ("embedded", str(tmp_path / "half"))):
        with pytest.raises(UsageError, match="is the model that is judged, or a state of it"):
            surprisal(text, by, {"pretrained": judged, "device": "cpu"})


def test_a_model_with_other_tokens_makes_none(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    model.save_pretrained(tmp_path / "m")
    make_tokenizer().save_pretrained(tmp_path / "m")
    text, _ = tokenized("embedded", {}, 128)
    with pytest.raises(UsageError, match="surprisal_from=.*the text's tokens are not those of"):
        surprisal(text, str(tmp_path / "m"), JUDGED)
    with pytest.raises(UsageError, match="Name it: junkdna sweep --surprisal-from MODEL"):
        surprisal(text, None, JUDGED)


def test_a_sweep_says_who_made_the_tiers_and_fit_judges_others_alone(tmp_path: Path) -> None:
    settings = make_settings(None, {"text": "embedded", "surprisal_from": "embedded:1"})
    assert SURPRISAL_TASKS in settings.tasks
    options = {"text": "embedded", "surprisal_from": "embedded:1", "limit": 60, "window": 128}
    outcome = run_sweep(build_plan(None, None, "magnitude", "0.5,0.8", **options), tmp_path / "s")  # type: ignore[arg-type]
    assert outcome.exit_code == 0
    runs = read_runs(tmp_path / "s")
    table = runs.table
    mine = table[table["family"] == "text_surprisal"]
    assert mine["tiers_from"].str.contains("embedded:1").all()
    accuracy = mine[(mine["metric"] == "acc") & (mine["method"] == "dense")].groupby("tier")["value"].mean()
    assert accuracy.is_monotonic_decreasing and accuracy[1] > 0.9 and accuracy[4] < 0.3
    assert any(claim.scope.family == "text_surprisal" for claim in fit(table, runs=runs.runs).claims)
    with pytest.raises(UsageError, match="surprisal_from is of a text's tokens"):
        make_settings("a", {"surprisal_from": "embedded:1"})
