"""What cannot be compressed is refused before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from difficulty.errors import UsageError
from junkdna_harness.compress.hashing import is_plain
from junkdna_harness.compress.targets import STEP_SIZE, Target, decoder_blocks, is_tower, step_sizes

# To look for a grid: targets, and rows of each; weights side by side; how many of them differ at most.
SAMPLED, NEIGHBOURS, FEW = 16, 16, 12
MUCH = 0.1  # of the weights, left uncompressed: worth a warning


def refuse_quantized(model: nn.Module) -> None:
    """Refuse a checkpoint whose weights are stored as codes.

    Raises:
        UsageError: names the format.
    """
    config = getattr(getattr(model, "config", None), "quantization_config", None)
    if config is not None:
        method = quantization_method(config)
        if method != "gguf":  # transformers unpacks GGUF into plain floats on loading
            raise UsageError(
                f"the checkpoint is quantized already ({method}); pruning and rtn/gptq need plain weights. Load the original, "
                f"or evaluate it as it is with --model junkdna-quantized --model_args method=none."
            )
    for name, parameter in model.named_parameters():
        if not is_plain(parameter):
            raise UsageError(
                f"{name} is stored as {str(parameter.dtype).removeprefix('torch.')}, so the checkpoint is quantized; "
                f"pruning needs plain weights. Load the original."
            )


def quantization_method(config: object) -> str:
    """The name that a quantization config gives its format, in lower case: 'gptq', 'bitsandbytes', ..."""
    given = config.get("quant_method") if isinstance(config, dict) else getattr(config, "quant_method", None)
    return str(getattr(given, "value", given) or "unknown").lower()


def refuse_offloaded(targets: Sequence[Target]) -> None:
    """Refuse weights that lie on disk or wait elsewhere.

    Raises:
        UsageError: names the layer.
    """
    for target in targets:
        if target.parameter.is_meta:
            raise UsageError(
                f"the weights of {target.name} are offloaded. Load the model whole, on one or more devices, "
                f"without offloading to CPU or disk."
            )


def refuse_unfinite(targets: Sequence[Target]) -> None:
    """Refuse weights that cannot be ranked.

    Raises:
        UsageError: names the layer with NaN or infinite weights.
    """
    for target in targets:
        # A sum is NaN or infinite if any term is; only then look closer, because finite terms may overflow it.
        if torch.isfinite(target.weight.sum(dtype=torch.float64)):
            continue
        if not bool(torch.isfinite(target.weight).all()):
            what = "NaN" if bool(torch.isnan(target.weight).any()) else "infinite"
            raise UsageError(
                f"{target.name} has {what} weights, which cannot be ranked. Repair the checkpoint."
            )


def on_a_grid(targets: Sequence[Target]) -> list[str]:
    """A warning where weights that pass for plain ones lie on a grid of four bits or fewer: a checkpoint that was converted.

    Looked at are neighbours by 16s, the smallest groups in use, of some rows of some targets. Plain weights in 16 bits all differ, but
    for one or two; drawn evenly from 16 codes, 10 do.
    """
    few = seen = 0
    for target in targets[:: max(1, len(targets) // SAMPLED)]:
        width = target.shape[1] // NEIGHBOURS * NEIGHBOURS
        rows = target.weight[:SAMPLED, :width].float().reshape(-1, NEIGHBOURS)
        rows = rows[
            (rows != 0).sum(dim=1) >= NEIGHBOURS * 3 // 4
        ]  # where much is pruned few differ in any case
        ordered = rows.sort(dim=1).values
        different = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(dim=1)
        few, seen = few + int((different <= FEW).sum()), seen + len(rows)
    if not seen or few < 0.9 * seen:
        return []
    return [
        f"the weights lie on a grid of few values already (of {NEIGHBOURS} neighbours no more than {FEW} differ), as in a checkpoint "
        "that was converted from 4 bits; quantized again, it says little of the original"
    ]


def unreached(model: nn.Module, targets: Sequence[Target]) -> list[str]:
    """A warning where the model holds much weight that no target reaches, as experts in an unknown form; and one that names the step
    sizes of state-space layers, which are left alone.
    """
    missed = shares_unreached(model, targets)
    said = _steps_left(model, targets)
    if (share := sum(missed.values())) < MUCH:
        return said
    parts = sorted(missed.items(), key=lambda part: -part[1])
    told = ", ".join(f"{name} {size:.0%}" for name, size in parts[:3])
    return [*said, f"{share:.0%} of the weights outside embeddings and head were not targeted: {told}"]


def shares_unreached(model: nn.Module, targets: Sequence[Target]) -> dict[str, float]:
    """The share of each matrix that is no target, blocks taken together, in those outside embeddings, head, and towers."""
    reached = {id(target.parameter) for target in targets}
    within = {
        id(module) for block in decoder_blocks(model) for module in block.modules()
    }  # experts that are looked up
    aside = {
        id(p) for module in model.modules() if isinstance(module, nn.Embedding) and id(module) not in within
        for p in module.parameters()
    }  # fmt: skip
    head = getattr(model, "get_output_embeddings", lambda: None)()
    aside |= {id(p) for p in head.parameters()} if isinstance(head, nn.Module) else set()
    matrices = [
        (name, p) for name, p in model.named_parameters()
        if p.ndim >= 2 and id(p) not in aside and not is_tower(name)
    ]  # fmt: skip
    total = max(1, sum(p.numel() for _, p in matrices))
    missed: dict[str, float] = {}
    for name, p in matrices:
        if id(p) not in reached:
            missed[_list_of(name)] = missed.get(_list_of(name), 0) + p.numel() / total
    return missed


def _steps_left(model: nn.Module, targets: Sequence[Target]) -> list[str]:
    reached = {id(target.module) for target in targets}
    left = [module for module in step_sizes(model) if id(module) not in reached]
    weights = sum(p.numel() for module in left for p in module.parameters() if p.ndim >= 2)
    if not weights:
        return []
    return [
        f"{weights:,} weights that give the step sizes of state-space layers ({STEP_SIZE}) were left alone; targets={STEP_SIZE} reaches them"
    ]


def _list_of(name: str) -> str:
    """What a parameter is called without the number of its block: 'model.layers.3.mlp.up_proj.weight' is of 'model.layers.*.mlp.up_proj'."""
    return ".".join("*" if part.isdigit() else part for part in name.split(".")[:-1]) or name


def without_adapters(model: Any) -> Any:
    """The model alone, after taking out the adapters that are folded into its weights (`merge_adapters`), or switched off: saved with
    them, transformers and peft write the adapters and no model.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    carrying = [(name, module) for name, module in inner.named_modules() if hasattr(module, "get_base_layer")]
    for name, module in carrying:
        inner.set_submodule(name, module.get_base_layer())
    if carrying:
        inner._hf_peft_config_loaded = False
        if hasattr(inner, "peft_config"):
            del inner.peft_config
    return inner


def merge_adapters(model: nn.Module) -> None:
    """Fold adapters into the weights that they stand beside, so that what is pruned is what is used.

    Those of peft's own models, and those that a model of transformers carries itself (`add_adapter`, or an adapter's folder as
    its name). Adapters that are switched off are left alone.
    """
    merge = getattr(getattr(model, "base_model", None), "merge_adapter", None)
    if hasattr(model, "peft_config") and callable(merge):
        merge()
        return
    for module in model.modules():
        carries = hasattr(module, "get_base_layer") and getattr(module, "merged", None) is False
        if carries and not getattr(module, "disable_adapters", False):
            module.merge()  # type: ignore[operator]
