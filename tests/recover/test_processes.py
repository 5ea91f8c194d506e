"""Several processes: masks cut as the weights are, and one result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT

SHARDED = """
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.device_mesh import init_device_mesh
from junkdna_harness.recover.hold import Held, HoldWeights

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
torch.manual_seed(0)
layer = nn.Linear(6, 7, bias=False)
where, before = torch.rand(7, 6) < 0.5, layer.weight.detach().clone()
fully_shard(layer, mesh=mesh)
hold = HoldWeights({"weight": Held(~where, before)})
hold.attach(layer)
optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
for _ in range(3):
    layer(torch.randn(4, 6)).square().sum().backward()
    hold.mask_gradients()
    optimizer.step()
    hold.on_optimizer_step(None, None, None, optimizer=optimizer)
after = layer.weight.full_tensor().detach()
moments = [v.full_tensor() for v in optimizer.state[layer.weight].values() if v.shape == where.shape]
assert len(moments) == 2
assert torch.equal(after[where], before[where])
assert not torch.isclose(after[~where], before[~where]).any()
assert not any(m[where].any() for m in moments)
dist.destroy_process_group()
"""

TRAINED = """
import itertools, os, sys
from transformers import TrainerCallback
from junkdna_harness.compress import PruneSpec
from junkdna_harness.recover import RecoverSpec, checkpoints
from junkdna_harness.recover.run import recover

source, lines, output = sys.argv[1:]
first = os.environ["RANK"] == "0"
checkpoints.now = itertools.count(0, 60 if first else 1).__next__  # clocks that do not agree


class Saved(TrainerCallback):
    steps = []

    def on_save(self, args, state, control, **kwargs):
        self.steps.append(state.global_step)


recover(source, output, RecoverSpec(data=lines, steps=3, batch_size=2, lr=0.01), PruneSpec(sparsity=0.5), callbacks=[Saved()])
assert Saved.steps == [2], Saved.steps
"""


def launch(script: str, folder: Path, *arguments: str) -> None:
    path = folder / "script.py"
    path.write_text(script)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(path),
        *arguments,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_weights_sharded_over_processes_are_held_too(tmp_path: Path) -> None:
    launch(SHARDED, tmp_path)


@pytest.mark.slow
def test_two_processes_write_one_checkpoint_with_its_zeros(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    launch(TRAINED, tmp_path, str(checkpoint), str(lines), str(tmp_path / "out"))
    weights = load_file(tmp_path / "out" / "model.safetensors")
    pruned = [w for name, w in weights.items() if "proj" in name]
    assert sum(int((w == 0).sum()) for w in pruned) * 2 == sum(w.numel() for w in pruned)
    assert all(bool(torch.isfinite(w).all()) for w in pruned)
    assert not (tmp_path / ".out.training").exists()
