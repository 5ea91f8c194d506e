"""Margins of a reference model on benchmark rows: what the ready-made `*_margin` tiers are cut from.

    JUNKDNA_DATA=rows python benchmarks/reference_scores.py --pretrained smollm2-135m --rows 300 \
        -o task_configs/benchmarks/scores_smollm2_135m.json

The margin of an item is the log-likelihood of the right option less that of the best wrong one (nats, no few-shot
examples). Items are named by a key of their prompt, options and answer, so that copies of a data set with other ids
find their scores. Rows are drawn by a fixed seed; items without a score are left out of the tiers.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from difficulty.files import write_atomic
from difficulty.runs.margins import options_margin
from junkdna_harness.tiers.items import content_key, item_of_doc
from junkdna_harness.tiers.ready import ARC_CHALLENGE, ARC_EASY, BOOLQ, COMMONSENSE, MMLU, OPENBOOKQA

BENCHMARKS = (OPENBOOKQA, ARC_EASY, ARC_CHALLENGE, COMMONSENSE, MMLU, BOOLQ)


def rows_to_score(n_docs: int, rows: int) -> list[int]:
    """Which rows of a task are scored: the first `rows` of a fixed shuffle, in rising order."""
    order = list(range(n_docs))
    random.Random(0).shuffle(order)
    return sorted(order[:rows])


def margins(lm: Any, benchmark: Any, rows: int) -> dict[str, float]:
    """Content key -> margin, for the scored rows of one benchmark."""
    import lm_eval

    from junkdna_harness.tiers.task import TieredTask

    task: Any = TieredTask({"task": benchmark.name, **benchmark.keys, "metadata": {}})
    task.set_config("num_fewshot", 0)
    docs = task.eval_docs
    chosen = rows_to_score(len(docs), rows)
    results = lm_eval.simple_evaluate(
        model=lm, tasks=[task], samples={benchmark.name: chosen}, bootstrap_iters=0, log_samples=True
    )
    found: dict[str, float] = {}
    for sample in results["samples"][benchmark.name]:
        doc = docs[sample["doc_id"]]
        item = item_of_doc(task, doc)
        gold = [index for index, option in enumerate(item.options) if option.strip() in item.answers]
        margin = options_margin([float(response[0]) for response in sample["filtered_resps"]], gold)
        if margin is not None:
            found[content_key(item)] = round(margin, 4)
    return found


def main() -> None:
    """Score and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pretrained", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=300, help="rows of each benchmark")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    from lm_eval.models.huggingface import HFLM

    from junkdna_harness.arguments import resolve_pretrained

    lm = HFLM(pretrained=resolve_pretrained(options.pretrained), batch_size=8)
    scores: dict[str, float] = {}
    counts: dict[str, int] = {}
    for benchmark in BENCHMARKS:
        found = margins(lm, benchmark, options.rows)
        scores.update(found)
        counts[benchmark.name] = len(found)
    write_scores(options.output, options.pretrained, counts, scores)


def write_scores(path: Path, model: str, counts: dict[str, int], scores: dict[str, float]) -> None:
    """Write the file: a header, then one line an item, sorted by key."""
    header = {"schema": 1, "model": model, "score": "margin, nats", "items": counts}
    lines = ",\n".join(f'  "{key}": {scores[key]}' for key in sorted(scores))
    write_atomic(path, f'{json.dumps(header, indent=1)[:-2]},\n "scores": {{\n{lines}\n }}\n}}\n')


if __name__ == "__main__":
    main()
