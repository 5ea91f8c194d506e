"""Runs from outside: a model, a folder or a file that is not what it seems is refused or repaired, and never called dense."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from difficulty import read_runs
from difficulty.errors import UsageError
from difficulty.runs.store import check_run
from junkdna_harness.compress import PruneSpec, QuantSpec
from junkdna_harness.gate.flips import Logged
from junkdna_harness.models.pruned import PrunedLM
from junkdna_harness.sweep import Store, build_plan, run_sweep
from junkdna_harness.sweep.engines.local import LocalEngine
from junkdna_harness.sweep.export import export
from junkdna_harness.sweep.run import SweepOutcome
from tests.commands import lm_eval
from tests.models.test_what_ran import compressed
from tests.models_factory import make_tokenizer, save_tiny

TASK = "difficulty_tiers_copying_t1"
STEM = "magnitude_0.3"
KINDS = ("runs/{}.json", "samples/{}.parquet", "responses/{}.parquet")


def sweep(folder: Path, *, extend: bool = False, **options: Any) -> SweepOutcome:
    """Four items of one task at magnitude 0.3, or as `options` say."""
    given = {"tasks": TASK, "methods": "magnitude", "sparsity": "0.3", "limit": 4, **options}
    return run_sweep(build_plan(**given), folder, engine=LocalEngine(workers=1), extend=extend)


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("m") / "m")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s") / "s"
    sweep(folder)
    return folder


@pytest.fixture
def store(swept: Path, tmp_path: Path) -> Path:
    shutil.copytree(swept, tmp_path / "s")
    return tmp_path / "s"


TOO_LONG = """
task: too_long
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: answer
generation_kwargs: {{max_gen_toks: 500, until: ["."]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1}}
"""


def too_long(folder: Path) -> Path:
    """A folder with a task whose answers may be longer than what the tiny model takes in all."""
    folder.mkdir()
    (folder / "data.jsonl").write_text('{"question": "one", "answer": "two"}\n' * 3)
    (folder / "too_long.yaml").write_text(TOO_LONG.format(data=folder / "data.jsonl"))
    return folder


def edit(folder: Path, **values: Any) -> None:
    path = folder / "runs" / f"{STEM}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("spec", "manifest", "told"),
    [
        (PruneSpec(sparsity=0.7), True, "magnitude at sparsity 0.7"),
        (PruneSpec(sparsity=0.7), False, "an unknown method at sparsity 0.6999"),
        (PruneSpec.from_strings({"pattern": "2:4"}), True, "magnitude 2:4 at sparsity 0.5"),
        (PruneSpec.from_strings({"sparsity": "0.5", "bits": "4"}), True, "sparsity 0.5 and 4 bits"),
        (QuantSpec.from_strings({"method": "rtn", "bits": "4"}), True, "rtn at 4 bits"),
    ],
    ids=["pruned", "without a manifest", "N:M", "pruned with bits", "quantized"],
)
@pytest.mark.parametrize("grid", [{}, {"methods": None, "sparsity": None, "quantize": "rtn:4"}])
def test_a_sweep_calls_no_compressed_model_dense(
    dense: Path, tmp_path: Path, spec: Any, manifest: bool, told: str, grid: dict[str, Any]
) -> None:
    checkpoint = compressed(dense, tmp_path / "ck", spec, manifest)
    with pytest.raises(UsageError, match=rf"ck' is .*{told} already, and a sweep would call it dense"):
        sweep(tmp_path / "s", model_args=f"pretrained={checkpoint}", **grid)
    assert not list((tmp_path / "s").glob("runs/*"))


def test_a_dense_copy_is_swept(dense: Path, tmp_path: Path) -> None:
    copy = compressed(dense, tmp_path / "copy", PruneSpec(method="none"))
    assert len(sweep(tmp_path / "s", model_args=f"pretrained={copy}").finished) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.norm.weight", "lm_head.weight", "model.embed_tokens.weight"])
def test_a_sweep_names_weights_that_are_no_numbers(
    dense: Path, tmp_path: Path, name: str, value: float
) -> None:
    model = AutoModelForCausalLM.from_pretrained(dense)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = value
    broken = saved(model, tmp_path / "broken")
    with pytest.raises(UsageError, match=rf"broken' has (NaN|infinite) values in {name}"):
        sweep(tmp_path / "s", model_args=f"pretrained={broken}")


ASKED = {
    "loglikelihood": ("some words", " here"),
    "generate_until": ("some words", {"until": ["."], "max_gen_toks": 3}),
}


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("prefix_cache", [True, False])
@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_logits_that_overflow_are_refused(dense: Path, kind: str, prefix_cache: bool, value: float) -> None:
    """As half precision gives them: above every number, or below every number for all tokens but one nobody asks for."""
    from lm_eval.api.instance import Instance

    lm = PrunedLM(pretrained=str(dense), method="none", device="cpu", prefix_cache=prefix_cache)
    forward = lm.model.lm_head.forward

    def overflowing(hidden: torch.Tensor) -> torch.Tensor:
        logits = forward(hidden)
        if value > 0:
            logits[..., 5] = value
        else:
            logits[..., int(kind == "loglikelihood") :] = value
        return logits

    lm.model.lm_head.forward = overflowing
    with pytest.raises(UsageError, match="not a number|not numbers|minus infinity"):
        getattr(lm, kind)([Instance(kind, {}, ASKED[kind], 0, ("t", 0, 1))], disable_tqdm=True)


def test_a_sweep_records_logits_that_overflow(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from junkdna_harness.sweep.session import SweepLM

    monkeypatch.setattr(SweepLM, "score", lambda self, passes, requests, **_: [(-float("inf"), False)] * 24)
    monkeypatch.setattr("junkdna_harness.sweep.suite.tokenize", lambda lm, instances: [(None, [], [])] * 24)
    monkeypatch.setattr(SweepLM, "plan_scoring", lambda self, *_: [])
    outcome = sweep(tmp_path / "s", model_args=f"pretrained={dense}")
    assert len(outcome.failed) == 2 and all("minus infinity" in why for why in outcome.failed.values())


def test_an_adapter_is_folded_in_and_its_weights_are_part_of_what_the_folder_holds(
    dense: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    def adapter(seed: int) -> None:
        config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(dense), config)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.normal_()
        model.save_pretrained(tmp_path / "a")

    given = {"model_args": f"pretrained={dense},peft={tmp_path / 'a'}"}
    adapter(0)
    sweep(tmp_path / "s", **given)
    manifest = next(m for m in Store(tmp_path / "s").manifests() if m["method"] == "magnitude")
    assert manifest["manifest"]["sparsity_targeted"] == pytest.approx(0.3, abs=0.01)
    adapter(1)
    with pytest.raises(UsageError, match=r"its weights \(sha256\) was"):
        sweep(tmp_path / "s", extend=True, sparsity="0.3,0.5", **given)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"limit": 3}, "its items are not those of this folder"),
        ({"model_args": "pretrained=./m"}, "its weights_sha256 are not those of this folder"),
        ({"model_args": "pretrained=./m,scope=row"}, "its arguments are not those of this folder's plan"),
        ({"model_args": "pretrained=./m,calibration=c.txt"}, "its calibrations are not those of this folder"),
    ],
    ids=["items", "weights", "arguments", "calibration"],
)
def test_a_run_copied_from_another_sweep_is_evaluated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], told: str
) -> None:
    calibrated = "calibration" in told
    here = {"model_args": "pretrained=./m"} | (
        {"methods": "wanda", "model_args": "pretrained=./m,calibration=c.txt,nsamples=2,seqlen=16"}
        if calibrated
        else {}
    )
    there = here if calibrated else {**here, **other}
    for place, given, seed in (("a", here, 0), ("b", there, int("weights" in told))):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        save_tiny("llama", Path("m"), seed=seed)
        Path("c.txt").write_text("\n\n".join(f"{place} {i} of many words in a row" for i in range(200)))
        sweep(Path("s"), **given)
    monkeypatch.chdir(tmp_path / "a")
    stem = "wanda_0.3" if calibrated else STEM
    for kind in KINDS:
        shutil.copy(tmp_path / "b" / "s" / kind.format(stem), tmp_path / "a" / "s" / kind.format(stem))
    assert told in str(check_run("s", stem))
    with pytest.raises(UsageError, match="is of another sweep"):
        read_runs(["s"])
    outcome = sweep(Path("s"), **here)
    assert len(outcome.finished) == 1 and told in outcome.notes[0]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"seconds": None}, "impossible seconds None"),
        ({"seconds": {"score": "fast"}}, "impossible seconds"),
        ({"failed_tasks": {"gsm8k": 3}}, "impossible failed_tasks"),
        ({"results": {"results": [1]}}, "no object as the results"),
        ({"results": {"results": {"t": 1}}}, "no object as the results"),
        ({"made_of": [1]}, "no object as its made_of"),
    ],
)
def test_a_manifest_of_another_shape_is_damaged(store: Path, values: dict[str, Any], told: str) -> None:
    edit(store, **values)
    assert told in str(check_run(store, STEM))


def exchanged(path: Path) -> None:
    path.write_bytes(next((path.parent / "samples").iterdir()).read_bytes())


@pytest.mark.parametrize("name", ["items.parquet", "tasks.json"])
@pytest.mark.parametrize("damage", [exchanged, lambda path: path.write_text("{}")])
def test_exchanged_items_are_read_by_nobody_and_written_again(
    store: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(store / name)
    with pytest.raises(UsageError, match=rf"{name}' is damaged"):
        read_runs([store])
    with pytest.raises(UsageError, match=rf"is damaged: {name} is not what was written"):
        export(store, tmp_path / "out")
    sweep(store)
    assert read_runs([store])


def test_a_run_that_is_not_planned_is_to_be_removed(store: Path) -> None:
    shutil.copy(store / "runs" / f"{STEM}.json", store / "runs" / "stray.json")
    with pytest.raises(UsageError, match=r"no run of this folder's plan\. Remove '.*stray\.json'"):
        read_runs([store])


def test_a_folder_in_the_place_of_a_manifest_is_one_sentence(store: Path) -> None:
    path = store / "runs" / f"{STEM}.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match=rf"cannot remove '.*{STEM}\.json'"):
        sweep(store)


def test_each_of_two_models_is_read_with_its_own_prompts(dense: Path, tmp_path: Path) -> None:
    for name, word in (("a", "first"), ("b", "second")):
        shutil.copytree(dense, tmp_path / name)
        template = word + "{% for m in messages %} {{ m.content }}{% endfor %}"
        (tmp_path / name / "chat_template.jinja").write_text(template)
    models = [f"pretrained={tmp_path / name}" for name in ("a", "b")]
    sweep(tmp_path / "s", model_args=models, apply_chat_template=True)
    prompts: dict[str, set[str]] = {}
    runs = read_runs([tmp_path / "s"], keep=lambda sample: sample["arguments"])
    for (run, _), kept in runs.kept.items():
        told = str(list(kept.values()))
        prompts.setdefault(run, set()).update(word for word in ("first", "second") if word in told)
    expected = {"a": {"first"}, "b": {"second"}}
    assert prompts == {run: expected[Path(run.split()[0]).name] for run in runs.names}


def test_what_a_run_of_a_sweep_answered_is_found_by_the_item(store: Path) -> None:
    first = read_runs([store]).table.iloc[0]
    key = (first["task"], first["item_id"])
    texts = Logged(store).of(first["run"])([key])
    assert set(texts) == {key} and texts[key].prompt and texts[key].target and texts[key].answer


def test_a_task_that_cannot_be_asked_costs_no_other_and_is_named_by_every_reader(
    dense: Path, tmp_path: Path
) -> None:
    tasks = too_long(tmp_path / "tasks")
    given = {"model_args": f"pretrained={dense}", "include_path": str(tasks), "tasks": f"too_long,{TASK}"}
    outcome = sweep(tmp_path / "s", **given)
    why = f"task 'too_long' cannot be asked: '{dense}' takes 128 tokens in all, and its answers may be as long (max_gen_toks)."
    assert len(outcome.finished) == 2 and outcome.exit_code == 1
    assert [list(failed.values()) for failed in outcome.failed_tasks.values()] == [
        [f"the model cannot answer it: {why}"]
    ] * 2
    runs = read_runs(tmp_path / "s")
    assert set(runs.table["task"]) == {TASK}
    assert [w for w in runs.warnings if w.startswith("task 'too_long' has no score in 2 runs") and why in w]


@pytest.mark.slow
def test_lm_eval_names_a_task_that_cannot_be_asked(dense: Path, tmp_path: Path) -> None:
    tasks = too_long(tmp_path / "tasks")
    model = f"pretrained={dense},sparsity=0.3"
    done = lm_eval("--model_args", model, "--include_path", str(tasks), "--tasks", "too_long", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "junkdna: task 'too_long' cannot be asked: " in done.stderr.splitlines()[-1]
    assert "run junkdna sweep" in done.stderr


class Killed(BaseException):
    """As nothing catches it, files are left as a kill leaves them."""


def test_killed_at_any_write_and_resumed_equals_uninterrupted(
    swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan, what the runs share, and three files per run: each time before it is written, with half of it beside."""
    from junkdna_harness.sweep import store as module

    whole, write = Store(swept).samples(), module.write_atomic

    def kill_at(last: int) -> None:
        writes = 0

        def killing(path: Path, content: str | bytes) -> None:
            nonlocal writes
            writes += 1
            if writes == last:
                path.parent.mkdir(parents=True, exist_ok=True)
                (path.parent / f".{path.name}.x.partial").write_text("half")
                raise Killed
            write(path, content)

        monkeypatch.setattr(module, "write_atomic", killing)

    for last in range(1, 11):
        folder = tmp_path / str(last)
        kill_at(last)
        with pytest.raises(Killed):
            sweep(folder)
        monkeypatch.setattr(module, "write_atomic", write)
        sweep(folder)
        pd.testing.assert_frame_equal(Store(folder).samples(), whole)
        assert not list(folder.glob("**/*.partial"))
        assert not sweep(folder).finished
