"""Two models on a text: against direct computation in torch, against lm-eval, and what cannot be compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec, prune
from junkdna_harness.embedded import model_path
from junkdna_harness.fidelity.html import render
from junkdna_harness.fidelity.load import Side, arguments_of, dense_of, load_side, same_tokens
from junkdna_harness.fidelity.output import bytes_text, grid_text, single_text
from junkdna_harness.fidelity.per_byte import bits_per_byte
from junkdna_harness.fidelity.run import How, Text, fidelity, over_grid
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.texts.documents import Document, read_documents
from tests.commands import lm_eval
from tests.models_factory import make_model, make_tokenizer

HOW = How(window=64, limit=300)


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return read_documents(["embedded", "starter"])[:3]


def test_it_is_what_torch_computes(dense: Side, pruned: Side, documents: list[Document]) -> None:
    """Both models anew from their files, whole windows, double precision, token by token."""
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    ours = AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.float32).eval()
    theirs = AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.float32).eval()
    prune(theirs, PruneSpec(sparsity=0.5))
    kl, loss, loss_dense, same = [], [], [], []
    for document in documents:
        ids = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"][:300]
        whole = [dense.lm.prefix_token_id, *ids]
        for start in range(0, len(ids), 64):
            end = min(start + 64, len(ids))
            begin = max(0, end - 64) if start else 0
            inputs = torch.tensor([whole[begin:end]])
            with torch.no_grad():
                a, b = (m(inputs).logits[0, start - begin :].double().log_softmax(-1) for m in (ours, theirs))
            kl += (a.exp() * (a - b)).sum(-1).tolist()
            same += (a.argmax(-1) == b.argmax(-1)).tolist()
            rows = torch.arange(end - start), torch.tensor(ids[start:end])
            loss_dense += (-a[rows]).tolist()
            loss += (-b[rows]).tolist()
    found = fidelity(dense, pruned, documents, HOW)
    assert np.abs(found.scored.tokens["kl"] - kl).max() < 1e-4
    assert found.figures["n_tokens"] == len(kl)
    assert found.figures["kl_mean"] == pytest.approx(np.mean(kl), abs=1e-5)
    assert math.log(found.figures["perplexity"]) == pytest.approx(np.mean(loss), abs=1e-5)
    assert math.log(found.figures["perplexity_dense"]) == pytest.approx(np.mean(loss_dense), abs=1e-5)
    assert found.figures["top1_agreement"] == pytest.approx(np.mean(same), abs=2 / len(kl))


def test_a_model_beside_itself(dense: Side, documents: list[Document]) -> None:
    found = fidelity(dense, dense, documents, HOW).figures
    assert found["kl_mean"] == found["kl_max"] == 0 and found["perplexity_ratio"] == 1
    assert found["top1_agreement"] == found["top5_agreement"] == 1


@pytest.mark.parametrize("layout", ["rolling", "chunks"])
def test_windows_together_score_as_alone(
    dense: Side, pruned: Side, documents: list[Document], layout: Any
) -> None:
    alone = fidelity(dense, pruned, documents, replace(HOW, layout=layout))
    together = fidelity(dense, pruned, documents, replace(HOW, layout=layout, batch_size=3))
    assert np.abs(alone.scored.tokens["kl"] - together.scored.tokens["kl"]).max() < 1e-4
    assert (alone.scored.tokens["token"] == together.scored.tokens["token"]).all()


def test_more_is_lost_with_every_level(dense: Side, documents: list[Document]) -> None:
    plan = build_plan("text", {"pretrained": "embedded"}, "magnitude", "0.2,0.4,0.6", quantize="rtn:8,2")
    copy = load_side({"pretrained": "embedded"}, "cpu")
    found = list(over_grid(dense, copy, plan, documents, HOW))
    assert [one.model for one in found] == [
        "embedded magnitude 0.2", "embedded magnitude 0.4", "embedded magnitude 0.6", "embedded rtn 8 bits", "embedded rtn 2 bits",
    ]  # fmt: skip
    kl = [one.figures["kl_mean"] for one in found]
    assert kl[0] < kl[1] < kl[2] and kl[3] < 0.01 < kl[4]
    assert fidelity(dense, copy, documents, HOW).figures["kl_max"] == 0  # the copy is dense again


def test_a_state_of_the_grid_is_the_model_that_is_loaded_so(
    dense: Side, pruned: Side, documents: list[Document]
) -> None:
    plan = build_plan("text", {"pretrained": "embedded"}, "magnitude", "0.5")
    (one,) = over_grid(dense, load_side({"pretrained": "embedded"}, "cpu"), plan, documents, HOW)
    assert dict(one.figures) == dict(fidelity(dense, pruned, documents, HOW).figures)


def test_a_state_of_the_grid_in_half_precision_has_the_mask_of_float32(
    documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkdna_harness.precision.native_bfloat16", lambda: True)
    model = {"pretrained": "embedded"}
    dense, alone = (load_side({**model, **more}, "cpu", "auto-cpu") for more in ({}, {"sparsity": 0.5}))
    copy = load_side(model, "cpu", "auto-cpu", settled=False)
    assert (dense.lm.model.dtype, copy.lm.model.dtype) == (torch.bfloat16, torch.float32)
    (one,) = over_grid(dense, copy, build_plan("text", model, "magnitude", "0.5"), documents[:1], HOW)
    assert dict(one.figures) == dict(fidelity(dense, alone, documents[:1], HOW).figures)


def test_perplexity_is_lm_evals(dense: Side, tmp_path: Path) -> None:
    """A task of the kind of wikitext, on the same text, in windows of the model's whole length."""
    texts = [d.text[:9000] for d in read_documents(["starter"])[:3]]
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    (tmp_path / "rolling.yaml").write_text(
        "task: rolling_text\ndataset_path: json\ndataset_kwargs: {data_files: {test: "
        f"{tmp_path / 'data.jsonl'}}}}}\noutput_type: loglikelihood_rolling\ntest_split: test\n"
        'doc_to_text: ""\ndoc_to_target: "{{text}}"\nmetric_list: [{metric: bits_per_byte}, {metric: byte_perplexity}]\n'
    )
    output = tmp_path / "out"
    done = lm_eval(
        "--model_args", "sparsity=0", "--tasks", "rolling_text", "--include_path", str(tmp_path), "--output_path", str(output),
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    (path,) = output.rglob("results*.json")
    expected = json.loads(path.read_text())["results"]["rolling_text"]["bits_per_byte,none"]
    documents = [Document("data", i, text) for i, text in enumerate(texts)]
    found = fidelity(dense, dense, documents, How(window=2048))
    assert found.figures["bits_per_byte"] == pytest.approx(expected, rel=1e-5)
    assert found.figures["n_bytes"] == sum(len(text.encode()) for text in texts)
    by_bytes = bits_per_byte(dense, dense, documents, 2048).figures
    assert by_bytes["bits_per_byte"] == pytest.approx(expected, rel=1e-5)
    assert by_bytes["bits_per_byte_difference"] == 0


def saved(folder: Path, seed: int = 0, **changes: Any) -> str:
    model, _ = make_model("llama", seed, **changes)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return str(folder)


def test_other_tokenizers_are_refused_and_compared_by_bytes(
    dense: Side, tmp_path: Path, documents: list[Document]
) -> None:
    other = load_side({"pretrained": saved(tmp_path / "m")}, "cpu")
    assert "their vocabularies differ" in same_tokens(dense.lm, other.lm)
    with pytest.raises(UsageError, match="cannot be compared token by token.*or give --bytes"):
        fidelity(dense, other, documents, HOW)
    texts = [Document("t", 0, documents[1].text[:1500]), Document("t", 1, documents[2].text[:700])]
    found = bits_per_byte(dense, other, texts, 64).figures
    assert found["n_bytes"] == sum(len(t.text.encode()) for t in texts) and found["n_blocks"] == 3
    longer = bits_per_byte(dense, other, texts, 512)
    assert longer.windows == (512, 128) and "windows of 512 and 128 tokens" in bytes_text(
        longer
    )  # the other takes no more
    single = fidelity(other, other, texts, How(window=64)).figures
    assert found["bits_per_byte"] == pytest.approx(single["bits_per_byte"], rel=1e-6)
    assert found["bits_per_byte_difference"] == pytest.approx(
        found["bits_per_byte"] - found["bits_per_byte_dense"]
    )
    assert (
        found["bits_per_byte_difference_low"]
        < found["bits_per_byte_difference"]
        < found["bits_per_byte_difference_high"]
    )


def test_padded_embeddings_are_left_out(tmp_path: Path) -> None:
    """A model whose logits go beyond its tokenizer's tokens, beside the same model without them."""
    plain = load_side({"pretrained": saved(tmp_path / "m")}, "cpu")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    model.resize_token_embeddings(128)
    model.save_pretrained(tmp_path / "wide")
    make_tokenizer().save_pretrained(tmp_path / "wide")
    wide = load_side({"pretrained": str(tmp_path / "wide")}, "cpu")
    found = fidelity(plain, wide, [Document("t", 0, "some words of a text " * 20)], How(window=64))
    assert found.figures["kl_max"] == pytest.approx(0, abs=1e-5)
    assert found.figures["perplexity_ratio"] == pytest.approx(1, abs=1e-6)


def test_a_compressed_model_says_what_it_was_made_from(tmp_path: Path) -> None:
    from junkdna_harness.cli import app

    words = [
        "prune",
        "embedded:1",
        "--method",
        "magnitude",
        "--sparsity",
        "0.5",
        "--output",
        str(tmp_path / "half"),
    ]
    app(words, standalone_mode=False)
    assert dense_of({"pretrained": str(tmp_path / "half")}) == {"pretrained": "embedded:1"}
    given = arguments_of("pretrained=org/model,revision=main,sparsity=0.5")
    assert dense_of(given) == {"pretrained": "org/model", "revision": "main"}
    assert dense_of({"pretrained": "embedded"}) == {"pretrained": "embedded"}
    with pytest.raises(
        UsageError, match="does not say what it was made from. Name the dense model: --against"
    ):
        dense_of({"pretrained": saved(tmp_path / "m")})


def test_what_cannot_be_asked(dense: Side, documents: list[Document]) -> None:
    for how, told in (
        (How(window=4096), "a window of 4096 tokens is more than the 2048"),
        (How(window=1), "predicts nothing"),
        (How(limit=0), "less than one token"),
        (
            How(window=512, layout="chunks", limit=100),
            "the longest document has 100 tokens, less than one window of 512",
        ),
    ):
        with pytest.raises(UsageError, match=told):
            Text.of(dense.lm, documents, how)


def test_broken_weights_are_one_sentence(documents: list[Document]) -> None:
    broken = load_side({"pretrained": "embedded"}, "cpu")
    with torch.no_grad():
        broken.lm.model.model.norm.weight[0] = math.nan
    with pytest.raises(UsageError, match="not numbers.*dtype=float32"):
        fidelity(load_side({"pretrained": "embedded"}, "cpu"), broken, documents, HOW)


def test_a_model_that_is_far_off_is_measured_all_the_same(
    dense: Side, documents: list[Document], tmp_path: Path
) -> None:
    """Logits of tens of thousands: a perplexity beyond any number, which JSON has no word for."""
    wild = load_side({"pretrained": "embedded"}, "cpu")
    with torch.no_grad():
        wild.lm.model.get_output_embeddings().weight.mul_(-1e4)
    found = fidelity(dense, wild, documents[:1], HOW)
    assert found.figures["perplexity"] == math.inf and 1000 < found.figures["kl_mean"] < math.inf
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert written["perplexity"] is None and written["kl_mean"] > 1000
    assert "inf" in single_text(found) and "inf" in grid_text([found])
    (tmp_path / "p.html").write_text(render([found.to_dict()]))


def test_the_worst_passages_are_those_with_the_largest_divergence(
    dense: Side, pruned: Side, documents: list[Document]
) -> None:
    found = fidelity(dense, pruned, documents, HOW)
    tokens = found.scored.tokens
    assert len(found.passages) == 5 and found.passages[0].kl == tokens["kl"].max()
    first = found.passages[0]
    row = int(tokens["kl"].argmax())
    assert first.token == dense.lm.tokenizer.decode([int(tokens["token"][row])])
    assert first.dense_says[0] == dense.lm.tokenizer.decode([int(found.scored.top_dense[row, 0])])
    assert [p.kl for p in found.passages] == sorted((p.kl for p in found.passages), reverse=True)
