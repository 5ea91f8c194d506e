"""What had been done to a model before it came here: its manifest, as far as the weights bear it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import (
    CLEARLY_SPARSE,
    MANIFEST,
    NONE,
    UNKNOWN,
    method_of,
    number,
    read_manifest,
    share,
    snapshot,
)
from difficulty.runs.identity import DENSE, Method
from difficulty.runs.level import TOLERANCE, level_of
from difficulty.runs.running import Running, weights_alone
from junkdna_harness.compress.change import Outcome
from junkdna_harness.compress.gguf_file import PREFIX as GGUF
from junkdna_harness.compress.notation import NM, Pattern, read_pattern
from junkdna_harness.compress.pattern import keeps, pattern_in
from junkdna_harness.compress.report import zeros_by_module
from junkdna_harness.compress.structure import gone, together
from junkdna_harness.compress.targets import Target, find_targets

HAD_BEEN, DONE = "the checkpoint had been", ("pruned", "trained")
NOT_OF_THESE = f"{MANIFEST} is not of these weights"


@dataclass(frozen=True)
class Before:
    """A model as it came: `sparsity` of its targets as measured; the rest from its manifest, method 'none' without one.

    `level` is the one under which it stands in tables, `packing` the N:M that its weights keep, `running` what the manifest wants
    rounded while the model runs.
    """

    sparsity: float
    zeros: Mapping[str, int]
    packing: NM | None = None
    method: str = NONE
    on_top_of: str | None = None
    pattern: Pattern | None = None
    level: float | None = None
    requested: float | None = None
    scope: str | None = None
    seed: int = 0
    bits: int | None = None
    group: int | None = None
    symmetric: bool = False
    act_order: bool = False
    shared_bits: float | None = None
    quantizer: str | None = None
    only_rounded: bool = False
    rounded_elsewhere: bool = False
    calibration: dict[str, Any] | None = None
    allocation: dict[str, Any] | None = None
    structure: dict[str, Any] | None = None
    running: Running = field(default_factory=Running)
    warnings: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """True where a manifest says by which method it was pruned, or how it was trained after that."""
        return self.method != NONE

    @property
    def recovered(self) -> bool:
        """True where training followed."""
        return Method.parse(self.method).recovered

    @property
    def name(self) -> str:
        """The whole of it, as one word: what a later pruning is on top of."""
        if self.only_rounded:
            return str(self.quantizer)
        block = {"method": self.method, "pattern": str(self.pattern or ""), "on_top_of": self.on_top_of}
        return str(method_of(block)).replace(" ", "_") if self.known else UNKNOWN

    @property
    def sparse(self) -> bool:
        """True where its zeros are those of pruning, so that they have to stay: quantization makes zeros of its own."""
        little = self.known and not self.recovered and bool(self.level)
        return (self.sparsity >= CLEARLY_SPARSE or little) and not self.only_rounded

    @property
    def compressed(self) -> bool:
        """True where a table names it after something else than what is done to it now."""
        return self.only_rounded or self.sparse or (self.known and (self.recovered or bool(self.level)))

    def describe(self) -> str:
        """E.g. 'wanda 2:4, level 0.5'; for one sentence."""
        nm = (
            f" {self.pattern}"
            if isinstance(self.pattern, NM) and str(self.pattern) not in self.method
            else ""
        )
        name = f"{self.method}{nm}" if self.known else "by an unknown method"
        return f"{name}, level {self.level:.4g}" if self.level is not None else name

    def outcome(self) -> Outcome:
        """An outcome that begins with all this: the report of a model to which nothing has been done yet."""
        method = str(self.quantizer) if self.only_rounded else self.method
        return Outcome(
            method, self.pattern, self.scope, self.seed, "quantized" if self.only_rounded else "pruned",
            requested=self.requested, sparsity=self.sparsity, level=self.level, packing=self.packing, bits=self.bits, group=self.group,
            symmetric=self.symmetric, act_order=self.act_order, shared_bits=self.shared_bits, quantizer=self.quantizer, calibration=self.calibration,
            allocation=self.allocation, structure=self.structure, on_top_of=self.on_top_of, warnings=list(self.warnings),
        )  # fmt: skip


def look_before(
    model: nn.Module, targets: Sequence[Target], manifest: Mapping[str, Any] | None = None
) -> Before:
    """What had been done to `model`. `manifest` None: that of the folder from which transformers loaded it.

    Raises:
        UsageError: that manifest is no JSON object.
    """
    if manifest is None:
        manifest = manifest_of_loaded(model)
    zeros = zeros_by_module(targets)
    sizes: dict[str, int] = {}
    for target in targets:
        sizes[target.module_name] = sizes.get(target.module_name, 0) + target.numel
    shares = {name: zeros[name] / sizes[name] for name in zeros}
    sparsity = sum(zeros.values()) / sum(sizes.values())
    warnings = _unlike(manifest, shares, sparsity) or _of_another_size(manifest, model)
    if not manifest or warnings:
        packing = pattern_in(targets, sparsity) if sparsity >= CLEARLY_SPARSE else None
        return Before(sparsity, zeros, packing, warnings=tuple(warnings))
    running = Running.of(manifest, MANIFEST)
    told = _told(weights_alone(manifest), targets, sparsity, zeros)
    elsewhere = told.bits is not None and _other_targets(model, targets, manifest)
    return replace(told, running=running, rounded_elsewhere=elsewhere)


def manifest_of_loaded(model: nn.Module) -> dict[str, Any]:
    """The manifest of the folder, or the cached snapshot, from which transformers loaded `model`; empty where it came from
    elsewhere.

    Raises:
        UsageError: it is no JSON object.
    """
    name = getattr(getattr(model, "config", None), "_name_or_path", None)
    if not isinstance(name, str) or not name:
        return {}
    if Path(name).is_dir():
        return read_manifest(name)
    found = snapshot(name)
    # The model does not say of which revision it is: where several lie in the cache, none of them is known to be its own.
    return {} if found is None or len(list(found.parent.iterdir())) > 1 else read_manifest(found)


def refuse_rounding_again(before: Before) -> None:
    """Refuse to quantize what was quantized: it would count as rounded once, from the original.

    Raises:
        UsageError: names what had been done.
    """
    if before.bits is not None:
        raise UsageError(
            f"the checkpoint is quantized already ({before.quantizer}, {before.bits} bits, by its {_source(before)}); rounded "
            f"twice it would pass for the original rounded once. Quantize the checkpoint that it was made from."
        )


def refuse_a_rounded_file(manifest: Mapping[str, Any]) -> None:
    """`refuse_rounding_again` of a GGUF file by its own manifest, before its weights are unpacked.

    Raises:
        UsageError: names how it was rounded.
    """
    bits = number(manifest, "bits")
    if bits is not None:
        refuse_rounding_again(Before(0.0, {}, bits=int(bits), quantizer=manifest.get("method")))


def refuse_other_targets(before: Before) -> None:
    """Refuse to go on with a checkpoint of which other weights were rounded than are targeted now: their bits would be counted alike.

    Raises:
        UsageError: says so.
    """
    if before.rounded_elsewhere:
        raise UsageError(
            f"the checkpoint was quantized ({before.quantizer}, {before.bits} bits) in other weights than are targeted now, which would "
            "all be counted with its bits. Give the targets= and exclude= that it was quantized with."
        )


def _other_targets(model: nn.Module, targets: Sequence[Target], manifest: Mapping[str, Any]) -> bool:
    """True where a manifest is of other targets."""
    told, left = (tuple(str(one) for one in manifest.get(name) or ()) for name in ("targets", "exclude"))
    try:
        rounded = find_targets(model, told, left)
    except UsageError:
        return True
    return {target.name for target in rounded} != {target.name for target in targets}


def _source(before: Before) -> str:
    return "GGUF file" if str(before.quantizer).startswith(f"{GGUF}-") else MANIFEST


def refuse_running_again(before: Before) -> None:
    """Refuse to change a model whose manifest wants something rounded while it runs: that was of these weights.

    Raises:
        UsageError: names what is rounded.
    """
    if before.running:
        raise UsageError(
            f"the checkpoint has {before.running.describe()}, by its {MANIFEST}, which is done last. Compress the checkpoint that it was made "
            "from, and ask for all at once."
        )


def not_believed(warnings: Iterable[str]) -> bool:
    """True where a report's warnings say that the manifest was of other weights."""
    return any(warning.startswith(NOT_OF_THESE) for warning in warnings)


