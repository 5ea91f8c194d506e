"""The one reader of evaluations: lm-eval's output folders, a sweep's folder, tidy tables, in any mix, into one object."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.alike import names_alike
from difficulty.runs.clusters import share_clusters
from difficulty.runs.dtypes import DTYPE
from difficulty.runs.identity import DENSE, GUESS, KnownBy, Method, Run
from difficulty.runs.label import Label, parse_labels
from difficulty.runs.lm_eval_log import find_results, is_results, read_log
from difficulty.runs.noise import NoiseFloor, noise_floors, take_apart
from difficulty.runs.part import Part, TaskFacts, run_of_cells
from difficulty.runs.replicates import draw_of, numbered, same_weights
from difficulty.runs.rows import Keep
from difficulty.runs.same import different_dtypes
from difficulty.runs.sweep_folder import agreements, find_sweeps, read_sweep, unscored
from difficulty.runs.table import (
    IDENTITY,
    KNOWN_BY,
    LOOKED,
    MATCHED,
    N_WEIGHTS,
    NOISE_FLOOR,
    read_table,
    some,
    validate,
)
from difficulty.runs.trained import broken_down, told_apart

RUN_COLUMNS = (
    "run", *IDENTITY, "effective_bits", "sparsity_all", "weights_sha256", "lm_eval_version", "task_versions", "manifest",
    "known_by", MATCHED, N_WEIGHTS,
)  # fmt: skip
_SAME = 1e-6  # two dense runs count as one when no score differs by more than this


@dataclass(frozen=True)
class Runs:
    """Evaluations as one tidy table, and what else is known of them.

    `table`: the tidy rows of all runs. `runs`: one row per run with the columns `RUN_COLUMNS` (`task_versions` and
    `manifest` are JSON text; `matched` is true where the level was chosen by loss on the calibration half of the items;
    `n_weights` counts the weights of the whole model). `manifests`: run id -> its `junkdna` block or manifest, empty where there was none.
    `warnings`: sentences for the user. `tasks`: (run id, task) -> how it was evaluated. `kept`: (run id, task) -> item id -> what the caller asked to keep.
    `sources`: run id -> where it was read. `again`: the rows of second evaluations of dense weights, which are in none of the
    others. `noise`: model -> what such an evaluation differs by from its dense run. `dtypes`: run id -> the numbers that it was
    computed in, where that is known.
    """

    table: pd.DataFrame
    runs: pd.DataFrame
    manifests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    tasks: Mapping[tuple[str, str], TaskFacts] = field(default_factory=dict, repr=False)
    kept: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)
    again: pd.DataFrame | None = field(default=None, repr=False)
    noise: Mapping[str, NoiseFloor] = field(default_factory=dict, repr=False)
    dtypes: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return "\n".join((f"{len(self.names)} runs, {len(self.table):,} rows", *self.names))

    @property
    def names(self) -> list[str]:
        """The ids of the runs."""
        return [str(name) for name in self.runs["run"]]

    def one(self, name: str | None = None, option: str = "--run") -> str:
        """The id of the run that is meant: `name`, or the only one.

        Raises:
            UsageError: there are several and none was named, or no such run.
        """
        if name is None:
            if len(self.names) > 1:
                raise UsageError(
                    f"there are {len(self.names)} runs in {self._where()} ({some(self.names)}). Choose one with {option}."
                )
            return self.names[0]
        if name not in self.names:
            raise UsageError(
                f"there is no run {name!r}.{did_you_mean(name, self.names)} Runs: {some(self.names)}."
            )
        return name

    def rows(self, run: str) -> pd.DataFrame:
        """The tidy rows of one run."""
        return self.table[self.table["run"] == run]

    def versions(self, run: str) -> dict[str, str]:
        """Task -> version, as far as logged."""
        found = {task: facts.version for (name, task), facts in self.tasks.items() if name == run}
        return {task: version for task, version in found.items() if version is not None}

    def settings(self, run: str) -> dict[str, dict[str, object]]:
        """Task -> what decided its prompts (shots, chat template, system prompt, turns), as far as logged."""
        found: dict[str, dict[str, object]] = {}
        for (name, task), facts in self.tasks.items():
            if name == run:
                shots = {} if facts.num_fewshot is None else {"num_fewshot": facts.num_fewshot}
                others = {key: str(value) if value else None for key, value in facts.settings.items()}
                found[task] = {**shots, **others}
        return found

    @property
    def guessed(self) -> list[str]:
        """The runs that are taken for dense because nothing says what they are."""
        return [str(run) for run in self.runs.loc[self.runs["known_by"] == GUESS, "run"]]

    def tidy(self) -> pd.DataFrame:
        """The table to write, which says the same when it is read again: where a run is a guess or its level was chosen by its
        loss, with a column that says so; where models' sizes are known, with theirs; where there is a noise floor, with its rows and
        the column `noise_floor`."""
        told = [KNOWN_BY] if self.guessed else []
        told += [MATCHED] if MATCHED in self.runs and self.runs[MATCHED].any() else []
        told += [N_WEIGHTS] if N_WEIGHTS in self.runs and self.runs[N_WEIGHTS].notna().any() else []
        by_run = {name: dict(zip(self.runs["run"], self.runs[name], strict=True)) for name in told}
        table = self.table.assign(**{name: self.table["run"].map(said) for name, said in by_run.items()})
        if self.again is None:
            return table
        parts = [table.assign(**{NOISE_FLOOR: False}), self.again.assign(**{NOISE_FLOOR: True})]
        return pd.concat(parts, ignore_index=True)

    def _where(self) -> str:
        return some(list(dict.fromkeys(self.sources.values())), 2)


def read_runs(
    paths: Sequence[str | Path] | str | Path, *, labels: Sequence[str] = (), keep: Keep | None = None
) -> Runs:
    """All runs under `paths`: lm-eval folders or results files, sweep folders, tidy tables, in any mix.

    Level 0 of a pruning method is the dense run; equal dense runs are kept once. Runs that differ only in their seed
    (of mask, calibration or training) become replicates. A second evaluation of dense weights (a noise floor) is kept apart, in
    `Runs.again`. `labels` say which run a log is of (`parse_labels`); `keep` is called with a sample of each item
    and its result is kept (for stores: with a sample put together from their files).

    Raises:
        UsageError: nothing to read, a damaged file (named, with the line), no logged samples, or one run twice.

    One row per item, run and metric; values are the scores as lm-eval logged them.

    Examples:
        >>> import tempfile
        >>> from difficulty.simulate.draw import tidy
        >>> from difficulty.simulate.world import World
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tidy(World(), seed=0).to_parquet(f"{folder}/runs.parquet")
        ...     runs = read_runs(f"{folder}/runs.parquet")
        >>> bool(runs.table["tier"].min() == 1), len(runs.names) > 1
        (True, True)
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not listed:
        raise UsageError("no run was given. Name lm-eval output folders, a sweep's folder, or a tidy table.")
    named = parse_labels(labels)
    warnings: list[str] = []
    parts: list[Part] = []
    for path in map(Path, listed):
        parts.extend(_read_path(path, named, keep, warnings))
    _all_used(named, listed, parts)
    parts = told_apart([_as_dense(part) for part in parts], warnings)
    parts = numbered(_merged(parts, warnings))
    warnings[:0] = [_guess(part) for part in parts if part.run.known_by == GUESS]
    warnings += [*same_weights(parts), *broken_down(parts)]
    warnings += different_dtypes(parts)
    _compare_versions(parts, warnings)
    warnings += _rows_parted(parts)
    rows = pd.concat([part.rows for part in parts], ignore_index=True)
    rows = validate(rows, "the given runs", keep_noise_floor=True)
    rows = share_clusters(rows.drop(columns=[KNOWN_BY, MATCHED, N_WEIGHTS], errors="ignore"))
    parts, table, again = take_apart(parts, rows, warnings)
    noise, unused = ({}, []) if again is None else noise_floors(table, again)
    warnings += [*unused, *names_alike(table)]
    by_id = {str(part.run): part for part in parts}
    return Runs(
        table,
        pd.DataFrame([_run_row(part) for part in parts], columns=list(RUN_COLUMNS)),
        {run: part.manifest for run, part in by_id.items()},
        tuple(dict.fromkeys(warnings)),
        {(run, task): facts for run, part in by_id.items() for task, facts in part.tasks.items()},
        {(run, task): kept for run, part in by_id.items() for task, kept in part.kept.items()},
        {run: part.source for run, part in by_id.items()},
        again,
        noise,
        {run: str(part.facts[DTYPE]) for run, part in by_id.items() if part.facts.get(DTYPE)},
    )


