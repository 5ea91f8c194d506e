"""A sweep's folder on disk: where its files lie, which runs are finished, and whether one of them is damaged.

`plan.json` says what is planned. Each run has three files of one stem: `samples/STEM.parquet`, `responses/STEM.parquet`
and the manifest `runs/STEM.json`, which is written last and holds the sha256 of the other two.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError
from difficulty.json_files import parsed
from difficulty.runs.identity import Method, Run

PLAN = "plan.json"
RUNS, SAMPLES, RESPONSES, FAILED = "runs", "samples", "responses", "failed"
TABLES = (SAMPLES, RESPONSES)
SCHEMA = 1  # of a manifest; those of older versions have no number
_SHA256 = re.compile(r"[0-9a-f]{64}")
_POSSIBLE = (
    ("level", 0.0, 1.0),
    ("sparsity_all", 0.0, 1.0),
    ("bits", 1.0, 64.0),
    ("effective_bits", 0.0, 64.0),
)
MATCH_LOSS = "match-loss"  # why a level was added to a plan: its loss is that of a level of another method
AGAIN = "Start the same sweep again: it evaluates this run again."
_NOT_PLANNED = "it is no run of this folder's plan"


def manifest_path(folder: str | Path, stem: str) -> Path:
    """Where the manifest of a run lies."""
    return Path(folder) / RUNS / f"{stem}.json"


def table_path(folder: str | Path, table: str, stem: str) -> Path:
    """Where the samples or the responses of a run lie; `table` is one of `TABLES`."""
    return Path(folder) / table / f"{stem}.parquet"


def identity_path(folder: str | Path, model: int) -> Path:
    """Where stands what all runs of a model were made with: its fingerprint, and the sha256 of the files that they share."""
    return Path(folder) / f"identity{suffix(model)}.json"


def suffix(model: int) -> str:
    """What the names of a model's shared files end with: nothing for the first."""
    return f"-{model}" if model else ""


def finished_runs(folder: str | Path) -> list[str]:
    """The stems of the runs that have a manifest, in order of name. Whether each is whole, `check_run` says."""
    return sorted(path.stem for path in (Path(folder) / RUNS).glob("*.json"))


def planned_runs(folder: str | Path) -> dict[str, str]:
    """Stem -> run id of all runs that the plan asks for, finished or not. Empty where an older version wrote the plan.

    Raises:
        UsageError: the plan cannot be read.
    """
    return dict(_plan(folder).get("runs") or {})


def _plan(folder: str | Path) -> dict[str, Any]:
    """The plan of a folder, its parts of the kinds that they should be; empty where there is none.

    Raises:
        UsageError: it cannot be read, or a part is of another kind.
    """
    path = Path(folder) / PLAN
    if not path.is_file():
        return {}
    plan = _load(path)
    why = plan if isinstance(plan, str) else _misshapen_plan(plan)
    if isinstance(plan, str) or why:
        raise UsageError(f"{str(path)!r} {why}. Restore it from a copy, or give another folder.")
    return plan


def _misshapen_plan(plan: dict[str, Any]) -> str | None:
    runs, cells, matches = plan.get("runs") or {}, plan.get("cells") or [], plan.get("matches") or []
    if not isinstance(runs, dict) or not all(isinstance(name, str) for name in runs.values()):
        return "has no readable list of runs"
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        return "has no readable list of cells"
    if not all(isinstance(cell.get(name) or {}, dict) for cell in cells for name in ("arguments", "added")):
        return "has a cell with no readable arguments"
    named = isinstance(matches, list) and all(isinstance(match, dict) for match in matches)
    listed = [match.get("runs") or [] for match in matches] if named else [None]
    if not all(isinstance(one, list) and all(isinstance(run, str) for run in one) for one in listed):
        return "has no readable list of matches"
    return None


def matched_runs(folder: str | Path) -> frozenset[str]:
    """The stems of the runs whose level was chosen by their loss on the calibration half (`difficulty.runs.halves`).

    They are those that the plan says were added by `MATCH_LOSS`, and those of the grid that it names as a match.
    """
    plan = _plan(folder)
    runs, cells = plan.get("runs") or {}, plan.get("cells") or []
    matches = plan.get("matches") or []
    chosen = {run for match in matches for run in match.get("runs") or ()}
    return frozenset(
        stem
        for (stem, run), cell in zip(runs.items(), cells, strict=False)
        if run in chosen or (cell.get("added") or {}).get("why") == MATCH_LOSS
    )


