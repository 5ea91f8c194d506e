"""Logits of what is learned, and of nothing else: a prompt is read, but the words after each of its tokens are not asked for.

Of a question with a short answer most of the output layer's work is for nothing. The loss is the same sum over the same tokens, in another
order.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch

from junkdna_harness.recover.schedule import IGNORED

SLICED_BY = "slice_logits_to_keep"  # of transformers.modeling_utils, since it takes a mask; earlier versions do without
OTHER_LOSSES = ("torch_compile", "use_liger_kernel", "label_smoothing_factor", "parallelism_config")


def can_skip(model: Any, args: Any) -> bool:
    """True where `model` can be asked for the logits of single tokens, and its loss is transformers' own."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return (
        hasattr(sys.modules[type(base).__module__], SLICED_BY)
        and getattr(base, "loss_type", None) == "ForCausalLM"
        and not any(getattr(args, name, None) for name in OTHER_LOSSES)
    )


def learned_only(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, with a mask of the tokens whose logits are needed, and the labels of these; a batch that is learned whole stays as it is.

    The loss moves labels by one to the left. So the first stands for nothing, and the last of the logits, which no label is left for, are
    those of the last token of all.
    """
    labels = inputs["labels"]
    asked = torch.zeros_like(labels, dtype=torch.bool)
    asked[:, :-1] = labels[:, 1:] != IGNORED
    if bool(asked[:, :-1].all()):
        return dict(inputs)
    targets = labels[:, 1:][asked[:, :-1]]
    asked[-1, -1] = True
    return {
        **inputs,
        "labels": torch.cat([targets.new_full((1,), IGNORED), targets]),
        "logits_to_keep": asked,
    }
