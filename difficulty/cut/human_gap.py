"""Difficulty across tasks: the human-LLM gap G = (H - M) / H, and the pairs of tasks that the paper compares.

Human scores are published ones, each with its source; where none was found there is no number. A gap needs a
model's score too, and that is measured, never taken from a table here.
"""

from __future__ import annotations

from dataclasses import dataclass

from difficulty.errors import UsageError, did_you_mean

GLUE = (
    "Nangia and Bowman 2019, Human vs. Muppet (arXiv 1905.10425), GLUE test sets; the row is quoted in "
    "Liu et al. 2019, MT-DNN (arXiv 1901.11504), table 2"
)
NONE = "no published number used"


@dataclass(frozen=True)
class HumanScore:
    """A human score in [0, 1], the metric it is in, and where it was published; None where none is used."""

    score: float | None
    metric: str
    source: str


@dataclass(frozen=True)
class FamilyPair:
    """Two tasks of one kind, the easier first, as the paper labels them."""

    name: str
    easy: str
    hard: str


HUMAN: dict[str, HumanScore] = {
    "sst2": HumanScore(0.978, "accuracy", GLUE),
    "cola": HumanScore(0.664, "Matthews correlation", GLUE),
    "qqp": HumanScore(0.804, "accuracy", GLUE),
    "stsb": HumanScore(0.927, "Pearson correlation", GLUE),
    "qnli": HumanScore(0.912, "accuracy", GLUE),
    "rte": HumanScore(0.936, "accuracy", GLUE),
    "winogrande": HumanScore(
        0.94, "accuracy", "Sakaguchi et al. 2019, WinoGrande (arXiv 1907.10641), abstract"
    ),
    "commonsense_qa": HumanScore(
        0.89, "accuracy", "Talmor et al. 2019, CommonsenseQA (arXiv 1811.00937), abstract"
    ),
    "mawps": HumanScore(None, "accuracy", NONE),
    "svamp": HumanScore(None, "accuracy", NONE),
}

PAIRS: tuple[FamilyPair, ...] = (
    FamilyPair("sentence", "sst2", "cola"),
    FamilyPair("similarity", "qqp", "stsb"),
    FamilyPair("inference", "qnli", "rte"),
    FamilyPair("commonsense", "winogrande", "commonsense_qa"),
    FamilyPair("arithmetic", "mawps", "svamp"),
)


def human_llm_gap(task: str, model_score: float) -> float:
    """G = (H - M) / H for a task of the table; larger is harder, negative where the model beats people.

    `model_score` must be in the metric of `HUMAN[task]`, in [0, 1].

    Raises:
        UsageError: the task is not in the table, has no published human score, or the score is out of range.

    Reference: Yin et al., Junk DNA Hypothesis (ICML 2024): the gap normalised by human performance.
    """
    if task not in HUMAN:
        raise UsageError(
            f"there is no human score of {task!r}; there are {', '.join(HUMAN)}.{did_you_mean(task, HUMAN)}"
        )
    human = HUMAN[task].score
    if human is None:
        raise UsageError(
            f"{task!r} has no published human score here. Call normalized_gap with a score of your own."
        )
    return normalized_gap(human, model_score)


def normalized_gap(human: float, model: float) -> float:
    """G = (H - M) / H.

    Raises:
        UsageError: the human score is not in (0, 1], or the model's is not in [-1, 1] (a correlation may be negative).
    """
    if not 0 < human <= 1:
        raise UsageError(f"a human score of {human} cannot be normalised by. Give it in (0, 1], e.g. 0.94.")
    if not -1 <= model <= 1:
        raise UsageError(f"a model score of {model} is out of range. Give it in [-1, 1], e.g. 0.52 for 52 %.")
    return (human - model) / human
