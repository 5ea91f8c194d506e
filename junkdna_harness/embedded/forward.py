"""The forward pass of training: what `LlamaForCausalLM` computes, in fewer operations.

Products of weights are taken in bfloat16 where that is asked for; attention is not, whose backward pass is slow there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from junkdna_harness.embedded.mixture import ARGMAX, Batch


def states(model: Any, tokens: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The states behind the last norm, (rows, length, width); `mask` is added to the scores of attention."""
    config = model.config
    rows, length = tokens.shape
    heads, size, eps = config.num_attention_heads, config.head_dim, config.rms_norm_eps
    x = F.embedding(tokens, model.model.embed_tokens.weight)
    cos, sin = _angles(length, size, config.rope_parameters["rope_theta"])
    width = (x.shape[-1],)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        normed = F.rms_norm(x, width, layer.input_layernorm.weight, eps).to(dtype)
        weights = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]).to(
            dtype
        )
        qkv = F.linear(normed, weights).float().view(rows, length, 3, heads, size)
        qk = _rotate(qkv[:, :, :2], cos, sin)
        q, k, v = (part.transpose(1, 2) for part in (qk[:, :, 0], qk[:, :, 1], qkv[:, :, 2]))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        seen = seen.transpose(1, 2).reshape(rows, length, heads * size).to(dtype)
        x = x + F.linear(seen, attention.o_proj.weight.to(dtype))
        normed = F.rms_norm(x, width, layer.post_attention_layernorm.weight, eps).to(dtype)
        gate = F.silu(F.linear(normed, mlp.gate_proj.weight.to(dtype)))
        up = F.linear(normed, mlp.up_proj.weight.to(dtype))
        x = x + F.linear(gate * up, mlp.down_proj.weight.to(dtype))
    return F.rms_norm(x, width, model.model.norm.weight, eps)


def _angles(length: int, size: int, theta: float) -> tuple[Tensor, Tensor]:
    frequency = 1.0 / theta ** (torch.arange(0, size, 2) / size)
    angles = torch.arange(length)[:, None] * frequency
    return angles.cos()[:, None, None, :], angles.sin()[:, None, None, :]


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def block_mask(example: Tensor) -> Tensor:
    """0 where a token may look, minus a lot elsewhere: back, and within its own example."""
    same = example[:, :, None] == example[:, None, :]
    causal = torch.ones(same.shape[1:], dtype=torch.bool).tril()
    return torch.zeros(same.shape).masked_fill(~(same & causal), torch.finfo(torch.float32).min)[:, None]


def forward(model: Any, batch: Batch, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The weighted sum of the losses, and for each of the batch's rivals whether it was preferred."""
    tokens, weight = torch.from_numpy(batch.tokens), torch.from_numpy(batch.weight)
    hidden = states(model, tokens, block_mask(torch.from_numpy(batch.example)), dtype)
    row, column = weight.nonzero(as_tuple=True)
    before = hidden[row, column - 1].to(dtype)
    logits = F.linear(before, model.lm_head.weight.to(dtype)).float()
    target = tokens[row, column]
    loss = (F.cross_entropy(logits, target, reduction="none") * weight[row, column]).sum()
    with torch.no_grad():
        place = torch.full(tokens.shape, -1)
        place[row, column] = torch.arange(len(row))
        at_row, at_column, other = torch.from_numpy(batch.rivals).unbind(1)
        at = place[at_row, at_column]
        best = logits.max(dim=1).values[at]
        rival = torch.where(other == ARGMAX, best, logits[at, other.clamp(min=0)])
        preferred = rival > logits[at, tokens[at_row, at_column]]
    return loss, preferred


def misses(batch: Batch, preferred: Tensor) -> dict[str, list[int]]:
    """By "family/tier": 1 for each example with a rival that was preferred, else 0."""
    bad = {(row, int(batch.example[row, column])) for row, column, _ in batch.rivals[preferred.numpy()]}
    found: dict[str, list[int]] = {}
    for row, keys in enumerate(batch.keys):
        for number, key in enumerate(keys, start=1):
            found.setdefault(key, []).append(int((row, number) in bad))
    return found
