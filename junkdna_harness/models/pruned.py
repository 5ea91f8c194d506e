"""`lm_eval --model junkdna-pruned`: a Hugging Face model with weights removed right after loading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from difficulty.runs.checkpoint import NONE
from junkdna_harness.compress.pruning import prune
from junkdna_harness.compress.spec import PRUNE_ARGUMENTS, PruneSpec
from junkdna_harness.models.base import JunkDNALM
from junkdna_harness.models.outcome import pruned_block, say, tell

SAYING_HOW = (
    "method",
    "sparsity",
    "pattern",
    "mask",
    "scope",
    "allocation",
    "criterion",
)  # without any of these nothing was asked for


class PrunedLM(JunkDNALM):
    """`hf`, pruned on the fly. Without a method: magnitude, at sparsity 0.5; a model that is sparse already is left as it is.

    Own arguments: `method`, `sparsity` or `pattern` (N:M, N kept of M), `scope`, `allocation`, `criterion`, `targets`, `exclude`, `mask_seed`,
    `calibration`, `nsamples`, `seqlen`, `mask`, `bits` and `group_size` (quantize what is left), `activations`, `activation_scale`,
    `kv_bits`, `kv_group_size`, `kv_tokens` (rounded while the model runs), `scheme`.

    Raises:
        UsageError: an argument that cannot be used.
    """

    NAME: ClassVar[str] = "junkdna-pruned"

    def __init__(self, pretrained: Any = None, **kwargs: Any) -> None:
        own = {name: kwargs.pop(name) for name in list(kwargs) if name in PRUNE_ARGUMENTS}
        spec = PruneSpec.from_strings(own)  # refuses before the model is loaded
        super().__init__(pretrained=pretrained, **kwargs)
        loaded = self.look(spec.targets, spec.exclude)
        leave = loaded.changed and not any(name in own for name in SAYING_HOW)
        if leave:
            tell(self.NAME, f"{self.model_name} is {loaded.description} already, so nothing more is pruned")
        if leave or spec.method == NONE:  # zeros are counted where its manifest says that they were made
            places = {"targets": loaded.targets, "exclude": loaded.exclude}
            spec = PruneSpec.from_strings({**own, **places, "method": NONE})
        report = prune(self.model, spec, tokenizer=self.tokenizer, manifest=loaded.manifest)
        self.junkdna = pruned_block(loaded, report, spec.name if spec.mask is None else None)
        self.fill({**own, "pretrained": pretrained}, leave)
        self.settle()
        say(self.NAME, self.junkdna)

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
        return frozenset(PRUNE_ARGUMENTS)
