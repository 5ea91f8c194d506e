"""Rounding while the model runs: begun on a model, told in its report, taken off again.

Weights cannot hold it. It lies on the model as hooks, until `stop_running` takes them off, and stands in the manifest, from which our wrappers
put it on again (`resume`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import of_block
from difficulty.runs.identity import DENSE, Method
from difficulty.runs.running import STATIC, WEIGHTS_ALONE, Running
from junkdna_harness.compress.activations import Activations, find_inputs, measuring, rounding
from junkdna_harness.compress.beside import DEFAULT_KV_TOKENS
from junkdna_harness.compress.bits import DENSE_BITS
from junkdna_harness.compress.calibration import load_calibration, longest_input
from junkdna_harness.compress.kv import CacheGrid, Found, few_tokens, find_cache
from junkdna_harness.compress.report import CompressionReport

if TYPE_CHECKING:
    from junkdna_harness.compress.quant_spec import QuantSpec
    from junkdna_harness.compress.spec import PruneSpec
    from junkdna_harness.compress.targets import Target

PROBED = 64  # tokens of the pass that shows which layers get inputs
TOKENS_AT_ONCE = 2048  # of calibration text, in one pass
_LIES = "_junkdna_running"  # on a model: what is rounded while it runs
# What a report says otherwise of weights alone.
_OF_WEIGHTS = (
    "kind", "method", "pattern", "level", "bits", "scope", "requested_sparsity", "effective_bits", "effective_bits_all",
)  # fmt: skip


@dataclass
class Begun:
    """What is rounded while a model runs: `scales` are the static ones, layer -> largest |x|."""

    running: Running
    scales: Mapping[str, float] = field(default_factory=dict)
    open_: ExitStack = field(default_factory=ExitStack)

    def __reduce__(self) -> Any:
        """Refuse `copy` and `pickle`: the copy's layers would not be those that are rounded.

        Raises:
            UsageError: says what to do instead.
        """
        raise UsageError(
            f"a model that has {self.running.describe()} cannot be copied. Copy it first, or take that off by "
            "junkdna_harness.compress.stop_running(model)."
        )


@dataclass
class Prepared:
    """Rounding that was looked into, and is not begun yet."""

    model: nn.Module
    running: Running
    cache: Found | None
    inputs: Activations | None
    warnings: list[str]

    def begin(self, scales: Mapping[str, float]) -> Begun:
        """Round from now on; `scales` are the static ones of layers that have some."""
        begun = Begun(self.running, scales)
        if self.inputs is not None and self.running.activations is not None:
            for one in self.inputs.inputs.values():
                one.most = scales.get(one.name)
            begun.open_.enter_context(self.inputs.seen_by(rounding(self.running.activations)))
        if self.cache is not None:
            begun.open_.enter_context(self.cache.rounding(_rounding(self.running)))
        self.model.__dict__[_LIES] = begun
        return begun


def prepare(
    model: nn.Module,
    running: Running,
    targets: Sequence[Target],
    tokens: int | None = None,
    changes: bool = True,
) -> Prepared:
    """Look, before anything is changed, whether `running` can be done on `model`; activations are those of `targets`, and `tokens` are those
    whose cache is counted. `changes`: weights will be changed.

    Raises:
        UsageError: it cannot, or something is rounded already.
    """
    if (running or changes) and (lies := begun_on(model)):
        raise UsageError(
            f"the model has {lies.running.describe()} already. Take that off first: junkdna_harness.compress.stop_running(model)."
        )
    if running.kv_bits is not None:
        _tokens(model, tokens)
    warnings: list[str] = []
    cache = None if running.kv_bits is None else find_cache(model, _rounding(running))
    inputs = None if running.activations is None else find_inputs(model, targets)
    if inputs is not None:
        _pass_through(model, inputs)
        warnings += _unseen(inputs)
    return Prepared(model, running, cache, inputs, warnings)


def run_rounded(
    prepared: Prepared, spec: PruneSpec | QuantSpec, report: CompressionReport, tokenizer: Any
) -> CompressionReport:
    """Begin what was prepared for `spec`; `report` is that of the weights, which are what they will be, and is told of the rest.

    Raises:
        UsageError: static scales are wanted, and the calibration text cannot be read.
    """
    running = prepared.running
    if not running:
        return report
    scales: dict[str, float] = {}
    facts = dict(report.calibration) if report.calibration else None
    if prepared.inputs is not None and running.activation_scale == STATIC:
        scales, facts = _calibrated(prepared, spec, tokenizer)
    prepared.begin(scales)
    return _told(prepared, report, spec.kv_tokens, scales, facts)


def resume(model: nn.Module, manifest: Mapping[str, Any], targets: Sequence[Target]) -> list[str]:
    """Round what the believed `manifest` of `model` says; returns warnings.

    Raises:
        UsageError: the manifest is damaged, or the model cannot be run so.
    """
    if not (running := Running.of(manifest)):
        return []
    given = manifest.get("activation_scales")
    scales = {str(name): float(most) for name, most in given.items()} if isinstance(given, Mapping) else {}
    prepared = prepare(model, running, targets)
    if running.activation_scale == STATIC and prepared.inputs is not None:
        missing = [one.name for one in prepared.inputs.inputs.values() if one.name not in scales]
        if len(missing) == len(prepared.inputs.inputs):
            raise UsageError(
                "the manifest says activation_scale=static and holds no activation_scales. Quantize the checkpoint again."
            )
        prepared.warnings += _dynamic_after_all(prepared.inputs, scales)
    prepared.begin(scales)
    return prepared.warnings


def begun_on(model: nn.Module) -> Begun | None:
    """What is rounded while `model` runs; None where nothing is."""
    found: Begun | None = model.__dict__.get(_LIES)
    return found


def stop_running(model: nn.Module) -> None:
    """Take off what is rounded while `model` runs; nothing happens where nothing is.

    Examples:
        >>> from transformers import AutoModelForCausalLM
        >>> from junkdna_harness.embedded import model_path
        >>> model = AutoModelForCausalLM.from_pretrained(model_path())
        >>> from junkdna_harness.compress import QuantSpec, quantize
        >>> report = quantize(model, QuantSpec.from_strings({"method": "none", "kv_bits": 8}))
        >>> stop_running(model)
    """
    begun = model.__dict__.pop(_LIES, None)
    if begun is not None:
        begun.open_.close()


def facts_of(model: nn.Module) -> str:
    """All that decides the answers of `model` beside its weights here, as text; empty where nothing is rounded."""
    begun = begun_on(model)
    return "" if begun is None else f"{begun.running} {sorted(begun.scales.items())}"


def _rounding(running: Running) -> CacheGrid:
    return CacheGrid(running.kv_bits or DENSE_BITS, running.kv_group_size)


@torch.no_grad()
def _pass_through(model: nn.Module, inputs: Activations) -> None:
    with inputs.seen_by(lambda _, values: values):
        most = longest_input(model) or PROBED
        _forward(model, few_tokens(model, min(PROBED, most)))


def _forward(model: nn.Module, ids: torch.Tensor) -> None:
    training = model.training
    model.eval()
    try:
        model(input_ids=ids, use_cache=False)
    finally:
        model.train(training)


@torch.no_grad()
def _calibrated(
    prepared: Prepared, spec: PruneSpec | QuantSpec, tokenizer: Any
) -> tuple[dict[str, float], dict[str, Any]]:
    """The largest |x| of each layer on the calibration text, with nothing rounded but the weights, and what text that was."""
    model, inputs = prepared.model, prepared.inputs
    assert inputs is not None
    calibration = load_calibration(
        spec.calibration, tokenizer, model, nsamples=spec.nsamples, seqlen=spec.seqlen, seed=spec.seed
    )
    device = few_tokens(model, 1).device
    with inputs.seen_by(measuring):
        for batch in torch.split(calibration.ids, max(1, TOKENS_AT_ONCE // calibration.ids.shape[1])):
            _forward(model, batch.to(device))
    scales = {one.name: one.most for one in inputs.inputs.values() if one.most is not None}
    _refuse_unfinite(scales)
    prepared.warnings += _dynamic_after_all(inputs, scales)
    return scales, calibration.to_dict()


def _refuse_unfinite(scales: Mapping[str, float]) -> None:
    for name, most in scales.items():
        if not most < float("inf"):  # also refuses nan
            raise UsageError(
                f"the inputs of {name} are NaN or infinite on the calibration text, so they have no scale. Load the model with dtype=float32 or bfloat16."
            )


def _unseen(inputs: Activations) -> list[str]:
    """A warning where a layer got no input: an expert that was not chosen, or a weight that is used otherwise than as a layer."""
    unseen = inputs.unseen()
    if not unseen:
        return []
    share = sum(one.weights for one in unseen) / inputs.weights
    return [
        f"{len(unseen)} layers with {share:.0%} of the targeted weights got no input in a pass over {PROBED} tokens, so it is not known whether "
        f"their activations are rounded, e.g. {unseen[0].name}"
    ]


def _dynamic_after_all(inputs: Activations, scales: Mapping[str, float]) -> list[str]:
    missing = [one for one in inputs.inputs.values() if one.name not in scales]
    if not missing:
        return []
    return [
        f"{len(missing)} layers saw no calibration token and have a scale for each token instead of a static one, e.g. {missing[0].name}"
    ]


def _told(
    prepared: Prepared,
    report: CompressionReport,
    tokens: int | None,
    scales: Mapping[str, float],
    calibration: dict[str, Any] | None,
) -> CompressionReport:
    running, cache = prepared.running, prepared.cache
    facts: dict[str, Any] = {}
    if running.activations is not None:
        facts |= {"activations": running.activations, "activation_scale": running.activation_scale}
        facts |= {"activation_scales": dict(scales)} if scales else {}
    if cache is not None:
        counted = _tokens(prepared.model, tokens)
        bits = cache.bits_a_number(counted, _rounding(running))
        saved = (DENSE_BITS - bits) * cache.numbers(counted) / max(1, report.weights_targeted)
        facts |= {
            "kv_bits": running.kv_bits, "kv_group_size": running.kv_group_size, "kv_effective_bits": bits, "kv_tokens": counted,
            "kv_saved_bits": saved,
        }  # fmt: skip
    block = with_running(report.to_dict(), facts)
    warnings = list(prepared.warnings)
    if facts.get("kv_saved_bits", 0.0) > report.effective_bits:
        warnings.append(
            f"the cache of {facts['kv_tokens']} tokens saves more than the weights take, so effective_bits is 0, which no weights can equal; "
            "count fewer by kv_tokens="
        )
    return replace(
        report, **{name: block[name] for name in _OF_WEIGHTS}, calibration=calibration,
        running={**facts, WEIGHTS_ALONE: block[WEIGHTS_ALONE]}, warnings=(*report.warnings, *warnings),
    )  # fmt: skip


def of_weights(report: CompressionReport) -> CompressionReport:
    """The report without what is rounded while the model runs."""
    return replace(report, **report.running[WEIGHTS_ALONE], running={}) if report.running else report


def with_running(block: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The `block` of weights, told of what is rounded while the model runs: `facts`, as `CompressionReport.running` has them.

    What the cache saves counts as if the weights took less: the two together are what equal memory is about.
    """
    if not (running := Running.of(facts)):
        return dict(block)
    told = {**block, **facts, WEIGHTS_ALONE: {name: block.get(name) for name in _OF_WEIGHTS}}
    if of_block(block)[0] == Method(DENSE):
        method, bits = running.alone
        told |= {"kind": "quantized", "method": method, "bits": bits, "pattern": None, "level": None}
        told |= {"scope": None, "requested_sparsity": None}
    else:
        told["method"] = str(running.named(Method.parse(str(block["method"]))))
    saved = float(facts.get("kv_saved_bits", 0.0))
    told["effective_bits"] = max(0.0, block["effective_bits"] - saved)
    if block.get("effective_bits_all") is not None:
        share = block["weights_targeted"] / max(1, block["weights_all"])
        told["effective_bits_all"] = max(0.0, block["effective_bits_all"] - saved * share)
    return told


def _tokens(model: nn.Module, given: int | None) -> int:
    most = longest_input(model)
    if given is None:
        return min(DEFAULT_KV_TOKENS, most or DEFAULT_KV_TOKENS)
    if most is not None and given > most:
        raise UsageError(f"kv_tokens={given} is more than the {most} tokens that the model takes. Give less.")
    return given
