"""What `PruneSpec` and `QuantSpec` share: what arguments mean, how they are read, what a format takes. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from difficulty.errors import UsageError
from difficulty.runs.running import ACTIVATIONS, KV_BITS
from junkdna_harness.compress.beside import SCHEMES
from junkdna_harness.compress.formats import BUILT_IN, Format
from junkdna_harness.compress.notation import (
    ALLOCATIONS,
    BITS,
    CRITERIA,
    NONE,
    SCOPES,
    UNIFORM,
    read_group_size,
    read_patterns,
)

DEFAULT_NSAMPLES = 128  # as in the SparseGPT and Wanda papers


class Help:
    """What each argument means, in one line."""

    WIDTHS = f"{', '.join(map(str, BITS[:-1]))} or {BITS[-1]}; a format of one width brings its own"
    SCOPE = f"Where weights compete: {', '.join(SCOPES[:-1])} or {SCOPES[-1]}; default the method's own."
    QUANTIZERS = f"{', '.join(BUILT_IN)}, or module:name"
    ALLOCATION = f"Which share of each block: {UNIFORM}, {', '.join(ALLOCATIONS)}, or module:function."
    CRITERION = f"With method=experts: {', '.join(CRITERIA[:-1])} or {CRITERIA[-1]}; default {CRITERIA[0]}."
    TARGETS = "Module-name patterns, joined by '+', e.g. 'mlp.*'."
    EXCLUDE = "Module-name patterns to leave alone."
    CALIBRATION = "Text: FILE.txt, FILE.jsonl[:FIELD], task:NAME, hf:dataset[:config[:split[:column]]], or graded (training items of the suite)."
    NSAMPLES = "Calibration samples."
    SEQLEN = "Tokens per sample; default 2048 on an accelerator, 128 on a CPU."
    GROUP = "Weights that share a scale, -1 for a whole row; default the format's: of rtn, gptq and awq the largest of 128, 64, 32, 16 that fits."
    ACT_ORDER = "columns of the largest inputs first (gptq)."
    ACTIVATIONS = f"Round the inputs of the targeted layers: {' or '.join(ACTIVATIONS)} (E4M3)."
    ACTIVATION_SCALE = (
        "Of activations: dynamic, of each token, or static, of each layer, from calibration text."
    )
    KV_BITS = (
        f"Width of the keys and values in the cache: {', '.join(map(str, KV_BITS[:-1]))} or {KV_BITS[-1]}."
    )
    KV_GROUP = "Numbers of a head that share a scale in the cache; default the whole head."
    SCHEME = f"Quantizer, activations and cache at once: {', '.join(SCHEMES)}."
    KV_TOKENS = "Length of the text whose cache effective_bits counts."


def text(_: str, value: object) -> str:
    """As text."""
    return str(value)


def names(_: str, value: object) -> tuple[str, ...]:
    """Module-name patterns."""
    return read_patterns(value)


def bits_of(form: Format, spec: Any) -> int:
    """The bits of a code; what the format does not take is refused.

    Raises:
        UsageError: names it.
    """
    if spec.bits is not None:
        form.check_bits(spec.bits)
    if spec.group_size is not None:
        object.__setattr__(spec, "group_size", read_group_size("group_size", spec.group_size))
    for name, has in (("symmetric", form.integer), ("act_order", form.ordered)):
        if getattr(spec, name) and not has:
            raise UsageError(f"{form.name} takes no {name}, so {name}=true has no meaning. Leave it out.")
    return spec.bits or form.widths[0]


def with_none(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """lm-eval turns the text 'none' into None before we see it, so a method that is there and None is 'none'."""
    return {**given, "method": NONE} if "method" in given and given["method"] is None else given
