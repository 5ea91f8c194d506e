"""`lm_eval --model junkdna-quantized`: a Hugging Face model quantized right after, or while, it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import NONE
from difficulty.runs.running import Running
from junkdna_harness.compress.beside import RUNNING_ARGUMENTS
from junkdna_harness.compress.checks import quantization_method
from junkdna_harness.compress.formats import FORMATS
from junkdna_harness.compress.loaded import describe_loaded, loading_config
from junkdna_harness.compress.pruning import measure
from junkdna_harness.compress.quant_spec import QUANT_ARGUMENTS, QuantSpec
from junkdna_harness.compress.quantizing import quantize
from junkdna_harness.compress.report import QuantReport
from junkdna_harness.compress.running import prepare, run_rounded
from junkdna_harness.models.base import JunkDNALM
from junkdna_harness.models.outcome import quantized_block, say, tell

SAYING_HOW = (
    "method",
    "bits",
    "group_size",
    "symmetric",
    "act_order",
    "scheme",
)  # without any of these nothing was asked for


class QuantizedLM(JunkDNALM):
    """`hf`, quantized on the fly. Without arguments: the embedded model, rounded to nearest with 4 bits. A model
    that is quantized already is left as it is.

    Own arguments: `method` (rtn, gptq, awq, fp8, fp8-e5m2, mxfp4, nvfp4, nf4, bnb-int8, bnb-nf4, torchao-int8; kv for the cache
    alone, or none for checkpoints that are quantized already), `bits` (8, 6, 4, 3, 2), `group_size`, `symmetric`, `act_order`, `targets`,
    `exclude`, `calibration`, `nsamples`, `seqlen`, `mask_seed` (of the calibration draw), `activations`, `activation_scale`, `kv_bits`,
    `kv_group_size`, `kv_tokens`, `scheme`.

    Raises:
        UsageError: an argument that cannot be used.
    """

    NAME: ClassVar[str] = "junkdna-quantized"

    def __init__(self, pretrained: Any = None, **kwargs: Any) -> None:
        own = {name: kwargs.pop(name) for name in list(kwargs) if name in QUANT_ARGUMENTS}
        spec = QuantSpec.from_strings(own)
        self._loading_config = loading_config(spec.method)
        super().__init__(pretrained=pretrained, **kwargs)
        loaded = self.look(spec.targets, spec.exclude)
        config = getattr(self.model.config, "quantization_config", None)
        packed = config is not None and quantization_method(config) != "gguf"  # that is unpacked on loading
        done = loaded.bits is not None or packed or bool(Running.of(loaded.manifest))
        leave = done and not any(name in own for name in SAYING_HOW)
        if leave:
            spec = QuantSpec.from_strings({**_beside_weights(own), "method": NONE})
            what = loaded.description if loaded.changed else "quantized"
            tell(self.NAME, f"{self.model_name} is {what} already, so nothing more is rounded")
        if packed and spec.running and not spec.rounds_weights:
            report = self._run_packed(spec)
        elif spec.rounds_weights or spec.running:
            report = quantize(self.model, spec, tokenizer=self.tokenizer, manifest=loaded.manifest)
        elif loaded.changed and loaded.sparsity is not None and spec.method == NONE:
            report = measure(self.model, loaded.targets, loaded.exclude, manifest=loaded.manifest)
        else:
            report = describe_loaded(self.model, spec)
        self.junkdna = quantized_block(loaded, report)
        self.fill({**own, "pretrained": pretrained}, leave)
        self.settle()
        say(self.NAME, self.junkdna)

    def _run_packed(self, spec: QuantSpec) -> QuantReport:
        """The report of weights that are codes, and of the cache, which is rounded from now on."""
        if spec.activations is not None:
            raise UsageError(
                f"{self.model_name} is packed, and activations= rounds the inputs of plain layers. Leave it out, or name the checkpoint that it was "
                "made from."
            )
        running = prepare(self.model, spec.running, [], spec.kv_tokens)
        return run_rounded(running, spec, describe_loaded(self.model, spec), self.tokenizer)

    def _create_model(self, *args: Any, **kwargs: Any) -> None:
        """`HFLM`'s, with the quantization that transformers does on loading where the method asks for it."""
        if self._loading_config is not None:
            kwargs["quantization_config"] = self._loading_config
        super()._create_model(*args, **kwargs)

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Round to nearest with 4 bits on the embedded model, where nothing else was said."""
        filled = super().defaults(given)
        method = given.get("method", "rtn")
        if "method" not in given:
            filled["method"] = method
        if "bits" not in given and "scheme" not in given and method in FORMATS:
            filled["bits"] = FORMATS[method].widths[0]
        return filled

    @classmethod
    def own_arguments(cls) -> frozenset[str]:
        """The names of `--model_args` that are ours."""
        return frozenset(QUANT_ARGUMENTS)


def _beside_weights(own: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that say what is rounded while the model runs, and where."""
    found = {name: value for name, value in own.items() if name in RUNNING_ARGUMENTS}
    return dict(own) if found.get("activations") else found
