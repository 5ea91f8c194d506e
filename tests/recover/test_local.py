"""Local reconstruction: blocks fitted one after the other to what the dense ones give, under the mask."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from difficulty.errors import UsageError
from junkdna_harness.compress import PruneSpec, prune, weights_sha256
from junkdna_harness.recover import RecoverSpec, block_targets
from junkdna_harness.recover.foreseen import check_recovery
from junkdna_harness.recover.local import reconstruct
from junkdna_harness.recover.run import begin, recover
from junkdna_harness.recover.start import Start
from tests.commands import lm_eval
from tests.compress.test_lists import beside_the_blocks, two_lists
from tests.compress.test_loops import looped
from tests.conftest import ROOT
from tests.models_factory import make_model, make_tokenizer, save_tiny
from tests.recover.conftest import small_model
from tests.recover.test_training import At, interrupt, weights

LOCAL = "local_reconstruction"
PRUNING = PruneSpec(sparsity=0.5)


def spec(lines: Path, **options: Any) -> RecoverSpec:
    return RecoverSpec(
        **{"arm": LOCAL, "data": str(lines), "steps": 6, "batch_size": 4, "lr": 0.01, **options}
    )


def fitted(
    model: Any, rows: list[list[int]], folder: Path, prune_spec: PruneSpec = PRUNING, **options: Any
) -> tuple[Any, Start]:
    """What came of reconstructing `model`, which is pruned first."""
    asked = RecoverSpec(**{"arm": LOCAL, "steps": 6, "batch_size": 4, "lr": 0.01, **options})
    start = begin(model, None, asked, prune_spec, {})
    rows_ = [{"input_ids": row, "labels": row} for row in rows]
    return reconstruct(model, rows_, start, asked, asked.lr or 0.0, folder, {"run": "a test"}), start


def some_rows(count: int = 12, seed: int = 0) -> list[list[int]]:
    """Rows of unequal length."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 98, (4 + i % 7,), generator=draw).tolist() for i in range(count)]


def flat(rows: list[list[int]]) -> list[int]:
    return [token for row in rows for token in row]


class Linear(nn.Module):
    """A block without anything that is not linear: what it is fitted to has a closed form."""

    def __init__(self, first: Any) -> None:
        super().__init__()
        self.proj = nn.Linear(
            first.self_attn.q_proj.in_features, first.self_attn.q_proj.in_features, bias=False
        )

    def forward(self, hidden_states: torch.Tensor, **_: Any) -> torch.Tensor:
        return self.proj(hidden_states)


def linear_model(blocks: int = 1) -> Any:
    model = small_model()
    model.model.layers = nn.ModuleList(Linear(model.model.layers[0]) for _ in range(blocks))
    model.config.num_hidden_layers = blocks
    for block in model.model.layers:
        nn.init.normal_(block.proj.weight, 0, 0.5, generator=torch.Generator().manual_seed(1))
    nn.init.normal_(model.model.embed_tokens.weight, 0, 1.0, generator=torch.Generator().manual_seed(2))
    return model.eval()


def test_a_linear_block_reaches_the_masked_least_squares_solution_of_numpy(tmp_path: Path) -> None:
    """Row by row of the matrix: least squares on the columns that the mask keeps. Every step sees all rows."""
    model = linear_model()
    dense = model.model.layers[0].proj.weight.detach().clone()
    rows = some_rows(40)
    done, start = fitted(
        model, rows, tmp_path / "work", PruneSpec(sparsity=0.8), steps=400, batch_size=40, lr=0.05
    )
    inputs = model.model.embed_tokens.weight.detach()[flat(rows)].double().numpy()
    wanted = inputs @ dense.double().numpy().T
    solution = np.zeros(dense.shape)
    for row, mask in enumerate(start.masks["model.layers.0.proj.weight"].numpy()):
        solution[row, mask] = np.linalg.lstsq(inputs[:, mask], wanted[:, row], rcond=None)[0]
    least = np.square(inputs @ solution.T - wanted).mean()
    (fit,) = done.blocks
    assert fit["loss_before"] > 1.1 * least > 0.1
    assert fit["loss_after"] == pytest.approx(least, rel=1e-5)
    np.testing.assert_allclose(model.model.layers[0].proj.weight.detach().numpy(), solution, atol=2e-3)
    assert fit["error_after"] == pytest.approx(fit["loss_after"] / np.square(wanted).mean(), rel=1e-4)
    assert (done.first_loss, done.last_loss) == (fit["error_before"], fit["error_after"])