def read_manifest(folder: str | Path, stem: str) -> dict[str, Any]:
    """The manifest of a run: its identity, results, and what was done to the model.

    Raises:
        UsageError: it cannot be read, is of another schema, or holds impossible values; the run and the fault are named.
    """
    manifest = _load(manifest_path(folder, stem))
    problem = manifest if isinstance(manifest, str) else _implausible(manifest)
    if isinstance(manifest, str) or problem:
        raise UsageError(f"run {stem!r} in {str(folder)!r} is damaged: its manifest {problem}. {AGAIN}")
    return manifest


class Shared:
    """What all runs of a folder are checked against, read once: the plan, and what its models were made with.

    Raises:
        UsageError: the plan cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        plan = _plan(folder)
        self.planned: dict[str, str] = dict(plan.get("runs") or {})
        self.cells: dict[str, Any] = dict(zip(self.planned, plan.get("cells") or [], strict=False))
        self._folder = Path(folder)
        self._made: dict[str, dict[str, Any]] = {}

    def made(self, name: str) -> dict[str, Any]:
        """The fingerprint in the record `name`; empty where there is none."""
        if name not in self._made:
            record = _load(self._folder / name)
            found = {} if isinstance(record, str) else record.get("fingerprint")
            self._made[name] = found if isinstance(found, dict) else {}
        return self._made[name]


def check_run(folder: str | Path, stem: str, shared: Shared | None = None) -> str | None:
    """What is wrong with a finished run, as one sentence without a full stop; None where it is whole.

    Whole means: a manifest that can be read, of this schema and with possible values, made of this folder's model, items and
    arguments, and samples and responses that have the sha256 written in it. Manifests of older versions hold none; then the
    tables must be readable and the run's own. Who checks many runs reads what is `shared` once.

    Raises:
        UsageError: the plan cannot be read.
    """
    shared = shared or Shared(folder)
    planned = shared.planned
    manifest = _load(manifest_path(folder, stem))
    problem = manifest if isinstance(manifest, str) else _implausible(manifest)
    if isinstance(manifest, str) or problem:
        return f"its manifest {problem}"
    if planned and stem not in planned:
        return _NOT_PLANNED
    # Where whole blocks or experts went, the level that was measured is another than the share of them that was planned.
    if planned and manifest.get("planned", manifest["run"]) != planned[stem]:
        return f"its manifest is that of run {manifest['run']!r}"
    if problem := _of_another_folder(shared, stem, manifest):
        return problem
    files = manifest.get("files") or {}
    for table in TABLES:
        path = table_path(folder, table, stem)
        if not path.is_file():
            if table in files or path.parent.is_dir():
                return f"its {table} are missing"
            continue  # a store of somebody's own making, which has no such table
        problem = (
            _changed(path, files[table]) if table in files else _unreadable(path, table, manifest["run"])
        )
        if problem:
            return f"its {table} {problem}"
    return None


def require_whole(folder: str | Path, stem: str, shared: Shared | None = None) -> None:
    """Refuse a damaged run.

    Raises:
        UsageError: names the run, what is wrong with it, and how to go on.
    """
    if problem := check_run(folder, stem, shared):
        advice = f"Remove {str(manifest_path(folder, stem))!r}." if problem == _NOT_PLANNED else AGAIN
        raise UsageError(f"run {stem!r} in {str(folder)!r} is damaged: {problem}. {advice}")


def require_shared(folder: str | Path) -> None:
    """Refuse items and task configurations that are there, and are not those that the sweep wrote.

    Raises:
        UsageError: names the file.
    """
    for path in sorted(Path(folder).glob("identity*.json")):
        record = _load(path)
        files = {} if isinstance(record, str) else record.get("files")
        for name, sha256 in files.items() if isinstance(files, dict) else ():
            file = Path(folder) / Path(name).name
            if file.exists() and (problem := _changed(file, sha256)):
                raise UsageError(
                    f"{str(file)!r} is damaged: its contents {problem}. Start the same sweep again: it writes it again."
                )


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _load(path: Path) -> dict[str, Any] | str:
    """The JSON object in a file, or what is wrong with it."""
    if not path.is_file():
        return "is missing"
    try:
        found = parsed(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:  # cut, not UTF-8, not to be opened
        return f"cannot be read as JSON ({error})"
    return found if isinstance(found, dict) else "holds no JSON object"


def _implausible(manifest: dict[str, Any]) -> str | None:
    """What no run can be."""
    if (schema := manifest.get("schema", SCHEMA)) != SCHEMA:
        return f"is of schema {schema!r}, and this version reads schema {SCHEMA}"
    if not isinstance(manifest.get("run"), str):
        return "names no run"
    for name, lowest, highest in _POSSIBLE:
        value = manifest.get(name)
        if value is not None and not (_is_number(value) and lowest <= value <= highest):
            return f"has the impossible {name} {value!r}"
    replicate = manifest.get("replicate", 0)
    if isinstance(replicate, bool) or not isinstance(replicate, int) or replicate < 0:
        return f"has the impossible replicate {replicate!r}"
    sha = manifest.get("weights_sha256")
    if sha is not None and not (isinstance(sha, str) and _SHA256.fullmatch(sha)):
        return f"has the impossible weights_sha256 {sha!r}"
    for name in ("manifest", "results", "files", "task_versions", "failed_tasks", "made_of"):
        if not isinstance(manifest.get(name) or {}, dict):
            return f"has no object as its {name}"
    return _misshapen(manifest) or _misnamed(manifest, replicate)


def _misshapen(manifest: dict[str, Any]) -> str | None:
    """Parts of which whoever prints a summary takes the shape for granted."""
    seconds = manifest.get("seconds", {})
    if not (isinstance(seconds, dict) and all(_is_number(value) for value in seconds.values())):
        return f"has the impossible seconds {seconds!r}"
    failed = manifest.get("failed_tasks") or {}
    if not all(isinstance(why, str) for why in failed.values()):
        return f"has the impossible failed_tasks {failed!r}"
    results = (manifest.get("results") or {}).get("results") or {}
    if not (isinstance(results, dict) and all(isinstance(found, dict) for found in results.values())):
        return "has no object as the results of a task"
    return None


def _misnamed(manifest: dict[str, Any], replicate: int) -> str | None:
    """A manifest's name and its parts must be of one run; stores of somebody's own making may have the name alone."""
    try:
        named = Run.parse(manifest["run"])
        if "model" not in manifest and "method" not in manifest:
            return None
        method = Method.parse(str(manifest.get("method") or ""))
        level, bits = manifest.get("level"), manifest.get("bits")
        again = manifest.get("noise_floor") is True
        made = Run(str(manifest.get("model")), method, level, bits, replicate, noise_floor=again)
    except UsageError as error:
        return f"names no run ({error})"
    if str(made) != manifest["run"] or named != made:
        return f"names itself {manifest['run']!r}, but its model, method, level and bits make {str(made)!r}"
    return None


def _of_another_folder(shared: Shared, stem: str, manifest: dict[str, Any]) -> str | None:
    """A run copied here from another sweep has the right name and whole files, but was made of something else."""
    made_of = manifest.get("made_of")
    if not isinstance(made_of, dict):
        return None  # an older version did not say
    here = shared.made(Path(str(made_of.get("record"))).name)
    for what in ("weights_sha256", "items", "calibrations") if here else ():
        if _differs(here.get(what), made_of.get(what)):
            return f"it is of another sweep: its {what} are not those of this folder"
    cell = shared.cells.get(stem)
    if cell is not None and _differs(cell.get("arguments"), made_of.get("arguments"), whole=True):
        return "it is of another sweep: its arguments are not those of this folder's plan"
    return None


def _differs(here: object, there: object, whole: bool = False) -> bool:
    """Of two objects, whether an entry that both have differs (`whole`: any entry)."""
    if here is None or there is None:
        return False
    if whole or not (isinstance(here, dict) and isinstance(there, dict)):
        return here != there
    return any(name in there and there[name] != value for name, value in here.items())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _changed(path: Path, sha256: object) -> str | None:
    try:
        return None if file_sha256(path) == sha256 else "are not those that were written (sha256 differs)"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _unreadable(path: Path, table: str, run: str) -> str | None:
    """For runs of older versions, whose tables have no recorded sha256."""
    from difficulty.runs.parquet import read_parquet

    try:
        frame = read_parquet(path)
    except UsageError as error:
        return f"cannot be read ({error})"
    if frame.empty:
        return "hold no row"
    if table == SAMPLES and ("run" not in frame or set(frame["run"].astype(str)) != {run}):
        return "are those of another run"
    return None
