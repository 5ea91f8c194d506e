"""Exact ranks: the k lowest of a group, ties to the lower index, without sorting more than is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

_COMPARE_UP_TO = 24  # columns; for groups of N:M every pair is compared, up to four times as fast as a sort
_SORT_UP_TO = 64  # columns; for such short rows one stable sort is as fast as a selection
_SELECT_AT_ONCE = 1 << 20  # scores whose copy a selection holds
_TIES_AT_ONCE = 1 << 22  # scores whose ties are counted at once, to bound the memory


def lowest(scores: Tensor, k: int) -> Tensor:
    """Bool mask, shape (groups, n) like `scores`, true for the k lowest of each row; ties to the lower index."""
    n = scores.shape[1]
    if k <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    if k >= n:
        return torch.ones_like(scores, dtype=torch.bool)
    if n <= _COMPARE_UP_TO:
        return _lowest_by_pairs(scores, k)
    if n <= _SORT_UP_TO:
        order = torch.sort(scores, dim=1, stable=True).indices[:, :k]
        return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, True)
    threshold = _kth_lowest(scores, k)
    mask = scores <= threshold
    surplus = mask.sum(dim=1) - k
    rows = surplus.nonzero().flatten()
    for some in torch.split(rows, max(1, _TIES_AT_ONCE // n)):
        tied = scores[some] == threshold[some]
        first_to_drop = tied.sum(dim=1, keepdim=True) - surplus[some].unsqueeze(1)
        mask[some] &= ~(tied & (tied.cumsum(dim=1, dtype=torch.int32) > first_to_drop))
    return mask


def _lowest_by_pairs(scores: Tensor, k: int) -> Tensor:
    """`lowest` for short rows: a score's rank is the number of those below it, and of its equals before it."""
    columns = scores.T.contiguous()  # (n, groups), so that a comparison is of whole rows
    n = len(columns)
    rank = torch.arange(n, dtype=torch.uint8, device=scores.device)[:, None].repeat(1, columns.shape[1])
    for apart in range(1, n):
        lower = (columns[apart:] < columns[:-apart]).view(
            torch.uint8
        )  # the later of two goes before the earlier
        rank[:-apart] += lower
        rank[apart:] -= lower
    return (rank < k).T.contiguous()


def _kth_lowest(scores: Tensor, k: int) -> Tensor:
    """The k-th lowest score of each row, shape (groups, 1)."""
    if scores.device.type != "cpu" or scores.dtype not in (torch.float32, torch.float64):
        found: Tensor = scores.kthvalue(k, dim=1, keepdim=True).values
        return found
    # NumPy's selection takes an eighth of torch's time on a CPU.
    parts = torch.split(scores, max(1, _SELECT_AT_ONCE // scores.shape[1]))
    return torch.cat(
        [torch.from_numpy(np.partition(part.numpy(), k - 1, axis=1)[:, k - 1 : k].copy()) for part in parts]
    )


def lowest_of_rows(scores: Tensor, counts: Sequence[int]) -> Tensor:
    """As `lowest`, with a number for each row; few of them should differ."""
    wanted = torch.tensor(counts, device=scores.device)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    for k in sorted(set(counts)):
        mask[wanted == k] = lowest(scores[wanted == k], k)
    return mask


def lowest_overall(scores: Callable[[], Iterable[Tensor]], k: int) -> Iterator[Tensor]:
    """Masks, one for each tensor of `scores()`, true for the k lowest of all together.

    Ties go to the earlier tensor, then to the lower index. `scores` is called four times and must give the same
    each time: no more than one tensor is held. Exact for fp32 scores without NaN: a radix selection over their bits.
    """
    if k <= 0:
        yield from (torch.zeros_like(s, dtype=torch.bool) for s in scores())
        return
    high, below = _bucket((_ordered(s) >> 16 for s in scores()), k)
    low, _ = _bucket((_low_bits(_ordered(s), high) for s in scores()), k - below)
    threshold = (high - 0x8000) * 0x10000 + low
    ties_left = k - sum(int((_ordered(s) < threshold).sum()) for s in scores())
    for tensor in scores():
        bits = _ordered(tensor)
        mask = bits < threshold
        tied = (bits.reshape(-1) == threshold).nonzero().flatten()[:ties_left]
        ties_left -= len(tied)
        mask.view(-1)[tied] = True
        yield mask


def _low_bits(bits: Tensor, high: int) -> Tensor:
    """The lower halves, shifted to [-32768, 32767], of the keys whose upper half is bucket `high`."""
    return (bits & 0xFFFF)[(bits >> 16) == high - 0x8000] - 0x8000


def _ordered(scores: Tensor) -> Tensor:
    """int32 of the same shape, in the same order as the fp32 `scores`."""
    bits = (scores.float() + 0.0).contiguous().view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _bucket(keys: Iterable[Tensor], k: int) -> tuple[int, int]:
    """The bucket (0..65535) that holds the k-th lowest of keys in [-32768, 32767], and how many lie below it."""
    counts = torch.zeros(0x10000, dtype=torch.int64)
    for key in keys:
        counts += torch.bincount((key.reshape(-1) + 0x8000).long(), minlength=0x10000).cpu()
    cumulative = counts.cumsum(0)
    bucket = int(torch.searchsorted(cumulative, k))
    return bucket, int(cumulative[bucket] - counts[bucket])
