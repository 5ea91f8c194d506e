"""One state has one name: in the log of `hf`, in that of our wrappers, in a sweep, and in a study. Through the real commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from difficulty.runs.identity import DENSE_TRANSFER, Recovery
from difficulty.runs.read import read_runs
from junkdna_harness.cli import app
from junkdna_harness.embedded import model_path
from junkdna_harness.study.job import Job

pytestmark = pytest.mark.slow

TASK = "difficulty_tiers_names_t1"
TRAIN = "--data data.jsonl --steps 2 --batch-size 4 --lr 0.001"
# What makes each folder, and the name of what lies in it.
STATES: dict[str, tuple[str, str]] = {
    "p5": ("prune --sparsity 0.5", "magnitude 0.5"),
    "p7": ("prune --sparsity 0.7", "magnitude 0.7"),
    "nm": ("prune --pattern 2:4", "magnitude 2:4 0.5"),
    "r4": ("quantize --method rtn", "rtn 4 bits"),
    "p79": ("prune p7 --sparsity 0.9", "magnitude+magnitude 0.9"),
    "p7w8": ("prune p7 --method wanda --sparsity 0.8 --nsamples 4", "magnitude+wanda 0.8"),
    "p7q": ("quantize p7 --method rtn", "magnitude 0.7 4 bits"),
    "p7q2": ("quantize p7 --method rtn --bits 2", "magnitude 0.7 2 bits"),
    "nmg": ("quantize nm --method gptq --nsamples 4", "magnitude 2:4 0.5 4 bits"),
    "r4p5": ("prune r4 --sparsity 0.5", "rtn+magnitude 0.5 4 bits"),
    "dt": (f"recover --arm dense_transfer {TRAIN}", "dense+dense_transfer 0"),
    "st": (f"recover --arm sparse_transfer --method magnitude --sparsity 0.5 {TRAIN}", "magnitude+sparse_transfer 0.5"),
    "sd": (f"recover --arm sparse_to_dense --method magnitude --sparsity 0.5 {TRAIN}", "magnitude+sparse_to_dense 0.5"),
    "df": (f"recover --arm dense_freezing --method magnitude --sparsity 0.5 {TRAIN}", "magnitude+dense_freezing 0.5"),
    "lora": (f"recover nm --adapter lora {TRAIN}", "magnitude 2:4+sparse_transfer_lora 0.5"),
    "kept": (f"recover nm --adapter lora --merge keep {TRAIN}", "magnitude 2:4+sparse_transfer_lora 0.5"),
    "twice": (f"recover st {TRAIN}", "magnitude+sparse_transfer+sparse_transfer 0.5"),
    "stq": ("quantize st", "magnitude+sparse_transfer 0.5 4 bits"),
    "stcopy": ("prune st --method none", "magnitude+sparse_transfer 0.5"),
    "stp8": ("prune st --sparsity 0.8", "magnitude+sparse_transfer+magnitude 0.8"),
    "stp8t": (f"recover stp8 {TRAIN}", "magnitude+sparse_transfer+magnitude+sparse_transfer 0.8"),
}  # fmt: skip


def junkdna(line: str) -> str:
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 0, f"{line}: {done.output[-2000:]} {done.exception!r}"
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All states, each a folder beside the others, and the current folder."""
    here, root = Path.cwd(), tmp_path_factory.mktemp("states")
    os.chdir(root)
    try:
        lines = (f'{{"prompt": "rev {i}=", "answer": "{str(i)[::-1]}"}}\n' for i in range(100, 140))
        (root / "data.jsonl").write_text("".join(lines))
        for name, (line, _) in STATES.items():
            junkdna(f"{line} --output {name}")
        yield root
    finally:
        os.chdir(here)


