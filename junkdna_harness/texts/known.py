"""Texts by name, in the tokens of a model that is known by name alone: what lm-eval's tasks are built from.

A text is kept by its hash, so that a request needs to name it only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from difficulty.errors import UsageError
from junkdna_harness.arguments import resolve_pretrained
from junkdna_harness.texts.documents import STARTER, Document, read_documents
from junkdna_harness.texts.tokens import TokenizedText
from junkdna_harness.texts.windows import cut, tokenize

WINDOW = 512
_known: dict[str, TokenizedText] = {}


def tokenized(
    names: object, arguments: Mapping[str, Any], window: object = WINDOW
) -> tuple[TokenizedText, Any]:
    """The texts `names` (one or a list; None: starter) in windows, in the tokens of the model that `arguments` name; and its tokenizer.

    Raises:
        UsageError: a text or the tokenizer cannot be read, or the window is no number of tokens.
    """
    listed = [STARTER] if names is None else [names] if isinstance(names, str) else list(names)  # type: ignore[call-overload]
    try:
        size = int(str(window))
    except ValueError:
        raise UsageError(f"window={window!r} is no number of tokens. Write e.g. window=512.") from None
    name = arguments.get("tokenizer") or arguments.get("pretrained")
    flags = (
        arguments.get("revision"),
        arguments.get("use_fast_tokenizer"),
        arguments.get("trust_remote_code"),
    )
    special = (arguments.get("add_bos_token"), arguments.get("prefix_token_id"))
    documents = tuple(read_documents([str(one) for one in listed]))
    found, tokenizer = _tokenized(documents, size, None if name is None else str(name), flags, special)
    _known[found.sha256] = found
    return found, tokenizer


@lru_cache(maxsize=8)
def _tokenized(
    documents: tuple[Document, ...],
    window: int,
    model: str | None,
    flags: tuple[Any, ...],
    special: tuple[Any, Any],
) -> tuple[TokenizedText, Any]:
    tokenizer = _tokenizer(model, *flags)
    add_bos, prefix = special
    if prefix is None:
        prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    found = tokenize(documents, SimpleNamespace(tokenizer=tokenizer, add_bos_token=_is_true(add_bos)))
    return TokenizedText(found, cut(found, window, "rolling", int(prefix))), tokenizer


def known(sha256: str) -> TokenizedText:
    """The text of this hash, which a task of this process was built from.

    Raises:
        KeyError: none was.
    """
    return _known[sha256]


def _tokenizer(model: str | None, revision: object, fast: object, trust: object) -> Any:
    from transformers import AutoTokenizer

    path = resolve_pretrained(model)
    more: dict[str, Any] = {"revision": str(revision)} if revision not in (None, "main") else {}
    try:
        return AutoTokenizer.from_pretrained(
            path, use_fast=fast is None or _is_true(fast), trust_remote_code=_is_true(trust), **more
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the tokenizer of {model or 'the embedded model'!r}, which a text's tasks need, cannot be loaded: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() == "true"
