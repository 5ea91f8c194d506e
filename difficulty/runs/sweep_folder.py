"""The finished runs of a sweep's folder: samples/*.parquet, with runs/*.json, items*.parquet and responses/ beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from difficulty.errors import UsageError
from difficulty.json_files import parsed
from difficulty.runs.checkpoint import read_object
from difficulty.runs.dtypes import DTYPE, Agreement, plain_dtype
from difficulty.runs.parquet import read_parquet
from difficulty.runs.part import Part, TaskFacts, data_rows_in, run_of_cells, weights_in
from difficulty.runs.rows import Keep
from difficulty.runs.store import (
    PLAN,
    RESPONSES,
    SAMPLES,
    Shared,
    finished_runs,
    matched_runs,
    planned_runs,
    read_manifest,
    require_shared,
    require_whole,
    table_path,
)
from difficulty.runs.table import HIGHER_IS_BETTER, MATCHED, N_WEIGHTS, read_tables

_Asked = dict[tuple[str, int], tuple[str, dict[str, Any]]]


def find_sweeps(folder: Path) -> list[Path]:
    """The sweeps in or below a folder, sorted by path."""
    plans = {path.parent for path in folder.rglob(PLAN) if finished_runs(path.parent)}
    return sorted(plans | {path.parent.parent for path in folder.rglob(f"{SAMPLES}/*.parquet")})


def read_sweep(folder: Path, keep: Keep | None) -> list[Part]:
    """The finished runs of one sweep.

    Raises:
        UsageError: none is finished, or a finished run is damaged; it is named, with what to do.
    """
    require_shared(folder)
    tasks = [read_object(path) for path in sorted(folder.glob("tasks*.json"))]
    asked: dict[tuple[Path, ...], _Asked] = {}  # the items of a model are those of all its runs
    parts, matched = [], matched_runs(folder)
    stems, shared = _finished(folder), Shared(folder)
    for stem in stems:
        require_whole(folder, stem, shared)
    for stem, rows in zip(stems, read_tables([table_path(folder, SAMPLES, s) for s in stems]), strict=True):
        manifest = read_manifest(folder, stem)
        table = _with_directions(rows, tasks)
        part = _part(folder, table, {**manifest, MATCHED: stem in matched or None}, tasks)
        if keep is not None:
            items = tuple(_items(folder, manifest))
            if items not in asked:
                asked[items] = _read_items(items)
            part = replace(part, kept=_kept(folder, stem, asked[items], keep))
        parts.append(part)
    if not parts:
        raise UsageError(
            f"the sweep in {str(folder)!r} has no finished run yet. Run it again: it goes on where it stopped."
        )
    return parts


def unscored(folder: Path) -> list[str]:
    """A sentence per task that could not be evaluated in finished runs of a sweep: it is missing there from every mean."""
    found: dict[tuple[str, str], list[str]] = {}
    for stem in _finished(folder):
        manifest = read_manifest(folder, stem)
        for task, why in (manifest.get("failed_tasks") or {}).items():
            found.setdefault((task, why), []).append(manifest["run"])
    return [
        f"task {task!r} has no score in {len(runs)} run{'s' * (len(runs) > 1)} of {str(folder)!r} "
        f"({runs[0]}{', ...' * (len(runs) > 1)}): {why}"
        for (task, why), runs in found.items()
    ]


def _finished(folder: Path) -> list[str]:
    """The runs with a manifest, which is written last, in the order of the plan."""
    found = finished_runs(folder)
    planned = {stem: number for number, stem in enumerate(planned_runs(folder))}
    return sorted(found, key=lambda stem: (planned.get(stem, len(planned)), stem))


def _part(folder: Path, rows: pd.DataFrame, manifest: Mapping[str, Any], tasks: list[dict[str, Any]]) -> Part:
    given = manifest.get("manifest")
    block = dict(given) if isinstance(given, Mapping) else {}
    facts = {
        name: manifest.get(name)
        for name in ("effective_bits", "sparsity_all", "weights_sha256", "lm_eval_version", MATCHED)
    }
    facts[N_WEIGHTS] = weights_in(block)
    facts[DTYPE] = plain_dtype(block.get(DTYPE)) or _recorded_dtype(folder, manifest)
    run = run_of_cells(rows.iloc[0], known_by="store")
    known = {str(task): _task_facts(str(task), manifest, tasks, folder) for task in rows["task"].unique()}
    source = f"{folder} ({run})"
    return Part(source, run, rows, known, facts, block)


def _recorded_dtype(folder: Path, manifest: Mapping[str, Any]) -> str | None:
    """What a model computed in whose runs do not say it themselves, as older versions wrote them."""
    made_of = manifest.get("made_of")
    record = folder / Path(str(made_of.get("record"))).name if isinstance(made_of, Mapping) else folder
    if not record.is_file():
        return None
    taken = read_object(record).get("fingerprint")
    return plain_dtype(taken.get(DTYPE)) if isinstance(taken, Mapping) else None


def agreements(folder: Path) -> list[str]:
    """A sentence for each run of a sweep in half precision whose scores were compared with those in float32."""
    manifests = [read_manifest(folder, stem) for stem in _finished(folder)]
    return [found.sentence(str(one["run"])) for one in manifests if (found := Agreement.of(one))]


def _task_facts(
    task: str, manifest: Mapping[str, Any], tasks: list[dict[str, Any]], folder: Path
) -> TaskFacts:
    versions = manifest.get("task_versions")
    version = versions.get(task) if isinstance(versions, Mapping) else None
    shots = next((found["n-shot"].get(task) for found in tasks if task in found.get("n-shot", {})), None)
    configs = [found["configs"] for found in tasks if isinstance(found.get("configs"), Mapping)]
    rows = next((said for config in configs if (said := data_rows_in(config.get(task)))), None)
    return TaskFacts(None if version in (None, "N/A") else str(version), shots, (folder,), data_rows=rows)


def _with_directions(table: pd.DataFrame, tasks: list[dict[str, Any]]) -> pd.DataFrame:
    """Sweeps before the column wrote the direction of each metric into tasks*.json alone."""
    if HIGHER_IS_BETTER in table or not tasks:
        return table
    known: dict[tuple[str, str], bool] = {}
    for found in tasks:
        for task, metrics in (found.get("higher_is_better") or {}).items():
            known |= {
                (task, name): value for name, value in (metrics or {}).items() if isinstance(value, bool)
            }
    pairs = table[["task", "metric"]].drop_duplicates()
    pairs[HIGHER_IS_BETTER] = pd.array(
        [known.get((task, metric.split(",")[0]), pd.NA) for task, metric in pairs.itertuples(index=False)],
        dtype="boolean",
    )
    return table.merge(pairs, on=["task", "metric"], how="left")


def _items(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """The items of the run's model: two models may see one document in prompts of their own. All, in older versions."""
    made_of = manifest.get("made_of")
    record = str(made_of.get("record")) if isinstance(made_of, Mapping) else ""
    own = folder / Path(record).name.replace("identity", "items").replace(".json", ".parquet")
    return [own] if record.startswith("identity") and own.is_file() else sorted(folder.glob("items*.parquet"))


