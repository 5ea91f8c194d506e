"""Formats that transformers quantizes to, or reads, while it loads a model: bitsandbytes, torchao, GPTQ, AWQ, GGUF."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from torch import nn

from difficulty.errors import UsageError
from junkdna_harness.compress.bits import DENSE_BITS
from junkdna_harness.compress.checks import quantization_method
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.notation import KV, NONE
from junkdna_harness.compress.quant_spec import LOADED, QuantSpec
from junkdna_harness.compress.report import QuantReport
from junkdna_harness.compress.targets import decoder_blocks

_EXTRAS = {"bnb": "bitsandbytes", "torchao": "torchao"}


def loading_config(method: str) -> Any:
    """The `quantization_config` with which transformers loads a model by `method`; None for other methods.

    Raises:
        UsageError: the extra that brings the package is not installed.
    """
    if method not in LOADED:
        return None
    extra = method.partition("-")[0]
    if importlib.util.find_spec(_EXTRAS[extra]) is None:
        raise UsageError(
            f"method={method} needs {_EXTRAS[extra]}, which is not installed: pip install 'junkdna-harness[{extra}]'."
        )
    if extra == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    from transformers import BitsAndBytesConfig

    if method == "bnb-int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


def describe_loaded(model: nn.Module, spec: QuantSpec) -> QuantReport:
    """What a model that was quantized on loading, or before, holds."""
    config = getattr(getattr(model, "config", None), "quantization_config", None)
    known = _format(model, config)
    warnings: list[str] = []
    if known is None:
        bits, effective = None, float(DENSE_BITS)
        if config is not None:
            warnings.append(
                f"bits of the format {quantization_method(config)!r} are not known; counted as 16"
            )
    else:
        bits, effective = known
    return QuantReport(
        kind="quantized",
        method=spec.method
        if config is None or spec.method not in (NONE, KV)
        else quantization_method(config),
        pattern=None,
        level=None,
        bits=bits,
        scope=None,
        seed=spec.seed,
        requested_sparsity=None,
        sparsity_targeted=None,
        sparsity_all=None,
        sparsity_by_module={},
        weights_targeted=sum(width * out for width, out in _shapes(model)),
        weights_all=sum(p.numel() for p in model.parameters()),
        effective_bits=effective,
        effective_bits_all=_stored_bits(model),
        weights_sha256=weights_sha256(model),
        warnings=tuple(warnings),
    )


def _format(model: nn.Module, config: Any) -> tuple[float, float] | None:
    """Nominal bits, and bits per weight with scales and zero points; None where the format is not known."""
    if config is None:
        return None
    method = quantization_method(config)
    values: Mapping[str, Any] = config if isinstance(config, dict) else config.to_dict()
    shapes = _shapes(model)
    row = sum(width * out for width, out in shapes) / max(1, sum(out for _, out in shapes))
    if method == "bitsandbytes":
        if values.get("load_in_8bit"):
            return 8, 8 + 32 / row  # one fp32 scale per row (SCB)
        double = values.get("bnb_4bit_use_double_quant")
        return 4, 4 + (8 / 64 + 32 / (64 * 256) if double else 32 / 64)  # an absmax for each 64 weights
    if method == "torchao" and "Int8WeightOnly" in str(values.get("quant_type")):
        return 8, 8 + 16 / row
    if method in ("gptq", "awq"):
        bits = float(values.get("bits") or values.get("w_bit") or 4)
        group = float(values.get("group_size") or values.get("q_group_size") or -1)
        return bits, bits + (16 + bits) / (group if group > 0 else row)
    if method == "mxfp4":
        return 4, 4 + 8 / 32  # an E8M0 scale for each 32 weights
    if method == "fbgemm_fp8":
        return 8, 8 + 32 / row
    if (
        method == "fp8"
    ):  # a scale in fp32 for each block of weights, of 128 x 128 where the config does not say
        down, across = values.get("weight_block_size") or (128, 128)
        return 8, 8 + 32 / (down * across)
    if method == "compressed-tensors":
        return _compressed_tensors(values, row)
    return None


def _compressed_tensors(values: Mapping[str, Any], row: float) -> tuple[float, float] | None:
    """By the first group of its config that quantizes weights: github.com/vllm-project/compressed-tensors, `QuantizationArgs`."""
    groups = (values.get("quantization_config") or values).get("config_groups") or {}
    for group in groups.values():
        weights = (group or {}).get("weights") or {}
        if weights.get("num_bits"):
            bits = float(weights["num_bits"])
            return bits, bits + _shared(weights, bits, row)
    return None


def _shared(weights: Mapping[str, Any], bits: float, row: float) -> float:
    """Bits per weight of scales and zero points."""
    strategy, size = weights.get("strategy"), weights.get("group_size")
    if strategy == "tensor":
        return 0.0  # a few bytes a matrix
    if strategy == "block":
        down, across = weights.get("block_structure") or (128, 128)
        return 16.0 / (down * across)
    share = float(size) if size and float(size) > 0 else row
    if (
        weights.get("type") == "float"
    ):  # FP4 has scales of 8 bits, E4M3 or E8M0; a row of FP8 one in the model's 16 bits
        return (8 if bits == 4 else 16) / share
    return (16 + (0 if weights.get("symmetric", True) else bits)) / share


def _shapes(model: nn.Module) -> list[tuple[int, int]]:
    """(in, out) of the blocks' linear layers, packed or not."""
    try:
        blocks = decoder_blocks(model)
    except UsageError:  # every linear layer is of a class that is not torch's
        blocks = [model]
    layers = [layer for block in blocks for layer in block.modules()]
    pairs = ((getattr(m, "in_features", None), getattr(m, "out_features", None)) for m in layers)
    return [(width, out) for width, out in pairs if isinstance(width, int) and isinstance(out, int)]


def _stored_bits(model: nn.Module) -> float:
    """Bits a stored parameter element takes on average, as it lies in memory."""
    parameters = list(model.parameters())
    return (
        8 * sum(p.numel() * p.element_size() for p in parameters) / max(1, sum(p.numel() for p in parameters))
    )
