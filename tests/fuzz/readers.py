"""Every reader of a file that a user, another program or a crash may have changed: a valid example, and what reading it must give."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import random
import shutil
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from difficulty.cut.tiers import assign_tiers
from difficulty.errors import UsageError
from difficulty.judge.prereg import content_sha256, read_prereg, write_prereg
from difficulty.runs.identity import Method
from difficulty.runs.label import Label, write_label
from difficulty.runs.looks import added, added_after_look, looks
from difficulty.runs.read import read_runs
from difficulty.runs.table import write_table
from junkdna_harness.gate import Limits, check, read_baseline, to_json
from junkdna_harness.gate.fidelity import TextLimits, check_text, read_fidelity, text_of
from junkdna_harness.gate.history import append, read_history
from junkdna_harness.gate.policy_file import read_policy
from junkdna_harness.gate.suggest import policy_text
from junkdna_harness.gate.trend import trend
from tests.difficulty.judge.test_prereg import content
from tests.difficulty.runs.logged import chosen, generated, results_of, write_log
from tests.fuzz.mutate import mutate_bytes, mutate_json, mutate_value
from tests.gate.made_up import two_tiers
from tests.report.synthetic import tidy

Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Reader:
    """`make` writes a valid example into a folder; `files` of it (a glob) are changed one at a time; `read` reads the folder as users
    do and checks what it gives, `changed` being the path of the file."""

    name: str
    make: Callable[[Path], None]
    files: str
    read: Callable[[Path, Path], object]
    mutate: Mutate = mutate_json
    slow: bool = False


# How files of other kinds are changed.


def mutate_yaml(raw: bytes, rng: random.Random) -> bytes:
    """A YAML file: its values, its bytes, or what only YAML has."""
    how = rng.random()
    if how < 0.2:
        return mutate_bytes(raw, rng)
    if how < 0.35:
        odd = ("a: &a [*a]\n", "? [1, 2]\n: x\n", "? {a: b}\n: x\n", "x: !!python/object/apply:os.system [ls]\n", "<<: [1]\n", "\t- x\n", "--- 1\n---\n2\n",
               "k: 2026-99-99\n", "k: 1_0:9\n", "k: !!binary x\n", "%YAML 9\n", "k: !!int x\n", "a: 1\na: 2\n", "[" * 3000, "k: 0x" + "f" * 5000 + "\n")  # fmt: skip
        return raw + rng.choice(odd).encode() if rng.random() < 0.5 else rng.choice(odd).encode() + raw
    value = mutate_value(yaml.safe_load(raw.decode()), rng)
    from tests.fuzz.mutate import json_text

    return json_text(value).encode("utf-8", "surrogatepass")


def mutate_frame(write: Callable[[pd.DataFrame], bytes], read: Callable[[bytes], pd.DataFrame]) -> Mutate:
    """A table: its cells, columns and rows, or its bytes."""

    def mutate(raw: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.4:
            return mutate_bytes(raw, rng)
        frame = read(raw)
        name = rng.choice(list(frame.columns))
        ways: list[Callable[[], pd.DataFrame]] = [
            lambda: frame.drop(columns=name),
            lambda: frame.rename(columns={name: rng.choice(["x", "", name.upper()])}),
            lambda: frame.assign(**{name: rng.choice([None, "", "x", np.nan, np.inf, -1, 0, 1.5, 1e300, True, 2**40, "=1", "\x1b", "a\x00"])}),
            lambda: pd.concat([frame, frame.iloc[: rng.randint(1, len(frame))]]),
            lambda: frame.iloc[: rng.randrange(len(frame))],
            lambda: frame.astype({name: "category"}),
            lambda: frame.astype({name: str}),
            lambda: frame.assign(**{name: [[1]] * len(frame)}),
            lambda: frame.assign(**{name: [{"a": 1}] * len(frame)}),
            lambda: frame.assign(**{name: pd.Timestamp("2026-01-01")}),
            lambda: frame.assign(**{name: b"\xff"}),
            lambda: _cell(frame, name, rng),
        ]  # fmt: skip
        try:
            return write(rng.choice(ways)())
        except Exception:  # pyarrow or pandas refuse to write it
            return mutate_bytes(raw, rng)

    return mutate


def _cell(frame: pd.DataFrame, name: str, rng: random.Random) -> pd.DataFrame:
    values = list(frame[name])
    values[rng.randrange(len(values))] = rng.choice(
        [None, "x", "", -1, np.nan, np.inf, "\ud800", 10**30, values[0]]
    )
    return frame.assign(**{name: pd.Series(values, index=frame.index, dtype=object)})


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


mutate_parquet = mutate_frame(_parquet, lambda raw: pd.read_parquet(io.BytesIO(raw)))
mutate_csv = mutate_frame(
    lambda frame: frame.to_csv(index=False).encode(), lambda raw: pd.read_csv(io.BytesIO(raw))
)


def mutate_safetensors(raw: bytes, rng: random.Random) -> bytes:
    """Its header, which is JSON (and holds JSON), or its bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(raw, rng)
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    inner = header.get("__metadata__", {}).get("junkdna_mask")
    if inner and rng.random() < 0.7:
        header["__metadata__"]["junkdna_mask"] = mutate_json(inner.encode(), rng).decode("utf-8", "replace")
        changed = json.dumps(header).encode()
    else:
        changed = mutate_json(raw[8 : 8 + size], rng)
    return struct.pack("<Q", len(changed)) + changed + raw[8 + size :]


