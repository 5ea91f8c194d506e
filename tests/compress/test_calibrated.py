"""Wanda against brute force, SparseGPT and GPTQ against exact optimal brain surgery, on small matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from difficulty.errors import UsageError
from junkdna_harness.compress import NM, Hessian, InputNorm, PruneSpec, Sparsity, find_targets, prune
from junkdna_harness.compress.calibration import load_calibration
from junkdna_harness.compress.gptq import ByWeight, gptq
from junkdna_harness.compress.quantizers import Rounding
from junkdna_harness.compress.rtn import rtn
from junkdna_harness.compress.sparsegpt import Selection, sparsegpt
from junkdna_harness.compress.wanda import wanda
from tests.models_factory import ARCHITECTURES, make_model, make_tokenizer


def problem(rows: int, columns: int, tokens: int = 400) -> tuple[Tensor, Tensor]:
    """A weight and correlated inputs."""
    generator = torch.Generator().manual_seed(rows + columns)
    mixing = torch.randn(columns, columns, generator=generator) / columns**0.5
    inputs = torch.randn(tokens, columns, generator=generator) @ (mixing + 0.5 * torch.eye(columns))
    return torch.randn(rows, columns, generator=generator), inputs


def hessian_of(inputs: Tensor) -> Hessian:
    hessian = Hessian(inputs.shape[1], torch.device("cpu"), name="layer")
    hessian.update(inputs)
    return hessian


def damped(inputs: Tensor, damping: float = 0.01) -> Tensor:
    """The Hessian of the papers, in double precision."""
    matrix = 2 / len(inputs) * inputs.double().T @ inputs.double()
    return matrix + damping * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=torch.float64)


def surgery(weight: Tensor, hessian: Tensor, change: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
    """Column by column: exact OBS updates with the inverse Hessian of the columns that are left, inverted anew."""
    current = weight.double().clone()
    for i in range(current.shape[1]):
        inverse = torch.linalg.inv(hessian[i:, i:])
        new = change(i, current, inverse)
        error = (current[:, i] - new) / inverse[0, 0]
        current[:, i:] -= error[:, None] * inverse[0]
        current[:, i] = new
    return current


def diagonals(hessian: Tensor) -> Tensor:
    """[H⁻¹]ᵢᵢ of the columns from i on, for every i."""
    return torch.stack([torch.linalg.inv(hessian[i:, i:])[0, 0] for i in range(len(hessian))])


def test_wanda_scores_are_weight_times_input_norm() -> None:
    weight, inputs = problem(5, 7, tokens=30)
    norm = InputNorm(7, torch.device("cpu"))
    for part in inputs.split(11):
        norm.update(part)
    scores = wanda(weight, norm)
    for i in range(5):
        for j in range(7):
            expected = abs(float(weight[i, j])) * sum(float(x) ** 2 for x in inputs[:, j]) ** 0.5
            assert float(scores[i, j]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scope", ["layer", "row"])
@pytest.mark.parametrize("columns", [24, 200])
def test_sparsegpt_is_exact_obs_with_its_own_selection(scope: Any, columns: int) -> None:
    weight, inputs = problem(6, columns)
    exact = damped(inputs)
    inverse_diagonals = diagonals(exact)
    pattern = Sparsity(0.5)
    mask = torch.zeros(weight.shape, dtype=torch.bool)

    def change(i: int, current: Tensor, inverse: Tensor) -> Tensor:
        if i % 128 == 0:  # a run begins: choose its share on the values made up for so far
            last = min(i + 128, columns)
            scores = current[:, i:last] ** 2 / inverse_diagonals[i:last]
            if scope == "row":
                k = pattern.removed(last) - pattern.removed(i)
                mask[:, i:last].scatter_(1, scores.argsort(1)[:, :k], True)
            else:
                k = pattern.removed(6 * last) - pattern.removed(6 * i)
                flat = torch.zeros(scores.numel(), dtype=torch.bool)
                flat[scores.flatten().argsort()[:k]] = True
                mask[:, i:last] = flat.view_as(scores)
        return current[:, i].masked_fill(mask[:, i], 0)

    expected = surgery(weight, exact, change)
    found = sparsegpt(weight, hessian_of(inputs), Selection(pattern, scope, (6, columns)))
    assert int((found == 0).sum()) == 3 * columns
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("kept,group", [(2, 4), (1, 8), (50, 100)])
def test_sparsegpt_selects_n_m_group_by_group(kept: int, group: int) -> None:
    weight, inputs = problem(4, 200)
    exact = damped(inputs)
    inverse_diagonals = diagonals(exact)
    mask = torch.zeros(weight.shape, dtype=torch.bool)

    def change(i: int, current: Tensor, inverse: Tensor) -> Tensor:
        if i % group == 0:
            scores = current[:, i : i + group] ** 2 / inverse_diagonals[i : i + group]
            mask[:, i : i + group].scatter_(1, scores.argsort(1)[:, : group - kept], True)
        return current[:, i].masked_fill(mask[:, i], 0)

    expected = surgery(weight, exact, change)
    found = sparsegpt(weight, hessian_of(inputs), Selection(NM(kept, group), "row", (4, 200)))
    assert bool(((found.reshape(4, -1, group) != 0).sum(-1) == kept).all())
    torch.testing.assert_close(found.double(), expected, atol=2e-3, rtol=2e-3)


def test_kept_columns_are_the_least_squares_solution_when_they_come_last() -> None:
    weight, inputs = problem(3, 12)

    class FirstFive(Selection):
        def take(self, scores: Tensor, first: int) -> Tensor:
            return (torch.arange(12) < 5).expand(3, 12)

    found = sparsegpt(weight, hessian_of(inputs), FirstFive(Sparsity(0.4), "row", (3, 12)))
    h = damped(inputs)
    gone, left = slice(0, 5), slice(5, 12)
    best = weight[:, left].double() + weight[:, gone].double() @ h[gone, left] @ torch.linalg.inv(
        h[left, left]
    )
    torch.testing.assert_close(found[:, left].double(), best, atol=1e-3, rtol=1e-3)


def test_sparsegpt_errs_less_than_the_same_mask_without_making_up() -> None:
    weight, inputs = problem(20, 64)
    found = sparsegpt(weight, hessian_of(inputs), Selection(Sparsity(0.5), "layer", (20, 64)))
    masked = weight.masked_fill(found == 0, 0)
    assert ((found - weight) @ inputs.T).norm() < 0.9 * ((masked - weight) @ inputs.T).norm()


def test_features_that_never_fire_cost_no_extra_zero() -> None:
    weight, inputs = problem(8, 32)
    inputs[:, :6] = 0
    found = sparsegpt(weight, hessian_of(inputs), Selection(Sparsity(0.5), "layer", (8, 32)))
    assert int((found == 0).sum()) == 8 * 32 // 2
    assert bool(torch.isfinite(found).all())


def plain_grid(values: Tensor, bits: int, symmetric: bool) -> Callable[[Tensor], Tensor]:
    """One row's grid, number by number."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if symmetric:
        high = max(high, -low)
        low = -high
    scale = (high - low) / (2**bits - 1) or 1.0
    zero = 2 ** (bits - 1) if symmetric else round(-low / scale)
    return lambda v: (torch.clamp(torch.round(v / scale) + zero, 0, 2**bits - 1) - zero) * scale


