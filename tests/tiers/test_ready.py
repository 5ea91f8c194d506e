"""Claims about the ready-made groups: their files, their items, and that tiers together are the original task."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from difficulty.errors import UsageError
from junkdna_harness.harness.versions import task_class
from junkdna_harness.tiers import write_ready
from junkdna_harness.tiers.build import plan_tiers, write_tiers
from junkdna_harness.tiers.config import packaged_tasks, read_config, to_live
from junkdna_harness.tiers.views import trivia_rows
from tests.tiers.conftest import BENCHMARKS, make_lm

ROWS = 80  # of each file: real rows, and a test of seconds


@pytest.fixture(scope="session")
def small_data(benchmark_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of every benchmark (MMLU: two subjects), in the same layout."""
    target = tmp_path_factory.mktemp("rows")
    for path in benchmark_data.glob("*/*.jsonl"):
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        if path.parent.name == "mmlu":
            lines = [
                line for line in lines if json.loads(line)["subject"] in ("anatomy", "high_school_physics")
            ]
        (target / path.parent.name).mkdir(exist_ok=True)
        (target / path.parent.name / path.name).write_text("\n".join(lines[:ROWS]) + "\n", encoding="utf-8")
    return target


@pytest.fixture
def data(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUNKDNA_DATA", str(small_data))
    return small_data


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[dict[str, Any]]]], None]:
    """Put rows in the place of the hub: what `load_dataset` returns to lm-eval's own task."""

    def serve(splits: dict[str, list[dict[str, Any]]]) -> None:
        served = datasets.DatasetDict(
            {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
        )
        monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: served)

    return serve


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n")]


def test_the_files_are_those_that_the_table_gives():
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in BENCHMARKS.glob("*.yaml")}
    assert on_disk == write_ready.files(), (
        "run: python -m junkdna_harness.tiers.write_ready task_configs/benchmarks"
    )


def test_every_tier_says_its_axis_family_number_and_chance():
    for name, text in write_ready.files().items():
        loaded = yaml.load(text.replace("!function", ""), Loader=yaml.SafeLoader)
        if "group" in loaded:
            assert name == f"{loaded['group']}.yaml"
            continue
        assert set(loaded["metadata"]) >= {"axis", "family", "tier", "n_tiers", "chance", "version"}
        assert loaded["task"].endswith(f"_t{loaded['metadata']['tier']}")
        assert "/" not in str(loaded.get("scores", ""))


ORIGINALS = [
    # group of tiers, lm-eval's file, the rows that both get
    (
        "difficulty_tiers_arc",
        ["arc/arc_easy.yaml", "arc/arc_challenge.yaml"],
        ["arc_easy/test", "arc_challenge/test"],
    ),
    ("difficulty_tiers_hellaswag_answer_length", ["hellaswag/hellaswag.yaml"], ["hellaswag/validation"]),
    ("difficulty_tiers_nq_open_answer_length", ["nq_open/nq_open.yaml"], ["nq_open_closed_book/validation"]),
    ("difficulty_tiers_triviaqa_answer_length", ["triviaqa/default.yaml"], ["triviaqa_closed_book/test"]),
    ("difficulty_tiers_gsm8k_steps", ["gsm8k/gsm8k.yaml"], ["gsm8k/test"]),
    ("difficulty_tiers_gsm8k_answer_length", ["gsm8k/gsm8k.yaml"], ["gsm8k/test"]),
]


