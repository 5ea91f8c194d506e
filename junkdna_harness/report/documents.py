"""The documents behind the numbers: what was asked, what was wanted, and what each run answered.

They come from the samples that lm_eval logged, from a sweep's store (`items.parquet` and `responses/`), or from a
table that carries the columns `prompt`, `target` and `answer`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.runs.lm_eval_log import find_results, read_result, read_samples
from difficulty.runs.table import DENSE, run_name

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 4000  # characters of a prompt that are kept: its end, where the question is


@dataclass(frozen=True)
class Documents:
    """`asked`: (task, item) -> (prompt, target); `answers`: (run, task, item) -> answer."""

    asked: Mapping[tuple[str, str], tuple[str, str]]
    answers: Mapping[tuple[str, str, str], str]


def documents(items: pd.DataFrame, paths: Sequence[str | Path]) -> Documents:
    """The documents of the runs in `items`, as far as they were kept. Nothing kept is no error: it gives none."""
    asked: dict[tuple[str, str], tuple[str, str]] = {}
    answers: dict[tuple[str, str, str], str] = {}
    if "prompt" in items:
        _from_columns(items, asked, answers)
    runs = {str(run) for run in items["run"].unique()}
    for path in map(Path, paths):
        stores = sorted({p.parent.parent for p in path.rglob("samples/*.parquet")}) if path.is_dir() else []
        for store in stores:
            _from_store(store, runs, asked, answers)
        results = find_results(path) if path.is_dir() else [path] if path.suffix == ".json" else []
        for result in results:
            if not any(store in result.parents for store in stores):
                _from_folder(result, runs, asked, answers)
    return Documents(asked, answers)


def _from_columns(
    items: pd.DataFrame,
    asked: dict[tuple[str, str], tuple[str, str]],
    answers: dict[tuple[str, str, str], str],
) -> None:
    rows = items[items["prompt"].notna()].drop_duplicates(["run", "task", "item_id"])
    columns = [
        rows[c] if c in rows else [None] * len(rows)
        for c in ("run", "task", "item_id", "prompt", "target", "answer")
    ]
    for run, task, item, prompt, target, answer in zip(*columns, strict=True):
        asked.setdefault((task, item), (_shorten(prompt), _text(target)))
        if isinstance(answer, str):
            answers[(run, task, item)] = _shorten(answer)


def _from_store(
    store: Path,
    runs: set[str],
    asked: dict[tuple[str, str], tuple[str, str]],
    answers: dict[tuple[str, str, str], str],
) -> None:
    """Prompts from a sweep's `items*.parquet`, answers from its `responses/<run>.parquet`."""
    import pandas as pd

    known: dict[tuple[str, int], tuple[str, Any]] = {}
    for file in sorted(store.glob("items*.parquet")):
        items = pd.read_parquet(file, columns=["task", "item_id", "doc_id", "prompt", "target", "arguments"])
        for row in items.itertuples(index=False):
            asked.setdefault((row.task, row.item_id), (_shorten(row.prompt), _text(row.target)))
            known[(row.task, int(row.doc_id))] = (row.item_id, row.arguments)
    for file in sorted((store / "runs").glob("*.json")):
        run = str(json.loads(file.read_text(encoding="utf-8")).get("run"))
        responses = store / "responses" / f"{file.stem}.parquet"
        if run not in runs or not responses.is_file():
            continue
        rows = pd.read_parquet(responses, columns=["task", "doc_id", "filtered_resps"])
        for row in rows.drop_duplicates(["task", "doc_id"]).itertuples(index=False):
            item, arguments = known.get((row.task, int(row.doc_id)), ("", None))
            if arguments is not None:
                sample = {
                    "arguments": json.loads(arguments),
                    "filtered_resps": json.loads(row.filtered_resps),
                }
                answers[(run, row.task, item)] = _answer(sample)


def _from_folder(
    result: Path,
    runs: set[str],
    asked: dict[tuple[str, str], tuple[str, str]],
    answers: dict[tuple[str, str, str], str],
) -> None:
    """Prompts and answers of one results file whose run is among `runs`."""
    content = json.loads(result.read_text(encoding="utf-8"))
    run = _run_of(result, runs)
    stamp = result.stem.partition("_")[2]
    for task in content.get("configs") or {}:
        samples = result.parent / f"samples_{task}_{stamp}.jsonl"
        if not samples.is_file():
            continue
        seen: dict[str, int] = {}
        first = None
        for sample in read_samples(samples):
            first = first or sample.get("filter")
            if sample.get("filter") != first:
                continue
            digest = str(sample["doc_hash"])
            seen[digest] = seen.get(digest, 0) + 1
            item = digest if seen[digest] == 1 else f"{digest}#{seen[digest]}"
            asked.setdefault((task, item), (_prompt(sample), _text(sample.get("target"))))
            if run is not None:
                answers[(run, task, item)] = _answer(sample)


def _run_of(result: Path, runs: set[str]) -> str | None:
    """The id that `difficulty.runs.read.read_runs` gives to the run, or None where replicates make it unclear."""
    _, facts, _, _ = read_result(result)
    level, bits = facts["level"], facts["bits"]
    plain = bits is None or bits != bits
    method = DENSE if plain and level == 0 and "+" not in str(facts["method"]) else str(facts["method"])
    name = run_name(
        str(facts["model"]),
        method,
        level,
        None if plain else bits,
        0 if method == DENSE else facts["replicate"],
    )
    return name if name in runs and f"{name} #1" not in runs else None


def _prompt(sample: Mapping[str, Any]) -> str:
    pairs = _arguments(sample)
    return _shorten(_text(pairs[0][0])) if pairs else ""


def _answer(sample: Mapping[str, Any]) -> str:
    """What the run answered: the option it preferred, the text it wrote, or whether the wanted text came first."""
    pairs = _arguments(sample)
    responses = sample.get("filtered_resps") or []
    first = [r[0] if isinstance(r, (list, tuple)) and r else r for r in responses]
    if len(first) > 1 and len(pairs) >= len(first):
        try:
            scores = [float(value) for value in first]
        except (TypeError, ValueError):
            return _shorten(_text(first[0]))
        return _text(pairs[scores.index(max(scores))][1]).strip()
    if len(responses) == 1 and isinstance(responses[0], (list, tuple)) and len(responses[0]) == 2:
        greedy = str(responses[0][1]) == "True"
        wanted = _text(pairs[0][1]).strip() if pairs else ""
        return wanted if greedy else f"not {wanted!r} (its log-likelihood: {float(responses[0][0]):.2f})"
    return _shorten(_text(first[0])) if first else ""


def _arguments(sample: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    given = sample.get("arguments") or {}
    listed: Iterable[Any] = given.values() if isinstance(given, Mapping) else given
    pairs = []
    for one in listed:
        if isinstance(one, Mapping):
            pairs.append((one.get("arg_0", ""), one.get("arg_1", "")))
        elif isinstance(one, (list, tuple)) and len(one) >= 2:
            pairs.append((one[0], one[1]))
    return pairs


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else "…" + text[-LONGEST:]