@pytest.mark.parametrize("group", [16, 32, 160, -1])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gptq_is_exact_obs_with_rounding(group: int, symmetric: bool) -> None:
    weight, inputs = problem(5, 160)
    grids: list[Callable[[Tensor], Tensor]] = []

    def change(i: int, current: Tensor, inverse: Tensor) -> Tensor:
        if (group == -1 and i == 0) or (group != -1 and i % group == 0):
            width = 160 if group == -1 else group
            grids[:] = [plain_grid(row, 4, symmetric) for row in current[:, i : i + width]]
        return torch.stack([grid(v) for grid, v in zip(grids, current[:, i], strict=True)])

    exact = damped(inputs)
    hessian = hessian_of(inputs)
    hessian._factor = torch.linalg.cholesky(torch.linalg.inv(exact), upper=True)
    expected, found = (
        surgery(weight, exact, change),
        gptq(weight.double(), Rounding(4, group, symmetric), hessian),
    )
    if not symmetric:
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    # The outermost value of a symmetric grid lies midway between two codes: it may go either way, and the rest follows.
    best, ours = (((w - weight) @ inputs.double().T).norm() for w in (expected, found))
    assert float(ours) == pytest.approx(float(best), rel=0.05)


@pytest.mark.parametrize("group", [16, 160, -1])
def test_act_order_is_exact_obs_with_the_most_active_columns_first_and_the_groups_of_neighbours(
    group: int,
) -> None:
    weight, inputs = problem(5, 160)
    inputs = (
        inputs * torch.linspace(0.2, 3, 160)[torch.randperm(160, generator=torch.Generator().manual_seed(1))]
    )
    order = sorted(range(160), key=lambda i: -float(inputs[:, i].double().square().sum()))
    width = 160 if group == -1 else group
    grids = {
        g: [plain_grid(row, 4, False) for row in weight[:, g * width : (g + 1) * width].double()]
        for g in range(160 // width)
    }

    def change(i: int, current: Tensor, inverse: Tensor) -> Tensor:
        return torch.stack([grid(v) for grid, v in zip(grids[order[i] // width], current[:, i], strict=True)])

    exact = damped(inputs)[order][:, order]
    hessian = ByWeight(160, torch.device("cpu"))
    hessian.update(inputs)
    assert hessian.order().tolist() == order
    hessian._factor = torch.linalg.cholesky(torch.linalg.inv(exact), upper=True)
    found = gptq(weight.double(), Rounding(4, group, act_order=True), hessian)
    expected = torch.empty_like(found)
    expected[:, order] = surgery(weight[:, order], exact, change)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_act_order_errs_less_where_some_inputs_are_much_larger_and_keeps_zeros() -> None:
    weight, inputs = problem(20, 64)
    inputs[:, -6:] *= 20
    weight[:, ::3] = 0
    ordered = ByWeight(64, torch.device("cpu"))
    ordered.update(inputs)
    plain = gptq(weight, Rounding(3, 32, zeros=weight == 0), hessian_of(inputs))
    first = gptq(weight, Rounding(3, 32, act_order=True, zeros=weight == 0), ordered)
    assert ((first - weight) @ inputs.T).norm() < ((plain - weight) @ inputs.T).norm()
    assert bool((first[:, ::3] == 0).all())


def test_gptq_errs_less_than_rounding_to_nearest() -> None:
    weight, inputs = problem(20, 64)
    ours, nearest = gptq(weight, Rounding(3, 32), hessian_of(inputs)), rtn(weight, Rounding(3, 32))
    assert ((ours - weight) @ inputs.T).norm() < 0.8 * ((nearest - weight) @ inputs.T).norm()


def test_the_factor_is_that_of_the_inverse() -> None:
    _, inputs = problem(1, 40)
    factor = hessian_of(inputs).factor()
    assert torch.equal(factor, factor.triu())
    torch.testing.assert_close(
        factor.T @ factor, torch.linalg.inv(damped(inputs)).float(), atol=1e-3, rtol=1e-3
    )


def test_damping_is_raised_until_the_hessian_is_positive_definite() -> None:
    hessian = Hessian(4, torch.device("cpu"), name="layer")
    hessian.update(torch.zeros(2, 4))
    hessian._products.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, -0.2])))
    hessian.factor()
    assert hessian.damping == pytest.approx(1.0)  # 0.01 and 0.1 of the mean 0.7 leave -0.2 negative


def test_a_hopeless_hessian_names_its_layer() -> None:
    hessian = Hessian(2, torch.device("cpu"), name="model.layers.3.mlp")
    hessian.update(torch.zeros(2, 2))
    hessian._products.copy_(torch.diag(torch.tensor([1.0, -500.0])))
    with pytest.raises(UsageError, match=r"model\.layers\.3\.mlp is not positive definite"):
        hessian.factor()


@pytest.mark.parametrize("kind", [Hessian, InputNorm])
def test_inputs_that_are_not_finite_name_their_layer(kind: Any) -> None:
    statistic = kind(3, torch.device("cpu"), name="model.layers.3.mlp")
    statistic.update(torch.tensor([[1.0, float("nan"), 0.0]]))
    with pytest.raises(UsageError, match=r"model\.layers\.3\.mlp are NaN"):
        statistic.factor() if kind is Hessian else statistic.norm


@pytest.fixture
def text(tmp_path: Path) -> str:
    words = ["alpha", "beta", "gamma delta", "x=1", "Q: why?", "no"]
    lines = [" ".join(words[(i * j) % 6] for j in range(1, 30)) for i in range(1, 40)]
    file = tmp_path / "text.txt"
    file.write_text("\n\n".join(lines))
    return str(file)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_every_architecture_is_pruned_exactly(arch: str, method: str, text: str) -> None:
    model, _ = make_model(arch)
    spec = PruneSpec(method=method, sparsity=0.5, calibration=text, nsamples=4, seqlen=32)
    report = prune(model, spec, make_tokenizer())
    assert report.calibration is not None and report.calibration["nsamples"] == 4
    for target in find_targets(model):
        gone = target.weight == 0
        assert int(gone.sum()) == target.numel // 2
        if method == "wanda":
            assert set(gone.sum(1).tolist()) == {target.shape[1] // 2}


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_calibrated_in_single(method: str, dtype: torch.dtype, text: str) -> None:
    model, _ = make_model("llama", dtype=dtype)
    prune(
        model,
        PruneSpec(method=method, pattern="2:4", calibration=text, nsamples=4, seqlen=32),
        make_tokenizer(),
    )
    for target in find_targets(model):
        assert target.weight.dtype == dtype
        assert bool(((target.weight.reshape(target.shape[0], -1, 4) != 0).sum(-1) <= 2).all())


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_experts_without_tokens_are_ranked_by_magnitude_and_reported(method: str, text: str) -> None:
    model, _ = make_model("mixtral")
    with torch.no_grad():
        for block in model.model.layers:
            block.mlp.gate.weight.zero_()  # all experts tie, so the same two are called for every token
    before = {t.name: t.weight.clone() for t in find_targets(model)}
    report = prune(
        model,
        PruneSpec(method=method, sparsity=0.5, calibration=text, nsamples=4, seqlen=32),
        make_tokenizer(),
    )
    assert any("8 experts saw no calibration token" in warning for warning in report.warnings)
    called = {name for name, old in before.items() if "expert" in name}
    silent = [n for n in called if n in "".join(report.warnings)]
    assert len(silent) == 1
    target = next(t for t in find_targets(model) if t.name == silent[0])
    old, gone = before[silent[0]], target.weight == 0
    assert int(gone.sum()) == target.numel // 2
    rows = zip(old.abs(), gone, strict=True)
    assert all(row[~g].min() >= row[g].max() for row, g in rows) or method == "sparsegpt"


def test_targets_outside_the_blocks_are_refused_by_name(text: str) -> None:
    model, _ = make_model("llama")
    with pytest.raises(UsageError, match="lm_head lies outside"):
        prune(
            model,
            PruneSpec(method="wanda", targets=("lm_head",), calibration=text, nsamples=2, seqlen=16),
            make_tokenizer(),
        )


@pytest.mark.parametrize("quantizer", ["rtn", "gptq"])
def test_pruned_and_quantized_keeps_its_zeros(quantizer: Any, text: str) -> None:
    model, _ = make_model("llama")
    spec = PruneSpec(
        method="sparsegpt",
        pattern="2:4",
        bits=4,
        group_size=16,
        quantizer=quantizer,
        calibration=text,
        nsamples=4,
        seqlen=32,
    )
    report = prune(model, spec, make_tokenizer())
    for target in find_targets(model):
        assert bool(((target.weight.reshape(target.shape[0], -1, 4) == 0).sum(-1) >= 2).all())
        groups = target.weight.reshape(-1, 16)
        assert max(len(row.unique()) for row in groups) <= 16
    assert report.bits == 4 and report.pattern == "2:4" and report.quantizer == quantizer
    zeros = report.sparsity_targeted or 0
    assert report.effective_bits == pytest.approx((1 - zeros) * 4 + 1 + (16 + 4) / 16)


def gemma3n() -> Any:
    """Random and small. It uses a linear layer of every block on several inputs (AltUp, Laurel)."""
    values = {
        "vocab_size": 100, "hidden_size": 32, "intermediate_size": [48] * 2, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 64, "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 100,
        "laurel_rank": 4, "activation_sparsity_pattern": [0.0] * 2, "altup_num_inputs": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("gemma3n_text", **values)).eval()


def test_a_layer_that_a_block_calls_more_than_once_is_judged_by_all_of_its_inputs(text: str) -> None:
    model, tokenizer = gemma3n(), make_tokenizer()
    ids = load_calibration(text, tokenizer, model, nsamples=4, seqlen=32, seed=0).ids
    first = [target for target in find_targets(model) if target.block == 0]
    inputs: dict[str, list[Tensor]] = {target.name: [] for target in first}

    def note(name: str) -> Callable[..., None]:
        return lambda _, args: inputs[name].append(args[0].reshape(-1, args[0].shape[-1]))

    handles = [target.module.register_forward_pre_hook(note(target.name)) for target in first]
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    assert any(len(calls) > 1 for calls in inputs.values())
    expected = {}
    for target in first:
        scores = target.weight.abs() * torch.cat(inputs[target.name]).square().sum(0).sqrt()
        lowest = scores.sort(dim=1, stable=True).indices[:, : scores.shape[1] // 2]
        expected[target.name] = torch.zeros_like(scores, dtype=torch.bool).scatter(1, lowest, True)
    prune(model, PruneSpec(method="wanda", sparsity=0.5, calibration=text, nsamples=4, seqlen=32), tokenizer)
    for target in first:
        assert torch.equal(target.weight == 0, expected[target.name]), target.name
