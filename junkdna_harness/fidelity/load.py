"""The two models of a comparison, from what the user wrote for each, and whether their predictions can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers.utils import logging as transformers_logging

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.beside import RUNNING_ARGUMENTS
from junkdna_harness.compress.formats import BUILT_IN
from junkdna_harness.compress.manifest import manifest_folder
from junkdna_harness.compress.notation import KV
from junkdna_harness.compress.origin import Origin
from junkdna_harness.compress.quant_spec import LOADED, QUANT_ARGUMENTS, QuantSpec
from junkdna_harness.compress.spec import PRUNE_ARGUMENTS, PruneSpec
from junkdna_harness.device import check_device, default_device
from junkdna_harness.embedded import is_embedded
from junkdna_harness.models.given import GivenLM
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.models.quantized import QuantizedLM
from junkdna_harness.sweep.options import parse_model_args


@dataclass(frozen=True)
class Side:
    """One of the two models: its wrapper, and what it is in words, e.g. `smollm2-135m, magnitude at sparsity 0.4`.

    `state`: method, level (fraction of zeros, None for quantization alone) and bits (None without it).
    """

    lm: Any
    description: str
    state: Mapping[str, Any]


def arguments_of(given: str) -> dict[str, Any]:
    """Model arguments of what was written: a name or folder, or `pretrained=...,sparsity=...` as for `--model_args`.

    Raises:
        UsageError: an argument that is nearly one of ours, or a value that compression does not take.
    """
    arguments = parse_model_args(given) if "=" in given else {"pretrained": given}
    kind = _kind(arguments)
    kind.check_arguments(arguments)
    if kind is PrunedLM:
        PruneSpec.from_strings({name: v for name, v in arguments.items() if name in PRUNE_ARGUMENTS})
    elif kind is QuantizedLM:
        QuantSpec.from_strings({name: v for name, v in arguments.items() if name in QUANT_ARGUMENTS})
    return arguments


def dense_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the dense model of a compressed one: itself without what compresses it on the fly, or what its manifest names.

    Raises:
        UsageError: nobody says which it is.
    """
    own = {
        name: value for name, value in arguments.items() if name not in (*PRUNE_ARGUMENTS, *QUANT_ARGUMENTS)
    }
    name = str(own.get("pretrained", EMBEDDED))
    if len(own) < len(arguments) or is_embedded(name):
        return own
    folder = manifest_folder(name)
    origin = None if folder is None else Origin.read(folder)
    if origin is None or not origin.changed:
        resolve_pretrained(name)  # where there is no such model, that is what is wrong
        raise UsageError(
            f"{name!r} does not say what it was made from. Name the dense model: --against MODEL."
        )
    return {**own, "pretrained": origin.model}


def load_side(
    given: Mapping[str, Any], device: str | None = None, dtype: str | None = None, settled: bool = True
) -> Side:
    """The model of these arguments, pruned or quantized on the fly where they ask for it, else as it is; not `settled` if it is to be compressed.

    Raises:
        UsageError: it cannot be loaded, or an argument cannot be used.
    """
    check_device(device)
    arguments: dict[str, Any] = {"device": device or default_device(), **given}
    if dtype is not None:
        arguments.setdefault("dtype", dtype)
    transformers_logging.disable_progress_bar()
    kind = _kind(given)
    lm = kind(**arguments) if settled else GivenLM(settled=False, **arguments)
    lm.model.eval()
    if kind is GivenLM:
        loaded = lm.loaded
        state = state_of(str(loaded.method), loaded.level, loaded.bits)
        return Side(lm, loaded.description if loaded.changed else loaded.model, state)
    block = lm.junkdna
    level, bits = block.get("level"), block.get("bits")
    how = [f"sparsity {level:.4g}"] if level else []
    how += [f"{bits:g} bits"] if bits is not None else []
    words = f"{block.get('model')}, {block.get('method')}" + (f" at {' and '.join(how)}" if how else "")
    return Side(lm, words, state_of(str(block.get("method")), level, bits))


def state_of(method: str, level: float | None, bits: float | None) -> dict[str, Any]:
    """What was done, for JSON."""
    return {"method": method, "level": level, "bits": bits}


def _kind(given: Mapping[str, Any]) -> Any:
    """The wrapper: by the method's name, and without one by the arguments that only one of them has."""
    method = given.get("method")
    quantizes = method in (*BUILT_IN, *LOADED, KV) or (
        method is None and any(n in given for n in ONLY_QUANTIZED)
    )
    prunes = any(name in given for name in PRUNE_ARGUMENTS)
    if quantizes and not any(name in given for name in ONLY_PRUNED):
        return QuantizedLM
    return PrunedLM if prunes else GivenLM


ONLY_PRUNED = tuple(name for name in PRUNE_ARGUMENTS if name not in QUANT_ARGUMENTS)
ONLY_QUANTIZED = ("bits", "symmetric", "act_order", "group_size", "scheme", *RUNNING_ARGUMENTS)


def same_tokens(dense: Any, other: Any) -> str:
    """Why the predictions of two models cannot be compared token by token, as the end of a sentence; empty where they can."""
    ours, theirs = dense.tokenizer, other.tokenizer
    a, b = ours.get_vocab(), theirs.get_vocab()
    if a != b:
        differing = next(iter(sorted(set(a.items()) ^ set(b.items()))))[0]
        return f"their vocabularies differ ({len(a):,} and {len(b):,} tokens; e.g. {differing!r})"
    return ""


def tell_of_dtypes(dense: Any, other: Any) -> None:
    """Say where two models compute in different numbers: a part of what their predictions differ by is rounding."""
    if dense.dtype != other.dtype:
        other.tell(
            f"warning: the dense model computes in {dense.dtype} and the other in {other.dtype}, so that a part of what they differ by is "
            "rounding. Give both the same --dtype."
        )


def shared_width(dense: Any, other: Any) -> int:
    """Logits that both models have for the tokens of their tokenizer: what one has beyond the other's is padding.

    Raises:
        UsageError: a model has fewer logits than its tokenizer has tokens.
    """
    widths = [int(lm.model.config.get_text_config().vocab_size) for lm in (dense, other)]
    needed = max(dense.tokenizer.get_vocab().values()) + 1
    if min(widths) < needed:
        raise UsageError(
            f"the models have {widths[0]:,} and {widths[1]:,} logits, and their tokenizer has {needed:,} tokens. Name models whose "
            "embeddings are whole."
        )
    return min(widths)
