"""Rules that score how hard an item is from the item alone: no model, no tokenizer.

A rule is a function of an `Item` that returns a number (or text: then each value is a tier). Names that users write:

    answer_length     characters of the shortest accepted answer
    context_length    characters of the prompt
    option_count      number of options
    field:NAME        a column of the document, a number or text; NAME may be dotted, e.g. field:meta.level
    steps:NAME        lines of a worked solution, the final "#### answer" not counted (GSM8K's way)
    operators:NAME    how many of + - * / an equation has
    module:function   a Python function of the document
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from difficulty.cut.tiers import Harder, Score
from difficulty.errors import UsageError, did_you_mean
from difficulty.own_code import own_function


@dataclass(frozen=True)
class Item:
    """What a rule may look at.

    doc: the document as the task uses it. context: the prompt. answers: every accepted answer, without the
    spaces around it. options: the texts to choose from (empty when the task is not multiple choice).
    """

    doc: Mapping[str, Any]
    context: str = ""
    answers: tuple[str, ...] = ()
    options: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Rule:
    """A named way to score items. harder: whether high or low scores are the hard ones."""

    name: str
    score: Callable[[Item], Score]
    harder: Harder = "high"


def answer_length(item: Item) -> int:
    """Characters of the shortest accepted answer."""
    if not item.answers:
        raise UsageError(f"a document has no answer to measure: {_peek(item.doc)}. Choose another rule.")
    return min(len(answer.strip()) for answer in item.answers)


def context_length(item: Item) -> int:
    """Characters of the prompt."""
    return len(item.context)


def option_count(item: Item) -> int:
    """Number of options."""
    if not item.options:
        raise UsageError(
            "option_count needs a multiple-choice task, and these items have no options. Choose another rule."
        )
    return len(item.options)


RULES: Mapping[str, Callable[[Item], Score]] = {
    "answer_length": answer_length,
    "context_length": context_length,
    "option_count": option_count,
}
FAMILIES_OF_RULES = ("field:NAME", "steps:NAME", "operators:NAME", "module:function")


def parse_rule(text: str) -> Rule:
    """The rule that `text` names.

    Raises:
        UsageError: there is no such rule, or the Python function cannot be imported.
    """
    if text in RULES:
        return Rule(text, RULES[text])
    prefix, colon, rest = text.partition(":")
    if not colon or not rest or not prefix:
        raise UsageError(
            f"there is no rule {text!r}. Write one of {', '.join(RULES)}, {', '.join(FAMILIES_OF_RULES)}."
            f"{did_you_mean(text, RULES)}"
        )
    if prefix == "field":
        return Rule(text, lambda item: _number_or_text(lookup(item.doc, rest), rest))
    if prefix == "steps":
        return Rule(text, lambda item: _count_steps(str(lookup(item.doc, rest))))
    if prefix == "operators":
        return Rule(text, lambda item: _count_operators(str(lookup(item.doc, rest))))
    return Rule(text, _user_function(prefix, rest))


def lookup(doc: Mapping[str, Any], name: str) -> Any:
    """The value of a column; dots step into nested columns.

    Raises:
        UsageError: there is no such column; the message names those that there are.
    """
    if name in doc:
        return doc[name]
    value: Any = doc
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            columns = [str(column) for column in doc]
            raise UsageError(
                f"the documents have no column {name!r}; they have {', '.join(columns)}.{did_you_mean(name, columns)}"
            )
        value = value[part]
    return value


def _number_or_text(value: Any, name: str) -> Score:
    """A number as it is, text as it is; a list counts its entries; anything else is refused."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, list | tuple):
        return len(value)
    if hasattr(value, "item"):  # numpy scalars
        return _number_or_text(value.item(), name)
    raise UsageError(
        f"column {name!r} holds {type(value).__name__}, not a number or text. Choose another column, e.g. a dotted one."
    )


def _count_steps(solution: str) -> int:
    return sum(1 for line in solution.splitlines() if line.strip() and not line.lstrip().startswith("####"))


def _count_operators(equation: str) -> int:
    """Operators, in infix or prefix writing; a sign ("x = -3", "5*-2") is none."""
    return len(re.findall(r"[-+*/]", re.sub(r"(^|[=(,*/+-])\s*[-+](?=[\d.])", r"\1", equation)))


def _user_function(module_name: str, function_name: str) -> Callable[[Item], Score]:
    try:
        function = own_function(f"{module_name}:{function_name}", "rule", ("doc",))
    except UsageError as error:
        raise UsageError(
            f"{error} Other rules are {', '.join(RULES)}, {', '.join(FAMILIES_OF_RULES[:-1])}."
            f"{did_you_mean(module_name, ('field', 'steps', 'operators'))}"
        ) from error

    def score(item: Item) -> Score:
        value = function(item.doc)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            if hasattr(value, "item"):
                return _number_or_text(value.item(), function_name)
            raise UsageError(
                f"{module_name}:{function_name} returned {value!r} for {_peek(item.doc)}. Return a number or text."
            )
        return value

    return score


def _peek(doc: Mapping[str, Any]) -> str:
    text = repr(dict(doc))
    return text if len(text) <= 80 else f"{text[:77]}..."
