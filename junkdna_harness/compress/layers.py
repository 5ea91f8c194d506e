"""`layers`: whole decoder blocks go, those that change their input least (block influence: ShortGPT, Men et al. 2024, arXiv 2403.03853).

The influence of a block is 1 - the mean cosine similarity, over all calibration tokens, of the hidden states that go into it and come out.
All are measured on the dense model, and the lowest go at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.change import Progress
from junkdna_harness.compress.flow import hidden_out
from junkdna_harness.compress.passes import hidden_in, look_through, run_through
from junkdna_harness.compress.skeleton import (
    INDEX_NAMES,
    change_config,
    check_runs,
    compare,
    refused,
    set_values,
    some_tokens,
)
from junkdna_harness.compress.targets import find_blocks

CLOSE = 1e-3  # of the largest logit: reduced precision may add in another order


def block_influence(model: nn.Module, ids: Tensor, progress: Progress | None = None) -> list[float]:
    """The influence of every block, on token numbers `ids`, shape (samples, length); in fp32.

    Raises:
        UsageError: blocks are not called once with hidden states each.
    """
    _, blocks = find_blocks(model)
    sums = [0.0] * len(blocks)
    tokens = [0] * len(blocks)

    def hook(index: int) -> Any:
        def see(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            into, out = hidden_in(args, kwargs), hidden_out(output)
            if not isinstance(into, Tensor) or not isinstance(out, Tensor) or into.shape != out.shape:
                raise refused(model, "its blocks do not turn hidden states into hidden states")
            similar = nn.functional.cosine_similarity(into.float(), out.float(), dim=-1)
            sums[index] += float(similar.sum(dtype=torch.float64))
            tokens[index] += similar.numel()

        return see

    look_through(model, ids, [(block, hook(index)) for index, block in enumerate(blocks)], progress)
    if set(tokens) != {ids.numel()}:
        raise refused(model, "its blocks do not run once for each input")
    return [1 - total / ids.numel() for total in sums]


def keep_blocks(model: nn.Module, kept: Sequence[int]) -> None:
    """Drop all decoder blocks but those `kept`, in place: blocks are numbered anew, and the configuration is cut.

    On a few tokens the model must say what it says where the other blocks hand on their input.

    Raises:
        UsageError: this architecture cannot be cut; the model may have been changed in part then (`Anatomy` puts it back).
    """
    name, blocks = find_blocks(model)
    config: Any = model.config.get_text_config()  # type: ignore[operator,union-attr]
    if len(set(blocks)) != len(blocks) or config.num_hidden_layers != len(blocks):
        raise refused(model, f"its configuration does not tell its {len(blocks)} blocks apart")
    changes = layer_changes(config, kept)
    found = compare(model, changes, lambda part: _place(part, name, kept))
    if found.rows:
        raise refused(model, f"{found.rows[0].owner}.{found.rows[0].name} depends on the number of blocks")
    for owner, key, value in found.values:
        if owner.startswith(f"{name}.") and key not in INDEX_NAMES:
            raise refused(model, f"{key} of {owner} would be {value!r}, for it depends on the block's place")
    ids = some_tokens(model)
    dropped = [block for index, block in enumerate(blocks) if index not in kept]
    expected = run_through(model, ids, [(block, _hand_on) for block in dropped])
    parent, _, last = name.rpartition(".")
    set_values(model, found.values)  # before the names of modules change
    setattr(model.get_submodule(parent), last, nn.ModuleList([blocks[index] for index in kept]))
    change_config(config, changes)
    check_runs(model, f"{len(kept)} blocks")
    logits = run_through(model, ids, [])
    if not torch.allclose(logits, expected, rtol=0, atol=CLOSE * float(expected.abs().max())):
        raise refused(model, "what its blocks do depends on which others are there")


def _hand_on(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """A block's output with its input as hidden states."""
    into = hidden_in(args, kwargs)
    return into if isinstance(output, Tensor) else (into, *output[1:])


def _place(part: str, name: str, kept: Sequence[int]) -> str:
    """Where a module of the smaller model is in the larger one."""
    if not part.startswith(f"{name}."):
        return part
    index, dot, rest = part[len(name) + 1 :].partition(".")
    return f"{name}.{kept[int(index)]}{dot}{rest}" if int(index) < len(kept) else part


def layer_changes(config: Any, kept: Sequence[int]) -> dict[str, Any]:
    """What changes in a configuration where only the blocks `kept` stay: their number, and lists by block or of blocks.

    Raises:
        UsageError: blocks share keys and values with others.
    """
    depth = config.num_hidden_layers
    changes: dict[str, Any] = {"num_hidden_layers": len(kept)}
    for name, value in vars(config).items():
        if name.startswith("_") or "token" in name:
            continue
        if name in ("num_kv_shared_layers", "scale_attn_by_inverse_layer_idx") and value:
            raise UsageError(
                f"method=layers cannot cut a model with {name}={value}: what a block does depends on which others are there. "
                "Use a method that removes single weights."
            )
        if name == "first_k_dense_replace" and isinstance(value, int):
            changes[name] = sum(index < value for index in kept)
        elif isinstance(value, (list, tuple)) and value:
            cut = _cut_list(name, value, kept, depth)
            if cut is not None:
                changes[name] = type(value)(cut)
    return changes


def _cut_list(name: str, value: Sequence[Any], kept: Sequence[int], depth: int) -> list[Any] | None:
    """A list that says something of each block, or that names blocks; None for other lists."""
    numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    of_blocks = numbers and list(value) == sorted({one for one in value if 0 <= one < depth})
    if of_blocks and "layer" in name and (len(value) < depth or list(value) == list(range(depth))):
        return [new for new, old in enumerate(kept) if old in value]
    return [value[index] for index in kept] if len(value) == depth else None
