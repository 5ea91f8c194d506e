"""`lm_eval --model junkdna-pruned`: a Hugging Face model with weights removed right after loading."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from junkdna_harness.models.base import JunkDNALM


class PrunedLM(JunkDNALM):
    """`hf`, pruned on the fly. Without a method: magnitude, at sparsity 0.5.

    Own arguments: `method`, `sparsity` or `pattern` (N:M, N kept of M), `scope`, `targets`, `exclude`, `mask_seed`,
    `calibration`, `nsamples`, `seqlen`, `mask`, `bits` and `group_size` (quantize what is left).

    Raises:
        UsageError: an argument that cannot be used.
    """

    NAME: ClassVar[str] = "junkdna-pruned"

    def __init__(self, pretrained: Any = None, **kwargs: Any) -> None:
        from junkdna_harness.compress import PRUNE_ARGUMENTS, PruneSpec, prune_model
        from junkdna_harness.compress.notation import NONE
        from junkdna_harness.recover.manifest import recovered_identity

        own = {name: kwargs.pop(name) for name in list(kwargs) if name in PRUNE_ARGUMENTS}
        spec = PruneSpec.from_strings(own)
        super().__init__(pretrained=pretrained, **kwargs)
        report = prune_model(self.model, spec, tokenizer=self.tokenizer)
        self.junkdna = {**report.to_dict(), "model": self.model_name}
        if report.method == NONE and isinstance(pretrained, str):
            self.junkdna |= recovered_identity(pretrained, report.weights_sha256)
        print(f"{self.NAME}: {self.model_name}, {report.summary()}", file=sys.stderr)

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Magnitude at 0.5 on the embedded model, where nothing else was said."""
        filled = super().defaults(given)
        # lm-eval turns the text 'none' into None before it comes here.
        if "mask" in given or given.get("method", "magnitude") in (None, "none"):
            return filled
        if "method" not in given:
            filled["method"] = "magnitude"
        if "sparsity" not in given and "pattern" not in given:
            filled["sparsity"] = 0.5
        return filled

    @classmethod
    def own_arguments(cls) -> frozenset[str]:
        """The names of `--model_args` that are ours."""
        from junkdna_harness.compress import PRUNE_ARGUMENTS

        return frozenset(PRUNE_ARGUMENTS)
