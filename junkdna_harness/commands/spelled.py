"""Sentences in the spelling of whoever reads them: `bits=5` of `--model_args` and of Python is `--bits 5` on our command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

from difficulty.errors import UsageError
from junkdna_harness.commands.verb import kebab

P = ParamSpec("P")
R = TypeVar("R")


def names_options(**other: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of a verb: refusals that name arguments of a spec name the verb's options instead.

    `other`: arguments whose option has another name. With a recipe, which has names of its own, sentences stay as they are.
    """

    def decorate(verb: Callable[P, R]) -> Callable[P, R]:
        own = [name for name in inspect.signature(verb).parameters if name != "pretrained"]
        options = {**{name: name for name in own}, **other}

        @wraps(verb)
        def run(*args: P.args, **values: P.kwargs) -> R:
            try:
                return verb(*args, **values)
            except UsageError as error:
                if values.get("recipe") is None:
                    error.args = (spelled(str(error), options),)
                raise

        return run

    return decorate


def spelled(text: str, options: Mapping[str, str]) -> str:
    """`text` with every `name=value` of `options` as `--name value`; what stands in quotes, in a list or after `--model_args` is left.

    >>> spelled("bits=5 and act_order=true; write e.g. --model_args bits=4", {"bits": "bits", "act_order": "act_order"})
    '--bits 5 and --act-order; write e.g. --model_args bits=4'
    """
    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True))

    def option(match: re.Match[str]) -> str:
        name, flag, value = match.groups()
        return f"--{kebab(options[name])}" + (" " if value and not flag else "")

    # The value, and not the end of a sentence: `bits=4`, `bits=.5`, but `Give bits= too` and `with mask=.`
    return re.sub(
        rf"(?<!--model_args )(?<![\w,'\"./=-])({names})=(true\b|True\b)?(?=(\.?[^\s,.;)])?)", option, text
    )
