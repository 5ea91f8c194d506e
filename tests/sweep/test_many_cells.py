"""What a sweep of very many cells does once must not be done once per cell: counted here, measured by benchmarks/cells.py."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from difficulty.runs import store as layout
from junkdna_harness.compress import registry
from junkdna_harness.gate.history import _Seen
from junkdna_harness.sweep import Store, build_plan
from junkdna_harness.sweep.planned import PlannedRun
from junkdna_harness.sweep.run import SweepOutcome, _Sweep

PLAN = build_plan(
    tasks="difficulty_tiers_copying_t1",
    methods="magnitude",
    sparsity=[i / 201 for i in range(1, 201)],
    limit=6,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """All cells but the last are finished."""
    made = Store(tmp_path / "s")
    made.write_plan(PLAN)
    for folder in (layout.RUNS, layout.SAMPLES, layout.RESPONSES):
        (made.folder / folder).mkdir()
    for cell in PLAN.cells[:-1]:
        stem, files = PLAN.file_name(cell), {}
        for table in layout.TABLES:
            path = layout.table_path(made.folder, table, stem)
            path.write_text(f"{table} {stem}")
            files[table] = layout.file_sha256(path)
        manifest = {
            "run": PLAN.run_id(cell),
            "files": files,
            "made_of": {"record": "identity.json", "arguments": dict(cell.arguments)},
        }
        layout.manifest_path(made.folder, stem).write_text(json.dumps(manifest))
    return made


def test_shared_files_are_read_once_and_cells_are_not_compared_pairwise(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    compared: list[int] = []
    load, equal = layout._load, PlannedRun.__eq__
    monkeypatch.setattr(layout, "_load", lambda path: read.append(path.name) or load(path))
    monkeypatch.setattr(PlannedRun, "__eq__", lambda one, other: compared.append(1) or equal(one, other))
    waiting = _Sweep(store, PLAN, SweepOutcome(store.folder, PLAN), None, {}).look(None)
    # The first is evaluated again for what all runs share, which this store lacks.
    assert list(map(PLAN.run_id, waiting)) == [PLAN.run_id(PLAN.cells[0]), PLAN.run_id(PLAN.cells[-1])]
    assert read.count("plan.json") <= 4 and read.count("identity.json") <= 2
    assert len(compared) < len(PLAN.cells)


def test_plugins_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        registry, "entry_points", lambda group: asked.append(group) or importlib.metadata.EntryPoints()
    )
    registry._load_plugins.cache_clear()
    for _ in range(5):
        registry.get_sparsifier("magnitude")
    assert len(asked) <= 1


def test_entries_of_a_history_are_told_apart() -> None:
    def entries(*keys: tuple[str | None, str]) -> list[bool]:
        seen = _Seen()
        return [seen.before({"commit": commit, "new": {"sha256": sha256}}) for commit, sha256 in keys]

    assert entries(("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")) == [False, False, False, True]
    assert entries((None, "1"), (None, "2"), (None, "1"), (None, "1")) == [False, False, False, True]