def test_a_second_block_gets_the_first_ones_results_and_is_fitted_to_the_dense_model(tmp_path: Path) -> None:
    """With half of the first block's directions lost for good, the second sees what is left of them, and its targets what was there."""
    model = linear_model(2)
    first, second = (block.proj.weight.detach().double().numpy().copy() for block in model.model.layers)
    rows = some_rows(40)
    done, start = fitted(
        model, rows, tmp_path / "work", PruneSpec(sparsity=0.8), steps=400, batch_size=40, lr=0.05
    )
    embedded = model.model.embed_tokens.weight.detach()[flat(rows)].double().numpy()
    own = embedded @ model.model.layers[0].proj.weight.detach().double().numpy().T
    wanted = embedded @ first.T @ second.T
    least = 0.0
    for row, mask in enumerate(start.masks["model.layers.1.proj.weight"].numpy()):
        left = np.linalg.lstsq(own[:, mask], wanted[:, row], rcond=None)[0]
        least += np.square(own[:, mask] @ left - wanted[:, row]).mean() / len(second)
    assert done.blocks[1]["loss_after"] == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("arch", ["llama", "tied", "qwen2", "mixtral", "gpt_oss", "gpt2", "opt", "gpt_neox"])
def test_what_is_removed_stays_zero_to_the_bit_and_nothing_but_pruned_matrices_is_trained(
    arch: str, tmp_path: Path
) -> None:
    model, _ = make_model(arch)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    done, start = fitted(model, some_rows(), tmp_path / "work")
    after = dict(model.named_parameters())
    for name, weight in after.items():
        if name not in start.masks:
            assert torch.equal(weight, before[name]), name
            continue
        mask = start.masks[name]
        assert not weight[~mask].view(torch.int32).any(), name  # no -0 either
        assert (weight[mask] != before[name][mask]).any(), name
    assert all(fit["loss_after"] < fit["loss_before"] for fit in done.blocks)
    assert [fit["steps"] for fit in done.blocks] == [6, 6]
    assert all(p.requires_grad for p in after.values()) and not any(
        p.grad is not None for p in after.values()
    )


