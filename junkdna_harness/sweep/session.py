"""One model in one process: loaded once, its weights restored before every run."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from junkdna_harness.harness.tasks import find_tasks
from junkdna_harness.models.base import JunkDNALM
from junkdna_harness.sweep.machine import Machine, free_memory
from junkdna_harness.sweep.plan import DENSE, Cell, Plan
from junkdna_harness.sweep.suite import Suite, build_suite
from junkdna_harness.sweep.tables import items_table, responses_table, samples_table, task_facts

# Half of what is free may hold the pristine copy; a larger one is mapped from a file.
MEMORY_SHARE = 0.5
CPU_BATCH_SIZE = 32


class SweepLM(JunkDNALM):
    """The model of a sweep: loaded dense, changed from outside."""

    NAME = "junkdna-sweep"

    @classmethod
    def own_arguments(cls) -> frozenset[str]:
        """None beside `hf`'s."""
        return frozenset()

    def score(self, *args: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        """The wrappers' scoring, in inference mode: nothing is trained here, and a tenth of the time is saved."""
        with torch.inference_mode():
            return super().score(*args, **kwargs)


@dataclass(frozen=True)
class Finished:
    """A run, ready to be written: two parquet files and the manifest."""

    samples: bytes
    responses: bytes
    manifest: Mapping[str, Any]


class Pristine:
    """The targeted weights as they were loaded, in memory or mapped from a file."""

    def __init__(
        self, model: Any, targets: tuple[str, ...], exclude: tuple[str, ...], folder: Path | None = None
    ) -> None:
        from junkdna_harness.compress import find_targets

        parameters = {id(t.parameter): t.parameter for t in find_targets(model, targets, exclude)}
        self.parameters = list(parameters.values())
        size = sum(p.numel() * p.element_size() for p in self.parameters)
        self.mapped = size > MEMORY_SHARE * free_memory()
        self.copies = [
            _mapped_copy(p.data, folder) if self.mapped else p.data.cpu().clone() for p in self.parameters
        ]

    def restore(self) -> None:
        """Put the loaded weights back, in place."""
        with torch.no_grad():
            for parameter, copy in zip(self.parameters, self.copies, strict=True):
                parameter.data.copy_(copy)


def _mapped_copy(weight: torch.Tensor, folder: Path | None) -> torch.Tensor:
    size = weight.numel() * weight.element_size()
    handle, name = tempfile.mkstemp(prefix="junkdna-weights-", suffix=".partial", dir=folder)
    os.truncate(name, size)
    os.close(handle)
    storage = torch.UntypedStorage.from_file(name, shared=True, nbytes=size)
    Path(name).unlink()  # the mapping keeps it alive, and a killed process leaves nothing behind
    copy = torch.empty(0, dtype=weight.dtype)
    copy.set_(storage, 0, weight.shape, weight.contiguous().stride())  # type: ignore[arg-type]
    copy.copy_(weight)
    return copy


class Session:
    """A loaded model with its tasks, ready to run cells one after another."""

    def __init__(self, plan: Plan, model: int, machine: Machine, scratch: Path | None = None) -> None:
        self.plan, self.model, self.machine = plan, model, machine
        if machine.threads:
            torch.set_num_threads(machine.threads)
        arguments = plan.models[model]
        manager, names = find_tasks(plan.settings.tasks, plan.settings.include_path, arguments)
        started = time.perf_counter()
        self.lm = load_model(arguments, machine)
        self.seconds_loading = time.perf_counter() - started
        self.suite: Suite = build_suite(self.lm, manager, names, plan.settings)
        self.seconds_building = time.perf_counter() - started - self.seconds_loading
        self.dense = self._measure_dense()
        common = next(
            (cell.arguments for cell in plan.cells if cell.model == model and cell.kind != DENSE), {}
        )
        self.pristine = Pristine(self.lm.model, *_places(common), folder=scratch)

    @cached_property
    def one_shot(self) -> Any:
        """Prunes with calibration statistics gathered once."""
        from junkdna_harness.sweep.one_shot import OneShot

        return OneShot(self.lm.model, self.lm.tokenizer)

    def _measure_dense(self) -> dict[str, Any]:
        from junkdna_harness.compress import measure

        block = measure(self.lm.model).to_dict()
        return {**block, "method": DENSE, "level": 0.0, "requested_sparsity": 0.0, "seed": 0}

    def run(self, cell: Cell, progress: Callable[[int], None] | None = None) -> Finished:
        """Compress, evaluate, and put the weights back.

        Raises:
            UsageError: the method cannot be applied.
            FloatingPointError: the model answered with NaN.
        """
        started = time.perf_counter()
        with self._compressed(cell) as block:
            compressed = time.perf_counter()
            scores = self.suite.score(self.lm, progress)
        scored = time.perf_counter()
        samples = samples_table(self.plan, cell, self.suite, scores)
        responses = responses_table(scores)
        seconds = {
            "compress": compressed - started,
            "score": scored - compressed,
            "table": time.perf_counter() - scored,
        }
        return Finished(samples, responses, self._manifest(cell, block, scores.results, seconds))

    @contextmanager
    def _compressed(self, cell: Cell) -> Iterator[dict[str, Any]]:
        try:
            yield self._compress(cell)
        finally:
            if cell.kind != DENSE:
                self.pristine.restore()

    def _compress(self, cell: Cell) -> dict[str, Any]:
        from junkdna_harness import compress

        model, tokenizer = self.lm.model, self.lm.tokenizer
        if cell.kind == DENSE:
            block = self.dense
        elif cell.kind == "prune":
            spec = compress.PruneSpec.from_strings(cell.arguments)
            once = self.plan.settings.one_shot and compress.get_sparsifier(spec.method).calibrated
            report = self.one_shot.prune(spec) if once else compress.prune(model, spec, tokenizer=tokenizer)
            block = report.to_dict()
        else:
            wanted = compress.QuantSpec.from_strings(cell.arguments)
            block = compress.quantize(model, wanted, tokenizer=tokenizer).to_dict()
        return {**block, "model": self.plan.model_name(cell), "replicate": cell.replicate}

    def _manifest(
        self, cell: Cell, block: dict[str, Any], results: dict[str, Any], seconds: dict[str, float]
    ) -> dict[str, Any]:
        from importlib.metadata import version

        return {
            "run": self.plan.run_id(cell),
            "model": self.plan.model_name(cell),
            "method": cell.table_method,
            "level": cell.level,
            "bits": cell.bits,
            "replicate": cell.replicate,
            "effective_bits": block.get("effective_bits"),
            "sparsity_all": block.get("sparsity_all"),
            "weights_sha256": block.get("weights_sha256"),
            "lm_eval_version": version("lm-eval"),
            "task_versions": results.get("versions", {}),
            "manifest": block,
            "results": {"results": results["results"], "groups": results.get("groups", {})},
            "lm_eval": None if self.plan.settings.one_shot else lm_eval_command(self.plan, cell),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
            "batch_size": str(self.lm.batch_size),
            "device": str(self.lm.device),
            "threads": torch.get_num_threads(),
            "n_requests": self.suite.n_requests,
        }

    def shared(self) -> tuple[bytes, dict[str, Any]]:
        """What all runs share: the table of items, and lm-eval's facts about the tasks."""
        return items_table(self.suite), task_facts(self.suite)

    def check_restored(self) -> None:
        """Make sure that the model is again what was loaded.

        Raises:
            RuntimeError: a method changed weights beyond its targets, so later runs did not start from the dense model.
        """
        from junkdna_harness.compress import weights_sha256

        if weights_sha256(self.lm.model) != self.dense["weights_sha256"]:
            raise RuntimeError(
                "the weights after the last run are not the loaded ones: a method changed more than its targets."
            )


def load_model(arguments: Mapping[str, Any], machine: Machine) -> SweepLM:
    """The dense model on its device.

    Raises:
        UsageError: it cannot be loaded, or an argument is unknown.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    SweepLM.check_arguments(arguments)
    device = machine.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    batch_size = machine.batch_size
    if batch_size is None:
        given = arguments.get("batch_size")
        embedded = "1"  # our wrapper's own batch size for the embedded model
        fallback = "auto" if device.startswith("cuda") else CPU_BATCH_SIZE
        batch_size = given or (embedded if arguments.get("pretrained") == "embedded" else fallback)
    extra = {"batch_size": batch_size, "device": device, "prefix_cache": machine.prefix_cache}
    if machine.max_batch_size is not None:
        extra["max_batch_size"] = machine.max_batch_size
    return SweepLM(**{**extra, **{k: v for k, v in arguments.items() if k not in ("batch_size",)}})


def lm_eval_command(plan: Plan, cell: Cell) -> str:
    """The call of lm_eval that gives the same scores."""
    settings = plan.settings
    given = {**plan.models[cell.model], **cell.arguments}
    if cell.kind == DENSE:
        given |= {"method": "none"}
    kind = "junkdna-quantized" if cell.kind == "quantize" else "junkdna-pruned"
    arguments = ",".join(f"{name}={value}" for name, value in given.items())
    parts = [f"lm_eval --model {kind} --model_args {arguments} --tasks {','.join(settings.tasks)}"]
    for name in ("limit", "num_fewshot", "include_path"):
        if (value := getattr(settings, name)) is not None:
            parts.append(f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}")
    if settings.apply_chat_template:
        parts.append("--apply_chat_template")
    return " ".join(parts)


def _places(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """targets= and exclude= as compression reads them."""
    from junkdna_harness.compress.spec import read_patterns

    targets, exclude = (arguments.get(name) for name in ("targets", "exclude"))
    return (read_patterns(targets) if targets else (), read_patterns(exclude) if exclude else ())
