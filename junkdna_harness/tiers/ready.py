"""The ready-made groups: the table that `task_configs/benchmarks/` is written from (see `write_ready`).

A benchmark says which lm-eval task it is and where its rows lie on disk; a group says what makes its tiers. Tiers are
numbered from the easiest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from difficulty.cut.human_gap import PAIRS
from difficulty.cut.languages import CC100_GIGABYTES, TIERS

VIEWS = "junkdna_harness.tiers.views"
SCORES = "scores_smollm2_135m.json"
LETTERS = "ABCD"
QUESTION = "question"  # the column by which a question is known in all its tiers


@dataclass(frozen=True)
class Benchmark:
    """An lm-eval task. keys: what a tier's YAML says about it; chance: accuracy of guessing; metrics: those whose
    mean over the tiers is the mean over the items; cluster: the column that is the same for items that are not
    independent, as a question that several tiers ask."""

    name: str
    keys: Mapping[str, Any]
    chance: float = 0.0
    metrics: tuple[str, ...] = ("acc",)
    version: float = 1.0
    cluster: str | None = None


@dataclass(frozen=True)
class Group:
    """A group of tiers. members: for each tier the benchmark and the keys that make it."""

    name: str
    axis: str
    family: str
    members: Sequence[tuple[Benchmark, Mapping[str, Any]]]
    chances: Sequence[float] | None = None


def _mc(
    name: str, base: str, chance: float, local: Mapping[str, str], cluster: str | None = None, version: float = 1.0,
    **keys: Any,
) -> Benchmark:  # fmt: skip
    where = {"base": base, "output_type": "multiple_choice", "local": dict(local)}
    return Benchmark(name, {**where, **keys}, chance, version=version, cluster=cluster)


def _gen(
    name: str,
    base: str | None,
    local: Mapping[str, str],
    version: float = 1.0,
    cluster: str | None = None,
    **keys: Any,
) -> Benchmark:
    where = {"base": base} if base else {}
    return Benchmark(
        name,
        {**where, "output_type": "generate_until", "local": dict(local), **keys},
        0.0,
        ("exact_match",),
        version,
        cluster,
    )


def _splits(folder: str, *splits: str) -> dict[str, str]:
    return {split: f"{folder}/{split}.jsonl" for split in splits}


ARC_EASY = _mc(
    "arc_easy", "arc/arc_easy.yaml", 0.25, _splits("arc_easy", "test", "validation", "train"), QUESTION
)
ARC_CHALLENGE = _mc(
    "arc_challenge",
    "arc/arc_challenge.yaml",
    0.25,
    _splits("arc_challenge", "test", "validation", "train"),
    QUESTION,
)
OPENBOOKQA = _mc("openbookqa", "openbookqa/openbookqa.yaml", 0.25, _splits("openbookqa", "test", "train"))
COMMONSENSE = _mc(
    "commonsense_qa", "commonsense_qa/default.yaml", 0.2, _splits("commonsense_qa", "validation", "train")
)
BOOLQ = _mc("boolq", "super_glue/boolq/default.yaml", 0.5, _splits("boolq", "validation", "train"))
HELLASWAG = _mc("hellaswag", "hellaswag/hellaswag.yaml", 0.25, _splits("hellaswag", "validation", "train"))
WINOGRANDE = _mc("winogrande", "winogrande/default.yaml", 0.5, _splits("winogrande", "validation", "train"))
# lm-eval runs MMLU as 57 tasks that differ in the data set's name, with it the few-shot examples, and in this line of
# the prompt. Version 2: each question has the examples of its own subject (all had those of the first).
MMLU = _mc(
    "mmlu", "mmlu/default/_default_template_yaml", 0.25, _splits("mmlu", "test", "dev"), QUESTION,
    override={
        "dataset_name": "all",
        "description": "The following are multiple choice questions (with answers) about "
        "{{subject | replace('_', ' ')}}.\n\n",
    },
    version=2.0, fewshot_by="subject",
)  # fmt: skip
SST2 = _mc("sst2", "glue/sst2/default.yaml", 0.5, _splits("glue_sst2", "validation", "train"))
COLA = _mc(
    "cola", "glue/cola/default.yaml", 0.5, _splits("glue_cola", "validation", "train"),
    override={"metric_list": [{"metric": "acc"}, {"metric": "mcc"}]},
)  # fmt: skip
QQP = _mc(
    "qqp",
    "glue/qqp/default.yaml",
    0.5,
    {"validation": "glue_qqp/sample.jsonl", "train": "glue_qqp/train.jsonl"},
)
QNLI = _mc("qnli", "glue/qnli/default.yaml", 0.5, _splits("glue_qnli", "validation", "train"))
RTE = _mc("rte", "glue/rte/default.yaml", 0.5, _splits("glue_rte", "validation", "train"))
# not among lm-eval's tasks; asked as its qqp is
STSB = Benchmark(
    "stsb",
    {
        "output_type": "multiple_choice",
        "local": _splits("glue_stsb", "validation", "train"),
        "view": {"function": f"{VIEWS}:stsb_binary", "fewshot": True},
        "original": {
            "dataset_path": "nyu-mll/glue",
            "dataset_name": "stsb",
            "output_type": "multiple_choice",
            "training_split": "train",
            "validation_split": "validation",
            "doc_to_text": "Sentence 1: {{sentence1}}\nSentence 2: {{sentence2}}\n"
            "Question: Do both sentences mean the same thing?\nAnswer:",
            "doc_to_target": "same",
            "doc_to_choice": ["no", "yes"],
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        },
    },
    0.5,
)
GSM8K = _gen("gsm8k", "gsm8k/gsm8k.yaml", _splits("gsm8k", "test", "train"), 3.0)
NQ_OPEN = _gen(
    "nq_open", "nq_open/nq_open.yaml", {"validation": "nq_open_closed_book/validation.jsonl"}, 4.0, QUESTION
)
TRIVIAQA = _gen(
    "triviaqa",
    "triviaqa/default.yaml",
    {"validation": "triviaqa_closed_book/test.jsonl"},
    3.0,
    QUESTION,
    rows=f"{VIEWS}:trivia_rows",
)


def _word_problems(name: str, hub: str, split: str, local: Mapping[str, str], view: str) -> Benchmark:
    """SVAMP and MAWPS are not among lm-eval's tasks; asked as its asdiv-like tasks ask, answered by a number."""
    original = {
        "dataset_path": hub,
        "output_type": "generate_until",
        "test_split": split,
        "doc_to_text": "Question: {{problem}}\nAnswer:",
        "doc_to_target": "{{number}}",
        "generation_kwargs": {"until": ["\n", "Question:"], "do_sample": False, "max_gen_toks": 48},
        "filter_list": [
            {
                "name": "number",
                "filter": [
                    {"function": "regex", "regex_pattern": r"(-?\d[\d,]*(?:\.\d+)?)", "group_select": -1},
                    {"function": "take_first"},
                ],
            }
        ],
        "metric_list": [
            {
                "metric": "exact_match",
                "aggregation": "mean",
                "higher_is_better": True,
                "regexes_to_ignore": [",", r"\.0+$"],
            }
        ],
        "num_fewshot": 4,
    }
    return _gen(name, None, local, original=original, view={"function": f"{VIEWS}:{view}", "fewshot": True})