def test_padding_and_the_rows_beside_it_change_nothing_of_a_row(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    rows = dict(enumerate(some_rows()))
    dense = block_targets.DenseWeights(model, {})
    alone, together = (block_targets.BlockStates(model, rows, size, dense) for size in (1, 12))
    seen: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for place in (0, 1):
            alone.advance(place)
            together.advance(place)
        for i, row in rows.items():
            seen[i] = model.model(torch.tensor([row]), output_hidden_states=True).hidden_states
    norm = model.model.norm
    for i in rows:
        torch.testing.assert_close(alone.own[i], together.own[i], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(norm(together.own[i]), seen[i][-1][0], atol=1e-5, rtol=1e-4)


def test_a_block_whose_mask_keeps_everything_is_left_as_it_is(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    before = {name: p.detach().clone() for name, p in model.model.layers[0].named_parameters()}
    done, _ = fitted(model, some_rows(), tmp_path / "work", PruneSpec(sparsity=0.5, exclude=("layers.0",)))
    first, second = done.blocks
    assert (first["trained"], first["steps"], first["loss_before"], first["loss_after"]) == (0, 0, 0.0, 0.0)
    assert all(torch.equal(p, before[name]) for name, p in model.model.layers[0].named_parameters())
    assert second["steps"] == 6 and 0 < second["loss_after"] < second["loss_before"]
    assert (done.first_loss, done.last_loss) == (second["error_before"], second["error_after"])


def test_a_block_that_came_no_closer_stays_as_it_was_pruned_and_that_is_said(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    done = recover(str(checkpoint), tmp_path / "out", spec(lines, lr=0.9), PRUNING)
    pruned = small_model()
    prune(pruned, PRUNING)
    expected, after = pruned.state_dict(), weights(tmp_path / "out")
    assert all(torch.equal(after[name], expected[name]) for name in after)
    assert all(fit["loss_after"] == fit["loss_before"] > 0 for fit in done.training.blocks)
    assert not done.training.failed
    assert "block 1 of 2 came no closer to the dense one" in str(done.training.stopped)
    assert done.manifest["recovery"]["stopped"] == done.training.stopped


def poison(model: Any) -> None:
    model.model.layers[0].mlp.up_proj.weight.data[0] = float("nan")


@pytest.mark.parametrize(("poisoned", "kept"), [(5, 4), (6, 4), (1, 0)])
def test_at_nan_the_last_good_weights_of_the_block_are_kept(
    checkpoint: Path, lines: Path, tmp_path: Path, poisoned: int, kept: int
) -> None:
    good: dict[int, Any] = {}

    def remember(step: int) -> At:
        return At(
            step,
            lambda model: good.setdefault(
                step, {n: p.detach().clone() for n, p in model.model.layers[0].named_parameters()}
            ),
        )

    callbacks = [*(remember(n) for n in range(1, 7)), At(poisoned, poison)]
    done = recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=callbacks)
    words = (
        f"those of step {kept}, the last known to be good, were put back"
        if kept
        else "those of the start were put back"
    )
    assert done.training.failed and words in str(done.training.stopped)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out").model.layers
    pruned = small_model()
    prune(pruned, PRUNING)
    expected = good[kept] if kept else dict(pruned.model.layers[0].named_parameters())
    assert all(torch.equal(p, expected[name]) for name, p in after[0].named_parameters())
    first, second = done.training.blocks
    assert first["failed"] and not second["failed"] and second["loss_after"] < second["loss_before"]


def test_a_run_that_was_cut_off_goes_on_after_the_last_finished_block_and_ends_with_equal_weights(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    whole = recover(str(checkpoint), tmp_path / "whole", spec(lines), PRUNING)
    with pytest.raises(KeyboardInterrupt):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=[At(8, interrupt)])
    kept = tmp_path / ".out.training"
    assert sorted(path.name for path in kept.iterdir()) == ["checkpoint-1", "request.json"]
    shutil.copytree(kept, tmp_path / "copy")
    with pytest.raises(UsageError, match="another kind: its lr is"):
        recover(str(checkpoint), tmp_path / "out", spec(lines, lr=0.02), PRUNING)
    steps: list[int] = []
    counting = [At(n, lambda model: steps.append(1)) for n in range(1, 13)]
    done = recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=counting)
    assert len(steps) == 6 and not kept.exists()
    assert done.training.blocks == whole.training.blocks and done.training.log == whole.training.log
    assert done.training.tokens == whole.training.tokens
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_damaged_block_is_fitted_anew_with_those_after_it(
    checkpoint: Path,
    lines: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recover(str(checkpoint), tmp_path / "whole", spec(lines), PRUNING)
    monkeypatch.setattr("junkdna_harness.recover.run.save", interrupt)
    with pytest.raises((KeyboardInterrupt, TypeError)):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)
    monkeypatch.undo()
    kept = tmp_path / ".out.training"
    assert {path.name for path in kept.iterdir()} == {"checkpoint-1", "checkpoint-2", "request.json"}
    os.truncate(kept / "checkpoint-1" / "block.safetensors", 100)
    steps: list[int] = []
    counting = [At(n, lambda model: steps.append(1)) for n in range(1, 13)]
    recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=counting)
    assert len(steps) == 12 and "block 1 in" in capsys.readouterr().err
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


KILLED = """
import os, signal, sys
from junkdna_harness.compress import PruneSpec
from junkdna_harness.recover import RecoverSpec
from junkdna_harness.recover import local
from junkdna_harness.recover.run import recover
writing = local.write_block
def killed(*given):
    writing(*given)
    os.kill(os.getpid(), signal.SIGKILL)
local.write_block = killed
spec = RecoverSpec(arm="local_reconstruction", data=sys.argv[2], steps=6, batch_size=4, lr=0.01)
recover(sys.argv[1], sys.argv[3], spec, PruneSpec(sparsity=0.5))
"""


def test_a_process_that_was_killed_after_a_block_is_gone_on_from(
    checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    asked = [sys.executable, "-c", KILLED, str(checkpoint), str(lines), str(tmp_path / "out")]
    died = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert (tmp_path / ".out.training" / "checkpoint-1" / "finished").is_file()
    steps: list[int] = []
    counting = [At(n, lambda model: steps.append(1)) for n in range(1, 13)]
    recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=counting)
    assert len(steps) == 6
    recover(str(checkpoint), tmp_path / "whole", spec(lines), PRUNING)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_manifest_says_from_what_and_how(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    done = recover(str(checkpoint), tmp_path / "out", spec(lines, fraction=0.5), PRUNING)
    manifest = json.loads((tmp_path / "out" / "junkdna.json").read_text())
    recovery = manifest["recovery"]
    pruned = small_model()
    prune(pruned, PRUNING)
    assert manifest["method"] == "magnitude+local_reconstruction@0.5" and manifest["level"] == 0.5
    assert recovery["weights_sha256_before"] == weights_sha256(pruned) != manifest["weights_sha256"]
    assert (recovery["arm"], recovery["steps"], recovery["steps_done"], recovery["seed"]) == (LOCAL, 6, 6, 0)
    assert recovery["tokens_seen"] == done.training.tokens > 0 and len(recovery["data_sha256"]) == 64
    assert [one["block"] for one in recovery["blocks"]] == [1, 2]
    assert all(one["error_after"] < one["error_before"] < 1 for one in recovery["blocks"])
    rows = [json.loads(line) for line in (tmp_path / "out" / "train_log.jsonl").read_text().splitlines()]
    assert [(row["block"], row["step"]) for row in rows] == [(1 + n // 6, n + 1) for n in range(12)]
    assert rows[0]["learning_rate"] == 0.01 > rows[5]["learning_rate"] > 0


def test_it_sees_what_the_other_arms_see(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    seen = {
        arm: recover(str(checkpoint), tmp_path / arm, spec(lines, arm=arm), PRUNING)
        for arm in (LOCAL, "sparse_transfer")
    }
    assert len({(done.training.steps, done.training.tokens) for done in seen.values()}) == 1
    for fact in ("data_sha256", "weights_sha256_before"):
        assert len({done.manifest["recovery"][fact] for done in seen.values()}) == 1


def test_what_is_shown_names_the_block(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    from junkdna_harness.recover.progress import Shown

    told: list[tuple[int, int, str]] = []
    shown = Shown(lambda step, most, text: told.append((step, most, text)))
    recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING, callbacks=[shown])
    assert [(step, most) for step, most, _ in told] == [(n, 12) for n in range(13)]
    assert told[3][2].startswith("block 1 of 2, loss ") and told[12][2].startswith("block 2 of 2, loss ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"adapter": "lora"}, "has no adapter"),
        ({"merge": "masked"}, "merge='masked' has no meaning with arm=local_reconstruction: it has no adapter. Leave it out."),
        ({"freeze": "kept"}, "freeze='kept' has no meaning"),
        ({"early_stop": 3}, "early_stop=3 has no meaning"),
        ({"save_every": 5}, "save_every=5 has no meaning"),
        ({"trainer": {"bf16": True}}, "without transformers.Trainer. Leave it out."),
    ],
)  # fmt: skip
def test_what_makes_no_sense_with_it_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        RecoverSpec(arm=LOCAL, **options)


@pytest.mark.parametrize("arm", [LOCAL, "dense_freezing"])
def test_without_the_dense_model_it_is_refused(
    arm: str, checkpoint: Path, lines: Path, tmp_path: Path
) -> None:
    """Also where no manifest tells that a checkpoint is pruned already."""
    asked, says = spec(lines, arm=arm), "needs the dense model and a way to prune it"
    with pytest.raises(UsageError, match=says):
        recover(str(checkpoint), tmp_path / "out", asked)
    with pytest.raises(UsageError, match=says):
        list(check_recovery(str(checkpoint), tmp_path / "out", asked))
    pruned = small_model()
    prune(pruned, PRUNING)
    pruned.save_pretrained(tmp_path / "pruned")
    make_tokenizer().save_pretrained(tmp_path / "pruned")
    with pytest.raises(UsageError, match=says):
        recover(str(tmp_path / "pruned"), tmp_path / "out", asked, PRUNING)


def test_several_processes_are_refused(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="in one process, and this is one of several"):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)


def test_a_block_that_does_not_run_is_named(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    model.config.num_hidden_layers = 1  # its forward pass takes so many of the two that there are
    done, start = fitted(model, some_rows(), tmp_path / "work")
    assert any("layers.1." in name for name in start.masks) and len(done.blocks) == 1
    assert done.stopped == "block 2 does not run, so the pruned weights in there stay as they are"
    assert not done.failed


def test_blocks_with_weights_in_common_are_refused(tmp_path: Path) -> None:
    model = linear_model(2)
    model.model.layers[1].proj.weight = model.model.layers[0].proj.weight
    with pytest.raises(UsageError, match="belongs to several"):
        fitted(model, some_rows(), tmp_path / "work")


@pytest.mark.parametrize(
    ("make", "says"),
    [(two_lists, "more passes between blocks"), (beside_the_blocks, "more passes between blocks"), (looped, "runs a block 2 times")],
)  # fmt: skip
def test_a_model_whose_blocks_are_not_fed_one_after_the_other_is_refused(
    make: Any, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{says}.*Take another arm, e.g. sparse_transfer"):
        fitted(make(), some_rows(), tmp_path / "work")


def test_hidden_states_that_do_not_fit_into_memory_are_refused(
    checkpoint: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_targets, "free_memory", lambda: 10_000)
    with pytest.raises(
        UsageError,
        match=r"the hidden states of the 24 rows that it sees, about \d+ kB, and 10 kB of memory are free",
    ):
        recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)


def test_a_dry_run_counts_the_hidden_states(checkpoint: Path, lines: Path, tmp_path: Path) -> None:
    told = list(check_recovery(str(checkpoint), tmp_path / "out", spec(lines), PRUNING))
    done = recover(str(checkpoint), tmp_path / "out", spec(lines), PRUNING)
    size = 2 * 4 * 32 * done.training.tokens  # both models', float32, of that width; no row is seen twice
    assert any(
        f"24 rows of {done.training.tokens} tokens, whose hidden states take {round(size / 1000)} kB" in line
        for line in told
    )
    assert any(line.startswith("memory: ") for line in told) and any(
        line.startswith("disk: ") for line in told
    )


def test_numbers_of_a_dense_model_that_are_none_are_refused(tmp_path: Path) -> None:
    model, _ = make_model("llama")
    model.model.layers[0].input_layernorm.weight.data[0] = float("nan")
    with pytest.raises(UsageError, match="block 1 of 2 gives NaN or infinity on these data"):
        fitted(model, some_rows(), tmp_path / "work")


def test_checkpoints_of_half_precision_are_trained_as_the_other_arms_train_them(
    lines: Path, tmp_path: Path
) -> None:
    """In float32, so that small steps are not lost."""
    save_tiny("llama", tmp_path / "half", dtype=torch.bfloat16)
    done = recover(str(tmp_path / "half"), tmp_path / "out", spec(lines), PRUNING)
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "out").values())
    assert all(fit["loss_after"] < fit["loss_before"] for fit in done.training.blocks)


def accuracy(folder: Path, arguments: str) -> float:
    """On four items of each tier of each family, by `lm_eval`."""
    asked = ("--model_args", arguments, "--tasks", "difficulty_tiers", "--limit", "4", "--output_path", "out")
    folder.mkdir()
    run = lm_eval(*asked, cwd=folder)
    assert run.returncode == 0, run.stderr
    (path,) = folder.glob("out/**/results_*.json")
    return float(json.loads(path.read_text())["results"]["difficulty_tiers"]["acc,none"])


@pytest.mark.slow
def test_the_embedded_model_answers_better_after_it(tmp_path: Path) -> None:
    pruning = PruneSpec(sparsity=0.8)
    done = recover(None, tmp_path / "local", RecoverSpec(arm=LOCAL, steps=30, batch_size=16), pruning)
    before = accuracy(tmp_path / "before", "pretrained=embedded,method=magnitude,sparsity=0.8")
    after = accuracy(tmp_path / "after", f"pretrained={done.output}")
    assert after > before + 0.08  # of 256 items: three standard errors