@pytest.mark.parametrize(("group", "originals", "sources"), ORIGINALS, ids=[o[0][17:] for o in ORIGINALS])
def test_the_tiers_together_ask_and_score_exactly_what_the_task_does(
    data, hub, evaluate, group, originals, sources, tmp_path
):
    """Same prompts (few-shot examples too), same answers, same scores as lm-eval's own task on the same rows."""
    tiers_lm, whole_lm = make_lm(), make_lm()
    tiers = evaluate([group], BENCHMARKS, tiers_lm)
    scores: dict[str, float] = {}
    items = 0
    for original, source in zip(originals, sources, strict=True):
        rows = rows_of(data / f"{source}.jsonl")
        rows = trivia_rows(rows) if "trivia" in source else rows
        # without a train split, few-shot examples come from the evaluated rows, as in the tiers
        hub(dict.fromkeys(("train", "validation", "test"), rows))
        text = f"include: {packaged_tasks() / original}\ntask: whole\n"
        text += "fewshot_split: test\n" if "gsm8k" in original else ""
        (tmp_path / "whole.yaml").write_text(text)
        whole = evaluate(["whole"], tmp_path, whole_lm)
        n = whole["n-samples"]["whole"]["effective"]
        for key, value in whole["results"]["whole"].items():
            if isinstance(value, float):
                scores[key] = scores.get(key, 0.0) + n * value
        items += n
    assert sorted(map(str, tiers_lm.seen)) == sorted(map(str, whole_lm.seen))
    for key, total in scores.items():
        ours = sum(tiers["results"][task][key] * n["effective"] for task, n in tiers["n-samples"].items())
        assert ours == pytest.approx(total, abs=1e-9), key
    assert sum(n["effective"] for n in tiers["n-samples"].values()) == items
    assert any(key.partition(",")[0] in ("acc", "exact_match") for key in scores)


SUBJECTS = ("anatomy", "high_school_physics")
MMLU_TEMPLATE = """\
class: !function junkdna_harness.tiers.task.TieredTask
base: mmlu/default/_default_template_yaml
output_type: multiple_choice
local: {test: mmlu/test.jsonl, dev: mmlu/dev.jsonl}
override:
  dataset_name: all
  description: "The following are multiple choice questions (with answers) about {{subject | replace('_', ' ')}}.\\n\\n"
  fewshot_config: {sampler: SAMPLER}
fewshot_by: COLUMN
"""


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    """Rows of two subjects in turn, in the columns of MMLU: 8 of `test`, 6 of `dev` a subject."""
    splits = {
        split: [
            {"question": f"{split} {i}, {subject}?", "subject": subject, "choices": [f"{i}{c}" for c in "wxyz" * (1 + i % 2)][:4], "answer": i % 4}
            for i in range(n) for subject in SUBJECTS
        ]
        for split, n in (("test", 8), ("dev", 6))
    }  # fmt: skip
    (tmp_path / "rows" / "mmlu").mkdir(parents=True)
    for split, rows in splits.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "rows" / "mmlu" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path / "rows"))
    return splits


def lm_evals_own_mmlu(splits, subjects, shots, hub, evaluate, folder, more=""):
    """The requests of lm-eval's mmlu_<subject>, each on the rows of its subject."""
    theirs = make_lm()
    folder.mkdir(exist_ok=True)
    for subject in subjects:
        hub({name: [row for row in rows if row["subject"] == subject] for name, rows in splits.items()})
        text = (
            f"include: {packaged_tasks() / 'mmlu' / 'default' / f'mmlu_{subject}.yaml'}\ntask: whole\n{more}"
        )
        (folder / "whole.yaml").write_text(text)
        evaluate(["whole"], folder, theirs, num_fewshot=shots)
    return theirs.seen


@pytest.mark.parametrize("sampler", ["first_n", "default"])
def test_each_question_of_mmlu_has_the_examples_that_its_subjects_own_task_gives_it(
    made_up, hub, evaluate, tmp_path, sampler
):
    """In two tiers, each with questions of both subjects; examples in the order of `dev`, and drawn by lm-eval's seed."""
    folder = tmp_path / "tiers"
    folder.mkdir()
    text = MMLU_TEMPLATE.replace("SAMPLER", sampler).replace("COLUMN", "subject")
    for tier in (1, 2):
        (folder / f"t{tier}.yaml").write_text(
            f"{text}task: t{tier}\nby: context_length\nbins: 2\ntier: {tier}\n"
        )
    ours = make_lm()
    counts = evaluate(["t1", "t2"], folder, ours, num_fewshot=5)["n-samples"]
    assert all(count["effective"] for count in counts.values())
    more = f"fewshot_config: {{sampler: {sampler}}}\n"
    theirs = lm_evals_own_mmlu(made_up, SUBJECTS, 5, hub, evaluate, tmp_path / "whole", more)
    assert len(theirs) == 64 and sorted(ours.seen) == sorted(theirs)
    assert all(context.count("dev ") == 5 for context, _ in ours.seen)


