"""`largest`, the opposite of magnitude, against a sort written here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from junkdna_harness.compress import PruneSpec, Sparsity, find_targets, prune
from junkdna_harness.sweep import Store, build_plan, run_sweep
from tests.models_factory import ARCHITECTURES, make_model


def coarse(arch: str) -> Any:
    """A model whose weights take few values, so that most of a group's weights are tied with others."""
    model, _ = make_model(arch)
    with torch.no_grad():
        for target in find_targets(model):
            sign = torch.where(target.weight < 0, -1.0, 1.0)  # no zeros: those of a pruned model go first
            target.weight.copy_(sign * (1 + (target.weight.abs() * 40).floor()) / 40)
    return model


def first_to_go(weights: list[float], count: int) -> set[int]:
    """Places of the `count` greatest absolute values, of equal ones the first."""
    return set(sorted(range(len(weights)), key=lambda i: (-abs(weights[i]), i))[:count])


def expected(weight: Tensor, groups: int, count: int) -> Tensor:
    rows = weight.reshape(groups, -1)
    out = rows.clone()
    for row, new in zip(rows.tolist(), out, strict=True):
        for place in first_to_go(row, count):
            new[place] = 0
    return out.reshape(weight.shape)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    "given", [{"scope": "row"}, {"scope": "layer"}, {}, {"pattern": "2:8"}, {"pattern": "3:4"}]
)
def test_the_greatest_go_first_and_ties_by_position(arch: str, given: dict[str, Any]) -> None:
    model = coarse(arch)
    before = {t.name: t.weight.clone() for t in find_targets(model)}
    amount = {} if "pattern" in given else {"sparsity": 0.37}
    prune(model, PruneSpec(method="largest", **amount, **given))
    for target in find_targets(model):
        old = before[target.name]
        if "pattern" in given:
            kept, group = map(int, given["pattern"].split(":"))
            groups, count = old.numel() // group, group - kept
        else:
            groups = old.shape[0] if given.get("scope") == "row" else 1
            count = Sparsity(0.37).removed(old.numel() // groups)
        assert torch.equal(target.weight, expected(old, groups, count)), target.name


def test_globally_the_greatest_of_all_layers_go_first() -> None:
    model = coarse("llama")
    before = [t.weight.clone() for t in find_targets(model)]
    every = torch.cat([weight.flatten() for weight in before])
    prune(model, PruneSpec(method="largest", sparsity=0.2, scope="global"))
    found = torch.cat([t.weight.flatten() for t in find_targets(model)])
    assert torch.equal(found, expected(every, 1, Sparsity(0.2).removed(len(every))))


def test_a_sweep_of_it_collapses_where_magnitude_holds(tmp_path: Path) -> None:
    plan = build_plan(
        "difficulty_tiers_copying_t1", methods="magnitude,largest", sparsity="0.1", patterns="7:8", limit=40
    )
    assert run_sweep(plan, tmp_path / "s").failed == {}
    score = {
        m["run"]: m["results"]["results"]["difficulty_tiers_copying_t1"]["acc,none"]
        for m in Store(tmp_path / "s").manifests()
    }
    assert score["embedded magnitude 0.1"] > 0.9 and score["embedded largest 0.1"] < 0.2, score
    assert "embedded largest 7:8 0.125" in score
