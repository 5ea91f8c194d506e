"""Two models' predictions of the same tokens, token by token.

With p the dense model's distribution over the vocabulary and q the other's, natural logarithms throughout:

* loss: -ln of the probability of the text's own token, in nats;
* divergence: KL(p || q) = sum_v p(v) (ln p(v) - ln q(v)), in nats; "KLD" of llama.cpp's `--kl-divergence`
  (tools/perplexity/perplexity.cpp), which calls the dense model the base;
* same top: whether both give the highest probability to the same token (llama.cpp's "same top p");
* top-5 overlap: the share of the dense model's five likeliest tokens that are among the other's five;
* acceptance: sum_v min(p(v), q(v)), the expected share of tokens that speculative decoding accepts where q drafts for p
  (Leviathan et al. 2023, arXiv 2211.17192, section 3.2: 1 - D_LK).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from junkdna_harness.texts.scoring import CHUNK, NAN

TOP = 5


@dataclass(frozen=True)
class TokenScores:
    """Scores of n tokens, shape (n,): float32, but `top1` bool; `top_dense`, `top`: the likeliest tokens, int64, shape (n, 5)."""

    loss_dense: Tensor
    loss: Tensor
    kl: Tensor
    top1: Tensor
    top5: Tensor
    acceptance: Tensor
    top_dense: Tensor
    top: Tensor


def compare_logits(dense: Tensor, other: Tensor, targets: Tensor) -> TokenScores:
    """Scores of `targets`, int64, shape (n,), predicted by two models' logits of shape (n, vocabulary), any float dtype.

    Worked out in float32, a chunk of tokens at a time: beyond the logits, memory is a few times `CHUNK` numbers.

    Raises:
        FloatingPointError: a model answers with NaN.
    """
    rows = max(1, CHUNK // dense.shape[-1])
    parts = [
        _compare(dense[i : i + rows], other[i : i + rows], targets[i : i + rows])
        for i in range(0, len(targets), rows)
    ]
    return TokenScores(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(TokenScores)))


def _compare(dense: Tensor, other: Tensor, targets: Tensor) -> TokenScores:
    a, b = dense.float(), other.float()
    highest, top_dense = torch.topk(a, min(TOP, a.shape[-1]), dim=-1)
    highest_other, top = torch.topk(b, min(TOP, b.shape[-1]), dim=-1)
    p, q = torch.softmax(a, -1), torch.softmax(b, -1)
    # The logarithm of the normalizer, from the likeliest token: one pass over the vocabulary less than logsumexp.
    norm, norm_other = (
        logits[:, 0] - share.gather(-1, first[:, :1]).squeeze(-1).log()
        for logits, share, first in ((highest, p, top_dense), (highest_other, q, top))
    )
    right = targets.unsqueeze(-1)
    loss_dense, loss = norm - a.gather(-1, right).squeeze(-1), norm_other - b.gather(-1, right).squeeze(-1)
    acceptance = torch.minimum(p, q).sum(-1).clamp_max_(1.0)
    log_ratio = (a - b).sub_((norm - norm_other).unsqueeze(-1))
    kl = (p * log_ratio).sum(-1)
    if not bool(torch.isfinite(kl).all()):
        if bool(torch.isnan(p).any()) or bool(torch.isnan(q).any()):
            raise FloatingPointError(NAN)
        kl = torch.where(p > 0, p * log_ratio, 0).sum(
            -1
        )  # a token that the dense model cannot give adds nothing
    overlap = (top_dense.unsqueeze(-1) == top.unsqueeze(-2)).any(-1).float().mean(-1)
    return TokenScores(
        loss_dense, loss, kl.clamp_min_(0.0), top_dense[:, 0] == top[:, 0], overlap, acceptance, top_dense, top
    )  # fmt: skip