@pytest.fixture(scope="module")
def lm_eval(folder: Path) -> Callable[..., Any]:
    """Evaluates two items in this process, writes the log that the command writes, and reads it."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    manager = TaskManager()

    def run(model: str, out: str, **arguments: Any) -> Any:
        tracker = EvaluationTracker(output_path=out)
        results = simple_evaluate(
            model=model, model_args=arguments, tasks=[TASK], limit=2, task_manager=manager, evaluation_tracker=tracker,
            log_samples=True, device="cpu", bootstrap_iters=0,
        )  # fmt: skip
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        tracker.save_results_samples(task_name=TASK, samples=samples[TASK])
        return read_runs(Path(out))

    return run


def test_hf_and_the_wrappers_name_every_state_alike(folder: Path, lm_eval: Callable[..., Any]) -> None:
    wrong = []
    for name, (_, expected) in STATES.items():
        plain = {"pretrained": "nm", "peft": "kept"} if name == "kept" else {"pretrained": name}
        logs = {
            "hf": lm_eval("hf", f"hf/{name}", **plain),
            "pruned": lm_eval("junkdna-pruned", f"pruned/{name}", pretrained=name),
        }
        if name in ("p7", "r4", "nmg", "kept", "stq"):
            how = {} if name in ("r4", "nmg", "stq") else {"method": "none"}
            logs["quantized"] = lm_eval("junkdna-quantized", f"quantized/{name}", pretrained=name, **how)
        for model, log in logs.items():
            if log.names != [f"embedded {expected}"] or log.guessed:
                wrong.append((name, model, log.names, expected))
            if model == "hf" and log.warnings:
                wrong.append((name, model, log.warnings, ()))
    assert not wrong


@pytest.mark.parametrize(
    ("arguments", "state"),
    [({"sparsity": 0}, "p7"), ({"method": "none"}, "p7"), ({"sparsity": 0.3}, "p7"), ({"sparsity": 0.9}, "p79"),
     ({"method": "wanda", "sparsity": 0.8, "nsamples": 4}, "p7w8"), ({"bits": 4}, "p7q"), ({"bits": 2}, "p7q2")],
)  # fmt: skip
def test_a_folder_changed_on_the_fly_has_the_name_of_the_folder_so_changed(
    folder: Path, lm_eval: Callable[..., Any], arguments: dict[str, Any], state: str
) -> None:
    out = "fly/" + re.sub(r"\W", "", str(arguments))
    log = lm_eval("junkdna-pruned", out, pretrained="p7", **arguments)
    assert log.names == [f"embedded {STATES[state][1]}"]
    assert bool(log.runs["weights_sha256"][0]) and log.guessed == []


def test_a_sweep_and_a_study_name_their_runs_as_hf_does(folder: Path) -> None:
    junkdna(
        f"sweep --tasks {TASK} --limit 2 --methods magnitude --sparsity 0,0.7 --patterns 2:4 --quantize rtn:4 -o swept"
    )
    swept = read_runs(folder / "swept").names
    assert set(swept) == {"embedded dense", *(f"embedded {STATES[n][1]}" for n in ("p7", "nm", "r4"))}
    for state, arm, level in (("dt", DENSE_TRANSFER, 0.0), *((s, a, 0.5) for s, a in ARM_STATES)):
        assert STATES[state][1] == f"{Job(0, Recovery(arm), level, 0, 0, 1).method('magnitude')} {level:g}"


ARM_STATES = (("st", "sparse_transfer"), ("sd", "sparse_to_dense"), ("df", "dense_freezing"))


def test_logs_of_hf_are_shown_and_fitted_as_what_they_are(folder: Path, lm_eval: Callable[..., Any]) -> None:
    """The dense model by its own folder is the model that the checkpoints come from."""
    dense = lm_eval("hf", "hf_only/dense", pretrained=str(model_path()))
    assert dense.names == ["embedded dense"] and not dense.guessed
    said = []
    for name in ("p5", "p7", "r4", "st"):
        lm_eval("hf", f"hf_only/{name}", pretrained=name)
        said.append(junkdna(f"show hf_only/{name}"))
        assert f"embedded {STATES[name][1]}\n" in said[-1]
    said.append(junkdna("table hf_only -o table.csv"))
    table = (folder / "table.csv").read_text()
    assert all(f"embedded,{STATES[name][1].split()[0]}," in table for name in ("p7", "r4", "st"))
    said.append(junkdna("fit hf_only --claims P1"))
    assert "magnitude" in said[-1] and "guess" not in "".join(said)