def test_few_shot_examples_of_a_group_are_never_another_groups(made_up, evaluate, tmp_path):
    with pytest.raises(
        UsageError, match=r"7 few-shot examples .* 'dev' has 6 with subject 'anatomy'. Ask for at most 6"
    ):
        evaluate(["difficulty_tiers_mmlu_options_t1"], BENCHMARKS, num_fewshot=7)
    (tmp_path / "rows" / "mmlu" / "dev.jsonl").unlink()  # from `test` then, without the question itself
    lm = make_lm()
    evaluate(["difficulty_tiers_mmlu_options_t1"], BENCHMARKS, lm, num_fewshot=7)
    for context, _ in lm.seen:
        asked = [line for line in context.split("\n") if line.startswith("test ")]
        assert len(set(asked)) == 8 and len({line.partition(", ")[2] for line in asked}) == 1
    with pytest.raises(UsageError, match=r"8 few-shot examples .* 'test' has 7 with subject"):
        evaluate(["difficulty_tiers_mmlu_options_t1"], BENCHMARKS, num_fewshot=8)
    (tmp_path / "mine.yaml").write_text(
        MMLU_TEMPLATE.replace("SAMPLER", "first_n").replace("COLUMN", "subjet") + "task: mine\n"
    )
    with pytest.raises(
        UsageError, match="no column 'subjet', which `fewshot_by` names; .* Did you mean 'subject'"
    ):
        evaluate(["mine"], tmp_path, num_fewshot=1)


def test_tiers_built_of_a_task_with_examples_by_group_keep_them(made_up, hub, evaluate, tmp_path):
    """As of every ready-made benchmark with a view or examples of its own: its keys are those of the tiers."""
    plan = plan_tiers("difficulty_tiers_mmlu_options_t3", "context_length", 2, min_items=4, name="mine")
    write_tiers(plan, tmp_path / "mine")
    ours = make_lm()
    results = evaluate(["mine"], tmp_path / "mine", ours, num_fewshot=5)
    theirs = lm_evals_own_mmlu(made_up, SUBJECTS, 5, hub, evaluate, tmp_path / "whole")
    assert len(theirs) == 64 and sorted(ours.seen) == sorted(theirs)
    metadata = results["configs"]["mine_t1"]["metadata"]
    assert (metadata["axis"], metadata["n_tiers"], metadata["version"]) == ("context_length", 2, 2.0)
    assert metadata["cluster_field"] == "question"


def test_tiers_are_not_built_of_a_tier(made_up, evaluate, tmp_path):
    with pytest.raises(
        UsageError, match="is itself a tier .its file has 'tier'.*Name the task that it is a part of"
    ):
        plan_tiers("difficulty_tiers_mmlu_margin_t1", "answer_length", 2)
    nested = {"python_module": "junkdna_harness.tiers.task", "python_function": "TieredTask"}
    text = yaml.safe_dump({"task": "mine", "original": {"class": nested, "base": "arc/arc_easy.yaml"}})
    (tmp_path / "mine.yaml").write_text(f"class: !function junkdna_harness.tiers.task.TieredTask\n{text}")
    with pytest.raises(UsageError, match="'mine' is a part of is itself made of `TieredTask`"):
        evaluate(["mine"], tmp_path)


