"""What a study would cost: floating-point operations from the plan, speed from a measurement, and published checks.

Operations (Kaplan et al. 2001.08361): a forward pass takes 2 a weight and token, a training step 6. Calibration
(Frantar & Alistarh 2301.00774): each block sees the calibration tokens twice, and SparseGPT adds the Hessian
(2 * in^2 a token), its inverse (about in^3), and the column updates (about out * in^2) of every layer.
Memory of training (Rajbhandari et al. 1910.02054): 16 bytes per weight with AdamW in mixed precision.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.sweep.machine import available_cores
from junkdna_harness.sweep.planned import spec_of

A100_FLOPS = 312e12  # bf16, dense, NVIDIA's data sheet
A100_FP32 = 19.5e12  # the same sheet; Hessians are summed and solved in fp32
UTILISATION = 0.40  # Llama 2 was trained at 0.41 (7B) and 0.43 (70B): see CHECKS
GPU_BYTES = 80e9
DEFAULT_NSAMPLES = 128
DEFAULT_SEQLEN = 2048
FEWEST, ENOUGH = 3, 5.0  # passes, and seconds of passes, that make a measurement


@dataclass(frozen=True)
class Shape:
    """What cost depends on: weights, and the (out, in) of the linear layers of one block, times the blocks."""

    name: str
    parameters: float
    blocks: int
    layers: tuple[tuple[int, int], ...]

    @property
    def targeted(self) -> float:
        """Weights in the linear layers of the blocks."""
        return float(self.blocks * sum(o * i for o, i in self.layers))


def llama_shape(name: str, blocks: int, width: int, inner: int, keys: int, vocabulary: int = 32000) -> Shape:
    """A Llama: four attention and three feed-forward matrices per block, untied embeddings."""
    layers = (
        (width, width),
        (keys, width),
        (keys, width),
        (width, width),
        (inner, width),
        (inner, width),
        (width, inner),
    )
    weights = blocks * sum(o * i for o, i in layers) + 2 * vocabulary * width
    return Shape(name, float(weights), blocks, layers)


LLAMA_7B = llama_shape("Llama-2-7B", 32, 4096, 11008, 4096)
LLAMA_70B = llama_shape("Llama-2-70B", 80, 8192, 28672, 1024)


@dataclass(frozen=True)
class Speed:
    """Measured on this machine: seconds per token and weight, forward and in training; `where` says on what."""

    parameters: float
    forward: float
    training: float
    where: str


@dataclass(frozen=True)
class Work:
    """What the plan asks for, in tokens and calls; `text_runs` are those that are asked for the tokens of texts."""

    runs: int
    tokens_a_run: int
    calibrated: dict[str, int]
    calibration_tokens: int
    trainings: int
    training_tokens: int
    text_runs: int = 0
    tokens_a_text_run: int = 0


@dataclass(frozen=True)
class Cost:
    """Operations by stage, hours on this machine and on an A100, bytes for evaluation and for training."""

    shape: Shape
    flops: dict[str, float]
    hours_here: float
    gpu_hours: float
    evaluation_bytes: float
    training_bytes: float
    adapter_bytes: float


def count_work(
    plan: StudyPlan, tokens_a_run: int, tokens_an_example: float, seqlen: int, tokens_a_text_run: int = 0
) -> Work:
    """The plan in tokens. `tokens_a_run` are counted from the requests, `tokens_an_example` from the training data."""
    from junkdna_harness.study.stages import sweep_plan, tokens_plan

    cells = sweep_plan(plan).cells
    calibrated: dict[str, int] = {}
    for cell in cells:
        if (spec := spec_of(cell)) is not None and spec.calibrated:
            calibrated[cell.method] = calibrated.get(cell.method, 0) + 1
    jobs = plan.jobs()
    runs = len(cells) + len(jobs)
    calibration = (plan.nsamples or DEFAULT_NSAMPLES) * (plan.seqlen or seqlen)
    per_step = int(plan.trainer.get("gradient_accumulation_steps", 1)) * plan.batch_size * tokens_an_example
    return Work(
        runs,
        tokens_a_run,
        calibrated,
        calibration,
        len(jobs),
        int(sum(job.steps for job in jobs) * per_step),
        len(tokens_plan(plan).cells) if plan.text else 0,
        tokens_a_text_run,
    )


def cost(work: Work, shape: Shape, speed: Speed) -> Cost:
    """What `work` costs on a model of this shape."""
    evaluation = (
        2 * shape.parameters * (work.runs * work.tokens_a_run + work.text_runs * work.tokens_a_text_run)
    )
    calibrations = [
        (n, calibration_flops(method, shape, work.calibration_tokens))
        for method, n in work.calibrated.items()
    ]
    passes = sum(n * flops[0] for n, flops in calibrations)
    solving = sum(n * flops[1] for n, flops in calibrations)
    training = 6 * shape.parameters * work.training_tokens
    flops = {"evaluation": evaluation, "calibration": passes + solving, "training": training}
    forward_speed, training_speed = 2 / speed.forward, 6 / speed.training  # operations per second
    here = ((evaluation + passes + solving) / forward_speed + training / training_speed) / 3600
    largest = max(i for _, i in shape.layers)
    # bf16 weights; their pristine copy is in main memory. One Hessian, its inverse and its factor in fp32.
    evaluation_bytes = 2 * shape.parameters + 3 * 4 * largest**2
    # AdamW in mixed precision, and one byte a targeted weight for the mask.
    training_bytes = 16 * shape.parameters + shape.targeted
    gpu = gpu_hours(evaluation + passes + training, solving)
    # Trainings hold float32, also those of adapters alone, whose own weights are few.
    adapter_bytes = 4 * shape.parameters + shape.targeted
    return Cost(shape, flops, here, gpu, evaluation_bytes, training_bytes, adapter_bytes)


def gpu_hours(bf16: float, fp32: float = 0.0) -> float:
    """Hours on one A100 at the assumed utilisation."""
    return (bf16 / A100_FLOPS + fp32 / A100_FP32) / UTILISATION / 3600


def calibration_flops(method: str, shape: Shape, tokens: int) -> tuple[float, float]:
    """Operations of one calibrated pruning or rounding: forward passes, and what is solved in fp32."""
    passes = 2 * 2 * shape.targeted * tokens  # before and after a block is pruned
    if method not in ("sparsegpt", "gptq"):  # GPTQ's column updates are SparseGPT's
        return passes, 0.0
    solved = {i for _, i in shape.layers}  # layers that read the same input share a Hessian
    hessian = shape.blocks * sum(2.0 * i * i * tokens for i in solved)
    inverse = shape.blocks * sum(float(i) ** 3 for _, i in shape.layers)
    updates = shape.blocks * sum(float(o) * i * i for o, i in shape.layers)
    return passes, hessian + inverse + updates


@dataclass(frozen=True)
class Check:
    """A published figure beside what our formula gives for the same work, both in GPU hours."""

    what: str
    published: float
    ours: float
    source: str

    @property
    def ratio(self) -> float:
        """Ours divided by the published figure."""
        return self.ours / self.published


def checks() -> list[Check]:
    """Published costs, recomputed by the formulas above."""
    opt = Shape("OPT-175B", 175e9, 96, ((12288, 12288),) * 4 + ((49152, 12288), (12288, 49152)))
    llama = "Touvron et al. 2307.09288, table 2"
    found = [
        Check(f"training {shape.name} on 2T tokens", published, gpu_hours(6 * shape.parameters * 2e12), llama)
        for shape, published in ((LLAMA_7B, 184_320), (LLAMA_70B, 1_720_320))
    ]
    pruning = gpu_hours(*calibration_flops("sparsegpt", opt, 128 * 2048))
    what = "SparseGPT on OPT-175B, 128 x 2048 tokens, one A100"
    return [*found, Check(what, 4.0, pruning, "Frantar & Alistarh 2301.00774, about 4 hours")]


def measure_speed(
    model: Any,
    rows: int = 16,
    length: int = 64,
    repeats: int = 12,
    computing: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Speed:
    """Seconds a token and weight of `model` here: the fastest of some passes, as others may use the machine too.

    Within `computing` the model computes as it does in evaluation; trainings do not.

    A slow model is passed through less often: no more passes once they have taken `ENOUGH` seconds, three at least.

    A CPU is timed on one core, and all cores are taken to do as well: threads of one process that wait for each other
    would measure what else runs.
    """
    import torch

    device = next(model.parameters()).device
    size = sum(p.numel() for p in model.parameters())
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(0)).to(device)
    on_cpu = device.type == "cpu"
    cores, threads = (available_cores() if on_cpu else 1), torch.get_num_threads()

    def timed(step: Any) -> float:
        step()
        times: list[float] = []
        while len(times) < repeats and (len(times) < FEWEST or sum(times) < ENOUGH):
            started = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return float(min(times) / (rows * length * size * cores))

    def forward() -> None:
        with torch.no_grad():
            model(input_ids=ids)

    def training() -> None:
        model(input_ids=ids, labels=ids).loss.backward()
        model.zero_grad(set_to_none=True)

    where = f"{cores} CPU cores (timed on one)" if on_cpu else torch.cuda.get_device_name(device)
    if on_cpu:
        torch.set_num_threads(1)
    try:
        with computing():
            forwards = timed(forward)
        return Speed(float(size), forwards, timed(training), where)
    finally:
        torch.set_num_threads(threads)