def tells_of_before(warning: str) -> bool:
    """True for a warning of a report that only says how the model came; whoever loaded it says that in words of its own."""
    return warning.startswith(
        ("asked for ", "nothing was removed", *(f"{HAD_BEEN} {done} " for done in DONE))
    )


def _unlike(manifest: Mapping[str, Any], shares: Mapping[str, float], sparsity: float) -> list[str]:
    """A warning where the manifest speaks of other weights: it is not believed then."""
    told = manifest.get("sparsity_by_module")
    listed = told if isinstance(told, Mapping) else {}
    pairs = [
        (shares[name], listed[name], name) for name in shares if isinstance(listed.get(name), (int, float))
    ]
    if not listed and isinstance(manifest.get("sparsity_targeted"), (int, float)):
        pairs = [(sparsity, manifest["sparsity_targeted"], "the model")]
    for seen, said, name in pairs:
        if abs(seen - said) > TOLERANCE:
            return [
                f"{NOT_OF_THESE}: it says that {said:.4g} of {name} is zero, measured {seen:.4g}; "
                f"how they were made is taken as unknown"
            ]
    return []


def _of_another_size(manifest: Mapping[str, Any], model: nn.Module) -> list[str]:
    """A warning where the manifest says that blocks or experts are gone, and the model is not what they left."""
    structure = manifest.get("structure")
    if not isinstance(structure, Mapping):
        return []
    said, here = structure.get("weights_left"), sum(p.numel() for p in model.parameters())
    if said == here:
        return []
    return [
        f"{NOT_OF_THESE}: it says that {said} weights are left of the {structure.get('unit')}, and there are {here}; how they were made "
        "is taken as unknown"
    ]


