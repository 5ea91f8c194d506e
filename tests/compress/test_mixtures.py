"""Routers are known by what they do, and stacks of experts wherever their number is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from junkdna_harness.compress import InputNorm, PruneSpec, find_targets, prune
from junkdna_harness.compress.collect import collect
from junkdna_harness.compress.walk import walk
from tests.models_factory import make_model, make_tokenizer

WIDTH, INNER, EXPERTS = 32, 24, 6


class Feed(nn.Module):
    """A gated layer, as dense models have it; `order` is that of its definition."""

    def __init__(self, inner: int, order: str = "gate_proj up_proj down_proj") -> None:
        super().__init__()
        for name in order.split():
            shape = (inner, WIDTH) if name == "down_proj" else (WIDTH, inner)
            setattr(self, name, nn.Linear(*shape, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(torch.relu(self.gate_proj(x)) * self.up_proj(x))


class Bank(nn.Module):
    """Experts in two stacks, (experts, out, in); how many they are is written nowhere in it."""

    def __init__(self, transposed: bool = False) -> None:
        super().__init__()
        up, down = (EXPERTS, INNER, WIDTH), (EXPERTS, WIDTH, INNER)
        self.transposed = transposed
        self.first = nn.Parameter(torch.randn(down if transposed else up) * 0.2)
        self.second = nn.Parameter(torch.randn(up if transposed else down) * 0.2)

    def forward(self, x: Tensor, chosen: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for expert in chosen.unique().tolist():
            rows = chosen == expert
            up, down = self.first[expert], self.second[expert]
            if not self.transposed:
                up, down = up.T, down.T
            out[rows] = torch.relu(x[rows] @ up) @ down
        return out


class Mixture(nn.Module):
    """A mixture whose router is `gate`, with a shared expert of as many inner features as there are experts."""

    def __init__(self, gate: nn.Module, bank: nn.Module, order: str = "gate_proj up_proj down_proj") -> None:
        super().__init__()
        self.choose = gate
        self.bank = bank
        self.shared = Feed(EXPERTS, order)
        self.shared_gate = nn.Linear(WIDTH, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, WIDTH)
        out = self.bank(flat, self.choose(flat).argmax(-1))
        return (out + torch.sigmoid(self.shared_gate(flat)) * self.shared(flat)).reshape(x.shape)


class Below(nn.Module):
    """A router whose classifier lies below it, as in switch transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.classifier = nn.Linear(WIDTH, EXPERTS)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner.classifier(x)