SVAMP = _word_problems("svamp", "ChilleD/SVAMP", "test", _splits("svamp", "test"), "svamp_rows")
MAWPS = _word_problems("mawps", "mwpt5/MAWPS", "train", {"train": "mawps/test.jsonl"}, "mawps_rows")

QA_METRICS = [
    {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True},
    {"metric": "contains", "aggregation": "mean", "higher_is_better": True},
]
CONTAINS = {"python_module": VIEWS, "python_function": "contains_answer"}
NQ_OPEN_BOOK = "{{passages}}\n\nQ: {{question}}?\nA:"  # the passages, then lm-eval's own question
TRIVIA_OPEN_BOOK = "{{passages}}\n\nQuestion: {{question}}?\nAnswer:"


def _open_book(benchmark: Benchmark, **keys: Any) -> tuple[Benchmark, dict[str, Any]]:
    """A tier of `benchmark` judged by exact match and containment, with other keys replaced."""
    override = {**benchmark.keys.get("override", {}), **keys.pop("override", {}),
                "process_results": CONTAINS, "metric_list": QA_METRICS}  # fmt: skip
    return benchmark, {**keys, "override": override}


def _by(benchmark: Benchmark, tiers: int, **keys: Any) -> list[tuple[Benchmark, dict[str, Any]]]:
    return [(benchmark, {**keys, "tier": number}) for number in range(1, tiers + 1)]


def _quantiles(benchmark: Benchmark, axis: str, tiers: int = 4) -> Group:
    """Tiers by a rule, cut at the quantiles of whatever rows are loaded."""
    members = _by(benchmark, tiers, by=axis, bins=tiers)
    return Group(f"difficulty_tiers_{benchmark.name}_{axis}", axis, benchmark.name, members)


def _margins(benchmark: Benchmark, tiers: int = 3) -> Group:
    members = _by(benchmark, tiers, scores=SCORES, bins=tiers)
    return Group(f"difficulty_tiers_{benchmark.name}_margin", "dense_margin", benchmark.name, members)


