"""Whole parts that go: which of them, what is left of the model, and how much of it that was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from difficulty.errors import UsageError
from junkdna_harness.compress.anatomy import Anatomy
from junkdna_harness.compress.calibrated import calibration_for
from junkdna_harness.compress.change import Outcome, Progress
from junkdna_harness.compress.experts import choose, expert_scores, find_stacks, keep_experts, random_scores
from junkdna_harness.compress.layers import block_influence, keep_blocks
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.structure import join
from junkdna_harness.compress.targets import Target, find_blocks, find_targets

Facts = dict[str, Any]


def drop_parts(
    model: nn.Module,
    targets: Sequence[Target],
    spec: PruneSpec,
    tokenizer: Any,
    outcome: Outcome,
    before: Mapping[str, Any] | None,
    progress: Progress | None,
) -> None:
    """Remove the blocks or experts that `spec` asks for, in place; what went goes into `outcome.structure`.

    `before`: the structure of a model of which parts had been removed already.

    Raises:
        UsageError: the model cannot be cut, or the share is no whole number of parts; nothing has been changed then.
    """
    anatomy = Anatomy(model)
    targeted = sum(target.numel for target in targets)
    every = sum(p.numel() for p in model.parameters())
    drop = _drop_blocks if spec.method == "layers" else _drop_experts
    try:
        facts = drop(model, targets, spec, _draw(model, targets, spec, tokenizer, outcome), progress)
    except BaseException:
        anatomy.restore()
        raise
    now = {
        "unit": spec.method,
        **facts,
        "gone": (targeted - sum(target.numel for target in find_targets(model))) / targeted,
        "weights_targeted": targeted,
        "weights_all": every,
        "weights_left": sum(p.numel() for p in model.parameters()),
    }
    outcome.structure = join(before, now)


def whole_parts(spec: PruneSpec, number: int) -> int:
    """How many of `number` blocks or experts `spec` removes.

    Raises:
        UsageError: none, or all of them.
    """
    removed = spec.parts(number)
    if not 0 < removed < number:
        which = "none" if removed == 0 else "all"
        raise UsageError(
            f"sparsity={spec.sparsity:g} of {number} {spec.method} is {which} of them, rounded. Give {1 / number:.4g} to "
            f"{1 - 1 / number:.4g}."
        )
    return removed


Draw = Callable[[], Any]


def _draw(
    model: nn.Module, targets: Sequence[Target], spec: PruneSpec, tokenizer: Any, outcome: Outcome
) -> Draw:
    """Reads the calibration text when it is asked for, and notes it."""

    def draw() -> Any:
        calibration = calibration_for(model, tokenizer, targets, spec)
        outcome.calibration = calibration.to_dict()
        return calibration.ids

    return draw


def _drop_blocks(
    model: nn.Module, targets: Sequence[Target], spec: PruneSpec, draw: Draw, progress: Progress | None
) -> Facts:
    _, blocks = find_blocks(model)
    removed = whole_parts(spec, len(blocks))
    scores = block_influence(model, draw(), progress)
    gone = sorted(sorted(range(len(scores)), key=lambda index: (scores[index], index))[:removed])
    keep_blocks(model, [index for index in range(len(scores)) if index not in gone])
    return {"criterion": "block influence", "of": len(scores), "removed": gone, "scores": scores}


def _drop_experts(
    model: nn.Module, targets: Sequence[Target], spec: PruneSpec, draw: Draw, progress: Progress | None
) -> Facts:
    stacks = find_stacks(model, targets)
    number = stacks[0].number
    removed = whole_parts(spec, number)
    criterion = str(spec.criterion)
    if criterion == "random":
        scores = random_scores(stacks, spec.seed)
    else:
        choose(
            model, {stack.name: torch.zeros(number) for stack in stacks}, removed, spec.sparsity or 0
        )  # refuses
        scores = expert_scores(model, stacks, draw(), criterion, progress)
    kept = choose(model, scores, removed, spec.sparsity or 0)
    keep_experts(model, stacks, kept)
    gone = {name: [i for i in range(number) if i not in stay] for name, stay in kept.items()}
    return {
        "criterion": criterion,
        "of": number,
        "removed": gone,
        "scores": {name: values.tolist() for name, values in scores.items()},
    }
