"""A model and its tokenizer, loaded for compression; what goes wrong is one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import EMBEDDED
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.compress.checkpoint_files import TOKENIZER_FILES, check_checkpoint
from junkdna_harness.compress.reading import Whole, clear_loading_errors, no_tokenizer
from junkdna_harness.device import check_device

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Source:
    """What to load; `pretrained` None is the embedded model. `device` may be 'cuda', 'cpu', or 'auto' (device_map)."""

    pretrained: str | None = None
    dtype: str = "auto"
    device: str | None = None
    revision: str | None = None
    gguf_file: str | None = None
    trust_remote_code: bool = False

    @property
    def name(self) -> str:
        """As the user named it."""
        return self.pretrained or EMBEDDED

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {"pretrained": self.name, "revision": self.revision, "gguf_file": self.gguf_file}


def auto_class(config: Any) -> Any:
    """The auto class of transformers that loads a model whole: the one for images and text where a causal one has none of its kind,
    or knows its text part alone.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto import modeling_auto

    kind, own = getattr(config, "model_type", None), getattr(config, "auto_map", None) or {}
    causal = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    seeing = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind)
    if seeing is None or "AutoModelForCausalLM" in own or getattr(config, "is_encoder_decoder", False):
        return AutoModelForCausalLM
    named = (getattr(config, "architectures", None) or [None])[0]
    return (
        AutoModelForImageTextToText if causal is None or named == seeing != causal else AutoModelForCausalLM
    )


def load(source: Source) -> tuple[Any, Any]:
    """The model and its tokenizer (None where the checkpoint has none).

    Raises:
        UsageError: it cannot be loaded.
    """
    check_device(source.device)
    options = {**_common(source), "dtype": source.dtype, "gguf_file": source.gguf_file}
    device = source.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cpu":
        options["device_map"] = device
    path = resolve_pretrained(source.pretrained)
    check_checkpoint(source.pretrained, source.gguf_file, source.trust_remote_code, source.revision)
    auto = auto_class(_config(source))
    tokenizer = load_tokenizer(source)
    with clear_loading_errors(source.name):
        model = Whole(auto).from_pretrained(path, **options)
    return model.eval(), tokenizer


def load_tokenizer(source: Source) -> Any:
    """The tokenizer, or None where there is none to load.

    Raises:
        UsageError: there is one, and it cannot be loaded.
    """
    from transformers import AutoTokenizer

    path = resolve_pretrained(source.pretrained)
    try:
        return AutoTokenizer.from_pretrained(path, gguf_file=source.gguf_file, **_common(source))
    except Exception as error:  # its library raises Exception itself
        if any((Path(path) / name).is_file() for name in TOKENIZER_FILES):
            raise UsageError(no_tokenizer(source.name, error)) from error
        return None


def load_skeleton(source: Source) -> Any:
    """The model without weights (on the meta device), to see shapes before anything is read.

    Raises:
        UsageError: its config cannot be loaded.
    """
    check_checkpoint(source.pretrained, source.gguf_file, source.trust_remote_code, source.revision)
    config = _config(source)
    dtype = None if source.dtype == "auto" else getattr(torch, source.dtype)
    dtype = dtype or getattr(config, "dtype", None) or torch.float32
    with torch.device("meta"), clear_loading_errors(source.name):
        return auto_class(config).from_config(config, dtype=dtype, trust_remote_code=source.trust_remote_code)


def _config(source: Source) -> Any:
    from transformers import AutoConfig

    path = resolve_pretrained(source.pretrained)
    options = dict(_common(source))
    if source.gguf_file:
        options["gguf_file"] = source.gguf_file
    with clear_loading_errors(source.name):
        return AutoConfig.from_pretrained(path, **options)


def _common(source: Source) -> dict[str, Any]:
    if source.dtype not in DTYPES:
        raise UsageError(f"dtype={source.dtype!r} is unknown. Choose one of {', '.join(DTYPES)}.")
    return {"revision": source.revision or "main", "trust_remote_code": source.trust_remote_code}
