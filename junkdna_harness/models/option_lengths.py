"""Items whose options are not of one length in the model's tokens: there a sum of log-likelihoods favours the shorter option.

Every token takes its share of probability, so that `acc`, which compares sums, is about length too. lm-eval's `acc_norm`
divides a sum by the characters of the option.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OPTION_LENGTHS = "option_lengths"  # where it stands in the `junkdna` block
_SAID = 3  # tasks that the note names
_NOTHING, _ITEM, _UNEQUAL = range(3)  # what of a document was counted

# task -> {"items": with several options, "unequal": those of them whose options differ in tokens}
OptionLengths = dict[str, dict[str, int]]


def option_lengths(instances: Iterable[Any], continuations: Iterable[Sequence[int]]) -> OptionLengths:
    """What the options of each task's items come to, for tasks in which some differ in tokens.

    `instances` are lm-eval's requests, `continuations` the tokens of each one's continuation, in their order. The requests of
    one document are its options; a request that is there several times (`repeats`) counts once.
    """
    found: OptionLengths = {}
    seen: dict[
        tuple[Any, Any], list[int]
    ] = {}  # -> index and tokens of the first option, and what was counted
    for instance, tokens in zip(instances, continuations, strict=True):
        first = seen.setdefault((instance.task_name, instance.doc_id), [instance.idx, len(tokens), _NOTHING])
        if first[2] == _NOTHING and instance.idx != first[0]:
            task = found.setdefault(str(instance.task_name), {"items": 0, "unequal": 0})
            task["items"] += 1
            first[2] = _ITEM
        if first[2] == _ITEM and len(tokens) != first[1]:
            found[str(instance.task_name)]["unequal"] += 1
            first[2] = _UNEQUAL
    return {task: counts for task, counts in found.items() if counts["unequal"]}


def note_on_lengths(lengths: Mapping[str, Mapping[str, int]]) -> str:
    """A sentence on the tasks with such items, those with the largest share first; nothing where there is none."""
    if not lengths:
        return ""
    ranked = sorted(lengths.items(), key=lambda one: -one[1]["unequal"] / one[1]["items"])
    parts = [f"in {counts['unequal']:,} of {counts['items']:,} items of {task}" for task, counts in ranked]
    more = len(parts) - _SAID
    told = ", ".join(parts[:_SAID]) + (f", and in {more} more task{'s' * (more > 1)}" if more > 0 else "")
    return (
        f"the options differ in tokens {told}: acc favours the shorter option there. Read acc_norm (divided by the option's "
        "characters) beside acc."
    )
