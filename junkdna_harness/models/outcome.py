"""The `junkdna` block: what was evaluated in the end, from what the model was and what was done to it here."""

from __future__ import annotations

from typing import Any

from difficulty.runs.checkpoint import NONE, UNKNOWN, method_of, then
from difficulty.runs.identity import Method, Run
from difficulty.runs.level import TOLERANCE, bears_out
from junkdna_harness.compress.before import tells_of_before
from junkdna_harness.compress.report import CompressionReport
from junkdna_harness.compress.running import of_weights, with_running
from junkdna_harness.models.loaded import Loaded
from junkdna_harness.presentation import console

Block = dict[str, Any]


def pruned_block(loaded: Loaded, report: CompressionReport, method: str | None = None) -> Block:
    """The block of a model that was pruned, or left as it was, with `report` for what was done and `method` for what was
    asked for (None: a mask)."""
    return with_running(_pruned_block(loaded, of_weights(report), method), report.running)


def _pruned_block(loaded: Loaded, report: CompressionReport, method: str | None) -> Block:
    block: Block = {**report.to_dict(), "model": loaded.model}
    warnings = _warnings(loaded, report)
    asked, measured = report.requested_sparsity, report.sparsity_targeted
    if not loaded.changed:
        if asked is not None and asked > 0:
            _check_level(block, asked, measured, report.bits, warnings)
    elif report.weights_sha256 == loaded.sha256:
        block |= _as_loaded(loaded)
        other = method not in (None, NONE, loaded.method.base, loaded.manifest.get("method")) and asked != 0
        less = method != NONE and asked is not None and not bears_out(asked, loaded.level or 0)
        if other or less:
            name = method or report.method
            what = name if asked is None else f"{name} at sparsity {asked:g}"
            warnings.append(
                f"{what} was asked for, and the model is {loaded.description} already: nothing was removed"
            )
    elif not _further(loaded, report):  # only what is left was quantized
        block |= _quantized_after(loaded, report.bits, report.quantizer, report.effective_bits)
    else:
        block |= _pruned_again(loaded, report)
        warnings.append(f"the model was {loaded.description} already, and was pruned further")
        _check_level(block, asked, measured, report.bits, warnings)
    return _whole(loaded, block, warnings)


def _warnings(loaded: Loaded, report: CompressionReport) -> list[str]:
    """Those of loading and of what was done here."""
    here = (text for text in report.warnings if not (loaded.changed and tells_of_before(text)))
    return [*loaded.warnings, *here]


def _further(loaded: Loaded, report: CompressionReport) -> bool:
    """True where weights that were compressed already were pruned again."""
    now, then_ = (report.on_top_of, report.method), [loaded.manifest.get(n) for n in ("on_top_of", "method")]
    return now[0] != then_[0] or now[1] not in (NONE, then_[1]) or report.bits == loaded.bits


def _whole(loaded: Loaded, block: Block, warnings: list[str]) -> Block:
    """The block, whose method names the whole of what was done where something had been done before."""
    return {**block, "on_top_of": None if loaded.changed else block["on_top_of"], "warnings": warnings}


def quantized_block(loaded: Loaded, report: CompressionReport) -> Block:
    """The block of a model that was quantized, or left as it was."""
    return with_running(_quantized_block(loaded, of_weights(report)), report.running)


def _quantized_block(loaded: Loaded, report: CompressionReport) -> Block:
    block: Block = {**report.to_dict(), "model": loaded.model}
    warnings = _warnings(loaded, report)
    if not loaded.changed:
        return {**block, "warnings": warnings}
    if report.weights_sha256 == loaded.sha256 or report.method == NONE:
        block |= _as_loaded(loaded)
    else:
        block |= _quantized_after(
            loaded, report.bits, report.quantizer or report.method, report.effective_bits
        )
        warnings.append(f"the model was {loaded.description} already, before it was quantized")
        now, before = report.sparsity_targeted, loaded.sparsity
        if now is not None and before is not None and now < before - TOLERANCE:
            block["level"] = now
            warnings.append(
                f"quantization filled zeros: {before:.4g} of the weights were zero, now {now:.4g}"
            )
    return _whole(loaded, block, warnings)


def _as_loaded(loaded: Loaded) -> Block:
    """What the model is under its own name: nothing was done here."""
    pattern = loaded.method.pattern
    named: Block = {
        "kind": "quantized" if loaded.level is None else "pruned",
        "method": _name(loaded.method),
        "pattern": pattern if pattern is not None else f"{loaded.level:.10g}" if _known(loaded) else None,
        "level": loaded.level,
        "bits": loaded.bits,
        "requested_sparsity": None,
    }
    return {**named, **loaded.block}


def _quantized_after(
    loaded: Loaded, bits: float | None, quantizer: str | None, effective_bits: float
) -> Block:
    """A model that was quantized here after something else had been done to it."""
    if loaded.bits is not None and loaded.level is None:
        return {"method": str(then(loaded.method, Method(quantizer or NONE)))}
    method = loaded.method
    if loaded.bits is not None:
        method = then(method, Method(quantizer or NONE))
    carried = {**loaded.block, "effective_bits": effective_bits}
    carried.pop("effective_bits_all", None)
    known = _as_loaded(loaded)
    return {
        **known,
        **carried,
        "kind": "pruned",
        "method": _name(method),
        "bits": bits,
        "quantizer": quantizer,
    }


def _pruned_again(loaded: Loaded, report: CompressionReport) -> Block:
    before = Method(UNKNOWN) if loaded.method == Method(NONE) else loaded.method
    now = method_of({"method": report.method, "pattern": report.pattern})
    # Rounding makes zeros of its own.
    level = report.sparsity_targeted if report.bits is None else report.level
    block: Block = {"method": str(then(before, now)), "level": level}
    if "recovery" in loaded.block:
        block["recovery"] = loaded.block["recovery"]
    return block


def _check_level(
    block: Block, asked: float | None, measured: float | None, bits: float | None, warnings: list[str]
) -> None:
    """Report the measured level where it is far from what was asked for. Rounding to few bits makes zeros of its own."""
    if asked is None or measured is None:
        return
    if not bears_out(asked, measured) and (bits is None or measured < asked):
        block["level"] = measured
        warnings.append(
            f"sparsity {asked:g} was asked for, and {measured:.4g} is measured, which is reported"
        )


def _known(loaded: Loaded) -> bool:
    return loaded.level is not None and loaded.method != Method(NONE)


def _name(method: Method) -> str:
    """As blocks have it: an N:M pattern stands apart, unless trainings follow it."""
    return method.base if not method.recoveries and "+" not in method.base else str(method)


def run_of(block: Block) -> str:
    """The run that a block is of, by its id."""
    return str(Run(block["model"], method_of(block), block["level"], block["bits"]))


def say(name: str, block: Block) -> None:
    """What was evaluated in the end, and every warning, on stderr."""
    kind = block["kind"]
    parts = [run_of(block)]
    measured, everywhere = block["sparsity_targeted"], block["sparsity_all"]
    zero = "gone or zero" if block.get("structure") else "zero"
    if kind == "pruned" and measured is not None and everywhere is not None:
        parts.append(f"{measured:.4f} of the targeted weights ({everywhere:.4f} of all) are {zero}")
    parts.append(f"{block['effective_bits']:.2f} effective bits per targeted weight")
    console.say(f"{name}: {'; '.join(parts)}", stderr=True)
    for warning in block["warnings"]:
        tell(name, f"warning: {warning}")


def tell(name: str, sentence: str) -> None:
    """One line on stderr."""
    console.say(f"{name}: {sentence}", stderr=True)
