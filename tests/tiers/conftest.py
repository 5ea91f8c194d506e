"""A language model of no weights, and small ways to run lm-eval with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BENCHMARKS = ROOT / "task_configs" / "benchmarks"


def _number(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\n".join(parts).encode()).digest()[:4], "big")


def make_lm(name: str = "a") -> Any:
    """Answers that depend on nothing but the request and `name`: equal requests get equal answers, in any order."""
    from lm_eval.api.model import LM

    class HashLM(LM):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[tuple[str, str]] = []

        def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> list[tuple[float, bool]]:
            self.seen += [request.args for request in requests]
            numbers = [_number(name, *request.args) for request in requests]
            return [(-1 - number % 10_000 / 1000, number % 2 == 0) for number in numbers]

        def generate_until(self, requests: Any, disable_tqdm: bool = True) -> list[str]:
            self.seen += [(request.args[0], str(request.args[1])) for request in requests]
            return [f" #### {_number(name, request.args[0]) % 20}" for request in requests]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> list[float]:
            return [-float(_number(name, request.args[0]) % 100) for request in requests]

    return HashLM()


@pytest.fixture
def evaluate() -> Callable[..., dict[str, Any]]:
    """Run lm-eval on tasks of a folder with a `HashLM`; returns its results."""

    def run(tasks: list[str], include_path: Path, lm: Any = None, **options: Any) -> dict[str, Any]:
        import lm_eval
        from lm_eval.tasks import TaskManager

        metadata = options.pop("metadata", None)
        manager = TaskManager(include_path=str(include_path), include_defaults=False, metadata=metadata)
        results = lm_eval.simple_evaluate(
            model=lm or make_lm(), tasks=tasks, task_manager=manager, bootstrap_iters=0, **options
        )
        assert results is not None
        return dict(results)

    return run


OWN_TASK = """\
task: own_obqa
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{question_stem}}\\nA:"
doc_to_choice: "{{choices.text}}"
doc_to_target: "{{choices.label.index(answerKey)}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 2.0}
"""


@pytest.fixture
def own_task(tmp_path: Path, benchmark_data: Path) -> Path:
    """A folder with a task of the user's own on real OpenBookQA rows. Its path has a dot in it, as mktemp's have."""
    folder = tmp_path / "my.tasks"
    folder.mkdir()
    text = OWN_TASK.replace("DATA", str(benchmark_data / "openbookqa" / "test.jsonl"))
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def small_task(own_task: Path, tmp_path: Path, benchmark_data: Path) -> Path:
    """The same task on its first 200 rows."""
    source = benchmark_data / "openbookqa" / "test.jsonl"
    rows = source.read_text(encoding="utf-8").split("\n")[:200]
    (tmp_path / "small.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    yaml = own_task / "own.yaml"
    yaml.write_text(yaml.read_text().replace(str(source), str(tmp_path / "small.jsonl")))
    return own_task


@pytest.fixture
def log_run(evaluate: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Evaluate and leave an output folder as `lm_eval --log_samples --output_path` does; returns the folder."""

    def run(folder: Path, tasks: list[str], include_path: Path, name: str = "a", **options: Any) -> Path:
        from lm_eval.loggers import EvaluationTracker

        tracker = EvaluationTracker(output_path=str(folder))
        tracker.general_config_tracker.log_experiment_args(
            model_source="hash", model_args=f"pretrained={name}", system_instruction=None, chat_template=None,
            fewshot_as_multiturn=False,
        )  # fmt: skip
        results = evaluate(tasks, include_path, make_lm(name), log_samples=True, **options)
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for task in samples:
            tracker.save_results_samples(task_name=task, samples=samples[task])
        return folder

    return run
