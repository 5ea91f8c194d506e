"""From evaluation outputs to the tidy table: lm-eval's output folders, a sweep's store, or a table in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difficulty.errors import UsageError
from difficulty.runs.lm_eval_log import find_results, read_result
from difficulty.runs.table import DENSE, IDENTITY, read_table, run_name, some, validate

RUN_COLUMNS = (
    "run", *IDENTITY, "effective_bits", "sparsity_all", "weights_sha256", "lm_eval_version", "task_versions", "manifest",
)  # fmt: skip
_SAME = 1e-6  # two dense runs count as one when no score differs by more than this


@dataclass(frozen=True)
class Runs:
    """Evaluations as one tidy table.

    `table`: the tidy rows of all runs. `runs`: one row a run with the columns `RUN_COLUMNS` (`task_versions` and
    `manifest` are JSON text). `manifests`: run id -> the `junkdna` block of its results, empty where there was none.
    `warnings`: sentences for the user.
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass
class Part:
    """One run as it was found: its rows, and its row of the runs table (a dict with the keys of `RUN_COLUMNS`)."""

    source: str
    rows: pd.DataFrame
    facts: dict[str, Any]
    manifest: dict[str, Any]


def read_runs(paths: Sequence[str | Path] | str | Path) -> Runs:
    """All runs under `paths`: lm-eval folders or results files, sweep stores, tidy tables, in any mix.

    Level 0 of a pruning method is the dense run; equal dense runs are kept once. Runs that differ only in their seed
    become replicates.

    Raises:
        UsageError: nothing to read, a broken file (named, with the line), no logged samples, or one run twice.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not listed:
        raise UsageError("no run was given. Name lm-eval output folders, a sweep's folder, or a tidy table.")
    warnings: list[str] = []
    parts: list[Part] = []
    for path in map(Path, listed):
        parts.extend(_read_path(path, warnings))
    _mark_dense(parts)
    parts = _number_replicates(_merge_tasks(parts, warnings))
    _name_runs(parts)
    _compare_versions(parts, warnings)
    table = pd.concat([part.rows for part in parts], ignore_index=True)
    runs = pd.DataFrame([part.facts for part in parts], columns=list(RUN_COLUMNS))
    manifests = {str(part.facts["run"]): part.manifest for part in parts}
    return Runs(validate(table, "the given runs"), runs, manifests, tuple(dict.fromkeys(warnings)))


def _read_path(path: Path, warnings: list[str]) -> list[Part]:
    if path.is_file():
        if path.suffix == ".json":
            return [_result_part(path, warnings)]
        return _split(read_table(path), None, str(path))
    if not path.is_dir():
        raise UsageError(
            f"there is no {str(path)!r}. Give a folder that lm_eval or junkdna sweep wrote, or a tidy table."
        )
    stores = sorted({p.parent.parent for p in path.rglob("samples/*.parquet")})
    results = [p for p in find_results(path) if not any(store in p.parents for store in stores)]
    if not stores and not results:
        if (path / "plan.json").is_file():
            raise UsageError(
                f"the sweep in {str(path)!r} has no finished run yet. Let it end its first level."
            )
        raise UsageError(
            f"{str(path)!r} holds neither results_*.json of lm_eval nor a sweep's samples. "
            "Run lm_eval with --output_path and --log_samples, or name the right folder."
        )
    parts = [part for store in stores for part in _read_store(store)]
    return parts + [_result_part(p, warnings) for p in results]


def _result_part(path: Path, warnings: list[str]) -> Part:
    rows, facts, manifest, notes = read_result(path)
    warnings.extend(notes)
    return Part(str(path), rows, facts, manifest)


def _read_store(store: Path) -> list[Part]:
    """The finished runs of a sweep: samples/*.parquet with runs.parquet or runs/*.json beside them."""
    runs = _store_runs(store)
    finished = None if runs is None else set(runs["run"].astype(str))
    parts = []
    for path in sorted((store / "samples").glob("*.parquet")):
        table = read_table(path)
        if finished is not None:
            table = table[
                table["run"].isin(finished)
            ]  # the manifest is written last: without it, a run was cut off
        parts.extend(_split(table, runs, str(path)))
    if not parts:
        raise UsageError(
            f"the sweep in {str(store)!r} has no finished run yet. Run it again: it goes on where it stopped."
        )
    return parts


def _store_runs(store: Path) -> pd.DataFrame | None:
    listed = sorted((store / "runs").glob("*.json"))
    try:
        if (store / "runs").is_dir():
            columns = None if listed else ["run"]
            return pd.DataFrame([json.loads(p.read_text(encoding="utf-8")) for p in listed], columns=columns)
        if (store / "runs.parquet").is_file():
            return pd.read_parquet(store / "runs.parquet")
    except (ValueError, OSError) as error:
        raise UsageError(f"the runs table of {str(store)!r} cannot be read: {error}.") from error
    return None


def _split(table: pd.DataFrame, runs: pd.DataFrame | None, source: str) -> list[Part]:
    """A table of several runs, run by run, each with its row of the runs table."""
    parts = []
    known = {} if runs is None else {str(row["run"]): row for row in runs.to_dict("records")}
    for run, rows in table.groupby("run", sort=False):
        row = known.get(str(run), {})
        facts: dict[str, Any] = {name: row.get(name) for name in RUN_COLUMNS}
        facts.update({name: rows[name].iloc[0] for name in ("run", *IDENTITY)})
        manifest = row.get("manifest") or {}
        if isinstance(manifest, str):
            manifest = json.loads(manifest)
        for name in ("manifest", "task_versions"):
            if isinstance(facts[name], (dict, list)):
                facts[name] = json.dumps(facts[name], sort_keys=True)
        parts.append(Part(source, rows, facts, dict(manifest)))
    return parts


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _set(part: Part, name: str, value: Any) -> None:
    part.facts[name] = value
    part.rows = part.rows.assign(**{name: value})


def _mark_dense(parts: Iterable[Part]) -> None:
    """Level 0 without quantization removes nothing, whatever the method: that run is the dense one."""
    for part in parts:
        level, bits, method = part.facts["level"], part.facts["bits"], str(part.facts["method"])
        if (
            _missing(bits)
            and not _missing(level)
            and float(level) == 0
            and "+" not in method
            and method != DENSE
        ):
            _set(part, "method", DENSE)
            _set(part, "replicate", 0)


def _identity(part: Part) -> tuple[Any, ...]:
    return tuple(None if _missing(part.facts[name]) else part.facts[name] for name in IDENTITY)


def _merge_tasks(parts: list[Part], warnings: list[str]) -> list[Part]:
    """One part a run: the same run's tasks from several folders put together, repeats of the dense run dropped."""
    kept: dict[tuple[Any, ...], list[Part]] = {}
    for part in parts:
        group = kept.setdefault(_identity(part), [])
        seed = part.manifest.get("seed")
        home = next(
            (p for p in group if p.manifest.get("seed") == seed or part.facts["method"] == DENSE), None
        )
        if home is None:
            group.append(part)
            continue
        shared = sorted(set(part.rows["task"]) & set(home.rows["task"]))
        rows = part.rows
        if shared:
            if part.facts["method"] != DENSE or not _equal_scores(home.rows, rows, shared):
                raise UsageError(
                    f"{run_name(*_identity(part))!r} was evaluated twice on {some(shared)}: {home.source} and "
                    f"{part.source}. Name the results file that counts, or move the other away."
                )
            warnings.append(f"the dense run in {part.source} repeats that in {home.source} and is used once.")
            rows = rows[~rows["task"].isin(shared)]
        home.rows = pd.concat([home.rows, rows.assign(run=home.rows["run"].iloc[0])], ignore_index=True)
        home.facts["task_versions"] = _join_json(home.facts["task_versions"], part.facts["task_versions"])
    return [part for group in kept.values() for part in group]


def _join_json(first: object, second: object) -> str:
    both = {**json.loads(str(first or "{}")), **json.loads(str(second or "{}"))}
    return json.dumps(both, sort_keys=True)


def _equal_scores(first: pd.DataFrame, second: pd.DataFrame, tasks: list[str]) -> bool:
    key = ["task", "metric", "item_id"]
    a = first[first["task"].isin(tasks)].set_index(key)["value"].sort_index()
    b = second[second["task"].isin(tasks)].set_index(key)["value"].sort_index()
    return a.index.equals(b.index) and bool(np.allclose(a, b, rtol=_SAME, atol=_SAME))


def _number_replicates(parts: list[Part]) -> list[Part]:
    """Runs that differ in their seed alone are replicates of one draw: numbered by seed."""
    groups: dict[tuple[Any, ...], list[Part]] = {}
    for part in parts:
        groups.setdefault(_identity(part), []).append(part)
    for group in groups.values():
        if len(group) > 1:
            for number, part in enumerate(sorted(group, key=lambda p: str(p.manifest.get("seed")).zfill(12))):
                _set(part, "replicate", number)
    return parts


def _name_runs(parts: list[Part]) -> None:
    """Run ids by identity, so that folders of several tools never share one by accident."""
    for part in parts:
        _set(part, "run", run_name(*_identity(part)))


def _compare_versions(parts: list[Part], warnings: list[str]) -> None:
    versions = sorted(
        {str(p.facts["lm_eval_version"]) for p in parts if not _missing(p.facts["lm_eval_version"])}
    )
    if len(versions) > 1:
        warnings.append(
            f"the runs were made with different lm-eval versions ({', '.join(versions)}): prompts and metrics may differ."
        )
    seen: dict[str, set[str]] = {}
    for part in parts:
        for task, version in json.loads(str(part.facts["task_versions"] or "{}")).items():
            seen.setdefault(task, set()).add(str(version))
    mixed = [f"{task} ({', '.join(sorted(v))})" for task, v in sorted(seen.items()) if len(v) > 1]
    if mixed:
        warnings.append(f"different versions of the same task are compared: {some(mixed)}.")
