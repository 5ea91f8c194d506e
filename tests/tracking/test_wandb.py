"""`--wandb-args`: what lm-eval's users expect is logged, a failure stops nothing, and no secret goes along.

wandb runs offline and writes what it would send to a file; here that file is read.
"""

from __future__ import annotations

import functools
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from difficulty.errors import UsageError
from junkdna_harness import tracking
from junkdna_harness.cli import app
from junkdna_harness.sweep.plan import build_plan
from junkdna_harness.sweep.store import Store
from tests.commands import command

TASK = "difficulty_tiers_hypernyms"
ARGS = ("--wandb-args", "project=p,name=mine,tags=a;b")
installed = pytest.mark.skipif(tracking.find_spec("wandb") is None, reason="wandb is not installed")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def forget_settings() -> None:
    """wandb reads its variables once per process, and its service writes in its own time."""
    if tracking.find_spec("wandb") is not None:
        import wandb

        wandb.teardown()


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_settings()
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: LevelDB's log format, blocks of 32 KiB, each record a protobuf."""
    from wandb.proto import wandb_internal_pb2 as protobuf

    data, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = protobuf.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def logged(folder: Path) -> list[dict[str, Any]]:
    """Of each run: its name, group and tags; config, summary, the rows of its history, and its tables, by name."""
    forget_settings()  # its service writes what is left
    found = []
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        one: dict[str, Any] = {"config": {}, "summary": {}, "history": [], "files": path.parent / "files"}
        for record in records(path):
            if record.HasField("run"):
                run = record.run
                one |= {"name": run.display_name, "group": run.run_group, "kind": run.job_type, "tags": sorted(run.tags), "project": run.project}  # fmt: skip
                one["config"] |= _values(run.config.update)
            elif record.HasField("config"):
                one["config"] |= _values(record.config.update)
            elif record.HasField("summary"):
                one["summary"] |= _values(record.summary.update)
            elif record.HasField("history"):
                one["history"].append(_values(record.history.item))
        found.append(one)
    return sorted(found, key=lambda one: str(one["name"]))


def _values(items: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        *before, last = list(item.nested_key) or [item.key]
        inner = found
        for name in before:
            inner = inner.setdefault(name, {})
        inner[last] = json.loads(item.value_json)
    return found


def table(one: dict[str, Any], name: str) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table that was logged."""
    row = next(row for row in one["history"] if name in row)
    found = json.loads((one["files"] / row[name]["path"]).read_text())
    return found["columns"], found["data"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a sweep of three runs was logged, and wrote its store `runs`."""
    folder = tmp_path_factory.mktemp("swept")
    forget_settings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(folder))
        options = ("--methods", "magnitude", "--sparsity", "0.3,0.9", "--tasks", TASK, "--limit", 20, "-o", folder / "runs")  # fmt: skip
        result = run("sweep", *options, *ARGS, "--wandb-config-args", "team=red,api_key=1234")
    assert result.exit_code == 0 and "wandb: 3 runs logged" in result.output, result.output
    return folder


@installed
def test_each_run_of_a_sweep_is_a_run_there_with_lm_evals_tables(swept: Path) -> None:
    dense, _, pruned = logged(swept)
    assert (pruned["name"], pruned["group"], pruned["kind"]) == (
        "mine embedded magnitude 0.9",
        "runs",
        "evaluation",
    )
    assert pruned["project"] == "p" and pruned["tags"] == ["a", "b"] and dense["config"]["method"] == "dense"
    config = pruned["config"]
    assert (config["method"], config["level"], config["team"]) == ("magnitude", 0.9, "red")
    assert config["junkdna"]["weights_sha256"] == config["weights_sha256"] and config["effective_bits"] < 5
    assert config["cli_configs"]["junkdna"] == config["junkdna"]
    assert f"{TASK}_t1" in config["task_configs"] and "api_key" not in json.dumps(config)
    stored = Store(swept / "runs").manifests()[2]["results"]["results"]
    numbers = {name: value for row in pruned["history"] for name, value in row.items()}
    assert numbers[f"{TASK}_t1/acc"] == stored[f"{TASK}_t1"]["acc,none"]
    columns, rows = table(pruned, "evaluation/eval_results")
    assert columns[:2] == ["Tasks", "Version"] and {row[0] for row in rows} >= {f"{TASK}_t1", f"{TASK}_t4"}


@installed
def test_a_report_logs_tables_verdicts_and_pictures(swept: Path, tmp_path: Path) -> None:
    result = run("report", swept / "runs", *ARGS)
    assert result.exit_code == 0, result.output
    (one,) = logged(tmp_path)
    columns, rows = table(one, "leaderboard/tier")
    assert columns[:3] == ["model", "method", "level"] and [row[1] for row in rows] == [
        "dense",
        "magnitude",
        "magnitude",
    ]
    mean = columns.index("Overall mean")
    assert rows[0][mean] > rows[2][mean] > 0 and rows[2][mean + 1] < rows[2][mean] < rows[2][mean + 2]
    assert {row[1] for row in table(one, "verdicts")[1]} >= {"P1", "P2", "P6"}
    assert "hypothesis/embedded" in one["summary"]
    assert any(path.suffix == ".png" for path in one["files"].rglob("*"))


