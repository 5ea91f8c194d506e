"""A model of which a thousandth was pruned is no dense one, for whoever reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import know, of_block
from junkdna_harness.compress.origin import Origin
from junkdna_harness.sweep import build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from tests.commands import junkdna


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "m"
    made = junkdna("prune", "--method", "largest", "--sparsity", "0.001", "--output", str(folder))
    assert made.returncode == 0, made.stderr
    return folder


def test_its_manifest_is_read_as_its_level(checkpoint: Path) -> None:
    found = know(checkpoint)
    assert found is not None and (str(found.method), found.level) == ("largest", 0.001)
    origin = Origin.read(checkpoint)
    assert origin is not None and origin.changed


def test_a_sweep_does_not_call_it_dense(checkpoint: Path, tmp_path: Path) -> None:
    plan = build_plan(
        "difficulty_tiers_copying_t1", f"pretrained={checkpoint}", "magnitude", "0.5", limit=4
    )  # fmt: skip
    with pytest.raises(
        UsageError, match="largest at sparsity 0.001 already, and a sweep would call it dense"
    ):
        run_sweep(plan, tmp_path / "s", engine=LocalEngine(workers=1))


@pytest.mark.parametrize(
    ("asked", "measured", "level"),
    [(0.001, 0.00098, 0.001), (0.002, 0.001, 0.002), (0.001, 0.004, 0.004), (0.001, 0.0, 0.0)],
)
def test_a_block_stands_under_what_was_asked_only_where_as_much_is_zero(
    asked: float, measured: float, level: float
) -> None:
    block = {
        "kind": "pruned", "method": "largest", "level": measured, "requested_sparsity": asked, "sparsity_targeted": measured,
    }  # fmt: skip
    assert of_block(block)[1] == level
