"""The model card: what the manifest says, for people and for the Hub, whatever names and texts hold."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from junkdna_harness.cli import app
from junkdna_harness.compress.card import (
    CARD,
    OF_SOURCE,
    card_text,
    front_matter,
    inherited,
    is_ours,
    made_by,
    write_card,
)
from junkdna_harness.compress.carried import carry_over
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.recipe import recipe_of
from junkdna_harness.compress.spec import PruneSpec

MANIFEST: dict[str, Any] = {
    "kind": "pruned", "method": "wanda", "pattern": "2:4", "level": 0.5, "bits": None, "effective_bits": 9.0, "effective_bits_all": 11.3,
    "sparsity_targeted": 0.5, "sparsity_all": 0.33661, "seed": 3, "replicate": 0, "source": {"pretrained": "org/big"}, "base_model": "org/big",
    "weights_sha256": "ab" * 32, "versions": {"torch": "2.13.0"}, "warnings": [],
}  # fmt: skip
HOSTILE = 'a|b`c``` \n# <script>alert(1)</script> [x](javascript:y) \u202e\x1b[31m"; rm -rf ~ #'


def test_the_card_says_what_the_manifest_says() -> None:
    text = card_text(MANIFEST, "lab/small", {"license": "mit", "base_model": "org/big"})
    data = ModelCard(text).data
    assert data.license == "mit" and data.base_model == "org/big" and data.library_name == "transformers"
    assert data.tags == ["junkdna-harness", "pruned", "sparse", "wanda"] and "base_model_relation" not in text
    for row in ("| method | wanda |", "asked for | 2:4 |", "targeted weights | 0.5000 |", "all weights | 0.3366 |", "per targeted weight | 9.000 |", "| seed | 3 |", f"| SHA-256 of the weights | {'ab' * 32} |", "| versions | torch 2.13.0 |"):  # fmt: skip
        assert row in text, row
    assert 'AutoModelForCausalLM.from_pretrained("lab/small")' in text
    assert "lm_eval --model junkdna-pruned --model_args pretrained=lab/small" in text
    assert "no memory and no time" in text and "simulated" not in text


@pytest.mark.parametrize(
    ("change", "relation", "words"),
    [
        ({"kind": "quantized", "level": None, "bits": 4}, "quantized", "Quantization is simulated"),
        ({"bits": 4, "sparsity_targeted": None}, "quantized", "stored as packed codes"),
        ({"recovery": {"arm": "sparse_transfer", "steps_done": 7}}, "finetune", "steps\\_done 7"),
        ({"kv_bits": 4}, None, "Weights cannot hold a cache of 4 bits"),
    ],
)
def test_what_is_true_of_it_is_said(change: dict[str, Any], relation: str | None, words: str) -> None:
    text = card_text({**MANIFEST, **change}, "lab/small", {"base_model": "org/big"})
    assert front_of(text).get("base_model_relation") == relation
    assert words in text
    assert "base_model_relation" not in card_text(
        {**MANIFEST, **change}, "x", {}
    )  # nothing that it relates to


def front_of(text: str) -> dict[str, Any]:
    data: dict[str, Any] = ModelCard(text).data.to_dict()
    return data


def test_no_name_or_text_acts_in_the_card() -> None:
    manifest = {
        **MANIFEST, "method": HOSTILE, "source": {"pretrained": HOSTILE}, "base_model": HOSTILE, "warnings": [HOSTILE], "calibration": {"source": HOSTILE},
        "recipe": {"prune": {"method": HOSTILE, "targets": [HOSTILE]}},
    }  # fmt: skip
    text = card_text(manifest, HOSTILE, {})
    assert set(front_of(text)) == {"library_name", "pipeline_tag", "tags"}
    assert "\x1b" not in text and "\u202e" not in text
    fences = re.findall(r"^(`{3,})", text, re.MULTILINE)
    assert len(fences) == 6  # three blocks, opened and closed
    outside = re.sub(r"^(`{3,})\w+\n.*?\n\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(", outside)
    assert len([line for line in outside.splitlines() if line.startswith("# ")]) == 1
    table = [line for line in outside.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in table)
    command = re.search(r"^junkdna .*$", text, re.MULTILINE)
    assert command and shlex.split(command[0])[:2] == ["junkdna", "prune"]
    code = re.search(r"```+python\n(.*?)\n```", text, re.DOTALL)
    assert code and compile(code[1], "card", "exec")


def test_the_licence_comes_from_the_source_and_nothing_else_does(tmp_path: Path) -> None:
    front = "license: other\nlicense_name: own-1\nlicense_link: LICENSE\nlanguage: [en, no]\ntags: [chat]\nmodel-index: []"
    (tmp_path / CARD).write_text(f"---\n{front}\n---\n# Big\n")
    found = inherited(str(tmp_path), tmp_path)
    assert found == {"license": "other", "license_name": "own-1", "license_link": "LICENSE", "language": ["en", "no"]}  # fmt: skip
    assert inherited("org/big", tmp_path)["base_model"] == "org/big"
    assert inherited(None, None) == {} and inherited("embedded", None) == {"license": "apache-2.0"}


@pytest.mark.parametrize("front", ["license: [", "license: {a: b}", "- a", "license: ''", f"license: {'x' * 300}", '"license": "a\\u202eb"', "license: 4"])  # fmt: skip
def test_a_damaged_card_gives_nothing(front: str, tmp_path: Path) -> None:
    (tmp_path / CARD).write_text(f"---\n{front}\n---\n")
    assert inherited(str(tmp_path), tmp_path) == {}
    (tmp_path / CARD).write_bytes(b"---\nlicense: \xff\n---\n")
    assert inherited(str(tmp_path), tmp_path) == {}


def test_the_card_of_the_source_stays_and_ours_is_made_anew(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    (first / CARD).write_text("---\nlicense: mit\n---\n# Big\n")
    carry_over(first, second)
    write_card(second, {**MANIFEST, "source": {"pretrained": "org/big"}}, "second", first)
    assert (second / OF_SOURCE).read_text().endswith("# Big\n") and is_ours(front_matter(second))
    carry_over(second, third)
    write_card(third, {**MANIFEST, "source": {"pretrained": str(second)}}, "third", second)
    assert sorted(path.name for path in third.iterdir()) == [CARD, OF_SOURCE]
    fields = front_matter(third)
    assert fields["license"] == "mit" and fields["base_model"] == "org/big"
    assert str(tmp_path) not in (third / CARD).read_text()


SPECS = [
    PruneSpec(method="magnitude", sparsity=0.5),
    PruneSpec.from_strings({"method": "sparsegpt", "pattern": "2:4", "bits": 4, "group_size": 32, "symmetric": True, "mask_seed": 7, "nsamples": 8}),
    PruneSpec.from_strings({"method": "wanda", "sparsity": "0.35", "targets": "q_proj+k_proj", "exclude": "layers.0", "allocation": "owl"}),
    QuantSpec.from_strings({"method": "gptq", "bits": 3, "act_order": True, "group_size": -1, "calibration": "a file.txt"}),
    QuantSpec.from_strings({"method": "awq", "kv_bits": 8, "activations": "int8"}),
]  # fmt: skip


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.method)
def test_the_command_in_the_card_asks_for_the_same(
    spec: PruneSpec | QuantSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    for verb in ("prune", "quantize"):
        monkeypatch.setattr(f"junkdna_harness.commands.{verb}.compress", lambda *given, **_: asked.append(given))  # fmt: skip
    command = made_by({**MANIFEST, "recipe": recipe_of(spec), "source": {"pretrained": "org/big", "revision": "v1"}})  # fmt: skip
    words = shlex.split(command)
    assert words[0] == "junkdna" and words[-2:] == ["--output", "DIR"]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, (command, result.output, result.exception)
    assert asked[0][1] == spec and asked[0][0].pretrained == "org/big" and asked[0][0].revision == "v1"


def test_the_command_of_a_training_prunes_as_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from junkdna_harness.recover.spec import RecoverSpec

    asked: list[Any] = []

    def stop(*given: Any, **_: Any) -> None:
        asked.extend(given)
        raise SystemExit(0)

    monkeypatch.setattr("junkdna_harness.recover.run.recover", stop)
    spec = RecoverSpec(arm="sparse_to_dense", steps=5, fraction=0.25, lr=1e-4, adapter="dora", rank=8, merge="dense", trainer={"bf16": False})  # fmt: skip
    pruned = PruneSpec.from_strings({"method": "magnitude", "sparsity": "0.3"})
    training = {**spec.to_dict(), "pruned_by": recipe_of(pruned)}
    words = shlex.split(made_by({**MANIFEST, "recovery": training, "source": {"model": "embedded"}}))
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(app, words[1:])
    assert asked[0] == "embedded" and asked[2] == spec and asked[3] == pruned, words