# lm-eval's logs.

ITEMS = 8


def make_log(folder: Path) -> None:
    block = {
        "model": "m",
        "kind": "pruned",
        "method": "magnitude",
        "level": 0.5,
        "bits": None,
        "replicate": 0,
    }
    tasks = {
        "t": [generated(i, exact_match=float(i % 2), f1=0.5) for i in range(ITEMS)],
        "u": [chosen(i, [-1.0 - i, -2.0], 0) for i in range(ITEMS)],
    }
    config = {"metadata": {"family": "f", "axis": "a", "tier": 1, "chance": 0.1}}
    write_log(folder / "log", tasks, "multiple_choice", config=config, block=block)


def read_log(folder: Path, changed: Path) -> None:
    """What was evaluated is there whole, or a sentence says what is not."""
    found = read_runs(folder / "log", keep=lambda sample: sample.get("target"))
    table = found.table
    assert np.isfinite(table["value"]).all()
    assert not table.duplicated(["run", "task", "metric", "item_id"]).any()
    if changed.name.startswith("samples_"):
        counts = table.groupby(["task", "metric"])["item_id"].nunique()
        for (task, metric), n in counts.items():
            if metric != "margin":
                assert n == ITEMS or found.warnings, (task, metric, n)
        assert {"t", "u"} <= set(table["task"]) or found.warnings
    read_baseline(folder / "log")


def make_label(folder: Path) -> None:
    make_log(folder)
    write_label(results_of(folder / "log"), Label(Method.parse("wanda"), 0.25, None, "m", 1))


def read_labelled(folder: Path, changed: Path) -> None:
    found = read_runs(folder / "log")
    assert len(found.runs) == 1


# Tidy tables.


def make_tables(folder: Path) -> None:
    table = tidy(("f",), 2, 6, (0.0, 0.5))
    table["higher_is_better"], table["n_weights"], table["known_by"] = True, 1000, "log"
    write_table(table, folder / "t.parquet")
    write_table(table, folder / "t.csv")


def read_tables(folder: Path, changed: Path) -> None:
    found = read_runs(changed).table
    assert np.isfinite(found["value"]).all()
    assert not found.duplicated(["run", "task", "metric", "item_id"]).any()


# The gate.


