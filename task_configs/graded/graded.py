"""What the graded task YAMLs name: where their documents come from."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import datasets

from difficulty.errors import UsageError
from difficulty.graded import DEFAULT_ITEMS, FAMILIES, MEMORY, draw_training_item, test_items
from junkdna_harness.border import end_lm_eval_with_a_sentence
from junkdna_harness.embedded import knows_the_suite
from junkdna_harness.harness.patches import no_hints_about

FEWSHOT_ITEMS = 32
# lm-eval hints, twice a line for each of our tasks, at arguments that these do not need.
no_hints_about("difficulty_tiers_")


def load(
    family: str,
    tier: int,
    n_items: int = DEFAULT_ITEMS,
    suite_seed: int = 0,
    level: int | None = None,
    chance: float | None = None,
    pretrained: Any = None,
    **_other: Any,
) -> dict[str, datasets.Dataset]:
    """Splits `test` (n_items documents) and `train` (for few-shot examples, disjoint from the test).

    `level` asks for another level than the tier's. lm-eval passes the task's metadata and the model's arguments alike. Of
    the latter only `pretrained` is read, and only to refuse memory tasks to a model that was never shown the facts: no
    model argument changes an item.

    Raises:
        UsageError: a memory task for a stranger, an impossible count, seed or level, or a level whose chance is not `chance`.
    """
    try:
        _refuse_strangers(family, pretrained)
        items = test_items(family, tier, _whole("n_items", n_items), _whole("suite_seed", suite_seed), level)
        _check_chance(family, level, chance)
    except UsageError:
        end_lm_eval_with_a_sentence()
        raise
    rng = random.Random(f"fewshot/{family}/{tier}/{suite_seed}")
    shots = [draw_training_item(family, tier, rng) for _ in range(FEWSHOT_ITEMS)]
    return {"test": _documents(items), "train": _documents(shots)}


def _whole(name: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise UsageError(f"{name}={value!r} is no whole number.") from None


def _check_chance(family: str, level: int | None, chance: float | None) -> None:
    """What guessing scores stands in the task's metadata: another level must not leave it wrong."""
    if level is None or chance is None:
        return
    true = FAMILIES[family].chance(level)
    if not isinstance(chance, (int, float)) or abs(true - chance) > 1e-6:
        raise UsageError(
            f"level={level} of family {family!r} is guessed right with probability {true:.8f}, and the metadata say "
            f"chance={chance}. Give both: level={level}, chance={true:.8f}."
        )


def place_of_the_answer(doc: Mapping[str, Any]) -> int:
    """Which of the options is right."""
    place: int = doc["choices"].index(doc["answer"])
    return place


def _documents(items: list[Any]) -> datasets.Dataset:
    return datasets.Dataset.from_list(
        [
            {
                "prompt": i.prompt,
                "answer": i.answer,
                "choices": list(i.choices),
                "cluster": i.cluster_id,
            }
            for i in items
        ]
    )


def _refuse_strangers(family: str, pretrained: Any) -> None:
    if family in {member.name for member in MEMORY} and not knows_the_suite(pretrained):
        raise UsageError(
            f"the tasks of family {family!r} ask for facts that only the embedded model was taught, not pretrained={pretrained!r}. "
            "Leave pretrained out, or run --tasks difficulty_tiers, which any model can answer."
        )
