"""Masks by parameter: which weights of a model are kept, in the shape in which they are stored."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from difficulty.errors import UsageError
from junkdna_harness.compress.targets import find_targets

Masks = dict[str, Tensor]  # parameter name -> bool, True = kept


def kept_masks(model: nn.Module, targets: Sequence[str] = (), exclude: Sequence[str] = ()) -> Masks:
    """True where a targeted weight is not zero; parameters without a targeted weight are left out."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    masks: Masks = {}
    for target in find_targets(model, targets, exclude):
        name = names[id(target.parameter)]
        stored = target.parameter.data
        mask = masks.setdefault(name, torch.ones(stored.shape, dtype=torch.bool, device=stored.device))
        kept = target.weight != 0
        (mask if target.expert is None else mask[target.expert]).copy_(kept.T if target.transposed else kept)
    return masks


def sparsity(masks: Masks) -> float:
    """Fraction of the masks' weights that are removed."""
    total = sum(mask.numel() for mask in masks.values())
    return sum(int((~mask).sum()) for mask in masks.values()) / total if total else 0.0


def same_shapes(masks: Masks, model: nn.Module) -> None:
    """Check that masks belong to a model of this shape.

    Raises:
        UsageError: names the first parameter that does not fit.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        found = parameters.get(name)
        if found is None or found.shape != mask.shape:
            there = "is not there" if found is None else f"has shape {tuple(found.shape)}"
            raise UsageError(
                f"the mask was made for another model: it has {name!r} of shape {tuple(mask.shape)}, which {there} in "
                f"{type(model).__name__}. Use the model that the mask was made from."
            )
