"""A checkpoint is read whole or not at all, and what is wrong with it is one sentence.

transformers fills tensors that the files lack with random numbers and goes on: such a model would be compressed and measured as if
it were the one that was named.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from difficulty.errors import UsageError
from junkdna_harness.presentation.progress import shown_at_a_terminal

NAMED = 3  # tensors that a sentence names; of others it gives the number

# What a config with odd values, or a file with odd content, makes the libraries raise.
_FAULTS = (
    OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, AssertionError, RuntimeError, StrictDataclassError,
)  # fmt: skip
_NO_SAFETENSORS = (
    "thus cannot be loaded with `safetensors`"  # how transformers says that there are pickles alone
)
_LOST_OF_ADAPTER = "Found missing adapter keys while loading the checkpoint:"  # peft, in a warning


def _no_bars_in_a_log() -> None:
    """Leave out the bars of transformers (loading weights, writing shards) where stderr is no terminal: they are carriage returns there."""
    if not shown_at_a_terminal():
        from transformers.utils import logging

        logging.disable_progress_bar()


class Whole:
    """An auto class of transformers whose `from_pretrained` refuses what is not whole; all else is the class's own."""

    def __init__(self, auto: Any) -> None:
        self._auto = auto

    def __getattr__(self, name: str) -> Any:
        return getattr(self._auto, name)

    def from_pretrained(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """The model, as transformers loads it.

        Raises:
            UsageError: the files lack tensors of the model, or hold some of another shape. What else transformers raises goes on
                (`clear_loading_errors`).
        """
        refuse_pickles_asked_for(kwargs)
        told = {**kwargs, "output_loading_info": True, "ignore_mismatched_sizes": True}
        if kwargs.get("gguf_file") is None:
            told["use_safetensors"] = True
        model, found = self._auto.from_pretrained(name, *args, **told)
        _refuse_mismatched(name, found)
        _refuse_missing(name, found)
        return model


def _refuse_mismatched(name: str, found: Mapping[str, Any]) -> None:
    wrong = sorted(found.get("mismatched_keys") or ())
    if wrong:
        told = [f"{tensor} {tuple(there)} instead of {tuple(here)}" for tensor, there, here in wrong]
        raise UsageError(
            f"pretrained={name!r} cannot be used: its files hold tensors of other shapes than its config.json asks for, {_some(told)}. "
            "Get the checkpoint again, or the config that belongs to it."
        )


def _refuse_missing(name: str, found: Mapping[str, Any]) -> None:
    missing = sorted(found.get("missing_keys") or ())
    if missing:
        raise UsageError(
            f"pretrained={name!r} cannot be used: its files lack {len(missing)} of the model's tensors ({_some(missing)}), which would be "
            "random numbers. Get the checkpoint again, or the config that belongs to it."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def no_tokenizer(name: str, error: Exception) -> str:
    """A sentence for a tokenizer that cannot be loaded."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"pretrained={name!r} has no tokenizer that can be loaded ({first}). Put its files into the folder, or name another one: "
        "tokenizer=."
    )


def refuse_pickles_asked_for(options: Mapping[str, Any]) -> None:
    """
    Raises:
        UsageError: `use_safetensors` is off.
    """
    if str(options.get("use_safetensors")).lower() in ("false", "0", "no"):
        raise UsageError(
            "use_safetensors=False asks for pickled weights, which can run code when they are read. Leave it out: weights are read from "
            "safetensors alone."
        )


@contextmanager
def whole_adapter(name: str | None) -> Iterator[None]:
    """A block in which peft loads an adapter, and refuses one whose files lack tensors: it would fill them with random numbers too.

    Raises:
        UsageError: they do.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=_LOST_OF_ADAPTER)
        try:
            yield
        except UserWarning as error:
            raise UsageError(
                f"peft={name!r} cannot be used: its files lack tensors that its config asks for ({str(error)[len(_LOST_OF_ADAPTER) :].strip()}). "
                "Get the adapter again, or the config that belongs to it."
            ) from error


@contextmanager
def clear_loading_errors(name: str) -> Iterator[None]:
    """Turn what transformers, or a library below it, says of a model that cannot be loaded into one sentence."""
    _no_bars_in_a_log()
    try:
        yield
    except UsageError:
        raise
    except SafetensorError as error:
        raise UsageError(
            f"pretrained={name!r} could not be loaded: one of its safetensors files is cut off or damaged ({error}). Get it again."
        ) from error
    except ImportError as error:
        raise UsageError(
            f"pretrained={name!r} needs a package that is not installed: {_first_line(error)}"
        ) from error
    except _FAULTS as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which this module does without
            raise
        if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
            raise UsageError(
                f"pretrained={name!r} was given an argument that the model does not take: {error}."
            ) from error
        if _NO_SAFETENSORS in str(error):
            raise UsageError(
                f"pretrained={name!r} has no safetensors, and nothing else is read here: a pickle can run code when it is read. Convert it "
                "where you trust it, with save_pretrained, and name that folder."
            ) from error
        raise UsageError(f"pretrained={name!r} could not be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    said = (str(error).strip().splitlines() or [""])[0]
    return (
        said
        if isinstance(error, OSError | ValueError | RuntimeError | ImportError) and said
        else f"{type(error).__name__} {said}".strip()
    )
