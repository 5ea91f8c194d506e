"""A sweep's folder: the plan, two parquet files per run, and its manifest, which is written last.

Where the files lie and when a run counts as whole stands in `difficulty.runs.store`. A process killed at any moment loses
at most the runs in flight; every file is whole or absent; a run whose files were damaged later is found and evaluated again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from difficulty.json_files import of_known_shape, read_json, text_of
from difficulty.runs import store as layout
from difficulty.runs.checkpoint import read_object
from difficulty.runs.looks import LOOKS, log_added
from difficulty.runs.parquet import read_parquet
from junkdna_harness.held_folder import LOCK, held_folder
from junkdna_harness.lock import Lock
from junkdna_harness.sweep.fingerprint import Fingerprint, calibration_key, items_sha256
from junkdna_harness.sweep.options import check_kinds
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.resume import compare
from junkdna_harness.sweep.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from junkdna_harness.sweep.evaluated import Evaluated


@dataclass(frozen=True)
class State:
    """What of a plan is there: `whole` runs, and why the others that have a manifest are not (run id -> sentence)."""

    whole: tuple[PlannedRun, ...]
    damaged: Mapping[str, str]


class Store:
    """The folder of one sweep. `samples/`, `responses/`, `runs/` and `failed/` hold one file per run."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock: Lock | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process, which lets go of it when it ends, however it ends. Whatever is written through this
        store within the block is refused where the folder is no longer held, see `junkdna_harness.lock`.

        A sweep that was refused leaves nothing there.

        Raises:
            UsageError: another sweep holds it, or it cannot be written.
        """
        busy = f"another sweep is running in {str(self.folder)!r}. Wait for it, or choose another folder."
        with held_folder(self.folder, busy) as lock:
            self._lock = lock
            try:
                yield
            finally:
                self._lock = None

    def check_held(self) -> None:
        """To be called before anything is changed in the folder.

        Raises:
            UsageError: `locked` was called, and another process has taken the folder over since.
        """
        if self._lock is not None:
            self._lock.check()

    def plan(self) -> Plan | None:
        """The plan in the folder, or None where there is none yet.

        Raises:
            UsageError: it is not a plan that this version can read.
        """
        path = self.folder / layout.PLAN
        if not path.is_file():
            return None
        found = read_json(path, "the plan of a sweep", "Choose another folder.")
        with of_known_shape(path, "the plan of a sweep", "Choose another folder."):
            plan = Plan.from_dict(found)
            check_kinds(Settings, vars(plan.settings))
            for cell in plan.cells:
                check_kinds(PlannedRun, vars(cell))
                plan.file_name(cell)  # which takes its model and its arguments apart
            return plan

    def need_plan(self) -> Plan:
        """The plan in the folder.

        Raises:
            UsageError: there is none.
        """
        plan = self.plan()
        if plan is None:
            raise UsageError(f"{str(self.folder)!r} holds no sweep. Name the folder given to sweep --output.")
        return plan

    def joined(self, plan: Plan, extend: bool) -> Plan:
        """The plan to go on with: that of the folder, with what `plan` adds. Nothing is written yet.

        Raises:
            UsageError: the folder holds another plan (see `compare`), or something that is no sweep.
        """
        if (old := self.plan()) is not None:
            return compare(old, plan, extend)
        strangers = [
            p.name
            for p in (self.folder.iterdir() if self.folder.is_dir() else ())
            if p.name not in (LOCK, LOOKS) and not p.name.endswith(".partial")
        ]
        if strangers:
            raise UsageError(
                f"{str(self.folder)!r} holds no sweep but {sorted(strangers)[0]!r}. Choose a new or empty folder."
            )
        return plan

    def adopt(self, plan: Plan) -> None:
        """Write the plan to go on with; what it adds after a look at the data is logged.

        Raises:
            UsageError: the folder cannot be written.
        """
        old = self.plan()
        if old is not None:
            there = {old.run_id(cell) for cell in old.cells}
            new = [run for cell in plan.cells if (run := plan.run_id(cell)) not in there]
            self.check_held()
            log_added(self.folder, new)  # before the plan: a run is told of only where it is planned
        if plan != old or not layout.planned_runs(self.folder):  # older versions wrote no list of runs
            self.write_plan(plan)
        self.check_held()
        for partial in self.folder.glob("**/.*.partial"):
            partial.unlink(missing_ok=True)

    def write_plan(self, plan: Plan) -> None:
        """Write the plan, which has grown.

        Raises:
            UsageError: the disk is full or the folder cannot be written; the plan is the old one then.
        """
        self._write(self.folder / layout.PLAN, _json(plan.to_dict()))

    def state(self, plan: Plan) -> State:
        """Which runs of the plan are whole, and which are damaged."""
        whole, damaged = [], {}
        shared, finished = layout.Shared(self.folder), set(layout.finished_runs(self.folder))
        for cell in plan.cells:
            stem = plan.file_name(cell)
            if stem not in finished:
                continue
            if problem := layout.check_run(self.folder, stem, shared):
                damaged[plan.run_id(cell)] = problem
            else:
                whole.append(cell)
        return State(tuple(whole), damaged)

    def finished(self, plan: Plan) -> list[PlannedRun]:
        """The cells whose run is there and whole."""
        return list(self.state(plan).whole)

    def write_run(self, plan: Plan, cell: PlannedRun, run: Evaluated) -> None:
        """Write one finished run, its manifest last, with the sha256 of the other files.

        Raises:
            UsageError: the disk is full or the folder cannot be written; nothing half-written counts.
        """
        stem = plan.file_name(cell)
        tables = {layout.SAMPLES: run.samples, layout.RESPONSES: run.responses}
        self.discard(plan, cell)  # an older manifest must not stand beside new tables
        for table, content in tables.items():
            self._write(layout.table_path(self.folder, table, stem), content)
        files = {table: _sha256(content) for table, content in tables.items()}
        self._write(layout.manifest_path(self.folder, stem), _json({**run.manifest, "files": files}))
        self._failure(plan, cell).unlink(missing_ok=True)

    def discard(self, plan: Plan, cell: PlannedRun) -> None:
        """Let a run count as never finished.

        Raises:
            UsageError: its manifest cannot be removed.
        """
        path = layout.manifest_path(self.folder, plan.file_name(cell))
        self.check_held()
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"cannot remove {str(path)!r}: {error.strerror or error}. Remove it.") from error

    def write_failure(self, plan: Plan, cell: PlannedRun, error: str) -> None:
        """Record why a run failed; the next sweep on the folder tries it again."""
        record = {"run": plan.run_id(cell), "error": error}
        self._write(self._failure(plan, cell), _json(record))

    def write_suite(self, model: int, items: bytes, tasks: Mapping[str, Any], taken: Fingerprint) -> None:
        """Write what all runs of a model share: its items (prompts, answers), lm-eval's task configurations, its fingerprint."""
        text = _json(tasks)
        self._write(self._items(model), items)
        self._write(self._tasks(model), text)
        files = {self._items(model).name: _sha256(items), self._tasks(model).name: _sha256(text.encode())}
        self._write(self._identity(model), _json({"fingerprint": taken.to_dict(), "files": files}))

    def suite_problem(self, model: int) -> str | None:
        """What is wrong with the shared files of a model's runs, as a sentence without a full stop; None where nothing is."""
        recorded: Mapping[str, Any] = (self._read_identity(model) or {}).get("files", {})
        for path in (self._items(model), self._tasks(model)):
            if not path.is_file():
                return f"{path.name} is missing"
            if path.name in recorded and layout.file_sha256(path) != recorded[path.name]:
                return f"{path.name} is not what was written (sha256 differs)"
        try:  # of older versions no sha256 is known
            _ = recorded or (
                items_sha256(self._items(model).read_bytes()),
                self.task_facts(model)["versions"],
            )
        except (ValueError, OSError, KeyError, TypeError):
            return f"{self._items(model).name} or {self._tasks(model).name} cannot be read"
        return None

    def fingerprint(
        self, plan: Plan, model: int, whole: tuple[PlannedRun, ...] | None = None
    ) -> Fingerprint | None:
        """What the runs of a model that are there were made with; None where there are none.

        Where no record is left (older versions kept none), it is put together from the runs themselves, as far as they say.
        """
        cells = [c for c in (self.finished(plan) if whole is None else whole) if c.model == model]
        if not cells:
            return None
        if (record := self._read_identity(model)) is not None:
            return Fingerprint.from_dict(record["fingerprint"])
        manifests = [layout.read_manifest(self.folder, plan.file_name(cell)) for cell in cells]
        dense = next((m for c, m in zip(cells, manifests, strict=True) if c.kind == "dense"), {})
        blocks = [m.get("manifest") or {} for m in manifests]
        drawn = [c for b in blocks if isinstance(c := b.get("calibration"), dict) and "tokens_sha256" in c]
        try:
            items = items_sha256(self._items(model).read_bytes())
        except (ValueError, OSError, KeyError):
            items = {}
        known = blocks[0].get("versions") or {}
        versions = {
            name: known[name] for name in ("junkdna-harness", "transformers", "torch") if name in known
        }
        return Fingerprint(
            weights_sha256=dense.get("weights_sha256"),
            calibrations={
                calibration_key(str(c["source"]), int(c["seed"])): {
                    name: c[name] for name in ("nsamples", "seqlen", "tokens_sha256")
                }
                for c in drawn
            },
            items=items,
            task_versions=manifests[0].get("task_versions") or {},
            versions={"lm-eval": str(manifests[0].get("lm_eval_version")), **versions},
        )

    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of the finished runs, in the plan's order.

        Raises:
            UsageError: one of them is damaged; it is named.
        """
        plan = self.need_plan()
        return [layout.read_manifest(self.folder, plan.file_name(cell)) for cell in self._whole(plan)]

    def failures(self) -> dict[str, str]:
        """Run id and error of the runs that failed and have not been repeated since."""
        listed = sorted((self.folder / layout.FAILED).glob("*.json"))
        found = {}
        for path in listed:
            record = read_json(path, "the record of a failed run", "Remove it.")
            with of_known_shape(path, "the record of a failed run", "Remove it."):
                found[text_of(record, "run")] = text_of(record, "error")
        return found

    def samples(self) -> pd.DataFrame:
        """The tidy table of all finished runs.

        Raises:
            UsageError: there is none yet, or one of them is damaged; it is named.
        """
        import pandas as pd

        plan = self.need_plan()
        paths = [layout.table_path(self.folder, layout.SAMPLES, plan.file_name(c)) for c in self._whole(plan)]
        if not paths:
            raise UsageError(f"the sweep in {str(self.folder)!r} has no finished run yet.")
        return pd.concat([read_parquet(path) for path in paths], ignore_index=True)

    def items(self, model: int = 0) -> pd.DataFrame:
        """Prompts, targets and options: one row per task and document."""

        return read_parquet(self._items(model))

    def responses(self, plan: Plan, cell: PlannedRun) -> pd.DataFrame:
        """What the model answered in one run: one row per task, document and filter."""

        return read_parquet(layout.table_path(self.folder, layout.RESPONSES, plan.file_name(cell)))

    def task_facts(self, model: int = 0) -> dict[str, Any]:
        """lm-eval's configurations, versions, shots and groups."""
        return read_object(self._tasks(model))

    def _write(self, path: Path, content: str | bytes) -> None:
        self.check_held()
        write_atomic(path, content)

    def _whole(self, plan: Plan) -> tuple[PlannedRun, ...]:
        state = self.state(plan)
        for run, problem in state.damaged.items():
            raise UsageError(f"run {run!r} in {str(self.folder)!r} is damaged: {problem}. {layout.AGAIN}")
        return state.whole

    def _read_identity(self, model: int) -> dict[str, Any] | None:
        """The record of what was loaded; None where there is none, or none that can be read."""
        try:
            record = read_object(self._identity(model))
            Fingerprint.from_dict(record["fingerprint"])
            return {"fingerprint": record["fingerprint"], "files": dict(record["files"])}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _failure(self, plan: Plan, cell: PlannedRun) -> Path:
        return self.folder / layout.FAILED / f"{plan.file_name(cell)}.json"

    def _items(self, model: int) -> Path:
        return self.folder / f"items{layout.suffix(model)}.parquet"

    def _tasks(self, model: int) -> Path:
        return self.folder / f"tasks{layout.suffix(model)}.json"

    def _identity(self, model: int) -> Path:
        return layout.identity_path(self.folder, model)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"