def _read_path(
    path: Path, labels: Mapping[Path, Label], keep: Keep | None, warnings: list[str]
) -> list[Part]:
    if path.is_file():
        return _read_file(path, labels, keep, warnings)
    if not path.is_dir():
        raise UsageError(
            f"there is no {str(path)!r}. Give a folder that lm_eval or junkdna sweep wrote, or a tidy table."
        )
    sweeps = find_sweeps(path)
    results = [p for p in find_results(path) if not any(sweep in p.parents for sweep in sweeps)]
    if not sweeps and not results:
        raise UsageError(_nothing_in(path))
    parts = [part for sweep in sweeps for part in read_sweep(sweep, keep)]
    warnings += [sentence for sweep in sweeps for sentence in (*unscored(sweep), *agreements(sweep))]
    for file in results:
        parts += _logged(file, labels, keep, warnings)
    return parts


def _read_file(
    path: Path, labels: Mapping[Path, Label], keep: Keep | None, warnings: list[str]
) -> list[Part]:
    if is_results(path) or path.name.endswith((".json", ".json.gz")):
        return _logged(path, labels, keep, warnings)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        raise UsageError(
            f"{str(path)!r} holds the samples of one task. Name its folder, or the results_*.json beside it."
        )
    table = read_table(path)
    if LOOKED in table and table[LOOKED].eq(True).any():
        warnings.append(
            f"{path} holds the items that a gate asked until it knew its verdict: what is tested on them as if their number had been "
            "fixed before is too sure of itself."
        )
    return [
        Part(
            str(path),
            run_of_cells(rows.iloc[0], known_by=_said_by(rows)),
            rows,
            facts={MATCHED: _matched(rows), N_WEIGHTS: _weights(rows)},
        )
        for _, rows in table.drop(columns=LOOKED, errors="ignore").groupby("run", sort=False)
    ]


