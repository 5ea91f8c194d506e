"""A sweep's folder: the plan, one parquet file of samples a run, and a manifest that is written last.

A run is finished if and only if its manifest exists, so a process killed at any moment loses at most the runs in flight.
Every file is whole or absent.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from difficulty.errors import UsageError
from difficulty.files import write_atomic
from junkdna_harness.sweep.plan import Cell, Plan, compare

if TYPE_CHECKING:
    import pandas as pd

_held: set[Path] = set()


class Store:
    """The folder of one sweep. `samples/`, `responses/`, `runs/` and `failed/` hold one file a run."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            UsageError: another sweep holds it, or it cannot be written.
        """
        path = (self.folder / "lock").absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = path.open("a")
        except OSError as error:
            raise UsageError(
                f"cannot write {str(self.folder)!r}: {error.strerror or error}. Choose a writable folder."
            ) from error
        with handle:
            if path in _held or not _lock(handle):
                raise UsageError(
                    f"another sweep is running in {str(self.folder)!r}. Wait for it, or choose another folder."
                )
            _held.add(path)
            try:
                yield
            finally:
                _held.discard(path)

    def plan(self) -> Plan | None:
        """The plan in the folder, or None where there is none yet.

        Raises:
            UsageError: it is not a plan that this version can read.
        """
        path = self.folder / "plan.json"
        if not path.is_file():
            return None
        try:
            return Plan.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"{str(path)!r} is no plan of a sweep ({error}). Choose another folder."
            ) from error

    def adopt(self, plan: Plan, extend: bool) -> Plan:
        """The plan to go on with, written to the folder.

        Raises:
            UsageError: the folder holds another plan (see `compare`), or something that is no sweep.
        """
        old = self.plan()
        if old is None:
            strangers = [
                p.name for p in self.folder.iterdir() if p.name != "lock" and not p.name.endswith(".partial")
            ]
            if strangers:
                raise UsageError(
                    f"{str(self.folder)!r} holds no sweep but {sorted(strangers)[0]!r}. Choose a new or empty folder."
                )
        else:
            plan = compare(old, plan, extend)
        if plan != old:
            write_atomic(self.folder / "plan.json", _json(plan.to_dict()))
        for partial in self.folder.glob("**/.*.partial"):
            partial.unlink(missing_ok=True)
        return plan

    def finished(self, plan: Plan) -> list[Cell]:
        """The cells whose run is complete."""
        return [cell for cell in plan.cells if self._path("runs", plan, cell, "json").is_file()]

    def write_run(
        self, plan: Plan, cell: Cell, samples: bytes, responses: bytes, manifest: Mapping[str, Any]
    ) -> None:
        """Write one finished run, its manifest last.

        Raises:
            UsageError: the disk is full or the folder cannot be written; nothing half-written counts.
        """
        write_atomic(self._path("samples", plan, cell, "parquet"), samples)
        write_atomic(self._path("responses", plan, cell, "parquet"), responses)
        write_atomic(self._path("runs", plan, cell, "json"), _json(manifest))
        self._path("failed", plan, cell, "json").unlink(missing_ok=True)

    def write_failure(self, plan: Plan, cell: Cell, error: str) -> None:
        """Record why a run failed; the next sweep on the folder tries it again."""
        record = {"run": plan.run_id(cell), "error": error}
        write_atomic(self._path("failed", plan, cell, "json"), _json(record))

    def write_suite(self, model: int, items: bytes, tasks: Mapping[str, Any]) -> None:
        """Write what all runs of a model share, once: its items (prompts, answers) and lm-eval's task configurations."""
        if not (self.folder / f"tasks{_suffix(model)}.json").is_file():
            write_atomic(self.folder / f"items{_suffix(model)}.parquet", items)
            write_atomic(self.folder / f"tasks{_suffix(model)}.json", _json(tasks))

    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of the finished runs, in the plan's order."""
        plan = self._need_plan()
        paths = [self._path("runs", plan, cell, "json") for cell in self.finished(plan)]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def failures(self) -> dict[str, str]:
        """Run id and error of the runs that failed and have not been repeated since."""
        listed = sorted((self.folder / "failed").glob("*.json"))
        records = [json.loads(path.read_text(encoding="utf-8")) for path in listed]
        return {record["run"]: record["error"] for record in records}

    def runs(self) -> pd.DataFrame:
        """The runs table: one row a finished run."""
        import pandas as pd

        return pd.DataFrame([{k: v for k, v in m.items() if k in RUN_COLUMNS} for m in self.manifests()])

    def samples(self) -> pd.DataFrame:
        """The tidy table of all finished runs."""
        import pandas as pd

        plan = self._need_plan()
        paths = [self._path("samples", plan, cell, "parquet") for cell in self.finished(plan)]
        if not paths:
            raise UsageError(f"the sweep in {str(self.folder)!r} has no finished run yet.")
        return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)

    def items(self, model: int = 0) -> pd.DataFrame:
        """Prompts, targets and options: one row a task and document."""
        import pandas as pd

        return pd.read_parquet(self.folder / f"items{_suffix(model)}.parquet")

    def responses(self, plan: Plan, cell: Cell) -> pd.DataFrame:
        """What the model answered in one run: one row a task, document and filter."""
        import pandas as pd

        return pd.read_parquet(self._path("responses", plan, cell, "parquet"))

    def task_facts(self, model: int = 0) -> dict[str, Any]:
        """lm-eval's configurations, versions, shots and groups."""
        return cast(
            dict[str, Any],
            json.loads((self.folder / f"tasks{_suffix(model)}.json").read_text(encoding="utf-8")),
        )

    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def _need_plan(self) -> Plan:
        plan = self.plan()
        if plan is None:
            raise UsageError(f"{str(self.folder)!r} holds no sweep. Name the folder given to sweep --output.")
        return plan

    def _path(self, kind: str, plan: Plan, cell: Cell, ending: str) -> Path:
        return self.folder / kind / f"{plan.file_name(cell)}.{ending}"


RUN_COLUMNS = (
    "run", "model", "method", "level", "bits", "replicate", "effective_bits", "sparsity_all",
    "weights_sha256", "lm_eval_version", "task_versions", "manifest",
)  # fmt: skip


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """`frame` as a parquet file; the same frame gives the same bytes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _suffix(model: int) -> str:
    return f"-{model}" if model else ""


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"


def _lock(handle: Any) -> bool:
    try:
        # Record locks: not inherited by worker processes, so they end with the process that took them.
        import fcntl

        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
    except OSError:
        return False
    handle.seek(0)
    handle.truncate()
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return True
