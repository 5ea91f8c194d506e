"""The share of each target that an allocation gives it: what is looked at before anything is removed, and who loses how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from difficulty.errors import UsageError
from junkdna_harness.compress.allocation import OUTLIER, Block, counts, needs_text
from junkdna_harness.compress.calibrated import Provider
from junkdna_harness.compress.change import Outcome, Progress
from junkdna_harness.compress.notation import Quota
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.statistics import InputNorm, Statistic
from junkdna_harness.compress.targets import Target

Seen = tuple[Target, Statistic | None]


def quotas(
    targets: Sequence[Target],
    spec: PruneSpec,
    provider: Provider,
    outcome: Outcome,
    progress: Progress | None,
) -> dict[str, Quota]:
    """By target's name, what it loses: together exactly the share of all weights that `spec` asks for.

    Within a block all targets lose the same share. With text, all blocks are looked at through the dense model, one at a time.

    Raises:
        UsageError: a target lies outside the blocks, or the allocation cannot be used.
    """
    outside = [target.name for target in targets if target.block is None]
    if outside:
        raise UsageError(
            f"{outside[0]} lies outside the decoder blocks, to which allocation={spec.allocation} gives their shares. Leave it out."
        )
    by_block: dict[int, list[Target]] = {}
    for target in targets:
        by_block.setdefault(target.block or 0, []).append(target)
    seen: dict[int, float] = {}
    if needs_text(spec.allocation, spec.calibration):
        seen = outlier_shares(provider.give(targets, InputNorm, progress))
        outcome.calibration = provider.facts()
    blocks = [_look(index, by_block[index], seen, spec) for index in sorted(by_block)]
    removed = counts(spec.allocation, blocks, spec.sparsity or 0.0)
    outcome.allocation = {
        "name": spec.allocation,
        "sparsity_by_block": {str(b.index): n / b.weights for b, n in zip(blocks, removed, strict=True)},
    }
    found: dict[str, Quota] = {}
    for block, count in zip(blocks, removed, strict=True):
        found |= _within(by_block[block.index], count, block.weights)
    return found


def outlier_shares(seen: Iterable[Seen]) -> dict[int, float]:
    """By block, OWL's outlier ratio: the share of weights whose |w| x norm is above 5 times the mean of the whole block.

    `seen` brings the targets block by block; the norms of one block are held.
    """
    found: dict[int, float] = {}
    now: list[Seen] = []
    for target, statistic in seen:
        if now and now[0][0].block != target.block:
            found[now[0][0].block or 0] = _outliers(now)
            now = []
        now.append((target, statistic))
    return found | ({now[0][0].block or 0: _outliers(now)} if now else {})


def _outliers(block: Sequence[Seen]) -> float:
    size = sum(target.numel for target, _ in block)
    total = sum(float(_metric(*one).sum(dtype=torch.float64)) for one in block)
    limit = OUTLIER * total / size
    return sum(int((_metric(*one) > limit).sum()) for one in block) / size


def _metric(target: Target, statistic: Statistic | None) -> Tensor:
    if not isinstance(statistic, InputNorm):  # an expert that no token reached
        return torch.zeros(target.shape)
    return target.weight.abs().float().mul_(statistic.norm)


def _look(index: int, targets: Sequence[Target], seen: Mapping[int, float], spec: PruneSpec) -> Block:
    tails = [hill(target.weight) for target in targets] if spec.allocation == "alphapruning" else []
    tails = [tail for tail in tails if math.isfinite(tail)]  # a matrix of zeros has no spectrum
    tail = sum(tails) / len(tails) if tails else None
    return Block(index, sum(target.numel for target in targets), seen.get(index), tail)


def hill(weight: Tensor) -> float:
    """Hill's estimate of the exponent of the spectrum's tail: 1 + n / sum of log(eigenvalue / smallest) over the upper half.

    The spectrum is that of WᵀW. As `alpha_mid` in the authors' code; eigenvalues of 0 are left out.
    """
    eigenvalues = torch.linalg.svdvals(weight.float()).square().double().sort().values
    eigenvalues = eigenvalues[eigenvalues > 0]
    upper = eigenvalues[len(eigenvalues) // 2 :].log()
    spread = float((upper - upper[0]).sum()) if len(upper) else 0.0
    return 1 + len(upper) / spread if spread > 0 else float("inf")


def _within(targets: Sequence[Target], count: int, size: int) -> dict[str, Quota]:
    """`count` of a block's weights, handed out to its targets by their sizes."""
    found: dict[str, Quota] = {}
    before = 0
    block = Quota.of(count, size)
    for target in targets:
        after = before + target.numel
        found[target.name] = Quota.of(block.removed(after) - block.removed(before), target.numel)
        before = after
    return found
