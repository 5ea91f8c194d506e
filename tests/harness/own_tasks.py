"""Small tasks of a user's own: perplexity of texts, repeated generation, and tasks that cannot run."""

from __future__ import annotations

import json
from pathlib import Path

TEXTS = ["sort 31425=12345. " * 3, "add 12+7=19\nadd 3+4=7", "reverse 12=21", "sort 31425=12345. " * 20]

ROLLING = """\
task: own_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
metadata: {version: 1.0}
"""

REPEATS = """\
task: own_repeats
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
repeats: 3
doc_to_text: "{{text}}"
doc_to_target: "1"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 4}
filter_list: [{name: all, filter: [{function: take_first_k, k: 3}]}]
process_results: !function functions.each_repeat
metric_list:
  - {metric: hits, aggregation: !function functions.share, higher_is_better: true}
metadata: {version: 1.0}
"""

CHOICE = """\
task: own_choice
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: ["1", "2"]
doc_to_target: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""

# Long generation on a model of 256 tokens: lm-eval stops with an AssertionError.
TOO_LONG = """\
task: own_too_long
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "1"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 5000}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""

RAISES = CHOICE.replace("own_choice", "own_raises_REASON")
PROMPT = RAISES.replace("REASON", "prompt").replace(
    'doc_to_text: "{{text}}"', "doc_to_text: !function functions.no_prompt"
)
SCORE = RAISES.replace("REASON", "score") + "process_results: !function functions.no_score\n"
MEAN = RAISES.replace("REASON", "mean").replace(
    "aggregation: mean", "aggregation: !function functions.no_mean"
)
NUMPY = RAISES.replace("raises_REASON", "numpy").replace(
    "doc_to_target: 0", "doc_to_target: !function functions.right"
)
NUMPY = NUMPY + "process_results: !function functions.numpy_score\n"
NO_DATA = RAISES.replace("REASON", "data").replace("DATA", "/no/such/file.jsonl")
GROUP = """\
group: own_group
task: [own_choice, own_too_long]
aggregate_metric_list: [{metric: acc, aggregation: mean, weight_by_size: true}]
metadata: {version: 1.0}
"""

FUNCTIONS = """
import numpy as np


def right(doc):
    return np.array([0, 1])


def numpy_score(doc, results):
    return {"acc": np.float32(0.25), "hit": np.int64(1), "sure": np.bool_(True)}


def each_repeat(doc, results):
    answers = results[0] if isinstance(results[0], list) else results
    return {"hits": [float("1" in answer) for answer in answers]}


def share(items):
    # lm-eval 0.5 has reduced the repeats of a document to one value before this is called.
    values = [value for item in items for value in (item if isinstance(item, list) else [item])]
    return sum(values) / len(values)


def no_prompt(doc):
    raise LookupError("this document has no prompt")


def no_score(doc, results):
    raise ArithmeticError("this answer has no score")


def no_mean(items):
    raise ArithmeticError("these scores have no mean")
"""


def write_tasks(folder: Path) -> Path:
    """All tasks of this file, in a folder for `--include_path`."""
    data = folder / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    (folder / "functions.py").write_text(FUNCTIONS, encoding="utf-8")
    for text in (ROLLING, REPEATS, CHOICE, TOO_LONG, PROMPT, SCORE, MEAN, NUMPY, NO_DATA, GROUP):
        name = text.split()[1]
        (folder / f"{name}.yaml").write_text(text.replace("DATA", str(data)), encoding="utf-8")
    return folder


def hinted_task(folder: Path) -> None:
    """`a_stranger`, whose documents a function makes, so that lm-eval hints at the arguments which it may take."""
    folder.mkdir(parents=True)
    (folder / "documents.py").write_text(
        "import datasets\n\n\ndef load(**_):\n"
        "    return {'test': datasets.Dataset.from_list([{'text': 'a', 'right': 'b'}])}\n"
    )
    (folder / "a_stranger.yaml").write_text(
        "task: a_stranger\ncustom_dataset: !function documents.load\ntest_split: test\noutput_type: loglikelihood\n"
        'doc_to_text: "{{text}}"\ndoc_to_target: "{{right}}"\nmetric_list: [{metric: acc}]\n'
    )
