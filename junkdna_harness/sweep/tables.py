"""From a level's scores to the store's tables. Rows are derived by the reader of lm-eval's logs, so both agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from difficulty.runs.rows import task_rows
from difficulty.runs.samples import item_ids
from difficulty.runs.table import COLUMNS, NOISE_FLOOR, OPTION_LOGLIK
from junkdna_harness.harness import results
from junkdna_harness.harness.results import json_text
from junkdna_harness.sweep.evaluated import parquet_bytes
from junkdna_harness.sweep.plan import Plan, PlannedRun

if TYPE_CHECKING:
    import pandas as pd

    from junkdna_harness.harness.requests import Sample
    from junkdna_harness.sweep.suite import Scores, Suite

OWN_COLUMNS = ("doc_id", "prompt_hash", OPTION_LOGLIK)


def samples_frame(plan: Plan, cell: PlannedRun, suite: Suite, scores: Scores) -> pd.DataFrame:
    """The tidy rows of one run, with `doc_id`, `prompt_hash` and `option_loglik`; none where no metric is a number per item."""
    import numpy as np
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name, samples in scores.samples.items():
        config = suite.tasks[name].dump_config()
        rows += task_rows(name, config, samples, suite.tasks[name].higher_is_better()).rows
    identity = {
        "run": plan.run_id(cell),
        "model": plan.model_name(cell),
        "method": cell.table_method,
        "level": np.nan if cell.level is None else cell.level,
        "bits": np.nan if cell.bits is None else float(cell.bits),
        "replicate": cell.replicate,
        **({NOISE_FLOOR: True} if cell.noise_floor else {}),
    }
    table = pd.DataFrame(rows, columns=None if rows else [*COLUMNS, *OWN_COLUMNS]).assign(**identity)
    return table[[*COLUMNS, *(c for c in table if c not in COLUMNS)]]


def samples_table(plan: Plan, cell: PlannedRun, suite: Suite, scores: Scores) -> bytes:
    """`samples_frame` as parquet."""
    return parquet_bytes(samples_frame(plan, cell, suite, scores))


def responses_table(scores: Scores) -> bytes:
    """What the model answered, as parquet: one row per task, document and filter; answers and metrics as JSON text."""
    import pandas as pd

    rows = [
        {
            "task": name,
            "doc_id": sample["doc_id"],
            "filter": sample["filter"],
            "resps": json_text(sample["resps"]),
            "filtered_resps": json_text(sample["filtered_resps"]),
            "metrics": json_text({metric: sample[metric] for metric in sample["metrics"]}),
        }
        for name, samples in scores.samples.items()
        for sample in samples
    ]
    return parquet_bytes(pd.DataFrame(rows))


def items_table(suite: Suite) -> bytes:
    """Prompts, targets and answers as parquet, one row per task and document, for looking at single items."""
    import pandas as pd

    rows = []
    for name, documents in suite.documents.items():
        samples: list[Sample] = [{**d.fixed, "filter": "none"} for d in documents]
        ids = item_ids(name, samples)
        for document, (item, _) in zip(documents, ids, strict=True):
            fixed = document.fixed
            arguments = fixed["arguments"]
            rows.append(
                {
                    "task": name,
                    "item_id": item,
                    "doc_id": fixed["doc_id"],
                    "prompt": str(arguments[0][0]),
                    "answers": [str(a[1]) for a in arguments if len(a) > 1 and isinstance(a[1], str)],
                    "target": str(fixed["target"]),
                    "doc": json_text(fixed["doc"]),
                    "arguments": json_text(arguments),
                    "doc_hash": fixed["doc_hash"],
                    "prompt_hash": fixed["prompt_hash"],
                    "target_hash": fixed["target_hash"],
                }
            )
    return parquet_bytes(pd.DataFrame(rows))


def task_facts(suite: Suite) -> dict[str, Any]:
    """lm-eval's configuration, version, shots and groups of the tasks."""
    sizes = {name: len(documents) for name, documents in suite.documents.items()}
    return results.task_facts(suite.tasks, suite.groups, sizes)
