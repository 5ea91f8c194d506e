"""What runs on a GPU gives what the CPU gives. Skipped, saying so, where there is no CUDA device."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from difficulty.runs.read import read_runs
from junkdna_harness.compress import PruneSpec, QuantSpec, find_targets, prune, quantize
from junkdna_harness.compress.activations import ROUNDINGS, largest_of_token
from junkdna_harness.compress.formats import FORMATS
from junkdna_harness.compress.kv import CacheGrid
from junkdna_harness.fidelity.load import load_side
from junkdna_harness.fidelity.run import How, fidelity
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover.run import recover
from junkdna_harness.texts.documents import read_documents
from tests.commands import junkdna, lm_eval
from tests.models.test_scoring import answers, assert_same, multiple_choice, scorer
from tests.models_factory import ARCHITECTURES, make_model, make_tokenizer
from tests.recover.conftest import small_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

TEXT = "".join(
    f"the {word} of the line {i} says {word} again\n" for i in range(40) for word in ("end", "start")
)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {target.name: target.weight.detach().cpu() for target in find_targets(model)}


def on(device: str, arch: str, dtype: torch.dtype = torch.float32) -> Any:
    return make_model(arch, dtype=dtype)[0].to(device)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("method", ["magnitude", "largest", "random"])
@pytest.mark.parametrize(
    "how", [{"sparsity": 0.37}, {"sparsity": 0.37, "scope": "global"}, {"pattern": "2:8"}]
)
def test_masks_that_need_no_text_are_the_cpu_s_to_the_weight(arch: str, method: str, how: Any) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        models = [on(device, arch, dtype) for device in ("cpu", "cuda")]
        for model in models:
            prune(model, PruneSpec(method=method, **how))
        ours, theirs = map(weights, models)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("symmetric", [True, False])
def test_rounding_is_the_cpu_s(bits: int, symmetric: bool) -> None:
    """To the bit, values midway between two points too: in a symmetric grid the extreme of every group may be one."""
    models = [on(device, "llama") for device in ("cpu", "cuda")]
    for model in models:
        quantize(model, QuantSpec(method="rtn", bits=bits, symmetric=symmetric, group_size=16))
    ours, theirs = map(weights, models)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_and_caches_are_rounded_as_on_the_cpu_to_the_bit(dtype: torch.dtype) -> None:
    values = torch.randn(64, 4, 96, generator=torch.Generator().manual_seed(0)).mul(3).to(dtype)
    roundings: list[Any] = [CacheGrid(bits, group) for bits in (8, 4, 2) for group in (None, 32)]
    for how in ROUNDINGS.values():
        roundings.append(lambda x, how=how: how(x, largest_of_token(x)))
        roundings.append(lambda x, how=how: how(x, torch.tensor(2.5, device=x.device)))
    for rounding in roundings:
        assert torch.equal(rounding(values.cuda()).cpu(), rounding(values))


@pytest.mark.parametrize("arch", ["llama", "mixtral", "gpt2"])
def test_what_is_rounded_while_a_model_runs_is_so_on_the_gpu_and_through_its_cache(arch: str) -> None:
    pairs = multiple_choice(9, seed=2)
    found = []
    for device in ("cpu", "cuda"):
        model = on(device, arch)
        quantize(model, QuantSpec(method="kv", bits=8, activations="int8"))
        lm = scorer(model)
        plain = answers(lm, pairs, prefix_cache=False)
        shared = answers(lm, pairs, prefix_cache=True)
        assert lm._prefix_limit is None or lm._prefix_limit > 1000
        found.append([[value for value, _ in one] for one in (plain, shared)])
    # a sum that ends beside the middle of two levels falls to either
    for one in (found[0][1], *found[1]):
        assert one == pytest.approx(found[0][0], rel=0.02, abs=0.05)


@pytest.mark.parametrize("method", [name for name, form in FORMATS.items() if not form.calibrated])
@pytest.mark.parametrize("group", [16, -1])
def test_formats_are_the_cpu_s_to_the_bit(method: str, group: int) -> None:
    models = [on(device, "llama") for device in ("cpu", "cuda")]
    for model in models:
        quantize(model, QuantSpec(method=method, group_size=group))
    ours, theirs = map(weights, models)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "gptq", "gptq act_order", "awq"])
def test_methods_that_need_text_choose_as_on_the_cpu(tmp_path: Path, method: str) -> None:
    """Statistics are sums in another order, so that a few near ties may fall otherwise."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    options: Any = {"method": method.split()[0], "calibration": str(text), "nsamples": 8, "seqlen": 32}
    chosen = []
    for device in ("cpu", "cuda"):
        model = on(device, "llama")
        if method not in ("wanda", "sparsegpt"):
            how = {"bits": 4, "group_size": 16, "act_order": method.endswith("act_order")}
            quantize(model, QuantSpec(**how, **options), make_tokenizer())
        else:
            prune(model, PruneSpec(sparsity=0.5, **options), make_tokenizer())
        chosen.append(weights(model))
    ours, theirs = chosen
    total = sum(w.numel() for w in ours.values())
    if method not in ("wanda", "sparsegpt"):
        far = sum(int((ours[n] - theirs[n]).abs().gt(1e-3).sum()) for n in ours)
    else:
        far = sum(int(((ours[n] == 0) != (theirs[n] == 0)).sum()) for n in ours)
    assert far / total < 0.01


