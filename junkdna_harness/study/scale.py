"""What a study takes on GPUs, stage by stage: hours, memory of each worker, disk. For models that are too large to be tried here.

Operations are those of `study.estimate`, P weights, T tokens of one run, s trained tokens:

* a run of the sweep: 2 P T, and what its calibration takes; in bf16, Hessians in fp32
* a training: 6 P s, as each layer's whole gradient is formed under the mask, with an adapter too; in the numbers of `trainer`
* local reconstruction: of each block, one pass of the dense one and two of the pruned one (2 each), and 6 in training: 12 Q s

Memory, w bytes of a weight in evaluation, Q the weights that are targets:

* evaluation: w P, and w Q in main memory; with Hessians 12 times the square of the widest input; the inputs of one block for all calibration tokens
* full training: 16 P (weight, gradient, two moments of AdamW in fp32) and Q of the mask; freezing keeps 4 Q more. In main memory 4 P of
  the last good weights, and 4 P more of the dense ones in freezing
* with an adapter: 4 P and Q, and the weights with their update, up to 4 Q, or of one block where gradients are checkpointed. Main memory loads
  4 P, without device_map
* local reconstruction: one block at 28 (its weights, dense ones, gradients, moments, first and last good ones), whatever the model's size. In
  main memory 8 P of the pruned and the dense model, Q, and the inputs and targets of one block

`ROOM` of a GPU is filled by these; the rest is for activations, logits and fragments. Everything was computed, nothing measured at that size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from difficulty.runs.identity import DENSE_FREEZING
from junkdna_harness.presentation.amounts import byte_size
from junkdna_harness.presentation.table import number_table
from junkdna_harness.recover.storage import bytes_needed
from junkdna_harness.study.estimate import (
    A100_FLOPS,
    A100_FP32,
    DEFAULT_NSAMPLES,
    GPU_BYTES,
    UTILISATION,
    Shape,
    calibration_flops,
)
from junkdna_harness.study.job import Job
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.running import DEVICE_MAP, gpus_of_training
from junkdna_harness.study.running import GPUS as GPUS_OF_WORKER
from junkdna_harness.study.stages import recovered_plan, sweep_plan, tokens_plan
from junkdna_harness.sweep.planned import spec_of

ROOM = 0.9
HESSIANS = ("sparsegpt", "gptq")
TRAINED_BYTES = 4  # of a weight in training and in its result: float32


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU, by its data sheet: how it is `told` apart, bytes, and dense operations per second in bf16 and fp32."""

    name: str
    told: str
    bytes: float
    bf16: float
    fp32: float


GPUS = (
    Gpu("A100", "A100 of 80 GB", GPU_BYTES, A100_FLOPS, A100_FP32),
    Gpu("H100", "H100 SXM", 80e9, 989e12, 67e12),
    Gpu("H200", "H200", 141e9, 989e12, 67e12),
)


@dataclass(frozen=True)
class Asked:
    """What the plan asks of one model: tokens of one run, of a training example, of a calibration sample, and of one run on its texts."""

    tokens_a_run: float
    tokens_an_example: float
    seqlen: int
    tokens_a_text_run: float = 0.0


@dataclass(frozen=True)
class Stage:
    """A part of the study: how many runs or trainings, and operations in bf16 and in fp32."""

    name: str
    number: int
    bf16: float
    fp32: float = 0.0

    def hours(self, gpu: Gpu) -> float:
        """Hours on one GPU, at the assumed utilisation."""
        return (self.bf16 / gpu.bf16 + self.fp32 / gpu.fp32) / UTILISATION / 3600


@dataclass(frozen=True)
class Memory:
    """Bytes that one worker holds on its GPUs, and in main memory, while it does `what`."""

    what: str
    bytes: float
    main: float
    given: int = 1  # GPUs, by the plan

    def gpus(self, gpu: Gpu) -> int:
        """GPUs of that kind."""
        return math.ceil(self.bytes / (ROOM * gpu.bytes))