def test_mmlu_with_shots_is_lm_evals_own_on_all_subjects(
    benchmark_data, monkeypatch, hub, evaluate, tmp_path
):
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path))
    splits = {split: rows_of(benchmark_data / "mmlu" / f"{split}.jsonl") for split in ("test", "dev")}
    splits["test"] = list({row["subject"]: row for row in splits["test"]}.values())  # one question a subject
    (tmp_path / "mmlu").mkdir()
    for split, rows in splits.items():
        (tmp_path / "mmlu" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ours = _load("difficulty_tiers_mmlu_options")["difficulty_tiers_mmlu_options_t3"]
    assert len(ours.eval_docs) == 57
    for doc in ours.eval_docs:
        hub(
            {name: [row for row in rows if row["subject"] == doc["subject"]] for name, rows in splits.items()}
        )
        config = to_live(read_config(packaged_tasks() / "mmlu" / "default" / f"mmlu_{doc['subject']}.yaml"))
        theirs = task_class(config)(config=config)
        for shots in (0, 5):
            expected = theirs.fewshot_context(theirs.eval_docs[0], shots)
            assert ours.fewshot_context(doc, shots) == expected and expected.count("Answer:") == shots + 1


def test_fewer_options_keep_the_question_the_gold_and_a_part_of_the_distractors(data):
    tasks = _load("difficulty_tiers_arc_easy_options")
    docs = [list(task.eval_docs) for task in tasks.values()]
    assert len({len(each) for each in docs}) == 1
    for two, three, four in zip(*docs, strict=True):
        assert two["question"] == three["question"] == four["question"]
        assert [len(d["choices"]["text"]) for d in (two, three, four)] == [2, 3, 4]
        assert set(two["choices"]["text"]) <= set(three["choices"]["text"]) <= set(four["choices"]["text"])
        for doc in (two, three, four):
            assert doc["answerKey"] in doc["choices"]["label"]


def test_more_passages_hold_the_fewer_and_only_one_has_the_answer(data):
    tasks = list(_load("difficulty_tiers_nq_open_context_first").values())
    for one, two, four, eight in zip(*(list(task.eval_docs)[:50] for task in tasks), strict=True):
        parts = [doc["passages"].split("\n\n") for doc in (one, two, four, eight)]
        assert [len(part) for part in parts] == [1, 2, 4, 8]
        assert parts[0][0] == parts[1][0] == parts[3][0]  # gold first
        assert set(parts[1]) <= set(parts[2]) <= set(parts[3])


def test_shots_differ_in_nothing_but_the_examples(data, evaluate):
    lms = {}
    for number, shots in enumerate((5, 3, 1, 0), start=1):
        lm = make_lm()
        evaluate([f"difficulty_tiers_arc_easy_shots_t{number}"], BENCHMARKS, lm, limit=8)
        lms[shots] = lm.seen
    for shots, seen in lms.items():
        for (context, option), (bare, same) in zip(seen, lms[0], strict=True):
            assert context.endswith(bare) and option == same
            assert context.count("Question: ") == shots + 1
            assert bare not in context.removesuffix(bare)


def test_open_book_is_the_closed_question_with_passages_before_it(data):
    for group in ("nq_open_book", "triviaqa_book"):
        book, closed = _load(f"difficulty_tiers_{group}").values()
        for with_passages, without in zip(
            list(book.eval_docs)[:40], list(closed.eval_docs)[:40], strict=True
        ):
            prompt, bare = book.doc_to_text(with_passages), closed.doc_to_text(without)
            assert prompt == f"{with_passages['passages']}\n\n{bare}"
            assert book.doc_to_target(with_passages) == closed.doc_to_target(without)


def test_languages_are_the_same_questions_from_the_commonest_language_on(tmp_path, monkeypatch, evaluate):
    from difficulty.cut.languages import CC100_GIGABYTES, TIERS

    sizes = [CC100_GIGABYTES[language][1] for language in TIERS]
    assert sizes == sorted(sizes, reverse=True)
    row = {"link": "l", "question_number": 1, "correct_answer_num": "2", "dialect": "", "ds": "2023-05-03"}
    row |= {f"mc_answer{i}": str(i) for i in range(1, 5)}
    (tmp_path / "belebele").mkdir()
    for language in TIERS:
        text = json.dumps({**row, "flores_passage": language, "question": "?"})
        (tmp_path / "belebele" / f"{CC100_GIGABYTES[language][0]}.jsonl").write_text(text)
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path))
    lm = make_lm()
    results = evaluate(["difficulty_tiers_belebele_language"], BENCHMARKS, lm)
    assert len(results["n-samples"]) == 4 and len(lm.seen) == 16
    asked = list(dict.fromkeys(context.partition("\n")[0] for context, _ in lm.seen))
    assert asked == [f"P: {language}" for language in TIERS]


