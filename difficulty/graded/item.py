"""What the graded suite is made of: items, and families of items in levels of difficulty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from difficulty.errors import UsageError

TIERS = (1, 2, 3, 4)  # of difficulty_tiers and difficulty_tiers_memory
HARD_TIERS = (5, 6, 7, 8)  # of difficulty_tiers_hard
END = "."  # ends every answer that a model writes itself: without it, an answer that goes on would count as right


@dataclass(frozen=True)
class Item:
    """One question: `prompt` + `answer` is the text.

    `choices` holds the options, `answer` among them; it is empty where the model writes the answer itself, which then
    ends with `END`. Items of one `cluster` ask for the same thing in other words and are not independent;
    without one, only items with the same prompt and answer (among other options) are of one cluster.
    """

    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    cluster: str = ""

    @property
    def cluster_id(self) -> str:
        """By which items that are not independent are known."""
        return self.cluster or f"{self.prompt}{self.answer}"

    @property
    def key(self) -> str:
        """What makes two items the same item: the prompt and what may be answered, in any order."""
        return "\n".join([self.prompt, *sorted(self.choices or (self.answer,))])


@dataclass(frozen=True)
class Family:
    """A family of items that differ in difficulty along one axis alone.

    Attributes:
        name, axis: as in the tasks' metadata.
        axis_label: what a level counts, e.g. "words to copy".
        levels: the axis' value in tier 1, 2, …, easiest first; the first four are the suite's, the next four the hard one's.
        draw: an item of a level.
        chance: what guessing scores at a level.
        lowest, highest: the levels that `draw` takes; None where there is no limit.
        description: one line.
        pool: all test items of a level, where each is about one fact of a table; else test items are drawn.
        draw_training: draws items for training, where these are not of the same kind as the test's.
    """

    name: str
    axis: str
    axis_label: str
    levels: tuple[int, ...]
    draw: Callable[[Random, int], Item] = field(repr=False)
    chance: Callable[[int], float] = field(repr=False)
    lowest: int
    highest: int | None
    description: str = ""
    pool: Callable[[int], list[Item]] | None = field(default=None, repr=False)
    draw_training: Callable[[Random, int], Item] | None = field(default=None, repr=False)

    def check_level(self, level: object) -> int:
        """`level` as a number that `draw` takes.

        Raises:
            UsageError: it is none, or beyond the family's limits.
        """
        whole = isinstance(level, int) and not isinstance(level, bool)
        if whole and self.lowest <= level and (self.highest is None or level <= self.highest):  # type: ignore[operator]
            return level  # type: ignore[return-value]
        limits = f"from {self.lowest}" if self.highest is None else f"{self.lowest} to {self.highest}"
        raise UsageError(
            f"level={level!r} of family {self.name!r} is unknown. Give a whole number {limits} ({self.axis_label})."
        )
