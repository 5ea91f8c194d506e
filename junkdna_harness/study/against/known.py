"""What is publicly known of the tasks and settings behind the paper's figures; none of its points, none of its results.

Sizes are those of the public splits: GLUE's validation (Wang et al. 2019; rows of `nyu-mll/glue`), WinoGrande's development set
(Sakaguchi et al. 2020), CommonsenseQA's (Talmor et al. 2019). `floor` is what the commonest answer scores there. Dense scores are
RoBERTa's own (Liu et al. 2019, table 8; the base model in fairseq's `examples/roberta/README.md`) and stand for those of the paper,
which are mostly not told: each is a range of three points to either side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from junkdna_harness.study.against.points import Series

ABOUT = 0.03  # how far a dense score that is assumed may lie from the paper's
SHARE, CORRELATION, MATTHEWS, BLEU = "share", "correlation", "mcc", "bleu"
LARGE, BASE = "large", "base"
EASY, HARD = "easy", "hard"


@dataclass(frozen=True)
class Score:
    """A dense score: a range, and where it is from."""

    low: float
    high: float
    source: str

    @property
    def middle(self) -> float:
        """Its middle."""
        return (self.low + self.high) / 2

    @property
    def assumed(self) -> bool:
        """Whether it is a range, and not a number that was told."""
        return self.high > self.low


@dataclass(frozen=True)
class Task:
    """A task: `n` evaluation items (None where unknown, `n_source` then says what was looked for), how it is scored, its floor.

    `dense`: by model size. `names`: words by which a study's tasks are known to be of it.
    """

    name: str
    kind: str
    n: int | None
    n_source: str
    floor: float
    dense: Mapping[str, Score]
    names: tuple[str, ...]
    role: str = ""


def _about(score: float, source: str) -> Score:
    return Score(score - ABOUT, min(score + ABOUT, 1.0), f"{source}, taken as {score:g} ± {ABOUT:g}")


def _roberta(large: float, base: float) -> dict[str, Score]:
    return {LARGE: _about(large, "RoBERTa's own"), BASE: _about(base, "RoBERTa's own")}


_GLUE = "GLUE, validation split"
_TOLD = "told with the paper's code"
TASKS = (
    Task("SST-2", SHARE, 872, _GLUE, 444 / 872, _roberta(0.964, 0.948), ("sst2", "sst"), EASY),
    Task("CoLA", MATTHEWS, 1043, _GLUE, 0.0, _roberta(0.68, 0.636), ("cola",), HARD),
    Task("QQP", SHARE, 40430, _GLUE, 25545 / 40430, _roberta(0.922, 0.919), ("qqp",), EASY),
    Task("STS-B", CORRELATION, 1500, _GLUE, 0.0, _roberta(0.924, 0.912), ("stsb",), HARD),
    Task(
        "QNLI", SHARE, 5463, _GLUE, 2761 / 5463,
        {LARGE: Score(0.941, 0.941, _TOLD), BASE: _about(0.928, "RoBERTa's own")}, ("qnli",), EASY,
    ),
    Task(
        "RTE", SHARE, 277, _GLUE, 146 / 277,
        {LARGE: Score(0.838, 0.838, _TOLD), BASE: _about(0.787, "RoBERTa's own")}, ("rte",), HARD,
    ),
    Task("MNLI", SHARE, 9832, f"{_GLUE}, mismatched, as the code saves it", 3463 / 9832, _roberta(0.902, 0.876), ("mnli",)),
    Task(
        "WinoGrande", SHARE, 1267, "development split", 0.5,
        {LARGE: _about(0.77, "assumed from whole percents in the figure")}, ("winogrande",), EASY,
    ),
    Task("CSQA", SHARE, 1221, "CommonsenseQA, development split", 0.2, {LARGE: _about(0.72, "assumed")}, ("csqa", "commonsenseqa"), HARD),
    Task(
        "MAWPS", SHARE, 384, "assumed: one of five folds of 1,921 problems", 0.0,
        {LARGE: _about(0.89, "assumed: the figure's steps fit 342 right")}, ("mawps",), EASY,
    ),
    Task(
        "SVAMP", SHARE, 300, "assumed: the test rows of the split in common use", 0.0,
        {LARGE: _about(0.40, "assumed: the figure's steps fit 120 right")}, ("svamp",), HARD,
    ),
    Task(
        "TriviaQA", SHARE, 2000, "the first 2,000 questions, as the code asks", 0.0,
        {LARGE: Score(0.3, 0.9, "not told, anything from 0.3 to 0.9")}, ("triviaqa",),
    ),
    Task("translation", BLEU, None, "BLEU of a whole text", 0.0, {}, ("belebele",)),
)  # fmt: skip
_FIGURES = {"open_closed": "TriviaQA", "nested": "TriviaQA", "mbart": "translation"}
_OF_BASE = ("data_suff", "data_vol", "adequacy")
WHY_NOT = {
    MATTHEWS: "a Matthews correlation is no share of items, and the counts behind it are not told",
    BLEU: "BLEU is no share of items",
}


def task_of(series: Series) -> Task | None:
    """The task that a series is of, by its own name, its panel's or its figure's; None where nothing known is named."""
    for text in (series.name, series.panel):
        for task in TASKS:
            if re.search(rf"(?<![a-z0-9]){re.escape(task.name.lower())}(?![a-z0-9])", text.lower()):
                return task
    wanted = next((name for start, name in _FIGURES.items() if series.figure.lower().startswith(start)), "")
    return next((task for task in TASKS if task.name == wanted), None)


def dense_of(series: Series, task: Task | None) -> Score | None:
    """The dense score behind a series: the file's, or what is known or assumed."""
    if series.dense is not None:
        return Score(series.dense, series.dense, "the file's")
    size = BASE if any(part in series.figure.lower() for part in _OF_BASE) else LARGE
    return None if task is None else task.dense.get(size)


@dataclass(frozen=True)
class Setup:
    """How a figure was made, in words."""

    model: str
    method: str
    training: str
    metric: str


_GLUE_TRAINING = "3 epochs of AdamW on each task, learning rate 2e-5, one recipe at all levels, few seeds"
_GLUE_METRIC = "GLUE's metric, a class is predicted by a trained head"
# By how a figure's name begins; the first that fits.
SETUPS: Mapping[str, Setup] = {
    "task_complexity": Setup("RoBERTa-Large", "magnitude, one global threshold", _GLUE_TRAINING, _GLUE_METRIC),
    "data_suff": Setup(
        "RoBERTa-Base", "magnitude, one global threshold", f"{_GLUE_TRAINING}; less data are fewer steps", _GLUE_METRIC
    ),
    "baselines_across_data": Setup(
        "RoBERTa-Base", "magnitude, one global threshold", f"{_GLUE_TRAINING}; less data are fewer steps", _GLUE_METRIC
    ),
    "baselines": Setup("RoBERTa-Large", "magnitude, one global threshold", _GLUE_TRAINING, _GLUE_METRIC),
    "open_closed": Setup(
        "Vicuna-7B", "magnitude per layer, SparseGPT, Wanda", "none",
        "containment either way in 32 new tokens, so that an empty answer counts as right",
    ),
    "nested": Setup("Vicuna-7B", "magnitude per layer, SparseGPT, Wanda", "none", "containment either way"),
    "mbart": Setup("mBART-large", "magnitude, one global threshold", "one update, or 40,000", "BLEU"),
}  # fmt: skip


def setup_of(figure: str) -> Setup | None:
    """What is known of how a figure was made."""
    return next((setup for start, setup in SETUPS.items() if figure.lower().startswith(start)), None)
