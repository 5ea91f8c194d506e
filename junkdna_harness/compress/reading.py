"""A checkpoint is read whole or not at all, and what is wrong with it is one sentence.

transformers fills tensors that the files lack with random numbers and goes on: such a model would be compressed and measured as if
it were the one that was named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError

from difficulty.errors import UsageError

NAMED = 3  # tensors that a sentence names; of others it gives the number

# How transformers begins where no class of its own fits.
_UNKNOWN_KIND = (
    "Unrecognized configuration class",
    "Unrecognized model in",
    "does not recognize this architecture",
)


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
        told = {**kwargs, "output_loading_info": True, "ignore_mismatched_sizes": True}
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


@contextmanager
def clear_loading_errors(name: str) -> Iterator[None]:
    """Turn what transformers says of a model that cannot be loaded into one sentence."""
    try:
        yield
    except UsageError:
        raise
    except SafetensorError as error:
        raise UsageError(
            f"pretrained={name!r} could not be loaded: one of its safetensors files is cut off or damaged ({error}). Get it again."
        ) from error
    except OSError as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"pretrained={name!r} could not be loaded: {first}") from error
    except ImportError as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"pretrained={name!r} needs a package that is not installed: {first}") from error
    except ValueError as error:
        if not any(words in str(error) for words in _UNKNOWN_KIND):
            raise
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"pretrained={name!r} could not be loaded: {first}") from error
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise UsageError(
            f"pretrained={name!r} was given an argument that the model does not take: {error}."
        ) from error