def _steps(benchmark: Benchmark, rule: str, cuts: Sequence[float]) -> Group:
    members = _by(benchmark, len(cuts) + 1, by=rule, cuts=list(cuts))
    return Group(f"difficulty_tiers_{benchmark.name}_steps", "steps", benchmark.name, members)


def _options(benchmark: Benchmark, view: str, letters: bool) -> Group:
    """Two, three and four options: the same questions, distractors dropped."""
    members = []
    for keep in (2, 3, 4):
        keys: dict[str, Any] = {"view": {"function": f"{VIEWS}:{view}", "keep": keep, "fewshot": True}}
        if letters and keep < 4:
            lines = "".join(f"{LETTERS[i]}. {{{{choices[{i}]}}}}\n" for i in range(keep))
            keys["override"] = {
                **benchmark.keys.get("override", {}),
                "doc_to_text": f"{{{{question.strip()}}}}\n{lines}Answer:",
                "doc_to_choice": list(LETTERS[:keep]),
            }
        members.append((benchmark, keys))
    return Group(
        f"difficulty_tiers_{benchmark.name}_options",
        "option_count",
        benchmark.name,
        members,
        (1 / 2, 1 / 3, 1 / 4),
    )


def _hotpot() -> Group:
    original = {
        "dataset_path": "hotpotqa/hotpot_qa",
        "dataset_name": "distractor",
        "output_type": "generate_until",
        "validation_split": "validation",
        "doc_to_text": "{{passages}}\n\nQuestion: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n", "."], "do_sample": False, "max_gen_toks": 32},
    }
    local = {"validation": "hotpot_qa/validation_sample.jsonl"}
    hotpot = _gen("hotpot_qa", None, local, cluster=QUESTION, original=original)
    members = [
        _open_book(hotpot, view={"function": f"{VIEWS}:hotpot_paragraphs", "paragraphs": n})
        for n in (2, 4, 7, 10)
    ]
    # `override` is merged into `original`
    return Group("difficulty_tiers_hotpot_qa_context", "context_length", "hotpot_qa", members)


NQ_BOOK = {"validation": "nq_open_open_book/validation.jsonl"}


def _nq_context(position: str) -> Group:
    members = [
        _open_book(
            NQ_OPEN, local=NQ_BOOK, override={"doc_to_text": NQ_OPEN_BOOK},
            view={"function": f"{VIEWS}:nq_passages", "passages": n, "position": position},
        )
        for n in (1, 2, 4, 8)
    ]  # fmt: skip
    suffix = "" if position == "spread" else f"_{position}"
    return Group(f"difficulty_tiers_nq_open_context{suffix}", "context_length", "nq_open", members)


def _nq_book() -> Group:
    book = _open_book(
        NQ_OPEN, local=NQ_BOOK, override={"doc_to_text": NQ_OPEN_BOOK},
        view={"function": f"{VIEWS}:nq_passages", "passages": 1},
    )  # fmt: skip
    return Group("difficulty_tiers_nq_open_book", "open_closed_book", "nq_open", [book, _open_book(NQ_OPEN)])


def _trivia_book() -> Group:
    book = _open_book(
        TRIVIAQA, local={"validation": "triviaqa_open_book/test.jsonl"},
        override={"dataset_name": "rc", "doc_to_text": TRIVIA_OPEN_BOOK}, view={"function": f"{VIEWS}:trivia_passages"},
    )  # fmt: skip
    return Group(
        "difficulty_tiers_triviaqa_book", "open_closed_book", "triviaqa", [book, _open_book(TRIVIAQA)]
    )


def _factoid() -> Group:
    """The same questions with four options, and with none."""
    choice = {
        "output_type": "multiple_choice",
        "view": {"function": f"{VIEWS}:nq_choices", "options": 4, "fewshot": True},
        "override": {
            "output_type": "multiple_choice", "generation_kwargs": None, "filter_list": None,
            "doc_to_choice": "{{choices}}", "doc_to_target": "gold",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        },
    }  # fmt: skip
    members = [(NQ_OPEN, choice), _open_book(NQ_OPEN)]
    return Group("difficulty_tiers_nq_open_factoid", "factoid_vs_choice", "nq_open", members, (0.25, 0.0))


def _shots(benchmark: Benchmark) -> Group:
    """Five examples in the prompt, three, one, none."""
    members = [(benchmark, {"num_fewshot": shots}) for shots in (5, 3, 1, 0)]
    return Group(f"difficulty_tiers_{benchmark.name}_shots", "shots", benchmark.name, members)