def _read_items(items: Sequence[Path]) -> _Asked:
    """(task, document number) -> item id, and what of a sample does not depend on the run."""
    columns = ["task", "item_id", "doc_id", "target", "arguments", "doc"]
    found: _Asked = {}
    for file in items:
        for row in read_parquet(file, columns).itertuples(index=False):
            fixed = {"doc": parsed(row.doc), "target": row.target, "arguments": parsed(row.arguments)}
            found[row.task, int(row.doc_id)] = (row.item_id, fixed)
    return found


def _kept(folder: Path, stem: str, asked: _Asked, keep: Keep) -> dict[str, dict[str, Any]]:
    """Task -> item -> what `keep` takes of each sample of a run, put together as lm-eval would have logged it."""
    path = table_path(folder, RESPONSES, stem)
    kept: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return kept
    responses = read_parquet(path, ["task", "doc_id", "filtered_resps"])
    for answer in responses.drop_duplicates(["task", "doc_id"]).itertuples(index=False):
        doc_id = int(answer.doc_id)
        if (answer.task, doc_id) in asked:
            item, fixed = asked[answer.task, doc_id]
            answered = {"doc_id": doc_id, "filtered_resps": parsed(answer.filtered_resps)}
            sample = {**fixed, **answered, "doc_hash": item.partition("#")[0]}
            kept.setdefault(answer.task, {})[item] = keep(sample)
    return kept