def _told(
    manifest: Mapping[str, Any], targets: Sequence[Target], sparsity: float, zeros: Mapping[str, int]
) -> Before:
    kind, method = manifest.get("kind"), str(manifest.get("method") or NONE)
    name = Method.parse(method)
    bits, group, seed = (number(manifest, key) for key in ("bits", "group_size", "seed"))
    pattern, warnings = _pattern(manifest.get("pattern"), targets)
    level = share(manifest, "level")
    if not name.recovered and bits is None:
        # Training fills zeros and rounding makes some: only without them do the weights say how many were removed.
        asked = pattern.level if level is None and pattern is not None else level
        level, warning = level_of(asked, together(gone(manifest.get("structure")), sparsity))
        warnings += [] if warning is None else [warning]
    only_rounded = kind == "quantized" and not name.recovered
    return Before(
        sparsity,
        zeros,
        packing=pattern if isinstance(pattern, NM) else pattern_in(targets, sparsity),
        method=NONE if only_rounded or method == DENSE else method,
        on_top_of=None if only_rounded or not manifest.get("on_top_of") else str(manifest["on_top_of"]),
        pattern=pattern,
        level=None if only_rounded else level,
        requested=share(manifest, "requested_sparsity"),
        scope=manifest.get("scope"),
        seed=int(seed or 0),
        bits=None if bits is None else int(bits),
        group=None if group is None else int(group),
        symmetric=bool(manifest.get("symmetric")),
        act_order=bool(manifest.get("act_order")),
        shared_bits=number(manifest, "shared_bits"),
        quantizer=str(manifest.get("quantizer") or name.base) if bits is not None else None,
        only_rounded=only_rounded and bits is not None,
        calibration=manifest.get("calibration"),
        allocation=manifest.get("allocation"),
        structure=manifest.get("structure"),
        warnings=tuple(warnings),
    )


def _pattern(text: object, targets: Sequence[Target]) -> tuple[Pattern | None, list[str]]:
    """The manifest's pattern; an N:M that the weights do not keep is none any more."""
    if not isinstance(text, str):
        return None, []
    pattern = read_pattern(text)
    if isinstance(pattern, NM) and not keeps(targets, pattern):
        return None, [f"{MANIFEST} says {pattern}, which the weights do not keep"]
    return pattern, []
