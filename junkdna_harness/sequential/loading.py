"""The model that is judged, loaded by any class that lm-eval knows, and what is known of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.checkpoint import NONE
from difficulty.runs.dtypes import DTYPE, plain_dtype
from difficulty.runs.evaluated import Evaluated, evaluated
from junkdna_harness.arguments import SMOLLM2, resolve_pretrained
from junkdna_harness.compress.checkpoint_files import check_model_arguments
from junkdna_harness.device import check_device, default_device
from junkdna_harness.embedded import is_embedded
from junkdna_harness.harness.models import model_class, model_names
from junkdna_harness.models.answer_cache import fingerprint
from junkdna_harness.models.base import JunkDNALM
from junkdna_harness.presentation.escape import first_line
from junkdna_harness.sweep.session import CPU_BATCH_SIZE

DEFAULT_MODEL = "junkdna-pruned"
_CHANGING = ("method", "sparsity", "pattern", "mask", "scope", "allocation", "criterion", "bits", "group_size", "symmetric", "act_order",
             "scheme", "activations", "kv_bits")  # fmt: skip
# Arguments of our classes that decide no answer of a model beyond its weights, method and dtype, by which a baseline knows it.
_HARMLESS = frozenset((*_CHANGING, "pretrained", "seed", "dtype", "revision", "trust_remote_code", "batch_size", "max_batch_size", "device",
                       "device_map", "parallelize", "prefix_cache"))  # fmt: skip
# What a class of lm-eval raises for a name, an argument or a package that is not there.
_MISTAKES = (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Candidate:
    """A loaded model: `lm`, which run it is, and by what its answers are known again.

    `key`: a sha256 of all that decides its answers, as far as that can be known. `weights_sha256` and `dtype`: None where they cannot.
    `arguments`: what its class was called with.
    """

    lm: Any = field(repr=False)
    wrapper: str
    arguments: Mapping[str, Any]
    who: Evaluated
    key: str
    weights_sha256: str | None
    dtype: str | None
    seconds: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether no argument was given that can change answers of the same weights, as `max_length` does."""
        return _HARMLESS.issuperset(self.arguments)


def load(
    model: str, wrapper: str = DEFAULT_MODEL, arguments: Mapping[str, Any] | None = None, batch_size: str | None = None,
    device: str | None = None,
) -> Candidate:  # fmt: skip
    """`model` (what `pretrained=` takes), loaded by the class that `lm_eval --model WRAPPER` names. Nothing is done to a model of our
    own classes unless `arguments` say so.

    Raises:
        UsageError: no such class, or the model cannot be loaded by it.
    """
    kind = _class(wrapper)
    ours = issubclass(kind, JunkDNALM)
    given = dict(arguments or {})
    if given.get("pretrained", model) != model:
        raise UsageError(
            f"the model is {model!r}, and --model-args names pretrained={given['pretrained']!r}. Give it once."
        )
    place = "pretrained"
    if not ours and place not in _parameters(kind) and "model" in _parameters(kind):
        place = "model"
    given[place] = model
    if ours and not any(name in given for name in _CHANGING):
        given["method"] = NONE
    extra = _extra(kind, given, batch_size, device)
    disable_progress_bar()
    started = time.perf_counter()
    lm = _make(kind, wrapper, given, extra)
    seconds = time.perf_counter() - started
    logged = _config(lm, wrapper, given)
    who = evaluated({"config": logged, "model_name": model, "date": time.time()}, Path.cwd() / "gate")
    block = who.manifest if ours else {}
    weights = block.get("weights_sha256")
    dtype = plain_dtype(block.get(DTYPE)) or plain_dtype(logged.get("model_dtype"))
    return Candidate(lm, wrapper, given, who, _key(lm, wrapper, given), weights, dtype, seconds)


def _class(wrapper: str) -> type:
    names = model_names()
    if wrapper not in names:
        raise UsageError(
            f"--model {wrapper!r} is no model class of lm-eval.{did_you_mean(wrapper, names)} `lm_eval --model NAME` takes e.g. hf, vllm, "
            f"junkdna-pruned, junkdna-quantized; the model itself stands first: junkdna gate MODEL."
        )
    try:
        return model_class(wrapper)
    except ImportError as error:
        raise UsageError(
            f"--model {wrapper} needs a package that is not here: {first_line(error)}"
        ) from error


def _extra(
    kind: type, given: Mapping[str, Any], batch_size: str | None, device: str | None
) -> dict[str, Any]:
    """Batch size and device, as `lm_eval` passes them on."""
    check_device(device)
    where = device or default_device()
    if not issubclass(kind, JunkDNALM):
        placed = device if "device" not in _parameters(kind) else where
        return {
            name: value
            for name, value in (("batch_size", batch_size), ("device", placed))
            if value is not None
        }
    if batch_size is None and "batch_size" not in given:
        fallback = "auto" if where.startswith("cuda") else CPU_BATCH_SIZE
        batch_size = (
            "1" if is_embedded(given.get("pretrained")) else str(fallback)
        )  # the embedded model has a size of its own
    return {"device": where, **({} if batch_size is None else {"batch_size": batch_size})}


def _parameters(kind: type) -> frozenset[str]:
    return frozenset(inspect.signature(kind).parameters)


def _make(kind: type, wrapper: str, given: dict[str, Any], extra: dict[str, Any]) -> Any:
    if issubclass(kind, JunkDNALM):
        return kind.made(given, extra)
    name = str(given.get("pretrained", given.get("model")))
    packaged = name == SMOLLM2 or is_embedded(name)
    found = {**given, "pretrained": resolve_pretrained(name)} if packaged and "pretrained" in given else given
    if not packaged and any(any(Path(name).glob(found)) for found in ("config.json", "*.safetensors")):
        check_model_arguments({**given, "pretrained": name}, with_tokenizer=True)
    try:
        return kind.create_from_arg_obj(found, extra)  # type: ignore[attr-defined]
    except UsageError:
        raise
    except _MISTAKES as error:
        raise UsageError(f"--model {wrapper} cannot load {name!r}: {first_line(error)}") from error


def _config(lm: Any, wrapper: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the head of lm-eval's results would say of the model."""
    info = lm.get_model_info() if hasattr(lm, "get_model_info") else {}
    logged = {name: str(value) if isinstance(value, torch.dtype) else value for name, value in info.items()}
    return {"model": wrapper, "model_args": dict(given), **logged}


def _key(lm: Any, wrapper: str, given: Mapping[str, Any]) -> str:
    """By content where the model lies in this process, else by its name and arguments."""
    if isinstance(getattr(lm, "model", None), torch.nn.Module) and hasattr(lm, "tokenizer"):
        return fingerprint(lm)
    text = json.dumps([wrapper, dict(given)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