def stages(plan: StudyPlan, asked: Asked, shape: Shape) -> list[Stage]:
    """The stages for all models of the plan, as if all were of this shape."""
    found = list(_sweep(plan, asked, shape))
    if plan.text:
        runs = len(tokens_plan(plan).cells)
        found.append(Stage("tokens of texts", runs, 2 * shape.parameters * asked.tokens_a_text_run * runs))
    found += _trainings(plan, asked, shape)
    if plan.arms:
        runs = len(recovered_plan(plan).cells)
        evaluated = 2 * shape.parameters * asked.tokens_a_run * runs
        found.append(Stage("evaluation of the trained", runs, evaluated))
    return found


def _sweep(plan: StudyPlan, asked: Asked, shape: Shape) -> Iterator[Stage]:
    one = 2 * shape.parameters * asked.tokens_a_run
    calibration = calibration_tokens(plan, asked)
    by_method: dict[str, tuple[int, float, float]] = {}
    for cell in sweep_plan(plan).cells:
        spec = spec_of(cell)
        passes, solved = (
            calibration_flops(cell.method, shape, calibration)
            if spec is not None and spec.calibrated
            else (0.0, 0.0)
        )
        name = cell.table_method if cell.pattern is None else f"{cell.method} N:M"
        name = "noise floor" if cell.noise_floor else name
        number, bf16, fp32 = by_method.get(name, (0, 0.0, 0.0))
        by_method[name] = (number + 1, bf16 + one + passes, fp32 + solved)
    for name, (number, bf16, fp32) in by_method.items():
        yield Stage(f"sweep: {name}", number, bf16, fp32)


def _trainings(plan: StudyPlan, asked: Asked, shape: Shape) -> Iterator[Stage]:
    by_arm: dict[str, list[Job]] = {}
    for job in plan.jobs():
        by_arm.setdefault(arm_of(job), []).append(job)
    half = bool(plan.trainer.get("bf16") or plan.trainer.get("fp16"))
    for name, jobs in by_arm.items():
        ops = sum(_training(plan, job, asked, shape) for job in jobs)
        in_half = half and not jobs[0].local
        yield Stage(f"training: {name}", len(jobs), ops if in_half else 0.0, 0.0 if in_half else ops)


def _training(plan: StudyPlan, job: Job, asked: Asked, shape: Shape) -> float:
    accumulated = 1 if job.local else int(plan.trainer.get("gradient_accumulation_steps", 1))
    tokens = job.steps * plan.batch_size * accumulated * asked.tokens_an_example
    return (12 * shape.targeted if job.local else 6 * shape.parameters) * tokens


def arm_of(job: Job) -> str:
    """The way of training with its adapter, without share and budget."""
    return job.arm + (f"_{job.recovery.adapter}" if job.recovery.adapter else "")


def calibration_tokens(plan: StudyPlan, asked: Asked) -> int:
    """Tokens of one calibration."""
    return (plan.nsamples or DEFAULT_NSAMPLES) * (plan.seqlen or asked.seqlen)


def memories(plan: StudyPlan, asked: Asked, shape: Shape, width: int) -> list[Memory]:
    """What each kind of worker of this plan holds; `width` is the bytes of a weight in evaluation."""
    whole = float(width * shape.parameters)
    hidden, widest = shape.layers[0][1], max(i for _, i in shape.layers)
    specs = [(cell, spec_of(cell)) for cell in sweep_plan(plan).cells]
    calibrated = any(spec is not None and spec.calibrated for _, spec in specs)
    hessian = any(cell.method in HESSIANS for cell, _ in specs)
    inputs = float(calibration_tokens(plan, asked) * hidden * width)
    pristine = width * shape.targeted
    gpus = int(plan.run.get(GPUS_OF_WORKER, 1))
    found = [Memory("evaluation", whole, pristine, gpus)]
    if calibrated:
        more = 3 * 4 * widest**2 if hessian else 0
        found.append(Memory("calibrated pruning and rounding", whole + inputs + more, pristine, gpus))
    return found + [_in_training(plan, one, asked, shape) for one in _one_of_each(plan.jobs())]


