"""`experts`: whole experts of a mixture go, and their rows of the router with them.

* `reap` (Lasby et al. 2025, arXiv 2510.13999): the mean, over the tokens that are sent to an expert, of its router weight x the norm
  of its output. The lowest go.
* `frequency`: the number of tokens that are sent to an expert.
* `random`: by lot, from `mask_seed`: what any choice must beat.

All layers lose the same number, for a configuration has one number of experts. Scores are taken on the dense model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.change import Progress
from junkdna_harness.compress.passes import look_through
from junkdna_harness.compress.skeleton import (
    change_config,
    check_runs,
    compare,
    keep_rows,
    refused,
    set_values,
)
from junkdna_harness.compress.statistics import Seeded
from junkdna_harness.compress.targets import Target, find_blocks

# What configurations call the number of experts, those that a token goes to, and the groups that they are chosen in.
COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "top_k_experts")
GROUPS = ("n_group", "num_expert_group")


@dataclass(frozen=True)
class Stack:
    """The experts of one layer, stacked in one module."""

    name: str
    module: nn.Module
    number: int


def find_stacks(model: nn.Module, targets: Sequence[Target]) -> list[Stack]:
    """The stacks of experts among the targets, in the model's order.

    Raises:
        UsageError: there is none, or they hold different numbers of experts.
    """
    found: dict[int, Stack] = {}
    for target in targets:
        if target.expert is not None:
            name = target.module_name.rpartition(".")[0]
            found.setdefault(id(target.module), Stack(name, target.module, target.parameter.shape[0]))
    stacks = list(found.values())
    if not stacks:
        raise UsageError(
            f"{type(model).__name__} has no stacked experts, so method=experts finds none. Use method=layers, or one that removes "
            "single weights."
        )
    if len({stack.number for stack in stacks}) > 1:
        raise refused(model, "its layers have different numbers of experts")
    return stacks


class _Seen:
    """Router weight x output norm, and tokens, of each expert of a stack, summed while text goes through."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.weighted = torch.zeros(stack.number, dtype=torch.float64)
        self.tokens = torch.zeros(stack.number, dtype=torch.float64)

    def hook(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """See one call of the stack: hidden states, the numbers of the experts that they are sent to, and the router's weights."""
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        chosen = [tensor for tensor in given if not tensor.is_floating_point() and tensor.ndim == 2]
        weights = [tensor for tensor in given[1:] if chosen and tensor.is_floating_point()]
        if len(chosen) != 1 or len(weights) != 1 or weights[0].shape != chosen[0].shape:
            raise UsageError(
                f"{self.stack.name} is not called with the experts that each token goes to and their weights, so their use cannot be "
                "seen. Use criterion=random, or a method that removes single weights."
            )
        for slot in range(chosen[0].shape[1]):
            index = chosen[0][:, slot : slot + 1]
            alone = torch.ones_like(weights[0][:, slot : slot + 1])
            output = self.stack.module.forward(given[0], index, alone)  # forward itself: no hook sees it
            norms = torch.linalg.vector_norm(output.reshape(len(index), -1), dim=-1, dtype=torch.float32)
            product = (weights[0][:, slot].float() * norms).double().cpu()
            where = index[:, 0].long().cpu()
            self.weighted.index_add_(0, where, product)
            self.tokens.index_add_(0, where, torch.ones_like(product))

    def scores(self, criterion: str) -> Tensor:
        """fp64, one per expert; 0 where no token came."""
        return self.tokens if criterion == "frequency" else self.weighted / self.tokens.clamp_min(1)


def expert_scores(
    model: nn.Module, stacks: Sequence[Stack], ids: Tensor, criterion: str, progress: Progress | None = None
) -> dict[str, Tensor]:
    """By stack's name, the scores of its experts on token numbers `ids`, shape (samples, length).

    Raises:
        UsageError: the stacks are not called as those of transformers are.
    """
    seen = [_Seen(stack) for stack in stacks]
    look_through(model, ids, [(one.stack.module, one.hook) for one in seen], progress, before=True)
    return {one.stack.name: one.scores(criterion) for one in seen}


def random_scores(stacks: Sequence[Stack], seed: int) -> dict[str, Tensor]:
    """By stack's name, an order by lot that depends on the seed and the name alone."""
    found = {}
    for stack in stacks:
        generator = Seeded(stack.number, torch.device("cpu"), seed, stack.name).generator()
        found[stack.name] = torch.randperm(stack.number, generator=generator).double()
    return found


def choose(
    model: nn.Module, scores: Mapping[str, Tensor], removed: int, share: float
) -> dict[str, list[int]]:
    """By stack's name, the experts that stay: all but the `removed` lowest; of groups that the router chooses in, equal numbers each.

    Raises:
        UsageError: fewer would be left than each token goes to, or groups would be of different sizes.
    """
    number = len(next(iter(scores.values())))
    config: Any = model.config.get_text_config()  # type: ignore[operator,union-attr]
    chosen = next((n for name in CHOSEN if isinstance(n := getattr(config, name, None), int)), 1)
    if number - removed < chosen:
        raise UsageError(
            f"sparsity={share:g} leaves {number - removed} of {number} experts, and each token goes to {chosen}. Give at most "
            f"{1 - chosen / number:.4g}."
        )
    groups = next((n for name in GROUPS if isinstance(n := getattr(config, name, None), int)), 1)
    if removed % groups:
        raise UsageError(
            f"sparsity={share:g} removes {removed} of {number} experts, which lie in {groups} groups that must stay of one size. Give a "
            f"multiple of {groups / number:.4g}."
        )
    kept: dict[str, list[int]] = {}
    for name, values in scores.items():
        order = values.view(groups, -1).sort(dim=1, stable=True).indices
        first = torch.arange(groups)[:, None] * (number // groups)
        kept[name] = sorted((order[:, removed // groups :] + first).flatten().tolist())
    return kept


def keep_experts(model: nn.Module, stacks: Sequence[Stack], kept: Mapping[str, Sequence[int]]) -> None:
    """Drop all experts but those `kept`, by stack's name, in place: stacks, routers and the configuration get smaller.

    Raises:
        UsageError: this architecture cannot be cut; the model may have been changed in part then (`Anatomy` puts it back).
    """
    number, left = stacks[0].number, len(next(iter(kept.values())))
    config: Any = model.config.get_text_config()  # type: ignore[operator,union-attr]
    named = [name for name in COUNTS if getattr(config, name, None) == number]
    if not named:
        raise refused(model, f"its configuration names no number of experts that is {number}")
    changes = dict.fromkeys(named, left)
    found = compare(model, changes, lambda part: part)
    prefix, _ = find_blocks(model)
    for rows in found.rows:
        stack = _stack_of(rows.owner, stacks, prefix)
        if stack is None or rows.of != number:
            raise refused(model, f"{rows.owner}.{rows.name} is of no stack of experts")
    for owner, key, value in found.values:
        counted = getattr(model.get_submodule(owner), key) == number and value == left
        if not counted and _stack_of(owner, stacks, prefix) is None:
            raise refused(model, f"{key} of {owner or 'the model'} would be {value!r}")
    for rows in found.rows:
        stack = _stack_of(rows.owner, stacks, prefix)
        keep_rows(model, rows, kept[stack.name] if stack is not None else ())
    set_values(model, found.values)
    change_config(config, changes)
    check_runs(model, f"{left} experts")


def _stack_of(owner: str, stacks: Sequence[Stack], prefix: str) -> Stack | None:
    """The stack to whose block and nearest parent a module belongs; None for one outside the blocks that have experts."""
    parts = owner.split(".")
    deep = len(prefix.split(".")) + 1
    best, most = None, deep - 1
    for stack in stacks:
        shared = 0
        for one, other in zip(parts, stack.name.split("."), strict=False):
            if one != other:
                break
            shared += 1
        if shared > most:
            best, most = stack, shared
    return best