def _said_by(rows: pd.DataFrame) -> KnownBy:
    """How a table knows its run: what was a guess when it was written is one still."""
    guessed = KNOWN_BY in rows and bool((rows[KNOWN_BY] == GUESS).any())
    return GUESS if guessed else "table"


def _matched(rows: pd.DataFrame) -> bool | None:
    """Whether a table says that the run's level was chosen by loss; None where it does not."""
    return True if MATCHED in rows and bool(rows[MATCHED].any()) else None


def _weights(rows: pd.DataFrame) -> int | None:
    """How many weights a table says that the run's model has; None where it does not."""
    known = rows[N_WEIGHTS].dropna() if N_WEIGHTS in rows else ()
    return int(max(known)) if len(known) else None


def _logged(path: Path, labels: Mapping[Path, Label], keep: Keep | None, warnings: list[str]) -> list[Part]:
    part, notes = read_log(path, labels, keep)
    warnings.extend(notes)
    return [part]


def _all_used(labels: Mapping[Path, Label], listed: Sequence[str | Path], parts: Sequence[Part]) -> None:
    """Refuse a label within what was read that names no log there: it would say nothing, without a word.

    Raises:
        UsageError: names it.
    """
    read = [Path(part.source).absolute() for part in parts]
    for label in labels:
        if any(label == source or label in source.parents for source in read if is_results(source)):
            continue
        for path in (Path(given).absolute() for given in listed):
            if label == path or label in path.parents or path in label.parents:
                raise UsageError(
                    f"--label names {str(label)!r}, where no log of lm_eval was read. A label says what a results_*.json of lm_eval "
                    "is of; sweeps and tables say it themselves."
                )


def _nothing_in(path: Path) -> str:
    if (path / "plan.json").is_file():
        return f"the sweep in {str(path)!r} has no finished run yet. Let it end its first level."
    if next(path.rglob("results.json"), None):
        return (
            f"{str(path)!r} holds a results.json without a time in its name, as lm-eval before 0.4.3 wrote it. "
            "Evaluate again with a newer one, --output_path and --log_samples."
        )
    if next(path.rglob("samples_*.jsonl*"), None):
        return f"{str(path)!r} holds samples but no results_*.json, which says what was evaluated. Copy that file too."
    return (
        f"{str(path)!r} holds neither results_*.json of lm_eval nor a sweep's samples. "
        "Run lm_eval with --output_path and --log_samples, or name the right folder."
    )


def _as_dense(part: Part) -> Part:
    """Level 0 without quantization removes nothing, whatever the method: that run is the dense one."""
    run = part.run
    if run.level == 0 and run.bits is None and not run.method.recovered and not run.is_dense:
        return part.named(replace(run, method=Method(DENSE), replicate=0))
    return part


def _merged(parts: Iterable[Part], warnings: list[str]) -> list[Part]:
    """One part per run: the same run's tasks from several folders put together, repeats of the dense run dropped."""
    kept: dict[Run, list[Part]] = {}
    for part in parts:
        group = kept.setdefault(part.run, [])
        draw = draw_of(part.manifest)
        at = next((i for i, p in enumerate(group) if part.run.is_dense or draw_of(p.manifest) == draw), None)
        if at is None:
            group.append(part)
        else:
            group[at] = _joined(group[at], part, warnings)
    return [part for group in kept.values() for part in group]


