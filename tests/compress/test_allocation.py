"""Shares of blocks: OWL and AlphaPruning against plain versions written here, exact totals, names, refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from difficulty.errors import UsageError
from difficulty.runs.identity import Method, Run
from junkdna_harness.cli import app
from junkdna_harness.compress import PruneSpec, Sparsity, find_targets, prune, sparsifier
from junkdna_harness.compress.allocation import Block, counts
from junkdna_harness.compress.calibration import load_calibration
from junkdna_harness.compress.shares import hill
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.one_shot import OneShot
from tests.models_factory import make_model, make_tokenizer, save_tiny

SIZE: dict[str, Any] = {"nsamples": 8, "seqlen": 32}


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text("The quick brown fox jumps over the lazy dog, 0123456789 times. " * 60)
    return str(path)


def four(arch: str) -> Any:
    """A model of four blocks."""
    depth: dict[str, Any] = {"n_layer" if arch == "gpt2" else "num_hidden_layers": 4}
    return make_model(arch, **depth)[0]


def plain_owl(
    model: Any, ids: torch.Tensor, sparsity: float, scale: float = 0.08, outlier: int = 5
) -> list[float]:
    """The sparsities of a Llama's layers, as `prune_wanda_outlier` of the authors' code computes them, on the dense model."""
    ratios = []
    for layer in model.model.layers:
        linear = [m for m in layer.modules() if isinstance(m, torch.nn.Linear)]
        squares = {m: torch.zeros(m.in_features) for m in linear}

        def add(m: Any, args: Any, squares: dict[Any, torch.Tensor] = squares) -> None:
            squares[m] += args[0].reshape(-1, m.in_features).norm(dim=0) ** 2

        handles = [m.register_forward_pre_hook(add) for m in linear]
        with torch.no_grad():
            for row in ids:
                model(input_ids=row[None])
        for handle in handles:
            handle.remove()
        metric = torch.cat([(m.weight.abs() * (squares[m] / len(ids)).sqrt()).flatten() for m in linear])
        ratios.append(float((metric > metric.mean() * outlier).sum()) / metric.numel() * 100)
    found = torch.tensor(ratios, dtype=torch.float64)
    found = (found - found.min()) * (1 / (found.max() - found.min()) * scale * 2)
    found = found - found.mean() + (1 - sparsity)
    return [1 - float(density) for density in found]


def shares(model: Any) -> list[float]:
    """The zeros of each block, as a share."""
    zeros: dict[int, list[int]] = {}
    for target in find_targets(model):
        here = zeros.setdefault(target.block or 0, [0, 0])
        here[0] += int((target.weight == 0).sum())
        here[1] += target.numel
    return [zero / size for zero, size in zeros.values()]


@pytest.mark.parametrize("method", ["wanda", "magnitude", "sparsegpt"])
def test_owl_is_that_of_the_authors(method: str, text: str) -> None:
    dense = four("llama")
    ids = load_calibration(text, make_tokenizer(), dense, seed=0, **SIZE).ids
    expected = plain_owl(dense, ids, 0.6)
    assert max(expected) - min(expected) == pytest.approx(0.16)
    model = four("llama")
    report = prune(
        model,
        PruneSpec(method=method, sparsity=0.6, allocation="owl", calibration=text, **SIZE),
        make_tokenizer(),
    )
    found = shares(model)
    weights = sum(t.numel for t in find_targets(model)) / 4
    assert found == pytest.approx(expected, abs=1.5 / weights)  # whole weights
    assert report.allocation is not None
    assert list(report.allocation["sparsity_by_block"].values()) == pytest.approx(found)
    assert report.calibration is not None  # also of a method that sees no text itself
    if method != "sparsegpt":  # what is left is as it was
        for old, new in zip(find_targets(dense), find_targets(model), strict=True):
            assert torch.equal(new.weight, old.weight * (new.weight != 0))


@pytest.mark.parametrize("arch", ["llama", "gpt2", "mixtral", "gpt_oss", "opt"])
@pytest.mark.parametrize("allocation", ["owl", "alphapruning"])
@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("wanda", "row"),
        ("wanda", "layer"),
        ("magnitude", "row"),
        ("sparsegpt", "row"),
        ("sparsegpt", "layer"),
    ],
)
def test_the_total_is_exact(arch: str, allocation: str, method: str, scope: Any, text: str) -> None:
    model = four(arch)
    spec = PruneSpec(
        method=method, sparsity=0.37, scope=scope, allocation=allocation, calibration=text, **SIZE
    )
    prune(model, spec, make_tokenizer())
    targets = find_targets(model)
    zeros = sum(int((t.weight == 0).sum()) for t in targets)
    assert zeros == Sparsity(0.37).removed(sum(t.numel for t in targets))
    assert len({round(share, 6) for share in shares(model)}) > 1


def test_rows_of_a_target_lose_the_same_number_or_one_more(text: str) -> None:
    model = four("llama")
    prune(model, PruneSpec(method="wanda-owl", sparsity=0.6, calibration=text, **SIZE), make_tokenizer())
    for target in find_targets(model):
        by_row = (target.weight == 0).sum(dim=1)
        assert int(by_row.max() - by_row.min()) <= 1


def test_uniform_is_what_it_was(text: str) -> None:
    one, other = four("llama"), four("llama")
    given: dict[str, Any] = {"method": "wanda", "sparsity": 0.6, "calibration": text, **SIZE}
    first = prune(one, PruneSpec(**given), make_tokenizer())
    second = prune(other, PruneSpec(**given, allocation="uniform"), make_tokenizer())
    assert first.weights_sha256 == second.weights_sha256
    assert (second.method, second.allocation) == ("wanda", None)


def test_alphapruning_stretches_hills_estimates() -> None:
    model = four("llama")
    tails = []
    for block in range(4):
        found = []
        for target in find_targets(model):
            if target.block == block:
                weight = target.weight.double()
                eigenvalues = torch.linalg.eigvalsh(weight.T @ weight)
                eigenvalues = eigenvalues[eigenvalues > 1e-9 * eigenvalues.max()]
                upper = eigenvalues[len(eigenvalues) // 2 :].log()
                found.append(1 + len(upper) / float((upper - upper[0]).sum()))
                assert hill(target.weight) == pytest.approx(found[-1], rel=1e-3)
        tails.append(sum(found) / len(found))
    raw = [0.7 + 0.6 * (tail - min(tails)) / (max(tails) - min(tails)) for tail in tails]
    expected = [0.5 * one / (sum(raw) / 4) for one in raw]
    report = prune(model, PruneSpec(method="magnitude-alphapruning", sparsity=0.5))
    assert shares(model) == pytest.approx(expected, abs=2e-3)
    assert report.calibration is None  # no text is read


# Functions of a user's own.


def deeper_more(blocks: Sequence[Block], sparsity: float) -> list[float]:
    return [block.index + 1 for block in blocks]


def one_only(blocks: Sequence[Block], sparsity: float) -> list[float]:
    return [1.0, *([0.0] * (len(blocks) - 1))]


def all_in_one(blocks: Sequence[Block], sparsity: float) -> list[float]:
    return [1000.0, *([1.0] * (len(blocks) - 1))]


def too_few(blocks: Sequence[Block], sparsity: float) -> list[float]:
    return [0.5]


def negative(blocks: Sequence[Block], sparsity: float) -> list[float]:
    return [-0.5 for _ in blocks]


OWN = f"{__name__}:"


def test_a_users_function_gives_proportions() -> None:
    model = four("llama")
    report = prune(model, PruneSpec(method="magnitude", sparsity=0.3, allocation=f"{OWN}deeper_more"))
    assert shares(model) == pytest.approx([0.12, 0.24, 0.36, 0.48], abs=1e-3)
    assert report.method == f"magnitude-{OWN}deeper_more"
    assert report.calibration is None


def test_what_a_block_cannot_lose_the_others_lose() -> None:
    model = four("llama")
    prune(model, PruneSpec(method="magnitude", sparsity=0.5, allocation=f"{OWN}all_in_one"))
    first, *rest = shares(model)
    size = sum(t.numel for t in find_targets(model)) / 4
    assert first == pytest.approx(1 - 1 / size) and first < 1
    assert rest == pytest.approx([1 / 3] * 3, abs=1e-3)


def test_facts_of_blocks_have_outliers_where_text_is_given(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Block] = []

    def look(blocks: Sequence[Block], sparsity: float) -> list[float]:
        seen[:] = blocks
        return [sparsity for _ in blocks]

    monkeypatch.setattr(sys.modules[__name__], "look", look, raising=False)
    model = four("llama")
    prune(model, PruneSpec(method="magnitude", sparsity=0.5, allocation=f"{OWN}look"))
    assert [block.index for block in seen] == [0, 1, 2, 3]
    assert [block.outliers for block in seen] == [None] * 4
    model = four("llama")
    spec = PruneSpec(method="magnitude", sparsity=0.5, allocation=f"{OWN}look", calibration=text, **SIZE)
    prune(model, spec, make_tokenizer())
    assert all(block.outliers is not None and 0 < block.outliers < 1 for block in seen)
    assert sum(block.weights for block in seen) == sum(t.numel for t in find_targets(model))


@pytest.mark.parametrize(
    ("allocation", "said"),
    [
        ("owls", "owl"),
        ("nowhere_at_all:mine", "could not be imported"),
        (f"{OWN}not_there", "could not be imported"),
        (f"{OWN}OWN", "is no function of Python"),
        (f"{OWN}too_few", "gave [0.5] for 4 blocks"),
        (f"{OWN}negative", "at least 0"),
        (f"{OWN}one_only", "leaves too many blocks whole"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(allocation: str, said: str) -> None:
    model = four("llama")
    before = [t.weight.clone() for t in find_targets(model)]
    with pytest.raises(UsageError, match=".*") as error:
        prune(model, PruneSpec(method="magnitude", sparsity=0.5, allocation=allocation))
    assert said in str(error.value)
    assert all(torch.equal(t.weight, old) for t, old in zip(find_targets(model), before, strict=True))


@pytest.mark.parametrize(
    "given",
    [
        {"method": "wanda", "pattern": "2:4"},
        {"method": "magnitude", "sparsity": 0.5, "scope": "global"},
        {"method": "none"},
        {"mask": "mask.safetensors"},
        {"method": "layers", "sparsity": 0.5},
        {"method": "wanda-alphapruning", "sparsity": 0.5},
    ],
)
def test_where_an_allocation_has_no_meaning_it_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        PruneSpec(**given, allocation="owl")


def test_targets_outside_the_blocks_are_refused(text: str) -> None:
    model = four("llama")
    with pytest.raises(UsageError, match="lies outside the decoder blocks"):
        prune(
            model,
            PruneSpec(method="magnitude", sparsity=0.5, allocation="alphapruning", targets=("lm_head",)),
        )


@pytest.mark.parametrize("sparsity", [0.01, 0.05, 0.5, 0.97, 0.999])
def test_no_block_is_outside_its_range(sparsity: float) -> None:
    blocks = [Block(i, 1000 + 37 * i, outliers=0.001 * i**2, tail=2.0 + i) for i in range(9)]
    total = Sparsity(sparsity).removed(sum(block.weights for block in blocks))
    for name in ("owl", "alphapruning"):
        found = counts(name, blocks, sparsity)
        assert sum(found) == total
        assert all(0 <= n < block.weights for n, block in zip(found, blocks, strict=True))


def test_blocks_with_equal_facts_lose_equal_shares() -> None:
    blocks = [Block(i, 100, outliers=0.01, tail=3.0) for i in range(4)]
    assert counts("owl", blocks, 0.3) == counts("alphapruning", blocks, 0.3) == [30] * 4


def test_a_method_with_an_allocation_is_another_method() -> None:
    assert PruneSpec(method="wanda", sparsity=0.5, allocation="owl") == PruneSpec(
        method="wanda-owl", sparsity=0.5
    )
    for name in ("wanda-owl", "sparsegpt-alphapruning", "magnitude-my.module:mine"):
        assert str(Method.parse(name)) == name
        run = Run("llama", Method.parse(name), 0.5)
        assert Run.parse(str(run)) == run and run.series == name


@pytest.mark.parametrize("name", ["mine-owl", "wanda-alphapruning", "experts-mine"])
def test_no_method_of_ones_own_can_be_taken_for_one_with_an_allocation(name: str) -> None:
    with pytest.raises(UsageError, match="would be taken for"):
        sparsifier(name)(lambda weight: weight)


def test_the_checkpoint_says_what_each_block_lost(tmp_path: Path, text: str) -> None:
    source = save_tiny("llama", tmp_path / "dense", num_hidden_layers=4)
    command = ["prune", str(source), "--method", "wanda", "--sparsity", "0.6", "--allocation", "owl"]
    command += ["--calibration", text, "--nsamples", "8", "--seqlen", "32", "--output", str(tmp_path / "owl")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "owl" / "junkdna.json").read_text())
    assert (manifest["method"], manifest["level"]) == ("wanda-owl", 0.6)
    assert manifest["sparsity_targeted"] == pytest.approx(0.6, abs=1e-4)
    assert manifest["allocation"]["name"] == "owl"
    assert len(set(manifest["allocation"]["sparsity_by_block"].values())) > 1
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "owl")])
    assert result.exit_code == 0 and "owl" in result.output


def test_a_sweep_holds_both_apart(tmp_path: Path) -> None:
    plan = build_plan(
        methods="magnitude,magnitude-owl", sparsity="0.5", tasks="difficulty_tiers_copying_t1", limit=4
    )
    names = [plan.run_id(cell) for cell in plan.cells]
    assert names == ["embedded dense", "embedded magnitude 0.5", "embedded magnitude-owl 0.5"]
    run_sweep(plan, tmp_path / "sweep")
    by_name = {m["run"]: m for m in Store(tmp_path / "sweep").manifests()}
    manifests = [by_name[name] for name in names]
    assert [m["manifest"]["allocation"] is not None for m in manifests] == [False, False, True]
    assert len({m["weights_sha256"] for m in manifests}) == 3


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "magnitude"])
def test_statistics_of_the_dense_model_serve_it_too(method: str, text: str) -> None:
    walked, kept = four("llama"), four("llama")
    first = prune(
        walked, PruneSpec(method=f"{method}-owl", sparsity=0.6, calibration=text, **SIZE), make_tokenizer()
    )
    statistics = OneShot(kept, make_tokenizer())
    second = statistics.prune(PruneSpec(method=f"{method}-owl", sparsity=0.6, calibration=text, **SIZE))
    assert first.allocation == second.allocation  # OWL looks at the dense model in any case
    assert second.sparsity_targeted == first.sparsity_targeted == pytest.approx(0.6, abs=1e-4)


def test_an_allocation_for_all_methods_of_a_sweep_is_in_their_names() -> None:
    plan = build_plan(
        methods="magnitude,wanda",
        sparsity="0.5",
        model_args="pretrained=embedded,allocation=owl",
        tasks="arc_easy",
    )
    assert [str(cell.identity) for cell in plan.cells] == ["dense", "magnitude-owl", "wanda-owl"]
