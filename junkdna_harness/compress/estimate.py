"""What a compression will cost, before it is begun."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from junkdna_harness.compress.beside import calibrates_activations
from junkdna_harness.compress.calibration import default_seqlen
from junkdna_harness.compress.formats import get_format
from junkdna_harness.compress.loading import Source, load_skeleton
from junkdna_harness.compress.notation import NONE
from junkdna_harness.compress.quant_spec import QuantSpec
from junkdna_harness.compress.registry import get_sparsifier
from junkdna_harness.compress.spec import PruneSpec
from junkdna_harness.compress.statistics import Hessian, InputNorm
from junkdna_harness.compress.targets import Target, decoder_blocks, find_targets
from junkdna_harness.presentation.amounts import byte_size, time_span

_SECONDS_A_WEIGHT = 4e-8  # to rank and write one weight on one CPU core; measured, good to a factor of two
_SWEEP_COLUMN = 4e-5  # seconds of overhead for one column of the sweep, measured likewise


@dataclass(frozen=True)
class Estimate:
    """Sizes in bytes, time in seconds (loading and saving not counted); good to a factor of about two."""

    weights: int
    targeted: int
    model_bytes: int
    block_bytes: int
    statistic_bytes: int
    activation_bytes: int
    seconds: float

    @property
    def peak_bytes(self) -> int:
        """Model, working copies of one block, its statistics, and the calibration's hidden states."""
        return self.model_bytes + self.block_bytes + self.statistic_bytes + self.activation_bytes

    def describe(self) -> str:
        """One line."""
        parts = f"{byte_size(self.model_bytes)} model"
        if self.statistic_bytes:
            parts += f", {byte_size(self.statistic_bytes)} statistics, {byte_size(self.activation_bytes)} activations"
        return (
            f"{self.targeted:,} of {self.weights:,} weights; about {byte_size(self.peak_bytes)} of memory ({parts}) "
            f"and {time_span(self.seconds)}"
        )


def estimate(model: nn.Module, spec: PruneSpec | QuantSpec, seqlen: int, device: str = "cpu") -> Estimate:
    """The cost of `spec` on `model`, which may lie on the meta device; `seqlen` as calibration will use it."""
    targets = find_targets(model, spec.targets, spec.exclude)
    blocks = decoder_blocks(model)
    parameters = list(model.parameters())
    itemsize = parameters[0].element_size()
    block = max(sum(p.numel() for p in b.parameters()) for b in blocks)
    largest = max(target.numel for target in targets)
    needs, updates = _needs(spec)
    tokens = spec.nsamples * seqlen if needs else 0
    widths = _input_widths([t for t in targets if t.block == targets[0].block])
    squares = sum(width**2 for width in widths) if needs is Hessian else 0
    flops = tokens * len(blocks) * (2 * 2 * block + 2 * squares)
    if calibrates_activations(spec):  # once more through the model, with its weights as they will be
        flops += spec.nsamples * seqlen * len(blocks) * 2 * block
    seconds = flops / _speed(device) if flops else 0.0
    seconds += sum(t.numel for t in targets) * _SECONDS_A_WEIGHT
    seconds += sum(t.shape[1] for t in targets) * _SWEEP_COLUMN if updates else 0
    hidden = max((t.shape[1] for t in targets), default=0) if not widths else min(widths)
    return Estimate(
        weights=sum(p.numel() for p in parameters),
        targeted=sum(t.numel for t in targets),
        model_bytes=sum(p.numel() * p.element_size() for p in parameters),
        block_bytes=4 * (3 * largest if needs is Hessian else 2 * largest),
        statistic_bytes=4 * (squares + 2 * max(widths, default=0) ** 2)
        if squares
        else 4 * sum(widths) * bool(needs),
        activation_bytes=tokens * hidden * itemsize,
        seconds=seconds,
    )


def estimate_of(source: Source, spec: PruneSpec | QuantSpec) -> Estimate:
    """What `spec` will cost on the model that `source` names; no weight is read.

    Raises:
        UsageError: there is no such model, or its config does not say what it looks like.
    """
    skeleton = load_skeleton(source)
    device = source.device or ("cuda" if torch.cuda.is_available() else "cpu")
    seqlen = spec.seqlen or default_seqlen(skeleton, "cpu" if device == "cpu" else "cuda")
    return estimate(skeleton, spec, seqlen, "cuda" if device == "auto" else device)


def _needs(spec: PruneSpec | QuantSpec) -> tuple[type | None, bool]:
    if isinstance(spec, QuantSpec):
        if not spec.rounds_weights:
            return None, False
        own = get_format(spec.method)
        return (Hessian if own.calibrated else None), own.ordered
    form = None if spec.quantizer is None else get_format(spec.quantizer)
    rounding = form is not None and form.calibrated
    if spec.method == NONE or spec.mask is not None:
        return (Hessian if rounding else None), bool(form and form.ordered)
    if spec.structured:
        needs: type | None = InputNorm if spec.calibrated else None
        return (Hessian if rounding else needs), bool(form and form.ordered)
    method = get_sparsifier(spec.method)
    needs = method.needs if method.calibrated else InputNorm if spec.calibrated else None
    return (Hessian if rounding else needs), method.updates or bool(form and form.ordered)


def _input_widths(targets: list[Target]) -> list[int]:
    """The widths of a block's distinct inputs: linear layers of one width share inputs by twos, experts never do."""
    counts: dict[int, int] = {}
    for target in targets:
        counts[target.shape[1]] = counts.get(target.shape[1], 0) + (2 if target.expert is not None else 1)
    return [width for width, number in counts.items() for _ in range(-(-number // 2))]


def _speed(device: str) -> float:
    """Floating-point operations per second of this machine's matrix product, measured for a moment."""
    size = 512 if device == "cpu" else 4096
    left = torch.randn(size, size, device=device)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        (left @ left).sum().item()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
