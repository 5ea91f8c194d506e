"""Where an arm of recovery begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from junkdna_harness.recover.hold import HoldWeights
from junkdna_harness.recover.masks import Masks


@dataclass(frozen=True)
class Start:
    """Where an arm begins: the model as it is now, the mask, what is known of the compression, what must be held."""

    masks: Masks
    block: Mapping[str, Any]
    hold: HoldWeights
    stored_codes: bool = False
