"""Ray: what is lost with a worker or a node is evaluated again, what is lost for ever ends with a sentence."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from difficulty.errors import UsageError
from junkdna_harness.sweep import build_plan, run_sweep
from junkdna_harness.sweep.engines import Finished, Work, ray
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.engines.ray import RayEngine, _Head
from tests.conftest import ROOT
from tests.sweep.same_store import differences

TASK = "difficulty_tiers_copying_t1"


def test_models_that_only_the_nodes_of_a_cluster_have_are_not_looked_for_by_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Work] = []
    monkeypatch.setattr(RayEngine, "run", lambda self, work, tell: asked.append(work))
    plan = build_plan(
        tasks=TASK, model_args=[{"pretrained": "/only/there"}], methods="magnitude", sparsity="0.5", limit=2
    )
    with pytest.raises(UsageError, match="/only/there"):
        run_sweep(plan, tmp_path / "s", engine=RayEngine())
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    run_sweep(plan, tmp_path / "s", engine=RayEngine())
    assert len(asked[0].cells) == len(plan.cells) and not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("named", "address", "said"),
    [
        (None, "local", "no local Ray could be started .*ValueError: no.*Name a cluster by RAY_ADDRESS, or take --engine local"),
        ("", "local", "no local Ray could be started"),
        ("10.0.0.1:6379", "10.0.0.1:6379", "no Ray cluster answers at RAY_ADDRESS='10.0.0.1:6379' .*Unset it"),
    ],
)  # fmt: skip
def test_ray_is_local_where_no_cluster_is_named(
    monkeypatch: pytest.MonkeyPatch, named: str | None, address: str, said: str
) -> None:
    asked: list[str] = []

    def init(address: str, **_: object) -> None:
        asked.append(address)
        if len(asked) > 1:
            raise ValueError("no")

    fake = SimpleNamespace(init=init, is_initialized=lambda: False, shutdown=lambda: None)
    monkeypatch.setattr(ray, "_import_ray", lambda: fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if named is not None:
        monkeypatch.setenv("RAY_ADDRESS", named)
    with RayEngine().connected():
        assert asked == [address]
    with pytest.raises(UsageError, match=said), RayEngine().connected():
        pass


@pytest.mark.slow
def test_a_cluster_that_loses_workers_and_a_node_gives_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("JUNKDNA_TEST_MARK", str(tmp_path / "marks"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(ray, "RETRIES", 1)
    given = build_plan(tasks=TASK, methods="tests.sweep.methods:troubled", sparsity="0.1:0.7:0.1", limit=6)
    run_sweep(given, tmp_path / "local", engine=LocalEngine(workers=1))
    (tmp_path / "marks" / "do-kill").touch()
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    ended: list[str] = []

    def hear(event: object) -> None:
        if isinstance(event, Finished):
            ended.append(given.run_id(event.cell))
            if len(ended) == 3:
                os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    try:
        with RayEngine(1).connected() as own:  # who names no cluster gets none that happens to be there
            assert own.get_runtime_context().gcs_address != cluster.address
        node = cluster.add_node(num_cpus=1)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        outcome = run_sweep(given, tmp_path / "ray", engine=RayEngine(), listener=hear)
        assert (
            outcome.exit_code == 0 and set(Counter(ended).values()) == {1} and len(ended) == len(given.cells)
        )
        assert (tmp_path / "marks" / "done-do-kill").exists()
        assert not differences(tmp_path / "ray", tmp_path / "local")
        dies = build_plan(tasks=TASK, methods="tests.sweep.methods:dies", sparsity="0.5", limit=6)
        outcome = run_sweep(dies, tmp_path / "dies", engine=RayEngine())
        assert [cell.kind for cell in outcome.finished] == ["dense"]
        (error,) = outcome.failed.values()
        assert error.startswith("its worker or its result was lost 2 times: ")
    finally:
        cluster.shutdown()


def test_a_head_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "HEAD_PATIENCE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        head = _Head(SimpleNamespace(get_runtime_context=lambda: SimpleNamespace(gcs_address=address)))
        head.check()
        assert not head.gone
    with pytest.raises(UsageError, match=f"head of the Ray cluster at '{address}' does not answer any more"):
        head.check()
    assert head.gone