def _joined(home: Part, part: Part, warnings: list[str]) -> Part:
    shared = sorted(set(part.rows["task"]) & set(home.rows["task"]))
    rows = part.rows
    if shared:
        if not part.run.is_dense or not _equal_scores(home.rows, rows, shared):
            raise UsageError(_twice(home, part, shared))
        warnings.append(f"the dense run in {part.source} repeats that in {home.source} and is used once.")
        rows = rows[~rows["task"].isin(shared)]
    hashes = [p.facts.get("weights_sha256") for p in (home, part)]
    if len(rows) and all(hashes) and hashes[0] != hashes[1]:
        raise UsageError(
            f"{str(part.run)!r} was evaluated with other weights in {part.source} than in {home.source} (their hashes "
            "differ: another checkpoint under this name, or another dtype). Read them apart, or evaluate one of them again."
        )
    dtypes = [p.facts.get(DTYPE) for p in (home, part)]
    if len(rows) and all(dtypes) and dtypes[0] != dtypes[1]:
        raise UsageError(
            f"{str(part.run)!r} was computed in {dtypes[1]} in {part.source} and in {dtypes[0]} in {home.source}. Read them apart, or "
            "evaluate one of them again."
        )
    surer = part.run if home.run.known_by == GUESS else home.run
    new = [task for task in part.tasks if task not in shared]
    return replace(
        home,
        run=surer,
        rows=pd.concat([home.rows, rows.assign(run=str(home.run))], ignore_index=True),
        tasks={**home.tasks, **{task: part.tasks[task] for task in new}},
        facts={
            name: value if value is not None else part.facts.get(name) for name, value in home.facts.items()
        },
        kept={**home.kept, **{task: part.kept[task] for task in new if task in part.kept}},
    )


def _twice(home: Part, part: Part, shared: Sequence[str]) -> str:
    sentence = (
        f"{str(part.run)!r} was evaluated twice on {some(shared)}: {home.source} and {part.source}. "
        "Name the results file that counts, or move the other away."
    )
    if GUESS in (home.run.known_by, part.run.known_by):
        sentence += (
            " Nothing says what was done to their models, and their scores differ: if they are not one model, say so with "
            "junkdna label FOLDER --method ..., or --label 'FOLDER=wanda 0.5'."
        )
    return sentence


def _equal_scores(first: pd.DataFrame, second: pd.DataFrame, tasks: Sequence[str]) -> bool:
    key = ["task", "metric", "item_id"]
    a = first[first["task"].isin(tasks)].set_index(key)["value"].sort_index()
    b = second[second["task"].isin(tasks)].set_index(key)["value"].sort_index()
    return a.index.equals(b.index) and bool(np.allclose(a, b, rtol=_SAME, atol=_SAME))


def _guess(part: Part) -> str:
    return (
        f"nothing says what was done to {part.run.model!r} ({part.source}): it is taken for the dense model, which is a guess. "
        "Settle it with junkdna label FOLDER --method METHOD --sparsity LEVEL, or --method dense."
    )


def _run_row(part: Part) -> dict[str, Any]:
    versions = {task: facts.version for task, facts in part.tasks.items() if facts.version is not None}
    return {
        "run": str(part.run),
        **{name: part.rows[name].iloc[0] for name in IDENTITY},
        **{name: part.facts.get(name) for name in ("effective_bits", "sparsity_all", "weights_sha256")},
        "lm_eval_version": part.facts.get("lm_eval_version"),
        "task_versions": json.dumps(versions, sort_keys=True),
        "manifest": json.dumps(part.manifest, sort_keys=True, default=str),
        "known_by": part.run.known_by,
        MATCHED: bool(part.facts.get(MATCHED)),
        N_WEIGHTS: part.facts.get(N_WEIGHTS),
    }


def _rows_parted(parts: Sequence[Part]) -> list[str]:
    """A sentence where tasks say where their training and test rows come from, and one where runs do not agree in that."""
    found: dict[str, set[str]] = {}
    for part in parts:
        for task, facts in part.tasks.items():
            if facts.data_rows is not None:
                found.setdefault(task, set()).add(facts.data_rows)
    told = [f"{task}: {' or '.join(sorted(said))}" for task, said in sorted(found.items())]
    mixed = [task for task, said in sorted(found.items()) if len(said) > 1]
    return [
        *([f"training and test rows: {'; '.join(told)}."] if told else []),
        *(
            [f"the runs did not see the same rows of {some(mixed)}: their scores do not compare."]
            if mixed
            else []
        ),
    ]


def _compare_versions(parts: Sequence[Part], warnings: list[str]) -> None:
    found = {str(v) for p in parts if (v := p.facts.get("lm_eval_version")) is not None and not pd.isna(v)}
    if len(found) > 1:
        warnings.append(
            f"the runs were made with different lm-eval versions ({', '.join(sorted(found))}): prompts and metrics may differ."
        )
    seen: dict[str, set[str]] = {}
    for part in parts:
        for task, facts in part.tasks.items():
            if facts.version is not None:
                seen.setdefault(task, set()).add(facts.version)
    mixed = [f"{task} ({', '.join(sorted(v))})" for task, v in sorted(seen.items()) if len(v) > 1]
    if mixed:
        warnings.append(f"different versions of the same task are compared: {some(mixed)}.")
