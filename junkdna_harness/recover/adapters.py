"""LoRA and DoRA under a mask: what is trained is exactly what is merged.

With base weight W, mask M (True = may change) and the adapter's weight A(W), a layer computes with W + M*(A(W) - W).
The sparse weights of a pruned model stay zero, and the merged model gives the trained model's outputs.
Reference: MaskLoRA of Zimmer et al., PERP (2312.15230); Hu et al. 2106.09685; Liu et al. 2402.09353 (DoRA).
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.targets import find_targets
from junkdna_harness.recover.masks import Masks

ADAPTER = "default"


def add_adapter(
    model: Any, kind: str, rank: int, alpha: float | None, trainable: Masks | None, seed: int
) -> Any:
    """`model` as a peft model with LoRA or DoRA on the linear layers of its blocks.

    `trainable` (parameter name -> bool) says which weights may change; None leaves peft's own forward (for layers
    that hold codes instead of weights).

    Raises:
        UsageError: the model has no layer that peft can adapt.
    """
    from peft import LoraConfig, get_peft_model

    # Layers that hold codes are no targets of ours; peft finds them itself.
    names: Any = _linear_names(model) if trainable is not None else "all-linear"
    if not names:
        raise UsageError(
            f"{type(model).__name__} has no linear layers in its blocks that an adapter could be put on."
        )
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank if alpha is None else alpha, target_modules=names, use_dora=kind == "dora",
        fan_in_fan_out=trainable is not None and _is_conv1d(model, names[0]), task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(seed)
    adapted = get_peft_model(model, config)
    if trainable is not None:
        for name, layer in _lora_layers(adapted):
            layer.junkdna_mask = trainable.get(f"{name}.weight")
            layer.forward = types.MethodType(_masked_forward, layer)
    return adapted


def merge_adapter(adapted: Any) -> Any:
    """The base model with the adapters folded in under their masks; the same outputs as before."""
    with torch.no_grad():
        for _, layer in _lora_layers(adapted):
            base = layer.get_base_layer()
            base.weight.data.copy_(_effective(layer))
    return adapted.unload()


def _effective(layer: Any) -> Tensor:
    """W + M*(A(W) - W), in the shape in which the base layer stores W."""
    weight: Tensor = layer.get_base_layer().weight
    delta = layer.get_delta_weight(ADAPTER).to(weight.dtype)
    adapted: Tensor = weight + delta
    if ADAPTER in layer.lora_magnitude_vector:
        flat = adapted.T if layer.fan_in_fan_out else adapted  # (out, in)
        # The norm is a constant of the gradient, as in the paper (section 4.3); an all-zero row has norm 0.
        norm = flat.detach().norm(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
        flat = layer.lora_magnitude_vector[ADAPTER].weight[:, None] * flat / norm
        adapted = flat.T if layer.fan_in_fan_out else flat
    if layer.junkdna_mask is None:
        return adapted
    return torch.where(layer.junkdna_mask.to(weight.device), adapted, weight)


def _masked_forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    base, weight = layer.get_base_layer(), _effective(layer)
    weight = weight.T if layer.fan_in_fan_out else weight
    bias = None if base.bias is None else base.bias.to(x.dtype)
    result: Tensor = nn.functional.linear(x, weight.to(x.dtype), bias)
    return result


def _lora_layers(adapted: Any) -> list[tuple[str, Any]]:
    """(name in the base model, layer) of each adapted layer."""
    from peft.tuners.lora import LoraLayer

    base = adapted.get_base_model()
    return [(name, module) for name, module in base.named_modules() if isinstance(module, LoraLayer)]


def _linear_names(model: Any) -> list[str]:
    """Full names of the linear layers of the blocks."""
    return [target.name for target in find_targets(model) if target.expert is None]


def _is_conv1d(model: Any, name: str) -> bool:
    return type(model.get_submodule(name)).__name__ == "Conv1D"