@installed
def test_a_check_logs_its_verdict(swept: Path, tmp_path: Path) -> None:
    runs = swept / "runs"
    names = ("--run", "embedded magnitude 0.9", "--baseline-run", "embedded dense")
    result = run("check", runs, "--against", runs, *names, *ARGS)
    (one,) = logged(tmp_path)
    assert (one["summary"]["verdict"], one["summary"]["exit_code"]) == ("fail", 1) and result.exit_code == 1
    columns, rows = table(one, "comparisons")
    assert "loss" in columns and any(row[columns.index("name")] == "overall" for row in rows)
    for wrong in ("--validate", f"--trend={tmp_path}"):
        assert isinstance(run("check", wrong, *ARGS).exception, UsageError)


@installed
def test_a_recovery_logs_its_steps_and_a_study_hands_them_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("recover", "-o", out, "--arm", "dense_transfer", "--steps", 3, "--batch-size", 2, *ARGS)
    assert result.exit_code == 0, result.output
    (one,) = logged(tmp_path)
    steps = {row["_step"]: row for row in one["history"]}
    log = [json.loads(line) for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert {row["step"]: row["loss"] for row in log if "loss" in row} == {
        step: row["train/loss"] for step, row in steps.items() if "train/loss" in row
    }
    assert "train/learning_rate" in steps[1] and one["config"]["steps"] == 3
    assert one["summary"]["steps"] == 3 and one["summary"]["junkdna"]["method"] == "dense+dense_transfer"


@installed
def test_a_failure_in_the_middle_is_told_once_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    real, calls = wandb.init, []

    @functools.wraps(real)
    def init(**arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            raise ConnectionError("the network\nis gone")
        return real(**arguments)

    monkeypatch.setattr(wandb, "init", init)
    options = ("--methods", "magnitude", "--sparsity", "0.5,0.9", "--tasks", f"{TASK}_t1", "--limit", 5)
    result = run("sweep", *options, "-o", tmp_path / "runs", *ARGS)
    assert result.exit_code == 0 and len(calls) == 2
    assert result.output.count("warning: wandb: the network. Nothing more is logged there") == 1
    assert "wandb: 1 run logged" in result.output and len(Store(tmp_path / "runs").manifests()) == 3


@installed
def test_a_service_that_is_not_there_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")
    found = tracking.read_wandb("project=p")
    assert found is not None
    with found.run("x", "evaluation", {}) as one:
        one.log({"a": 1})
    assert found.broken and not found.logged
    assert capsys.readouterr().err.count("warning: wandb: ") == 1


@installed
def test_what_cannot_be_used_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, words in (
        ("projekt=p", "Did you mean 'project'?"),
        ("project", "which is not name=value"),
        ('{"project": ', "is no JSON"),
        ("mode=onlin", "none of wandb's"),
        ("config=1", "cannot be given here"),
    ):
        with pytest.raises(UsageError) as caught:
            tracking.read_wandb(given)
        assert words in str(caught.value)
    with pytest.raises(UsageError, match="Add --wandb-args project=NAME"):
        tracking.read_wandb(None, "a=1")
    found = tracking.read_wandb('{"project": "p", "tags": ["x"]}', "a=1")
    assert found is not None and found.arguments == {"project": "p", "tags": ["x"]} and found.config == {"a": "1"}  # fmt: skip
    monkeypatch.setenv("WANDB_MODE", "online")
    result = run("recover", "no/such/model", "-o", tmp_path / "out", *ARGS)
    assert isinstance(result.exception, UsageError) and "nobody is logged in to wandb" in str(result.exception)  # fmt: skip


@pytest.mark.parametrize("verb", ["sweep", "recover", "report x", "check x --against y", "study"])
def test_without_wandb_one_sentence_says_how_to_install_it(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    output = [] if verb.startswith(("report", "check")) else ["-o", "out"]
    result = run(*verb.split(), *output, *ARGS)
    assert isinstance(result.exception, UsageError), result.output
    assert "pip install 'wandb" in str(result.exception) and list(tmp_path.iterdir()) == []


def test_no_secret_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"pretrained": "m", "token": "1", "hf_token": "2", "api_key": "3", "auth": {"password": "4", "kv_tokens": 5}, "tokenizer": "t"}  # fmt: skip
    assert tracking.loggable([given]) == [{"pretrained": "m", "auth": {"kv_tokens": 5}, "tokenizer": "t"}]
    for words, secret in (
        (["sweep", "--model_args", "pretrained=m,token=abc"], True),
        (["sweep", "--kv-tokens", "4"], False),
    ):
        monkeypatch.setattr(sys, "argv", ["junkdna", *words])
        assert tracking._secret_on_command_line() is secret


@installed
def test_lm_eval_itself_logs_what_our_model_is(tmp_path: Path) -> None:
    arguments = ("--model", "junkdna-pruned", "--model_args", "method=magnitude,sparsity=0.5,bits=4", "--tasks", f"{TASK}_t1", "--limit", "4")  # fmt: skip
    done = command("lm_eval", *arguments, "--wandb_args", "project=p,name=n", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (one,) = logged(tmp_path)
    block = one["config"]["cli_configs"]["junkdna"]
    assert (block["method"], block["level"], block["bits"]) == ("magnitude", pytest.approx(0.5, abs=0.01), 4)
    assert {"effective_bits", "sparsity_targeted", "weights_sha256", "versions", "seed"} <= block.keys()


def test_a_plan_knows_nothing_of_it() -> None:
    assert "wandb" not in json.dumps(build_plan(TASK, quantize="rtn:4").to_dict())