def _in_training(plan: StudyPlan, job: Job, asked: Asked, shape: Shape) -> Memory:
    block, whole = shape.targeted / shape.blocks, TRAINED_BYTES * shape.parameters
    if job.local:
        hidden = shape.layers[0][1]
        states = 2 * TRAINED_BYTES * plan.batch_size * job.steps * asked.tokens_an_example * hidden
        held, main = 28 * block, 2 * whole + shape.targeted + states
    elif job.recovery.adapter:
        updated = block if plan.trainer.get("gradient_checkpointing") else shape.targeted
        held = whole + TRAINED_BYTES * updated + shape.targeted
        main = 0.0 if plan.run.get(DEVICE_MAP) else whole
    else:
        frozen = job.arm == DENSE_FREEZING
        held = (
            4 * whole
            + (shape.targeted if job.level else 0)
            + (TRAINED_BYTES * shape.targeted if frozen else 0)
        )
        main = 2 * whole if frozen else whole
    return Memory(f"training: {arm_of(job)}", held, main, 1 if job.local else gpus_of_training(plan.run) or 1)


def _one_of_each(jobs: Iterable[Job]) -> list[Job]:
    return list({arm_of(job): job for job in jobs}.values())


def disk_bytes(plan: StudyPlan, shape: Shape) -> tuple[int, int]:
    """Bytes of all results of trainings, and of what one training needs beside its result while it runs."""
    jobs, whole = plan.jobs(), int(TRAINED_BYTES * shape.parameters)
    meanwhile = 0
    for job in _one_of_each(jobs):
        own = int(TRAINED_BYTES * adapter_weights(shape)) if job.recovery.adapter else whole
        if not job.local:
            needed = bytes_needed(plan.recover_spec(job), own if job.recovery.adapter else whole, own, 0)
            meanwhile = max(meanwhile, needed)
    return len(jobs) * whole, meanwhile


def adapter_weights(shape: Shape, rank: int = 16) -> float:
    """Weights of an adapter on all layers of the blocks."""
    return float(shape.blocks * sum(rank * (o + i) for o, i in shape.layers))


def lines(plan: StudyPlan, asked: Asked, shape: Shape, width: int, here: float, where: str) -> Iterator[str]:
    """All of it as text. `here`: operations per second of this machine."""
    found = stages(plan, asked, shape)
    total = Stage("all", sum(s.number for s in found), sum(s.bf16 for s in found), sum(s.fp32 for s in found))
    rows = [
        (
            one.name, str(one.number), f"{(one.bf16 + one.fp32) / 1e15:,.3g}", *(f"{one.hours(gpu):,.3g}" for gpu in GPUS),
        )
        for one in [*found, total]
    ]  # fmt: skip
    yield number_table(("GPU hours", "number", "PFLOP", *(gpu.name for gpu in GPUS)), rows)
    yield (
        f"hours by operations alone, on {', '.join(gpu.told for gpu in GPUS)} at {UTILISATION:.0%} of the data sheets; all of it on {where} of this "
        f"machine: {(total.bf16 + total.fp32) / here / 3600:,.3g} hours. Loading, hashing and copying weights come on top, and later rounds of "
        "the sweep."
    )
    rows = [
        (
            one.what,
            byte_size(one.bytes),
            *(str(one.gpus(gpu)) for gpu in GPUS),
            str(one.given),
            byte_size(one.main),
        )
        for one in memories(plan, asked, shape, width)
    ]
    yield number_table(
        ("GPUs of one worker", "memory", *(gpu.name for gpu in GPUS), "plan", "main memory"), rows
    )
    results, meanwhile = disk_bytes(plan, shape)
    if plan.jobs():
        yield (
            f"disk: {byte_size(results)} for {len(plan.jobs())} results of trainings, and {byte_size(meanwhile)} for each training that is "
            "under way. Results are whole checkpoints in float32, as they were trained; none is written in bfloat16, which would take half."
        )