def make_gate(folder: Path) -> None:
    first, second, third = two_tiers("a", [2, 3], 20), two_tiers("b", [3, 3], 20), two_tiers("c", [6, 3], 20)
    (folder / "b.json").write_text(to_json(first))
    (folder / "p.yaml").write_text(policy_text(first))
    for number, new in enumerate((second, third)):
        gate = check(new, first, Limits(0.3))
        append(folder / "h.jsonl", gate, gate.exit_code, f"{number:06d}abc")


def read_gate(folder: Path, changed: Path) -> None:
    found = read_baseline(folder / "b.json")
    for task in found.tasks.values():
        assert len(task.item_ids) == len(task.values) == len(task.clusters)
        assert np.isfinite(task.values).all()
    again = read_baseline(_written(folder, to_json(found)))
    assert {name: list(task.values) for name, task in again.tasks.items()} == {
        name: list(task.values) for name, task in found.tasks.items()
    }
    with contextlib.suppress(UsageError):  # ids of a baseline are cut
        check(found, found, Limits(0.3))


def _written(folder: Path, text: str) -> Path:
    (folder / "again.json").write_text(text)
    return folder / "again.json"


def read_kept(folder: Path, changed: Path) -> None:
    from junkdna_harness.gate.trend_outputs import trend_json, trend_text

    found = trend(read_history(folder / "h.jsonl"))
    json.loads(trend_json(found))
    trend_text(found)


def read_rules(folder: Path, changed: Path) -> None:
    check(two_tiers("a", [2, 3], 20), two_tiers("b", [2, 3], 20), read_policy(folder / "p.yaml"))


def make_policy(folder: Path) -> None:
    (folder / "p.yaml").write_text(yaml.safe_dump({
        "schema": 1, "alpha": 0.05, "defaults": {"severity": "critical"}, "required": ["addition_t*"],
        "rules": [{"max_drop": 0.1}, {"family": "*", "tier": "*", "max_drop": 0.3, "severity": "advisory"}, {"metric": "acc", "max_relative_drop": 0.2, "task": "addition_t1"}],
    }))  # fmt: skip


def make_fidelity(folder: Path) -> None:
    rng = np.random.default_rng(0)
    n = 12
    blocks = {
        "n": [256] * n,
        "loss_dense": list(rng.uniform(700, 900, n)),
        "loss": list(rng.uniform(700, 900, n)),
        "kl": list(rng.uniform(1, 9, n)),
        "top1": [200] * n,
    }
    one = {
        "kind": "junkdna-fidelity", "schema": 1, "model": "m magnitude 0.5", "against": "m", "method": "magnitude", "level": 0.5, "bits": None, "layout": "rolling", "window": 512,
        "n_tokens": 256 * n, "n_blocks": n, "perplexity_dense": 10.0, "perplexity": 11.0, "perplexity_ratio": 1.1, "kl_mean": 0.1, "top1": 0.9, "blocks": blocks,
    }  # fmt: skip
    (folder / "f.json").write_text(json.dumps(one))


def read_text_gate(folder: Path, changed: Path) -> None:
    found = check_text(read_fidelity(folder / "f.json"), TextLimits(1.2, 0.5, 0.8))
    text_of(found)
    json.dumps(found.to_dict(), allow_nan=False)


# Plans, preregistrations, recipes.

PLAN = {
    "tasks": "difficulty_tiers", "methods": ["magnitude", "wanda"], "sparsity": "0:0.9:0.3", "patterns": "2:4", "quantize": "rtn:4,3", "replicates": 2, "limit": 3,
    "model_args": {"pretrained": "m", "nsamples": 4}, "seed": 3, "num_fewshot": 0, "match_loss": False, "refine": "P3", "noise_floor": True,
}  # fmt: skip


def make_plan_file(folder: Path) -> None:
    (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN))


