"""A model as it is, whatever was done to it before: for measuring predictions, not for changing weights."""

from __future__ import annotations

from typing import Any, ClassVar

from junkdna_harness.compress.quant_spec import QUANT_ARGUMENTS
from junkdna_harness.compress.spec import PRUNE_ARGUMENTS
from junkdna_harness.models.base import JunkDNALM


class GivenLM(JunkDNALM):
    """`hf`, with what is known of the model in `loaded`. One that is not `settled` is to be compressed, and `computing` is its dtype then.

    Raises:
        UsageError: it cannot be loaded.
    """

    NAME: ClassVar[str] = "junkdna-fidelity"

    def __init__(self, settled: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loaded = self.look()
        for warning in self.loaded.warnings:
            self.tell(f"warning: {warning}")
        if settled:
            self.settle()

    @classmethod
    def own_arguments(cls) -> frozenset[str]:
        """Those that make a model another one: without any of them it is as it is."""
        return frozenset((*PRUNE_ARGUMENTS, *QUANT_ARGUMENTS))