@pytest.mark.parametrize("arch", ["llama", "qwen3", "mixtral", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("batch_size", [4, "auto"])
def test_scores_are_hf_s_on_the_same_device(arch: str, batch_size: Any) -> None:
    lm = scorer(on("cuda", arch), batch_size=batch_size, device="cuda:0")
    assert lm.device.type == "cuda"
    pairs = multiple_choice(9, seed=1)
    expected = answers(lm, pairs, prefix_cache=False)
    assert_same(answers(lm, pairs, prefix_cache=True), expected)


def test_the_main_job_measures_what_it_does_on_the_cpu(tmp_path: Path) -> None:
    accuracies = []
    for device, folder in (("cpu", "one"), ("cuda:0", "two")):
        run = lm_eval(
            "--tasks", "difficulty_tiers", "--limit", "5", "--device", device, "--output_path", folder,
            cwd=tmp_path,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]
        (found,) = (tmp_path / folder).rglob("results_*.json")
        results = json.loads(found.read_text())["results"]
        accuracies.append(
            {task: values["acc,none"] for task, values in results.items() if "acc,none" in values}
        )
    cpu, gpu = accuracies
    assert cpu.keys() == gpu.keys() and len(cpu) > 50
    assert sum(abs(cpu[task] - gpu[task]) > 1e-9 for task in cpu) <= 2  # a near tie of one item


def test_a_sweep_on_the_gpu_is_the_cpu_s(tmp_path: Path) -> None:
    tables = []
    for device, folder in (("cpu", "one"), ("cuda:0", "two")):
        run = junkdna(
            "sweep", "--tasks", "difficulty_tiers_copying_t1,difficulty_tiers_hypernyms_t3", "--limit", "12",
            "--methods", "magnitude,random,wanda", "--sparsity", "0,0.5", "--quantize", "rtn:4",
            "--model_args", "seqlen=128",  # the default is longer on a GPU
            "--device", device, "-o", folder, cwd=tmp_path,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]
        table: pd.DataFrame = read_runs([tmp_path / folder]).table
        margins = table[table["metric"] == "margin"]
        tables.append(margins.set_index(["method", "level", "task", "item_id"])["value"].sort_index())
    cpu, gpu = tables
    assert cpu.index.equals(gpu.index)
    assert len(cpu) == 24 * 5
    apart = (cpu - gpu).abs() / cpu.abs().clip(
        lower=1
    )  # log-odds of sure answers are small differences of large numbers
    wanda = cpu.index.get_level_values("method").astype(str) == "wanda"  # its near ties may fall otherwise
    assert apart[~wanda].max() < 1e-2 and apart[wanda].mean() < 0.05


def test_fidelity_is_the_cpu_s() -> None:
    documents = read_documents(["embedded", "starter"])[:3]
    found = []
    for device in ("cpu", "cuda:0"):
        dense = load_side({"pretrained": "embedded"}, device)
        pruned = load_side({"pretrained": "embedded", "sparsity": 0.5}, device)
        found.append(fidelity(dense, pruned, documents, How(window=64, limit=300)).to_dict())
    cpu, gpu = (pd.json_normalize(one).select_dtypes("number").iloc[0] for one in found)
    shared = [name for name in cpu.index if "seconds" not in name and "bytes" not in name]
    assert len(shared) > 10
    for name in shared:
        assert gpu[name] == pytest.approx(cpu[name], rel=2e-3, abs=2e-3, nan_ok=True), name


@pytest.mark.parametrize(
    ("arm", "bf16"),
    [
        *itertools.product(["sparse_transfer", "dense_freezing", "sparse_to_dense", "dense_transfer"], [False, True]),
        ("local_reconstruction", False),
    ],
)  # fmt: skip
def test_training_on_the_gpu_holds_what_the_arm_holds(tmp_path: Path, arm: str, bf16: bool) -> None:
    small_model().save_pretrained(tmp_path / "dense")
    make_tokenizer().save_pretrained(tmp_path / "dense")
    lines = tmp_path / "data.jsonl"
    lines.write_text(
        "".join(f'{{"prompt": "rev {i}=", "answer": "{str(i)[::-1]}"}}\n' for i in range(100, 140))
    )
    spec = RecoverSpec(
        arm=arm, data=str(lines), steps=4, batch_size=4, lr=0.01, trainer={"bf16": True} if bf16 else {}
    )
    pruning = None if arm == "dense_transfer" else PruneSpec(sparsity=0.5)
    before = weights(small_model())
    recover(str(tmp_path / "dense"), tmp_path / "out", spec, pruning)
    from transformers import AutoModelForCausalLM

    after = weights(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    masked = small_model()
    prune(masked, PruneSpec(sparsity=0.5))
    for name, mask in {name: weight == 0 for name, weight in weights(masked).items()}.items():
        if arm in ("sparse_transfer", "local_reconstruction"):
            assert not after[name][mask].any()
        if arm == "dense_freezing":
            assert torch.equal(after[name][mask], before[name][mask])
        if arm in ("sparse_to_dense", "dense_transfer"):
            assert (after[name][mask] != 0).float().mean() > 0.9
        assert (after[name][~mask] != before[name][~mask]).float().mean() > 0.9
