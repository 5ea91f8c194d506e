"""Simulated quantization: weights are rounded to what b bits can hold and stored as ordinary floats.

What was pruned stays pruned: exact zeros are kept, and counted as `prune` with bits counts them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from junkdna_harness.compress.account import make_report
from junkdna_harness.compress.before import Before, look_before, refuse_rounding_again
from junkdna_harness.compress.calibrated import Provider, Walked, change_each
from junkdna_harness.compress.change import Outcome, Progress
from junkdna_harness.compress.checks import (
    merge_adapters,
    refuse_offloaded,
    refuse_quantized,
    refuse_unfinite,
    unreached,
)
from junkdna_harness.compress.gptq import gptq
from junkdna_harness.compress.grid import resolve_group
from junkdna_harness.compress.report import QuantReport
from junkdna_harness.compress.rtn import rtn
from junkdna_harness.compress.spec import DEFAULT_BITS, PruneSpec, QuantSpec, check_simulated
from junkdna_harness.compress.statistics import Hessian, Statistic
from junkdna_harness.compress.targets import Target, find_targets

GPTQ = "gptq"  # one of CALIBRATED_QUANTIZERS


def quantize(
    model: nn.Module,
    spec: QuantSpec | None = None,
    tokenizer: Any = None,
    progress: Progress | None = None,
    *,
    manifest: Mapping[str, Any] | None = None,
) -> QuantReport:
    """What was rounded, after rounding the weights of `model` in place (methods rtn and gptq).

    `tokenizer` is needed by gptq, which reads calibration text. Where the model is pruned its zeros stay, and the report
    is that of a pruned and quantized model: how it was pruned says `manifest` (None: the `junkdna.json` of the folder
    from which transformers loaded it), as far as the weights bear it out; without one the method is 'none'.

    Raises:
        UsageError: the model or the spec cannot be used; nothing has been changed then.
    """
    spec = spec or QuantSpec()
    check_simulated(spec.method)
    started = time.perf_counter()
    with torch.no_grad():
        merge_adapters(model)
        refuse_quantized(model)
        targets = find_targets(model, spec.targets, spec.exclude)
        refuse_offloaded(targets)
        refuse_unfinite(targets)
        before = look_before(model, targets, manifest)
        refuse_rounding_again(before)
        resolve_group(targets, spec.group_size)
        provider = Walked(model, tokenizer)
        provider.prepare(targets, [Hessian] if spec.method == GPTQ else [], spec)
        outcome = _begin(before, spec)
        outcome.warnings += unreached(model, targets) if not spec.targets else []
        round_targets(targets, spec, provider, outcome, before.compressed, progress)
    return make_report(model, targets, spec, outcome, time.perf_counter() - started)


def round_targets(
    targets: Sequence[Target],
    spec: QuantSpec | PruneSpec,
    provider: Provider,
    outcome: Outcome,
    keep: bool,
    progress: Progress | None,
) -> None:
    """Round the targets in place; for a `PruneSpec` by its quantizer. `keep`: what is zero stays zero."""
    method = spec.quantizer if isinstance(spec, PruneSpec) else spec.method
    bits, symmetric = spec.bits or DEFAULT_BITS, spec.symmetric
    group = resolve_group(targets, spec.group_size)
    outcome.bits, outcome.group, outcome.symmetric, outcome.quantizer = bits, group, symmetric, method

    def change(target: Target, statistic: Statistic | None) -> None:
        weight = target.weight.float()
        if not isinstance(statistic, Hessian):
            new = rtn(weight, bits, group, symmetric)  # zero is on every grid
        else:
            new = gptq(weight, statistic, bits, group, symmetric, weight == 0 if keep else None)
        target.weight.copy_(new)

    if method == GPTQ:
        change_each(targets, Hessian, change, provider, outcome, progress, "rounded to nearest")
        return
    for done, target in enumerate(targets):
        if progress:
            progress(done, len(targets), target.name)
        change(target, None)


def _begin(before: Before, spec: QuantSpec) -> Outcome:
    """Pruned and quantized where the model was pruned, so that it stands in tables beside `prune` with bits."""
    if not before.compressed:
        return Outcome(spec.method, seed=spec.seed, kind="quantized", warnings=list(before.warnings))
    outcome = before.outcome()
    if not before.known:
        outcome.warnings.append(
            f"{before.sparsity:.4g} of the targeted weights are zero and stay zero; no manifest says how the checkpoint "
            f"was pruned, so its method is 'none'"
        )
    return outcome
