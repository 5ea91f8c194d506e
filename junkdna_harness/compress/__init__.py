"""Compression of any Hugging Face causal language model: score, mask, apply; and quantize.

Names are loaded when they are first asked for, so that specs can be read and checked without torch.

* `prune(model, PruneSpec(...), tokenizer)` and `quantize(model, QuantSpec(...), tokenizer)` change a loaded model in place.
* `measure(model)` tells what is zero, `weights_sha256(model)` by which hash it is known again, `effective_bits(...)` what a weight takes up.
* `find_targets(model)` and `find_blocks(model)` tell what would be changed.
* `sparsifier("name")` and `quantizer("name")` register methods of your own; `Statistic` and its kin are what they may ask of a layer.

Examples:
    >>> from junkdna_harness.compress import PruneSpec, effective_bits, parse_pattern
    >>> spec = PruneSpec.from_strings({"method": "wanda", "pattern": "2:4"})
    >>> effective_bits(parse_pattern("2:4").level, pattern=parse_pattern("2:4"))
    9.0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from junkdna_harness.compress.bits import effective_bits
    from junkdna_harness.compress.formats import Format
    from junkdna_harness.compress.hashing import weights_sha256
    from junkdna_harness.compress.notation import NM, Pattern, Scope, Sparsity, parse_pattern, parse_sparsity
    from junkdna_harness.compress.pruning import measure, prune, prune_model
    from junkdna_harness.compress.quant_spec import QUANT_ARGUMENTS, QuantSpec
    from junkdna_harness.compress.quantizers import Quantizer, Rounding, get_quantizer, quantizer
    from junkdna_harness.compress.quantizing import quantize
    from junkdna_harness.compress.registry import Sparsifier, get_sparsifier, sparsifier, sparsifiers
    from junkdna_harness.compress.report import (
        CompressionReport,
        PruneReport,
        QuantReport,
        Zeros,
        count_zeros,
    )
    from junkdna_harness.compress.running import stop_running
    from junkdna_harness.compress.spec import PRUNE_ARGUMENTS, PruneSpec
    from junkdna_harness.compress.statistics import Hessian, InputNorm, Seeded, Statistic
    from junkdna_harness.compress.targets import Target, find_blocks, find_targets

# No module may be called like a name of its package: importing it would put the module in the name's place.
_HOMES = {
    "bits": ("effective_bits",),
    "formats": ("Format",),
    "quantizers": ("Quantizer", "Rounding", "get_quantizer", "quantizer"),
    "hashing": ("weights_sha256",),
    "notation": ("NM", "Pattern", "Scope", "Sparsity", "parse_pattern", "parse_sparsity"),
    "pruning": ("measure", "prune", "prune_model"),
    "quantizing": ("quantize",),
    "registry": ("Sparsifier", "get_sparsifier", "sparsifier", "sparsifiers"),
    "report": ("CompressionReport", "PruneReport", "QuantReport", "Zeros", "count_zeros"),
    "running": ("stop_running",),
    "spec": ("PRUNE_ARGUMENTS", "PruneSpec"),
    "quant_spec": ("QUANT_ARGUMENTS", "QuantSpec"),
    "statistics": ("Hessian", "InputNorm", "Seeded", "Statistic"),
    "targets": ("Target", "find_blocks", "find_targets"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "NM",
    "PRUNE_ARGUMENTS",
    "QUANT_ARGUMENTS",
    "CompressionReport",
    "Format",
    "Hessian",
    "InputNorm",
    "Pattern",
    "PruneReport",
    "PruneSpec",
    "QuantReport",
    "QuantSpec",
    "Quantizer",
    "Rounding",
    "Scope",
    "Seeded",
    "Sparsifier",
    "Sparsity",
    "Statistic",
    "Target",
    "Zeros",
    "count_zeros",
    "effective_bits",
    "find_blocks",
    "find_targets",
    "get_quantizer",
    "get_sparsifier",
    "measure",
    "parse_pattern",
    "parse_sparsity",
    "prune",
    "prune_model",
    "quantize",
    "quantizer",
    "sparsifier",
    "sparsifiers",
    "stop_running",
    "weights_sha256",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
