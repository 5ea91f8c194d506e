"""`junkdna fidelity` as a user calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from transformers import T5Config, T5ForConditionalGeneration

from difficulty.errors import UsageError
from junkdna_harness.cli import app
from junkdna_harness.harness.training import asked_texts
from tests.commands import junkdna
from tests.models_factory import make_tokenizer

QUICK = ("--text", "embedded", "--limit", "600", "--window", "64")


def test_a_compressed_model_beside_the_dense_one(tmp_path: Path) -> None:
    done = junkdna(
        "fidelity",
        "pretrained=embedded,sparsity=0.4",
        *QUICK,
        "--json",
        "f.json",
        "--tokens",
        "t.parquet",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert "embedded, magnitude at sparsity 0.4 against embedded: 600 tokens in 3 blocks" in done.stdout
    for title in (
        "perplexity ratio",
        "KL(dense || this), mean",
        "by tokens of context",
        "where the two differ most",
    ):
        assert title in done.stdout
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["kind"] == "junkdna-fidelity" and found["n_tokens"] == 600 and found["kl_mean"] > 0
    tokens = pd.read_parquet(tmp_path / "t.parquet")
    assert len(tokens) == 600 and tokens["kl"].mean() == pytest.approx(found["kl_mean"])


def test_states_of_a_grid(tmp_path: Path) -> None:
    done = junkdna(
        "fidelity", "--methods", "magnitude", "--sparsity", "0,0.2,0.6", "--quantize", "rtn:4", *QUICK, "--json", "g.json", "--html", "g.html", "--plots", "p",
        "--tokens", "t.csv", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    runs = json.loads((tmp_path / "g.json").read_text())["runs"]
    assert [run["model"] for run in runs] == [
        "embedded magnitude 0.2",
        "embedded magnitude 0.6",
        "embedded rtn 4 bits",
    ]
    assert runs[0]["kl_mean"] < runs[1]["kl_mean"]
    assert "embedded magnitude 0.6" in done.stdout
    assert (tmp_path / "g.html").read_text().startswith("<!DOCTYPE html>")
    assert {path.suffix for path in (tmp_path / "p").iterdir()} == {".pdf", ".png", ".svg"}
    assert pd.read_csv(tmp_path / "t.csv")["run"].value_counts().to_dict() == dict.fromkeys(
        [r["model"] for r in runs], 600
    )


def test_what_tasks_ask_is_a_text_too(tmp_path: Path) -> None:
    """Prompt and right answer of each document, the sources are the tasks; `--documents` of each."""
    done = junkdna(
        "fidelity", "embedded", "--tasks", "difficulty_tiers_agreement", "--documents", "3", "--tokens", "t.parquet", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    tokens = pd.read_parquet(tmp_path / "t.parquet")
    assert set(tokens["source"]) == {f"difficulty_tiers_agreement_t{tier}" for tier in (1, 2, 3, 4)}
    assert tokens.groupby("source")["document"].nunique().eq(3).all()
    worked = next(iter(asked_texts("difficulty_tiers_agreement_t1").values()))[0]
    assert worked.split()[-1] in ("is", "are", "was", "were", "has", "have") and worked.startswith("The")
    assert "by source" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name the compressed model, or states of the dense one"),
        (("embedded", "--quantize", "rtn:4"), "one of the two"),
        (("embedded", "--layout", "round"), "layout 'round' is unknown. Choose rolling or chunks."),
        (("embedded", "--text", "no.txt"), "there is no text file 'no.txt'"),
        (("embedded", "--tokens", "t.json"), "ends in neither .parquet nor .csv"),
        (("embedded", "--bytes", "--limit", "5"), "leave out --limit"),
        (("embedded", "--plots", "p"), "one state makes no curve"),
        (("nowhere/at/all",), "is no folder here and no hub id"),
        (("embedded", "--dtype", "int8"), "none that a model computes in"),
        (("pretrained=embedded,sparsty=0.5",), "has no argument 'sparsty'. Did you mean 'sparsity'"),
        (("pretrained=embedded,sparsity=1.5",), "sparsity"),
        (("pretrained=embedded,bits=5",), "bits=5 is not supported"),
        (
            ("embedded", "--tasks", "difficulty_tier"),
            "unknown task 'difficulty_tier' Did you mean 'difficulty_tiers'",
        ),
        (("embedded", "--documents", "0"), "less than one document"),
        (("--methods", "magnitude"), "have no level"),
        (("embedded", "--window", "9999"), "more than the 2048"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(told)):
        app(["fidelity", *arguments], standalone_mode=False)
    assert not list(tmp_path.iterdir())


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    config = T5Config(
        vocab_size=100, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    make_tokenizer().save_pretrained(tmp_path / "t5")
    done = junkdna("fidelity", "t5", "--against", "t5", cwd=tmp_path)
    assert done.returncode == 2 and "encoder-decoder" in done.stderr
    assert "Traceback" not in done.stderr and "Loading" not in done.stderr
