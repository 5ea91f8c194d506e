"""The Junk DNA Hypothesis put to the test on any language model, as plugins for lm-evaluation-harness.

What the commands do, in one call each; all are loaded when first asked for:

* `prune(model, PruneSpec(...), tokenizer)` removes weights of a loaded model in place, and reports what was measured.
* `quantize(model, QuantSpec(...), tokenizer)` rounds them.
* `sweep("runs/x", methods="magnitude", sparsity="0:0.9:0.1")` evaluates a grid of compressed states.
* `recover("checkpoint", "out", RecoverSpec(...))` trains a pruned model and writes a checkpoint.
* `check("runs/new", "baseline.json", max_drop=0.02)` is the gate: pass, fail or inconclusive.

Examples:
    >>> from transformers import AutoModelForCausalLM
    >>> from junkdna_harness import prune
    >>> from junkdna_harness.compress import PruneSpec
    >>> from junkdna_harness.embedded import model_path
    >>> model = AutoModelForCausalLM.from_pretrained(model_path())
    >>> prune(model, PruneSpec.from_strings({"method": "magnitude", "sparsity": 0.5})).level
    0.5
"""

from __future__ import annotations

# This file runs in every Python start of the environment (see autoload.py), so it imports nothing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from junkdna_harness.compress import prune, quantize
    from junkdna_harness.faces import check, sweep
    from junkdna_harness.recover.run import recover

__version__ = "0.1.0"
__all__ = ["check", "prune", "quantize", "recover", "sweep"]

_HOMES = {
    "check": "junkdna_harness.faces",
    "prune": "junkdna_harness.compress",
    "quantize": "junkdna_harness.compress",
}
_CALLABLE_MODULES = ("recover", "sweep")  # packages that are called like the function they are about


def __getattr__(name: str) -> Any:
    """A face, imported when first asked for."""
    from importlib import import_module

    if name in _CALLABLE_MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