def read_plan(folder: Path, changed: Path) -> None:
    from junkdna_harness.commands.sweep import PLAN_OPTIONS, _options
    from junkdna_harness.sweep.choose import engine_and_machine
    from junkdna_harness.sweep.plan import Plan, build_plan

    options = _options([str(folder / "plan.yaml")], {})
    plan = build_plan(**{name: options[name] for name in PLAN_OPTIONS if name in options})
    engine_and_machine(options)
    again = Plan.from_dict(json.loads(json.dumps(plan.to_dict(), default=str)))
    assert [again.run_id(cell) for cell in again.cells] == [plan.run_id(cell) for cell in plan.cells]


def make_study(folder: Path) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump({
        "pretrained": "m", "limit": 5, "methods": ["magnitude", "random"], "sparsity": "0,0.5", "patterns": "2:4", "quantize": "rtn:4", "recovery_levels": [0.5], "steps": 3,
        "fractions": [0.5, 1.0], "seeds": "0,1", "model_args": {"dtype": "float32"},
    }))  # fmt: skip


def make_points(folder: Path) -> None:
    rows = [
        f"task_complexity,p,{name},{level},{value},% of dense"
        for name in ("QNLI (easy)", "RTE (hard)")
        for level, value in ((10, 99), (50, 80), (90, 60))
    ]
    rows += [
        "open_closed,p,Open Book,4:8,-5,% change vs dense (EM)",
        "f,q,s,0,0.9,accuracy",
        "f,q,s,50,0.4,accuracy",
    ]
    (folder / "points.csv").write_text("figure,panel,series,level,value,unit\n" + "\n".join(rows) + "\n")


def read_against(folder: Path, changed: Path) -> None:
    from junkdna_harness.study.against.points import read_points
    from junkdna_harness.study.against.readings import readings, remarks, steps

    points = read_points(folder / "points.csv")
    assert all(np.isfinite(one.kept).all() for one in points)
    readings(points), steps(points), remarks(points)


def read_study(folder: Path, changed: Path) -> None:
    from junkdna_harness.study.asked import make_plan
    from junkdna_harness.study.plan import quick
    from junkdna_harness.study.run import claim

    plan = make_plan(None, folder / "study.yaml")
    quick(plan).jobs()
    claim(folder / "store", plan)
    claim(folder / "store", plan)


def make_prereg(folder: Path) -> None:
    write_prereg(folder / "p.json", content())


def read_registered(folder: Path, changed: Path) -> None:
    _use(read_prereg(folder / "p.json"))


def read_signed(folder: Path, changed: Path) -> None:
    """Whoever edits it may also write the hash anew."""
    try:
        found = json.loads((folder / "p.json").read_text("utf-8"))
        (folder / "p.json").write_text(json.dumps({**found, "sha256": content_sha256(found)}))
    except (ValueError, TypeError, RecursionError):
        pass
    _use(read_prereg(folder / "p.json"))


def _use(found: Any) -> None:
    from difficulty.judge.departures import departures, facts_of

    assert isinstance(found.models, list)
    departures(found, _facts(facts_of))


@functools.cache
def _facts(facts_of: Any) -> Any:
    from difficulty.judge.fit import fit

    table = tidy(("f", "g"), 2, 30, (0.0, 0.4, 0.8))
    read = read_runs(_table(table))
    return facts_of(fit(read, n_resamples=100), "1", read.table, {})


def _table(table: pd.DataFrame) -> Path:
    path = Path(tempfile.mkdtemp()) / "t.parquet"
    write_table(table, path)
    return path