@pytest.mark.parametrize(
    "group",
    ["arc_easy_options", "mmlu_options", "arc_easy_shots", "hotpot_qa_context", "nq_open_context", "nq_open_book",
     "triviaqa_book", "nq_open_factoid"],
)  # fmt: skip
def test_a_question_that_every_tier_asks_is_one_cluster(data, group):
    tiers = _load(f"difficulty_tiers_{group}").values()
    clusters = [{doc[task.config.metadata["cluster_field"]] for doc in task.eval_docs} for task in tiers]
    assert len(clusters) > 1 and len(clusters[0]) > 20
    assert all(found == clusters[0] for found in clusters)


def test_containment_never_counts_an_empty_answer(data):
    task = _load("difficulty_tiers_triviaqa_book")["difficulty_tiers_triviaqa_book_t2"]
    doc = {"answer": {"aliases": ["Mark Twain"]}}
    assert task.process_results(doc, [""]) == {"exact_match": 0.0, "contains": 0.0}
    assert task.process_results(doc, ["It was Mark Twain, I think"]) == {"exact_match": 0.0, "contains": 1.0}
    assert task.process_results(doc, ["mark twain."]) == {"exact_match": 1.0, "contains": 1.0}
    assert task.process_results(doc, ["Mark Twainson"]) == {"exact_match": 0.0, "contains": 0.0}


def test_families_pair_an_easier_with_a_harder_task(data, evaluate):
    results = evaluate(["difficulty_tiers_families"], BENCHMARKS, limit=5)
    assert len(results["n-samples"]) == 10
    tiers = {name: config["metadata"]["tier"] for name, config in results["configs"].items()}
    assert sorted(tiers.values()) == [1] * 5 + [2] * 5
    cola = results["results"]["difficulty_tiers_families_sentence_t2"]
    assert {"acc,none", "mcc,none"} <= set(cola)


def test_a_user_adds_a_task_with_one_line(data, evaluate, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "group: my_families\ntask:\n  - difficulty_tiers_families_sentence\n"
        "  - {task: difficulty_tiers_arc_t1, metadata: {axis: human_llm_gap, family: science, tier: 1, chance: 0.25}}\n"
    )
    for path in BENCHMARKS.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    results = evaluate(["my_families"], tmp_path, limit=3)
    assert results["configs"]["difficulty_tiers_arc_t1"]["metadata"]["family"] == "science"


def test_data_dir_of_the_metadata_wins_and_a_missing_file_is_named(data, monkeypatch, tmp_path, evaluate):
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path / "nothing"))
    results = evaluate(["difficulty_tiers_arc"], BENCHMARKS, limit=2, metadata={"data_dir": str(data)})
    assert len(results["n-samples"]) == 2
    with pytest.raises(UsageError, match="does not exist. Set data_dir or JUNKDNA_DATA"):
        evaluate(["difficulty_tiers_arc"], BENCHMARKS)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match="has no 'arc_easy/test.jsonl' or 'arc_easy/validation.jsonl'"):
        evaluate(["difficulty_tiers_arc"], BENCHMARKS)


def test_a_damaged_row_is_named(tmp_path, monkeypatch, evaluate):
    (tmp_path / "arc_easy").mkdir()
    (tmp_path / "arc_easy" / "test.jsonl").write_text('{"id": "a"}\n{"id": \n')
    monkeypatch.setenv("JUNKDNA_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="line 2 of .* is no JSON object"):
        evaluate(["difficulty_tiers_arc"], BENCHMARKS)


def _load(group: str) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    loaded = TaskManager(include_path=str(BENCHMARKS), include_defaults=False).load([group])
    return dict(loaded["tasks"])
