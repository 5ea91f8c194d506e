"""Compression of any Hugging Face causal language model: score, mask, apply; and quantize."""

from junkdna_harness.compress.apply import measure, prune, prune_model
from junkdna_harness.compress.bits import effective_bits
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.pattern import NM, Pattern, Scope, Sparsity, parse_pattern, parse_sparsity
from junkdna_harness.compress.quantize import QUANT_ARGUMENTS, QuantSpec, quantize
from junkdna_harness.compress.registry import Sparsifier, get_sparsifier, sparsifier, sparsifiers
from junkdna_harness.compress.report import CompressionReport, PruneReport, QuantReport, Zeros, count_zeros
from junkdna_harness.compress.spec import PRUNE_ARGUMENTS, PruneSpec
from junkdna_harness.compress.statistics import Hessian, InputNorm, Seeded, Statistic
from junkdna_harness.compress.targets import Target, find_blocks, find_targets

__all__ = [
    "NM",
    "PRUNE_ARGUMENTS",
    "QUANT_ARGUMENTS",
    "CompressionReport",
    "Hessian",
    "InputNorm",
    "Pattern",
    "PruneReport",
    "PruneSpec",
    "QuantReport",
    "QuantSpec",
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
    "get_sparsifier",
    "measure",
    "parse_pattern",
    "parse_sparsity",
    "prune",
    "prune_model",
    "quantize",
    "sparsifier",
    "sparsifiers",
    "weights_sha256",
]
