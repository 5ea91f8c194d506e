"""One evaluation of lm-eval (results_*.json and its samples_*.jsonl) as tidy rows; lm_eval itself is not imported."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from difficulty.errors import UsageError
from difficulty.runs.dtypes import DTYPE, plain_dtype
from difficulty.runs.evaluated import Evaluated, evaluated
from difficulty.runs.label import Label, label_of
from difficulty.runs.part import Part, TaskFacts, cells_of, count_of, data_rows_in, weights_in
from difficulty.runs.rows import Keep, TaskRows, task_rows
from difficulty.runs.samples import check_count, read_json, read_samples, samples_file
from difficulty.runs.table import COLUMNS, N_WEIGHTS, some
from difficulty.runs.values import as_number

# results_TIME.json, or NAME_TIME.json where --output_path was a NAME.json
_STAMP = re.compile(r"^(?!samples_|label_).+_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.json(?:\.gz)?$")
_SETTINGS = (
    "system_instruction_sha",
    "chat_template_sha",
    "fewshot_as_multiturn",
)  # they decide the prompts


def find_results(folder: Path) -> list[Path]:
    """The results files below `folder`, sorted by path."""
    return sorted(path for path in folder.rglob("*.json*") if is_results(path) and path.is_file())


def is_results(path: Path) -> bool:
    """True for a name that lm-eval gives to its results."""
    return _STAMP.match(path.name) is not None


def read_log(path: Path, labels: Mapping[Path, Label], keep: Keep | None) -> tuple[Part, list[str]]:
    """The run in a results file, and warnings. A task that cannot be read item by item is left out by name.

    Raises:
        UsageError: no results, nothing that was logged item by item, or a file that is damaged (named, with its line).
    """
    results = _load_results(path)
    who = evaluated(results, path, label_of(path, labels))
    notes = [f"{path}: {note}." for note in who.notes]
    tasks: dict[str, TaskRows] = {}
    facts: dict[str, TaskFacts] = {}
    unlogged, unscored = [], []
    for full, task, config in _tasks(results):
        file = samples_file(path.parent, full, _stamp(path))
        if file is None:
            unlogged.append(task)
            continue
        samples = read_samples(file)
        check_count(full, samples, results, file)
        try:
            tasks[task] = task_rows(task, config, samples, _directions(results, full), keep)
        except UsageError as error:
            unscored.append(str(error))
            continue
        facts[task] = _task_facts(results, full, file)
    rows = [row for found in tasks.values() for row in found.rows]
    if unlogged and not tasks and not unscored:
        raise UsageError(
            f"{str(path)!r} has no samples for {some(unlogged)}. Run lm_eval with --log_samples, which logs every item."
        )
    if not rows:
        reasons = [*unscored, *(note[0].upper() + note[1:] for note in _told(tasks))]
        reason = f" {reasons[0]}" if reasons else " Run lm_eval with --log_samples, which logs every item."
        raise UsageError(f"{str(path)!r} holds no items that were scored one by one.{reason}")
    if unlogged:
        notes.append(
            f"{path} has no samples for {some(unlogged)}, which are left out. Log them with --log_samples."
        )
    notes += [f"left out: {reason}" for reason in unscored]
    notes += _told(tasks)
    table = pd.DataFrame(rows).assign(**cells_of(who.run))
    table = table[[*COLUMNS, *(c for c in table if c not in COLUMNS)]]
    kept = {task: found.kept for task, found in tasks.items()}
    return Part(str(path), who.run, table, facts, _facts(results, who), dict(who.manifest), kept), notes


def _load_results(path: Path) -> dict[str, Any]:
    results = read_json(path)
    configs = results.get("configs") if isinstance(results, dict) else None
    if not isinstance(configs, dict) or not all(isinstance(config, dict) for config in configs.values()):
        raise UsageError(
            f"{str(path)!r} is not a results file of lm_eval. Name its results_*.json or their folder."
        )
    return dict(results)


def _tasks(results: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(name in the file, task, configuration), by name. lm-eval 0.5 writes `group::task` for a task of a group."""
    configs: Mapping[str, Mapping[str, Any]] = results["configs"]
    short = {name: name.rpartition("::")[2] for name in configs}
    unique = len(set(short.values())) == len(short)
    return [(name, short[name] if unique else name, configs[name]) for name in sorted(configs)]


def _stamp(path: Path) -> str:
    match = _STAMP.match(path.name)
    return match[1] if match else path.name.removesuffix(".gz").removesuffix(".json").removeprefix("results_")


def _directions(results: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    listed = results.get("higher_is_better")
    found = listed.get(task) if isinstance(listed, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _task_facts(results: Mapping[str, Any], task: str, file: Path) -> TaskFacts:
    def entry(name: str) -> Any:
        listed = results.get(name)
        return listed.get(task) if isinstance(listed, Mapping) else None

    given = results.get("config")
    config: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    settings = {name: results.get(name, config.get(name)) for name in _SETTINGS}
    version, shots = entry("versions"), entry("n-shot")
    return TaskFacts(
        None if version in (None, "N/A") else str(version),
        shots if isinstance(shots, int) else None,
        (file,),
        settings,
        data_rows_in(entry("configs")),
    )


def _facts(results: Mapping[str, Any], who: Evaluated) -> dict[str, Any]:
    """What the log knows of the run. What is no number where one belongs counts as not known."""
    found: dict[str, Any] = {
        name: _measured(who.manifest.get(name)) for name in ("effective_bits", "sparsity_all")
    }
    for name, value in (("weights_sha256", who.manifest), ("lm_eval_version", results)):
        given = value.get(name)
        found[name] = given if isinstance(given, str) else None
    config = results.get("config")
    said = config.get("model_dtype") if isinstance(config, Mapping) else None  # by lm-eval's `hf`
    found[DTYPE] = plain_dtype(who.manifest.get(DTYPE)) or plain_dtype(said)
    logged = config.get("model_num_parameters") if isinstance(config, Mapping) else None  # by lm-eval's `hf`
    # of packed weights lm-eval counts what is stored, which is fewer
    found[N_WEIGHTS] = weights_in(who.manifest) or (None if who.run.bits is not None else count_of(logged))
    return found


def _measured(value: Any) -> float | None:
    number = None if isinstance(value, (bool, str)) else as_number(value)
    return number if number is not None and math.isfinite(number) else None


def _told(tasks: Mapping[str, TaskRows]) -> list[str]:
    """The notes of all tasks; what holds for many of them is said once."""
    alike: dict[str, list[str]] = {}
    for task, found in tasks.items():
        for note in found.notes:
            alike.setdefault(note, []).append(task)
    return [note.replace("{tasks}", f"task{'s' * (len(t) > 1)} {some(t, 3)}") for note, t in alike.items()]