RECIPES = {
    "own.yaml": {"prune": {"method": "wanda", "sparsity": 0.5, "pattern": None, "exclude": ["lm_head"], "seed": 1}},
    "gptq.yaml": {"quant_stage": {"quant_modifiers": {"GPTQModifier": {"ignore": ["lm_head"], "block_size": 128, "dampening_frac": 0.01, "config_groups": {
        "group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}}}}}}},
    "sparse.yaml": {"sparsity_stage": {"sparsity_modifiers": {"SparseGPTModifier": {"sparsity": 0.5, "mask_structure": "2:4", "targets": ["re:.*layers.\\d+$"]}}}},
}  # fmt: skip


def make_recipes(folder: Path) -> None:
    for name, value in RECIPES.items():
        (folder / name).write_text(yaml.safe_dump(value))


def read_recipes(folder: Path, changed: Path) -> None:
    from junkdna_harness.compress.quant_spec import QuantSpec
    from junkdna_harness.compress.recipe import read_recipe
    from junkdna_harness.compress.spec import PruneSpec

    command, arguments = read_recipe(changed)
    (PruneSpec if command == "prune" else QuantSpec).from_strings(arguments)


# Tiers.


def make_tiers(folder: Path) -> None:
    scores = {hashlib.sha256(str(i).encode()).hexdigest(): float(i % 10) for i in range(40)}
    made = assign_tiers(scores, 2, 5)
    items = {name: {"tier": 1 + (score >= 5), "score": score} for name, score in scores.items()}
    tiers = [
        {"tier": t.number, "low": t.low, "high": t.high, "items": t.n_items, "chance": 0.25}
        for t in made.tiers
    ]
    (folder / "assignment.json").write_text(json.dumps({
        "schema": 1, "name": "n", "task": "t", "rule": "answer_length", "harder": "high", "min_items": 5, "source": "rule", "seed": 0, "cuts": [5.0], "tiers": tiers, "items": items,
    }))  # fmt: skip
    (folder / "base.yaml").write_text(
        "task: base\ndataset_path: json\noutput_type: multiple_choice\ndoc_to_text: '{{q}}'\nmetadata: {version: 1.0}\n"
    )
    (folder / "n_t1.yaml").write_text(
        "include: base.yaml\ntask: n_t1\ntier: 1\ndoc_to_target: !function utils.target\nmetadata: {axis: a, family: f, tier: 1, n_tiers: 2, chance: 0.25}\n"
    )


def read_assigned(folder: Path, changed: Path) -> None:
    from junkdna_harness.tiers.select import read_assignment
    from junkdna_harness.tiers.show import folder_text

    read_assignment(folder / "assignment.json")
    folder_text(folder)


def read_task(folder: Path, changed: Path) -> None:
    from junkdna_harness.tiers.config import read_config, to_plain

    to_plain(read_config(folder / "n_t1.yaml"))


def mutate_task(raw: bytes, rng: random.Random) -> bytes:
    return (
        mutate_yaml(raw.replace(b"!function utils.target", b"'0'"), rng)
        if rng.random() < 0.8
        else mutate_bytes(raw, rng)
    )


# Texts.


def make_texts(folder: Path) -> None:
    (folder / "a.txt").write_text("One text.\n\nAnother, of two lines.\nThe second.\n", encoding="utf-8")
    (folder / "b.jsonl").write_text(
        "".join(json.dumps({"text": f"text {i}", "n": i}) + "\n" for i in range(5))
    )
    (folder / "c.jsonl").write_text(
        "".join(json.dumps({"prompt": f"p {i}", "answer": "a"}) + "\n" for i in range(5))
    )


def read_texts(folder: Path, changed: Path) -> None:
    from junkdna_harness.compress.sources import texts_of
    from junkdna_harness.recover.data import file_examples
    from junkdna_harness.texts.documents import read_documents

    for read in (
        lambda: read_documents([str(changed)]),
        lambda: file_examples(changed),
        lambda: list(texts_of(str(changed), 3, 0)),
    ):
        with contextlib.suppress(UsageError):
            assert read()


def read_local(folder: Path, changed: Path) -> None:
    from junkdna_harness.tiers.local import read_rows

    read_rows(changed)


def make_config(folder: Path) -> None:
    (folder / "c.yaml").write_text("bf16: true\nlearning_rate: 1e-3\nlist: [1, 2]\n")


def read_config_of_trainer(folder: Path, changed: Path) -> None:
    from junkdna_harness.commands.recover import _config

    assert isinstance(_config(folder / "c.yaml"), dict)


# Checkpoints.


@functools.cache
def _checkpoint() -> Path:
    import torch
    from safetensors.torch import save_file

    from junkdna_harness.compress.checkpoint import describe_tensors

    home = Path(tempfile.mkdtemp()) / "ck"
    home.mkdir()
    torch.manual_seed(0)
    weights = {
        f"model.layers.{i}.mlp.up_proj.weight": torch.randn(8, 6) * (torch.rand(8, 6) > 0.5) for i in range(2)
    }
    save_file({**weights, "norm.weight": torch.ones(6)}, home / "model.safetensors", {"format": "pt"})
    (home / "config.json").write_text(
        json.dumps({"model_type": "llama", "hidden_size": 6, "architectures": ["LlamaForCausalLM"]})
    )
    (home / "junkdna.json").write_text(json.dumps({
        "schema": 1, "kind": "pruned", "method": "magnitude", "pattern": None, "level": 0.5, "bits": None, "scope": "row", "seed": 0, "replicate": 0, "requested_sparsity": 0.5,
        "sparsity_targeted": 0.5, "sparsity_all": 0.4, "effective_bits": 32.0, "weights_targeted": 96, "weights_all": 102, "source": {"pretrained": "org/m"}, "base_model": "org/m",
        "weights_sha256": "0" * 64, "calibration": {"source": "embedded", "seed": 0, "nsamples": 2, "seqlen": 8, "tokens_sha256": "0"}, "tensors": describe_tensors(home), "warnings": ["w"],
        "allocation": {"name": "owl", "sparsity_by_block": {"0": 0.4, "1": 0.6}}, "structure": None, "recipe": {"prune": {"method": "magnitude"}},
        "activations": {"bits": 8}, "kv_bits": 4, "kv_group_size": 32, "before": [],
    }))  # fmt: skip
    return home


def make_checkpoint(folder: Path) -> None:
    shutil.copytree(_checkpoint(), folder / "ck")


def read_checkpoint(folder: Path, changed: Path) -> None:
    from difficulty.runs.checkpoint import base_model
    from difficulty.runs.weights import share_of_zeros, unlike
    from junkdna_harness.commands.inspect import facts_of
    from junkdna_harness.compress.checkpoint import inspect_checkpoint
    from junkdna_harness.compress.origin import Origin
    from junkdna_harness.sweep.estimate import model_weights

    home = folder / "ck"

    def evaluated() -> None:
        rows = {"t": [generated(i, acc=1.0) for i in range(2)]}
        write_log(folder / "log", rows, model="x", model_args={"pretrained": str(home)})
        read_runs(folder / "log")

    def origin() -> None:
        found = Origin.read(home)
        if found is not None:
            _ = found.changed, found.unverifiable, found.fault("1" * 64)

    for read in (
        lambda: facts_of(home, inspect_checkpoint(home).manifest), lambda: base_model(str(home)), origin, lambda: share_of_zeros(home),
        lambda: unlike(home, {"norm.weight": {"sha256": "x"}}), lambda: model_weights(str(home)), evaluated,
    ):  # fmt: skip
        with contextlib.suppress(UsageError):
            read()


@functools.cache
def _masked() -> tuple[Any, Path]:
    from junkdna_harness.compress.masks import save_mask
    from junkdna_harness.compress.pruning import prune
    from junkdna_harness.compress.spec import PruneSpec
    from tests.models_factory import make_model

    model, _ = make_model("llama")
    report = prune(model, PruneSpec.from_strings({"method": "magnitude", "sparsity": 0.5}))
    path = Path(tempfile.mkdtemp()) / "mask.safetensors"
    save_mask(model, report, path)
    return model, path


def make_mask(folder: Path) -> None:
    shutil.copy(_masked()[1], folder / "mask.safetensors")


def read_mask(folder: Path, changed: Path) -> None:
    from junkdna_harness.compress.masks import apply_mask
    from junkdna_harness.compress.targets import find_targets

    model = _masked()[0]
    apply_mask(model, find_targets(model), str(folder / "mask.safetensors"))


# A sweep's folder, and that of a gate.


@functools.cache
def _swept() -> Path:
    from junkdna_harness.sweep.engines.local import LocalEngine
    from junkdna_harness.sweep.plan import build_plan
    from junkdna_harness.sweep.run import run_sweep

    folder = Path(tempfile.mkdtemp()) / "s"
    plan = build_plan(tasks="difficulty_tiers_copying_t1", methods="magnitude", sparsity="0.5", limit=3)
    assert run_sweep(plan, folder, engine=LocalEngine(workers=1)).exit_code == 0
    (folder / "failed").mkdir(exist_ok=True)
    (folder / "failed" / "x.json").write_text(json.dumps({"run": "x", "error": "why"}))
    look = {"kind": "look", "time": "2026-01-01T00:00:00+00:00", "command": "fit", "version": "1", "options": {"metric": None}, "rules": {"alpha": 0.05},
            "verdicts": {"m": {"P1": "supported"}}, "runs": ["a"], "runs_sha256": "0"}  # fmt: skip
    more = {"kind": "added", "time": "2026-01-02T00:00:00+00:00", "runs": ["b"], "by_rule": None}
    (folder / "looks.jsonl").write_text(json.dumps(look) + "\n" + json.dumps(more) + "\n")
    return folder


def make_sweep(folder: Path) -> None:
    shutil.copytree(_swept(), folder / "s")


def read_sweep(folder: Path, changed: Path) -> None:
    """All that reads a sweep's folder. A run is there as it was written, or it is named."""
    from junkdna_harness.sweep.store import Store

    home = folder / "s"
    store = Store(home)

    def of_runs() -> None:
        found = read_runs(home, keep=lambda sample: sample.get("target"))
        if (
            changed.name not in ("plan.json",)
            and "identity" not in changed.name
            and "tasks" not in changed.name
        ):
            assert len(found.table) == len(read_runs(_swept()).table)

    def of_store() -> None:
        plan = store.need_plan()
        store.state(plan)
        store.samples()
        for cell in store.finished(plan):
            store.responses(plan, cell)

    def of_suite() -> None:
        for model in range(2):
            store.suite_problem(model)
        store.task_facts()
        store.items()
        store.fingerprint(store.need_plan(), 0)

    for read in (
        of_runs,
        of_store,
        of_suite,
        store.manifests,
        store.failures,
        lambda: looks(home),
        lambda: added(home),
        lambda: added_after_look(home),
    ):
        with contextlib.suppress(UsageError):
            read()


def mutate_stored(raw: bytes, rng: random.Random) -> bytes:
    return mutate_parquet(raw, rng) if raw.startswith(b"PAR1") else mutate_json(raw, rng)


IDENTITY = {
    "model": "m",
    "weights": "w",
    "baseline": "b",
    "policy": "p",
    "seed": 0,
    "prompts": "x",
    "task_versions": {"t": "1"},
}


def make_asked(folder: Path) -> None:
    from junkdna_harness.sequential.store import Batch, Folder

    with Folder(folder / "g", IDENTITY).held() as held:
        held.write(1, Batch(4, 1.5, ("a", "b"), {"t": [generated(i, acc=1.0) for i in range(3)]}))


def read_asked(folder: Path, changed: Path) -> None:
    from junkdna_harness.sequential.store import Folder

    with Folder(folder / "g", IDENTITY).held() as held:
        found = held.batch(1)
        if found is not None:
            for task, samples in found.samples.items():
                assert isinstance(task, str)
                assert all(isinstance(sample, dict) for sample in samples)
            assert found.until >= 0
            assert sum(map(len, found.samples.values())) == 3 or changed.suffix == ".jsonl"


def make_cache(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"logits": torch.randn(4, 5)}, folder / "w.safetensors")
    (folder / "dense.json").write_text(json.dumps({"kind": "k", "weights_sha256": "0", "dtype": "float32"}))


def read_cache(folder: Path, changed: Path) -> None:
    from junkdna_harness.fidelity.cache import _check, _read

    _read(folder / "w.safetensors")
    with contextlib.suppress(UsageError):
        _check(folder, {"kind": "k", "weights_sha256": "0", "dtype": "float32"}, 10)


def mutate_cache(raw: bytes, rng: random.Random) -> bytes:
    return mutate_json(raw, rng) if raw.startswith(b"{") else mutate_safetensors(raw, rng)


def make_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: other\nlanguage: [en]\ntags:\n- a\n---\n# A model\n")


def mutate_card(raw: bytes, rng: random.Random) -> bytes:
    """The fields between the two rules, or any byte."""
    if rng.random() < 0.2:
        return mutate_bytes(raw, rng)
    fields = raw.split(b"---\n")[1]
    return b"---\n" + mutate_yaml(fields, rng) + b"\n---\n# A model\n"


def read_card(folder: Path, changed: Path) -> None:
    from huggingface_hub import ModelCard

    from junkdna_harness.compress.card import card_text, inherited

    assert ModelCard(card_text({"method": "wanda"}, "x", inherited(str(folder), folder))).data.tags


READERS = (
    Reader("lm-eval results", make_log, "log/*/results_*.json", read_log),
    Reader("lm-eval samples", make_log, "log/*/samples_*.jsonl", read_log),
    Reader("label", make_label, "log/*/label_*.json", read_labelled),
    Reader("parquet table", make_tables, "t.parquet", read_tables, mutate_parquet),
    Reader("csv table", make_tables, "t.csv", read_tables, mutate_csv),
    Reader("baseline", make_gate, "b.json", read_gate),
    Reader("history", make_gate, "h.jsonl", read_kept),
    Reader("suggested policy", make_gate, "p.yaml", read_rules, mutate_yaml),
    Reader("policy", make_policy, "p.yaml", read_rules, mutate_yaml),
    Reader("fidelity", make_fidelity, "f.json", read_text_gate),
    Reader("sweep plan", make_plan_file, "plan.yaml", read_plan, mutate_yaml),
    Reader("points of a paper", make_points, "points.csv", read_against, mutate_csv),
    Reader("study plan", make_study, "study.yaml", read_study, mutate_yaml),
    Reader("preregistration", make_prereg, "p.json", read_registered),
    Reader("preregistration, signed again", make_prereg, "p.json", read_signed),
    Reader("recipe", make_recipes, "*.yaml", read_recipes, mutate_yaml),
    Reader("assignment", make_tiers, "assignment.json", read_assigned),
    Reader("tier task", make_tiers, "*.yaml", read_task, mutate_task),
    Reader("texts", make_texts, "*.*", read_texts),
    Reader("local rows", make_texts, "*.jsonl", read_local),
    Reader("trainer config", make_config, "c.yaml", read_config_of_trainer, mutate_yaml),
    Reader("checkpoint manifest", make_checkpoint, "ck/*.json", read_checkpoint),
    Reader("checkpoint weights", make_checkpoint, "ck/*.safetensors", read_checkpoint, mutate_safetensors),
    Reader("model card", make_card, "README.md", read_card, mutate_card),
    Reader("mask", make_mask, "mask.safetensors", read_mask, mutate_safetensors),
    Reader("sweep's folder", make_sweep, "s/**/*.*", read_sweep, mutate_stored),
    Reader("gate's folder", make_asked, "g/**/*.json*", read_asked),
    Reader("cache of logits", make_cache, "*", read_cache, mutate_cache),
)
