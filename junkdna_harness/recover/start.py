"""Where an arm of recovery begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from junkdna_harness.recover.hold import HoldWeights
from junkdna_harness.recover.masks import Masks


@dataclass(frozen=True)
class Start:
    """Where an arm begins: the model as it is now, the mask, what is known of the compression, what must be held.

    `dense` are the weights before pruning of what the mask is of, where the arm looks at them.
    """

    masks: Masks
    block: Mapping[str, Any]
    hold: HoldWeights
    stored_codes: bool = False
    dense: Mapping[str, Tensor] = field(default_factory=dict)