class Own(nn.Module):
    """A router that holds its matrix itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


def layers(*widths: int) -> nn.Module:
    """Linear layers one after the other."""
    return nn.Sequential(*(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)))


GATES: dict[str, Callable[[], nn.Module]] = {
    "one layer": lambda: nn.Linear(WIDTH, EXPERTS),
    "three layers": lambda: layers(WIDTH, 16, 16, EXPERTS),
    "layers of the residual width": lambda: layers(WIDTH, WIDTH, EXPERTS),
    "a layer as wide as there are experts": lambda: layers(WIDTH, EXPERTS, EXPERTS),
    "one more output, for no expert": lambda: layers(WIDTH, 16, EXPERTS + 1),
    "a classifier below": Below,
    "a matrix of its own": Own,
}


def mixture_model(gate: Callable[[], nn.Module], **options: Any) -> Any:
    """A Llama whose feed-forward layers are mixtures; the number of experts is in its config alone."""
    model, config = make_model("llama")
    torch.manual_seed(1)
    for block in model.model.layers:
        block.mlp = Mixture(
            gate(),
            Bank(options.get("transposed", False)),
            options.get("order", "gate_proj up_proj down_proj"),
        )
    config.n_routed_experts = EXPERTS
    model.config.n_routed_experts = EXPERTS
    return model.eval()


@pytest.mark.parametrize("gate", GATES)
def test_what_chooses_is_left_alone_and_what_feeds_is_not(gate: str) -> None:
    names = {target.name for target in find_targets(mixture_model(GATES[gate])) if target.block == 0}
    assert not any(".choose" in name or ".shared_gate" in name for name in names)
    shared = {f"model.layers.0.mlp.shared.{part}_proj" for part in ("gate", "up", "down")}
    assert shared <= names
    assert {f"model.layers.0.mlp.bank.first[{e}]" for e in range(EXPERTS)} <= names
    assert len(names) == 4 + 3 + 2 * EXPERTS


def test_a_shared_expert_whose_last_layer_is_as_wide_as_the_experts_are_many() -> None:
    model = mixture_model(GATES["one layer"], order="gate_proj down_proj up_proj")
    assert "model.layers.0.mlp.shared.up_proj" in {target.name for target in find_targets(model)}


def test_a_mixture_that_chooses_by_a_matrix_of_its_own_has_no_router_further_up() -> None:
    model = mixture_model(lambda: nn.Identity())
    for block in model.model.layers:
        block.mlp.weight = nn.Parameter(torch.randn(EXPERTS, WIDTH))
        block.beside = nn.Linear(WIDTH, EXPERTS)  # as wide, and no part of the mixture
    names = {target.name for target in find_targets(model)}
    assert "model.layers.0.beside" in names and not any("shared_gate" in name for name in names)


def test_a_router_is_reached_by_name() -> None:
    model = mixture_model(GATES["three layers"])
    assert [t.name for t in find_targets(model, ["layers.0.mlp.choose"])] == [
        f"model.layers.0.mlp.choose.{i}" for i in range(3)
    ]


def test_dense_gates_are_compressed() -> None:
    model, _ = make_model("llama", intermediate_size=4)
    model.config.num_experts = 4  # what a config says of experts makes no mixture of a dense layer
    names = [target.name for target in find_targets(model)]
    assert "model.layers.0.mlp.gate_proj" in names and len(names) == 14


def test_modules_side_by_side_are_experts_too() -> None:
    model, _ = make_model("llama")
    for block in model.model.layers:
        mlp = nn.Module()
        mlp.gate = layers(WIDTH, 12, EXPERTS)
        mlp.experts = nn.ModuleList([Feed(INNER) for _ in range(EXPERTS)])
        block.mlp = mlp
    names = [target.name for target in find_targets(model)]
    assert not any(".gate." in name for name in names)
    assert sum(".experts." in name for name in names) == 2 * 3 * EXPERTS


@pytest.mark.parametrize("transposed", [False, True])
def test_stacks_are_found_by_the_config_and_seen_the_right_way_round(transposed: bool) -> None:
    model = mixture_model(GATES["one layer"], transposed=transposed)
    shapes = {t.module_name: t.shape for t in find_targets(model) if t.expert == 0 and t.block == 1}
    assert shapes == {
        "model.layers.1.mlp.bank.first": (INNER, WIDTH),
        "model.layers.1.mlp.bank.second": (WIDTH, INNER),
    }


def test_the_number_may_stand_in_the_module_above() -> None:
    model = mixture_model(GATES["one layer"])
    del model.config.n_routed_experts
    assert not any(target.expert is not None for target in find_targets(model))
    for block in model.model.layers:
        block.mlp.n_experts = EXPERTS
    assert sum(target.expert is not None for target in find_targets(model)) == 2 * 2 * EXPERTS


def test_matrices_by_head_are_no_experts() -> None:
    model, _ = make_model("llama")
    for block in model.model.layers:
        block.self_attn.by_head = nn.Parameter(torch.randn(4, 8, 8))
    assert len(find_targets(model)) == 14


@pytest.mark.parametrize("transposed", [False, True])
def test_wanda_prunes_such_experts_by_what_they_see(transposed: bool, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {i} of the text says {i * i}" for i in range(300)))
    model = mixture_model(GATES["three layers"], transposed=transposed)
    ids = torch.randint(2, 98, (4, 32), generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    chosen: list[Tensor] = []

    def note(_: nn.Module, args: tuple[Tensor, Tensor]) -> None:
        seen.append(args[0])
        chosen.append(args[1])

    handle = model.model.layers[0].mlp.bank.register_forward_pre_hook(note)
    with torch.no_grad():
        model(ids)
    handle.remove()
    steps = walk(model, ids)
    step = next(steps)
    first = [t for t in find_targets(model, ["bank.first"]) if t.block == 0]
    for norm, (target,) in collect(step, first, InputNorm):
        rows = torch.cat(seen)[torch.cat(chosen) == target.expert]
        assert (norm is None) == (len(rows) == 0)
        if norm is not None:
            assert isinstance(norm, InputNorm)
            torch.testing.assert_close(norm.norm, rows.norm(dim=0), atol=1e-3, rtol=1e-3)
    del steps
    spec = PruneSpec(method="wanda", sparsity=0.5, calibration=str(text), nsamples=8, seqlen=32)
    before = {
        name: p.clone() for name, p in model.named_parameters() if ".choose" in name or "shared_gate" in name
    }
    prune(model, spec, make_tokenizer())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)
    assert all(int((t.weight == 0).sum()) == t.numel // 2 for t in find_targets(model))