def _families() -> list[Group]:
    table = {b.name: b for b in (SST2, COLA, QQP, STSB, QNLI, RTE, WINOGRANDE, COMMONSENSE, MAWPS, SVAMP)}
    return [
        Group(f"difficulty_tiers_families_{pair.name}", "human_llm_gap", pair.name,
              [(table[pair.easy], {}), (table[pair.hard], {})], (table[pair.easy].chance, table[pair.hard].chance))
        for pair in PAIRS
    ]  # fmt: skip


TRAINED = 0.6  # of local validation rows, where there are no training rows; the others are the test
# The columns whose texts may not be on both sides.
TEXTS = {"sst2": ["sentence"], "cola": ["sentence"], "qnli": ["question", "sentence"], "rte": ["sentence1", "sentence2"],
         "qqp": ["question1", "question2"], "stsb": ["sentence1", "sentence2"]}  # fmt: skip


def _finetune() -> list[Group]:
    """The paper's pairs of GLUE tasks, with training rows also where the folder has none."""

    def keys(benchmark: Benchmark) -> dict[str, Any]:
        graded = benchmark is STSB  # its label is a number from 0 to 5, of which a view makes yes and no
        split = {"texts": TEXTS[benchmark.name], "train": TRAINED, "seed": 0}
        return {
            "split": {**split, **({} if graded else {"label": "label"})},
            "guess_by": "same" if graded else "label",
        }

    table = {b.name: b for b in (SST2, COLA, QQP, STSB, QNLI, RTE)}
    return [
        Group(f"difficulty_tiers_finetune_{pair.name}", "human_llm_gap", pair.name,
              [(table[name], keys(table[name])) for name in (pair.easy, pair.hard)], (0.5, 0.5))
        for pair in PAIRS if pair.easy in table
    ]  # fmt: skip


def _languages() -> Group:
    """The same questions in languages with less and less text on the web."""
    members: list[tuple[Benchmark, Mapping[str, Any]]] = []
    for language in TIERS:
        code = CC100_GIGABYTES[language][0]
        local = {"test": f"belebele/{code}.jsonl"}
        name = f"belebele_{code}"
        members.append(
            (
                Benchmark(
                    name,
                    {"base": f"belebele/{name}.yaml", "output_type": "multiple_choice", "local": local},
                    0.25,
                    cluster="link",  # of the passage: its questions, in all languages
                ),
                {},
            )
        )
    return Group("difficulty_tiers_belebele_language", "language", "belebele", members)


def groups() -> list[Group]:
    """Every group of tiers."""
    return [
        Group("difficulty_tiers_arc", "reference_accuracy", "arc", [(ARC_EASY, {}), (ARC_CHALLENGE, {})]),
        *(_quantiles(benchmark, "answer_length") for benchmark in (GSM8K, NQ_OPEN, TRIVIAQA, HELLASWAG)),
        *(
            _margins(benchmark)
            for benchmark in (ARC_EASY, ARC_CHALLENGE, MMLU, COMMONSENSE, OPENBOOKQA, BOOLQ)
        ),
        _options(ARC_EASY, "fewer_arc_options", letters=False),
        _options(MMLU, "fewer_mmlu_options", letters=True),
        _hotpot(),
        _nq_context("spread"),
        _nq_context("first"),
        _steps(SVAMP, "operators:equation", [2]),
        _steps(MAWPS, "operators:equation", [2, 3]),
        _steps(GSM8K, "steps:answer", [3, 4, 5]),
        _shots(ARC_EASY),
        _nq_book(),
        _trivia_book(),
        _factoid(),
        _languages(),
        *_families(),
        *_finetune(),
    ]


def collections() -> dict[str, tuple[str, ...]]:
    """Groups of groups: one per axis, and the small one that a first run wants."""

    def named(axis: str) -> tuple[str, ...]:
        return tuple(group.name for group in groups() if group.axis == axis)

    return {
        "difficulty_tiers_answer_length": named("answer_length"),
        "difficulty_tiers_margin": named("dense_margin"),
        "difficulty_tiers_option_count": named("option_count"),
        "difficulty_tiers_context": named("context_length"),
        "difficulty_tiers_steps": named("steps"),
        "difficulty_tiers_book": named("open_closed_book"),
        "difficulty_tiers_families": tuple(group.name for group in _families()),
        # The local sample of QQP is too small for a part of it to be a test: that pair is asked for by its own name.
        "difficulty_tiers_finetune": (
            "difficulty_tiers_finetune_sentence",
            "difficulty_tiers_finetune_inference",
        ),
        "difficulty_tiers_benchmarks": ("difficulty_tiers_arc", "difficulty_tiers_families_commonsense"),
    }
