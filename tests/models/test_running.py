"""What is rounded while a model runs, through the real commands: written, evaluated again, and told apart in logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from difficulty.errors import UsageError
from difficulty.runs.read import read_runs
from junkdna_harness.compress import PruneSpec, QuantSpec, prune, quantize
from junkdna_harness.compress.checkpoint import save_checkpoint
from junkdna_harness.compress.running import begun_on
from junkdna_harness.models.given import GivenLM
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from junkdna_harness.recover import RecoverSpec, recover
from tests.commands import junkdna, lm_eval
from tests.models.test_scoring import instances, multiple_choice
from tests.models_factory import make_model, make_tokenizer, save_tiny

PAIRS = multiple_choice(6, seed=3)
TASK = "difficulty_tiers_names_t4"


def written(folder: Path, spec: QuantSpec | PruneSpec, arch: str = "llama") -> Path:
    """A tiny checkpoint with `spec` done to it, and its source beside it."""
    source = save_tiny(arch, folder / "source")
    model, _ = make_model(arch)
    change: Any = quantize if isinstance(spec, QuantSpec) else prune
    report = change(model, spec, make_tokenizer())
    save_checkpoint(model, make_tokenizer(), report, folder / "made", {"pretrained": str(source)})
    return folder / "made"


def scores(kind: Any, folder: Path, **arguments: Any) -> tuple[list[Any], Any]:
    lm = kind(pretrained=str(folder), device="cpu", batch_size=4, **arguments)
    return lm.loglikelihood(instances(PAIRS), disable_tqdm=True), lm


SPECS = [
    QuantSpec(bits=4, kv_bits=4, activations="int8"),
    QuantSpec(method="kv", bits=2),
    QuantSpec(method="none", activations="fp8"),
    PruneSpec(pattern="2:4", kv_bits=2),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: str(spec.running))
@pytest.mark.parametrize("kind", [QuantizedLM, PrunedLM, GivenLM])
def test_a_checkpoint_is_what_it_was_on_the_fly_in_every_wrapper(
    spec: Any, kind: Any, tmp_path: Path
) -> None:
    folder = written(tmp_path, spec)
    arguments = {
        "method": spec.method,
        "activations": spec.activations,
        "kv_bits": spec.kv_bits,
        "bits": spec.bits,
    }
    arguments |= {"pattern": spec.pattern} if isinstance(spec, PruneSpec) else {}
    given = {name: value for name, value in arguments.items() if value is not None}
    fly: Any = QuantizedLM if isinstance(spec, QuantSpec) else PrunedLM
    expected, on_the_fly = scores(fly, tmp_path / "source", **given)
    found, lm = scores(kind, folder)
    assert found == expected
    plain, _ = scores(GivenLM, tmp_path / "source")
    assert max(abs(a - b) for (a, _), (b, _) in zip(found, plain, strict=True)) > 1e-3
    begun = begun_on(lm.model)
    assert begun is not None and begun.running == spec.running
    if kind is not GivenLM:
        for name in (
            "method",
            "level",
            "bits",
            "pattern",
            "kind",
            "effective_bits",
            "kv_bits",
            "activations",
            "weights_alone",
        ):
            assert lm.junkdna.get(name) == on_the_fly.junkdna.get(name), name


def test_static_scales_come_from_the_manifest(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    spec = QuantSpec(
        bits=8, activations="int8", activation_scale="static", calibration=str(text), nsamples=4, seqlen=32
    )
    folder = written(tmp_path, spec, "mixtral")
    text.unlink()
    scales = json.loads((folder / "junkdna.json").read_text())["activation_scales"]
    found, lm = scores(QuantizedLM, folder)
    begun = begun_on(lm.model)
    assert begun is not None and begun.scales == scales and len(scales) >= 8
    dynamic, _ = scores(QuantizedLM, tmp_path / "source", bits=8, activations="int8")
    assert found != dynamic


def test_a_rounded_checkpoint_may_be_asked_for_a_cache_of_few_bits_too(tmp_path: Path) -> None:
    folder = written(tmp_path, QuantSpec(bits=4))
    found, lm = scores(QuantizedLM, folder, kv_bits=4)
    expected, fly = scores(QuantizedLM, tmp_path / "source", bits=4, kv_bits=4)
    assert found == expected
    assert lm.junkdna["method"] == fly.junkdna["method"] == "rtn-kv4"
    assert lm.junkdna["effective_bits"] == fly.junkdna["effective_bits"]
    _, pruned = scores(PrunedLM, written(tmp_path / "p", PruneSpec(sparsity=0.5)), kv_bits=4)
    assert (pruned.junkdna["method"], pruned.junkdna["level"]) == ("magnitude-kv4", 0.5)


@pytest.mark.parametrize(
    "kind,arguments",
    [(PrunedLM, {"sparsity": 0.5}), (QuantizedLM, {"bits": 3}), (QuantizedLM, {"kv_bits": 8})],
)
def test_what_is_done_last_is_not_built_upon(kind: Any, arguments: dict[str, Any], tmp_path: Path) -> None:
    folder = written(tmp_path, QuantSpec(method="kv", bits=4))
    with pytest.raises(UsageError, match="has a cache of 4 bits|quantized already"):
        scores(kind, folder, **arguments)


def test_training_refuses_what_it_would_not_see(tmp_path: Path) -> None:
    folder = written(tmp_path, PruneSpec(sparsity=0.5, kv_bits=4))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "answer": " b"}\n' * 8)
    spec = RecoverSpec(data=str(tmp_path / "rows.jsonl"), steps=1)
    with pytest.raises(UsageError, match="has a cache of 4 bits, which no training here sees"):
        recover(str(folder), tmp_path / "out", spec)
    with pytest.raises(
        UsageError, match="the pruning asks for a cache of 4 bits, which no training here sees"
    ):
        recover(str(tmp_path / "source"), tmp_path / "out", spec, PruneSpec(sparsity=0.5, kv_bits=4))


def test_a_damaged_manifest_is_one_sentence(tmp_path: Path) -> None:
    folder = written(tmp_path, QuantSpec(method="kv", bits=4))
    file = folder / "junkdna.json"
    file.write_text(file.read_text().replace('"kv_bits": 4', '"kv_bits": 5'))
    with pytest.raises(UsageError, match="kv_bits=5, which is none of 8, 4, 2"):
        scores(QuantizedLM, folder)


@pytest.mark.slow
def test_the_embedded_model_through_the_commands(tmp_path: Path) -> None:
    """On the fly, written and evaluated by ours, and by plain `hf`, whose log is of the weights alone."""
    given = "method=rtn,bits=8,kv_bits=4,activations=int8"
    made = junkdna(
        "quantize", "--bits", "8", "--kv-bits", "4", "--activations", "int8", "--output", "ck", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert "a plain hf load does not" in made.stderr
    looked = junkdna("inspect", "ck", cwd=tmp_path)
    assert (
        "while it runs activations in int8 and a cache of 4 bits" in " ".join(looked.stdout.split())
        and looked.returncode == 0
    )
    planned = junkdna(
        "quantize",
        "--method",
        "kv",
        "--activations",
        "fp8",
        "--activation-scale",
        "static",
        "--dry-run",
        cwd=tmp_path,
    )
    assert planned.returncode == 0 and "753,664 of" in planned.stderr, planned.stderr
    options = ("--tasks", TASK, "--limit", "30", "--log_samples")
    for model, arguments, out in (
        ("junkdna-quantized", given, "fly"),
        ("junkdna-quantized", "pretrained=ck", "ours"),
        ("hf", "pretrained=ck", "hf"),
        ("junkdna-quantized", "method=rtn,bits=8", "weights"),
    ):
        run = lm_eval("--model_args", arguments, *options, "--output_path", out, cwd=tmp_path, model=model)
        assert run.returncode == 0, run.stderr[-2000:]
    table = {name: read_runs(tmp_path / name) for name in ("fly", "ours", "hf", "weights")}
    names = {name: str(runs.runs["run"].iloc[0]) for name, runs in table.items()}
    assert names["fly"] == names["ours"] == "embedded rtn-aint8-kv4 8 bits"
    assert names["hf"] == names["weights"] == "embedded rtn 8 bits"
    bits = {name: float(runs.runs["effective_bits"].iloc[0]) for name, runs in table.items()}
    assert bits["fly"] == bits["ours"] < bits["hf"] == bits["weights"]
    margins = {name: _margins(runs.table) for name, runs in table.items()}
    # the embedded model is scored in batches of 64, a folder one request at a time
    assert (margins["fly"] - margins["ours"]).abs().max() < 1e-4
    assert (
        (margins["hf"] - margins["weights"]).abs().max() < 1e-3 < (margins["hf"] - margins["fly"]).abs().max()
    )
    shown = junkdna("show", "hf", cwd=tmp_path)
    assert "this evaluation is of its weights alone" in " ".join((shown.stdout + shown.stderr).split())


def _margins(table: pd.DataFrame) -> pd.Series[float]:
    chosen = table[table["metric"] == "margin"] if "margin" in set(table["metric"]) else table
    return chosen.sort_values(["metric", "item_id"]).reset_index(drop=True)["value"]


@pytest.mark.slow
def test_use_cache_of_lm_eval_never_gives_one_the_answers_of_the_other(tmp_path: Path) -> None:
    results = {}
    for name, more in (("dense", ",kv_bits=2"), ("kv", ""), ("again", ",kv_bits=2")):
        run = lm_eval(
            "--model_args", f"method=rtn,bits=8{more}", "--tasks", TASK, "--limit", "30", "--log_samples", "--use_cache", "cache",
            "--output_path", name, cwd=tmp_path, model="junkdna-quantized",
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]
        results[name] = _margins(read_runs(tmp_path / name).table)
    assert results["dense"].equals(results["again"])
    assert not results["dense"].equals(results["kv"])


def test_fidelity_knows_the_arguments(tmp_path: Path) -> None:
    from junkdna_harness.fidelity.load import arguments_of, load_side

    folder = save_tiny("llama", tmp_path / "m")
    side = load_side(arguments_of(f"pretrained={folder},method=kv,bits=4"), device="cpu")
    assert side.state == {"method": "kv", "level": None, "bits": 4}
    assert begun_on(side.lm.model) is not None
    with pytest.raises(UsageError, match="kv_bits=3"):
        arguments_of(f"pretrained={folder},kv_bits=3")


def test_packed_weights_keep_their_name_beside_the_caches(tmp_path: Path) -> None:
    """Codes are left as they are, and activations of packed layers are refused."""
    pytest.importorskip("torchao", reason="torchao is not installed")
    folder = save_tiny("llama", tmp_path / "m")
    _, lm = scores(QuantizedLM, folder, method="torchao-int8", kv_bits=4)
    assert lm.junkdna["method"] == "torchao-int8-kv4" and lm.junkdna["bits"] == 8
