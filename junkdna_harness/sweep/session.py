"""One model in one process: loaded once with its tasks, then turned into one run after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from difficulty.errors import UsageError
from difficulty.runs.checkpoint import CLEARLY_SPARSE, NONE
from difficulty.runs.dtypes import AGREEMENT, DTYPE
from difficulty.runs.identity import DENSE
from difficulty.runs.store import SCHEMA, identity_path
from junkdna_harness.compress.checks import refuse_quantized
from junkdna_harness.compress.hashing import weights_sha256
from junkdna_harness.compress.pruning import measure
from junkdna_harness.compress.samples import check_samples
from junkdna_harness.device import check_device, default_device
from junkdna_harness.embedded import is_embedded
from junkdna_harness.harness.tasks import find_tasks
from junkdna_harness.models.base import JunkDNALM
from junkdna_harness.models.chat import CONTINUED, OPENING, continues_a_text, note_on_opening
from junkdna_harness.models.option_lengths import OPTION_LENGTHS
from junkdna_harness.sweep import fingerprint
from junkdna_harness.sweep.agreement import WithFloat32
from junkdna_harness.sweep.by_task import answer_by_task
from junkdna_harness.sweep.command import lm_eval_command
from junkdna_harness.sweep.evaluated import Evaluated
from junkdna_harness.sweep.fingerprint import Fingerprint
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.plan import Plan, PlannedRun
from junkdna_harness.sweep.second_pass import batch_size_of, evaluating_otherwise
from junkdna_harness.sweep.states import Dense, OpenState, group_sizes, open_state
from junkdna_harness.sweep.suite import Scores, Suite, build_suite
from junkdna_harness.sweep.tables import items_table, responses_table, samples_table, task_facts

CPU_BATCH_SIZE = 32


class SweepLM(JunkDNALM):
    """The model of a sweep: loaded dense, changed from outside."""

    NAME = "junkdna-sweep"
    INSTEAD = ""

    @classmethod
    def own_arguments(cls) -> frozenset[str]:
        """None beside `hf`'s."""
        return frozenset()

    def note_lengths(self, asked: Sequence[Any], tokenized: Sequence[Any]) -> None:
        """As the wrappers do, keeping what is known of tasks that were asked before."""
        before = self.junkdna.get(OPTION_LENGTHS, {})
        super().note_lengths(asked, tokenized)
        if known := {**before, **self.junkdna.get(OPTION_LENGTHS, {})}:
            self.junkdna[OPTION_LENGTHS] = known

    def tell(self, sentence: str) -> None:
        """Nothing: the sweep notes it once, whatever the number of runs and workers."""

    def score(self, *args: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        """The wrappers' scoring, in inference mode: nothing is trained here, and a tenth of the time is saved."""
        with torch.inference_mode():
            return super().score(*args, **kwargs)


class Session:
    """A loaded model with its tasks, ready to evaluate runs of a plan one after another.

    `known` is the fingerprint of the runs that the folder holds already. `folder` is the sweep's, None where nothing is stored.

    Raises:
        UsageError: the model or its tasks cannot be loaded, they are not those of the runs that are `known`, or two draws of
            the plan are one sample of calibration text.
    """

    def __init__(
        self, plan: Plan, model: int, machine: Machine, folder: Path | None = None,
        known: Fingerprint | None = None, open_state: OpenState = open_state,
    ) -> None:  # fmt: skip
        self.plan, self.model, self.machine, self.folder = plan, model, machine, folder
        if machine.threads:
            torch.set_num_threads(machine.threads)
        arguments = plan.models[model]
        manager, names = find_tasks(plan.settings.tasks, plan.settings.include_path, plan.metadata(model))
        started = time.perf_counter()
        self.lm = load_model(arguments, machine)
        refuse_changed(self.lm)
        self.seconds_loading = time.perf_counter() - started
        self.suite: Suite = build_suite(self.lm, manager, names, plan.settings)
        block = _measure(self.lm.model)
        self.items, self.tasks = items_table(self.suite), task_facts(self.suite)
        drawn = fingerprint.draw_calibrations(self.lm, plan.of_model(model))
        note = check_samples(drawn)  # a sweep has one calibration source
        chosen = () if self.lm.chosen is None else (self.lm.chosen.why,)
        self.notes = (*(() if note is None else (note,)), *chosen, *_on_chat(self.lm, self.suite))
        self.fingerprint = fingerprint.take(
            self.lm, arguments, self.suite, self.items, self.tasks, block["weights_sha256"], drawn
        )
        self.agreement = WithFloat32(self.suite, plan, model) if self.lm.narrows else None
        self.seconds_building = time.perf_counter() - started - self.seconds_loading
        name = str(arguments["pretrained"])
        if known is not None and (refusal := known.refusal(self.fingerprint, name)):
            raise UsageError(refusal)
        self.state = open_state(Dense(self.lm, block, plan, model, folder))

    def run(self, cell: PlannedRun, progress: Callable[[int], None] | None = None) -> Evaluated:
        """Compress, evaluate, and put the weights back.

        Raises:
            UsageError: the method cannot be applied, or no task could be evaluated.
            FloatingPointError: the model answered with NaN.
        """
        started = time.perf_counter()
        if cell.by_task:
            answered = answer_by_task(self.lm, self.suite, self.state, cell, progress)
            block: Mapping[str, Any] = answered.block
            scores, how = answered.scores, _how(self.lm)
            scored = time.perf_counter()
            compressed = scored - answered.seconds_scoring
        else:
            with self.state.holding(cell) as block:
                compressed = time.perf_counter()
                with self.lm.computing(), self._asking(cell) as lm:
                    scores = self.suite.score(lm, progress)
                    how = _how(lm)
                scored = time.perf_counter()
                how |= self._agreeing(cell, scores)  # in float32, as the weights are held
        held = time.perf_counter()
        failed: dict[str, str] = dict(scores.failed)
        if failed and not any(scores.samples.values()):
            raise UsageError(
                "no task could be evaluated: " + "; ".join(f"{t}: {why}" for t, why in failed.items())
            )
        stands = cell.standing(block)
        samples = samples_table(self.plan, stands, self.suite, scores)
        responses = responses_table(scores)
        seconds = {
            "compress": compressed - started,
            "score": scored - compressed,
            "table": time.perf_counter() - held,
        }
        sizes = {} if cell.kind != "prune" else {"group_sizes": group_sizes(self.lm.model, cell.arguments)}
        again: dict[str, Any] = {"noise_floor": True} if cell.noise_floor else {}
        described = {**block, "model": self.plan.model_name(cell), "replicate": cell.replicate, **again}
        described |= {n: self.lm.junkdna[n] for n in (OPTION_LENGTHS, OPENING) if n in self.lm.junkdna}
        described[DTYPE] = self.lm.dtype
        manifest = self._manifest(stands, described, scores.results, seconds)
        if stands != cell:
            again = {**again, "planned": self.plan.run_id(cell)}
        return Evaluated(samples, responses, {**manifest, **sizes, **how, **again, "failed_tasks": failed})

    def _agreeing(self, cell: PlannedRun, scores: Scores) -> dict[str, Any]:
        """What of the manifest says how near to float32 these scores are, where that is measured in this run."""
        if self.agreement is None or not self.agreement.wanted(cell):
            return {}
        started = time.perf_counter()
        found = self.agreement.measure(self.lm, scores)
        if found is None:
            return {}
        return {AGREEMENT: {**found.to_dict(), "seconds": round(time.perf_counter() - started, 3)}}

    def _asking(self, cell: PlannedRun) -> AbstractContextManager[Any]:
        """The model, as it is asked in this run: for a noise floor otherwise than in the dense run."""
        if not cell.noise_floor:
            return nullcontext(self.lm)
        return evaluating_otherwise(
            self.lm, batch_size_of(self.plan, self.model, self.folder) or self.lm.batch_size
        )

    def _manifest(
        self, cell: PlannedRun, block: dict[str, Any], results: dict[str, Any], seconds: dict[str, float]
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
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
            "made_of": {
                "record": identity_path("", self.model).name,
                "weights_sha256": self.fingerprint.weights_sha256,
                "items": dict(self.fingerprint.items),
                "calibrations": dict(self.fingerprint.calibrations),
                "arguments": dict(cell.arguments),
            },
            "results": {"results": results["results"], "groups": results.get("groups", {})},
            "lm_eval": None
            if self.plan.settings.one_shot or cell.noise_floor
            else lm_eval_command(self.plan, cell),
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
            "device": str(self.lm.device),
            "threads": torch.get_num_threads(),
            "n_requests": self.suite.n_requests,
        }

    def check_restored(self) -> None:
        """Make sure that the model is again what was loaded.

        Raises:
            RuntimeError: a method changed weights beyond its targets, so later runs did not start from the dense model.
        """
        if weights_sha256(self.lm.model) != self.fingerprint.weights_sha256:
            raise RuntimeError(
                "the weights after the last run are not the loaded ones: a method changed more than its targets."
            )


def _how(lm: Any) -> dict[str, Any]:
    """What of the manifest says how the model was asked."""
    return {"batch_size": str(lm.batch_size), "prefix_cache": lm._prefix_cache}


def refuse_changed(lm: SweepLM) -> None:
    """Refuse a model to which something was done already: here it would be the dense one, at level 0.

    Adapters are folded into the weights, as the wrappers of `lm_eval` do.

    Raises:
        UsageError: it is pruned or quantized, by its manifest or by its weights, or has weights that are NaN or infinite.
    """
    loaded = lm.look()
    refuse_quantized(lm.model)
    level, named = loaded.level or 0.0, loaded.method.base not in (DENSE, NONE)
    if loaded.bits is not None or level >= CLEARLY_SPARSE or (named and level > 0):
        raise UsageError(
            f"{lm.model_name!r} is {loaded.description} already, and a sweep would call it dense. Sweep the model that it was made "
            "from; or evaluate it as it is: lm_eval --model junkdna-pruned."
        )


def _on_chat(lm: SweepLM, suite: Suite) -> list[str]:
    """Sentences on what the chat template does to what is asked, where there is one."""
    if not suite.settings.apply_chat_template:
        return []
    opening = lm.junkdna.get(OPENING)
    asked = continues_a_text(instance for listed in suite.requests.values() for instance in listed)
    return [*([note_on_opening(opening)] if opening else []), *([CONTINUED] if asked else [])]


def _measure(model: Any) -> dict[str, Any]:
    """The `junkdna` block of the dense model."""
    return {**measure(model).to_dict(), "method": DENSE, "level": 0.0, "requested_sparsity": 0.0, "seed": 0}


def load_model(arguments: Mapping[str, Any], machine: Machine) -> SweepLM:
    """The dense model on its device.

    Raises:
        UsageError: it cannot be loaded, or an argument is unknown.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    SweepLM.check_arguments(arguments)
    check_device(machine.device)
    device = machine.device or default_device()
    batch_size = machine.batch_size
    if batch_size is None:
        given = arguments.get("batch_size")
        embedded = "1"  # our wrapper's own batch size for the embedded model
        fallback = "auto" if device.startswith("cuda") else CPU_BATCH_SIZE
        batch_size = given or (embedded if is_embedded(arguments.get("pretrained")) else fallback)
    extra = {"batch_size": batch_size, "device": device, "prefix_cache": machine.prefix_cache}
    if machine.device_map is not None:
        extra["device_map"] = machine.device_map
    if machine.max_batch_size is not None:
        extra["max_batch_size"] = machine.max_batch_size
    return SweepLM(**{**extra, **{k: v for k, v in arguments.items() if k not in ("batch_size",)}})
