"""`junkdna study --dry-run`: the plan, and what it would cost here and on models of 7 and 70 billion weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from junkdna_harness.compress.targets import find_blocks, find_targets
from junkdna_harness.harness.requests import tokenize as tokenize_requests
from junkdna_harness.harness.tasks import find_tasks
from junkdna_harness.models.forward import prepare
from junkdna_harness.models.packing import Packed
from junkdna_harness.models.prefix_plan import Batch, Tokens
from junkdna_harness.models.token_scores import tokens_seen
from junkdna_harness.precision import AUTO_CPU
from junkdna_harness.presentation.table import number_table
from junkdna_harness.recover.data import load_data
from junkdna_harness.recover.schedule import longest, tokenize
from junkdna_harness.recover.storage import bytes_needed
from junkdna_harness.resources import check_room
from junkdna_harness.study.asked import DTYPE
from junkdna_harness.study.estimate import (
    DEFAULT_SEQLEN,
    GPU_BYTES,
    LLAMA_7B,
    LLAMA_70B,
    UTILISATION,
    Cost,
    Shape,
    Speed,
    checks,
    cost,
    count_work,
    measure_speed,
)  # fmt: skip
from junkdna_harness.study.plan import StudyPlan
from junkdna_harness.study.run import check_trainings, refuse_another
from junkdna_harness.study.scale import Asked, lines
from junkdna_harness.study.stages import sweep_plan, tokens_plan
from junkdna_harness.study.stand_in import NOT_READ, Known, asker, know, part_of, skeleton
from junkdna_harness.sweep.agreement import TOKEN_SCORES
from junkdna_harness.sweep.estimate import largest_model
from junkdna_harness.sweep.machine import Machine
from junkdna_harness.sweep.outlook import outlook
from junkdna_harness.sweep.plan import Plan
from junkdna_harness.sweep.reachable import check_data, check_machine, check_models, check_tasks
from junkdna_harness.sweep.session import load_model
from junkdna_harness.sweep.suite import Suite, build_suite
from junkdna_harness.texts.limit import longest_text

EXAMPLES = 500  # of the training data, to know how long they are


def describe(plan: StudyPlan) -> list[str]:
    """The plan in lines."""
    grid = sweep_plan(plan)
    jobs = plan.jobs()
    lines = [
        f"model {', '.join(plan.pretrained)}; tasks {', '.join(plan.tasks)}"
        + (f", {plan.limit:g} items per task" if plan.limit else ""),
        f"sweep: {len(grid.cells)} runs = dense, {', '.join(plan.methods)} at sparsity {plan.sparsity}"
        + (f" and N:M {plan.patterns} (N kept)" if plan.patterns else "")
        + (f", {plan.quantize}" if plan.quantize else "")
        + (f"; {plan.replicates} draws of what is drawn by lot" if plan.replicates > 1 else ""),
        *grid.notes,
        *outlook(grid)[1],
    ]
    if plan.text:
        tokens = tokens_plan(plan)
        lines += [f"tokens of {', '.join(plan.text)}: {len(tokens.cells)} runs", *outlook(tokens)[1]]
    if len(plan.seeds) > 1:
        lines.append(
            f"{len(jobs)} trainings: each of {len(jobs) // len(plan.seeds)} once with each seed of {', '.join(map(str, plan.seeds))}"
        )
    of = f" of each of {len(plan.pretrained)} models" if len(plan.pretrained) > 1 else ""
    for job in (job for job in jobs if job.model == 0):
        each = " per block" if job.local else ""
        lines.append(
            f"train{of}: {job.label(plan.recovery_method)}: {job.steps} steps{each} of {plan.batch_size} examples of {plan.training_data(job)}"
        )
    return lines


def dry_run(plan: StudyPlan, say: Callable[[str], None], output: Path | None = None) -> list[Cost]:
    """The costs, after printing plan, checks and costs; the model is loaded and timed, nothing is written.

    Raises:
        UsageError: the study would be refused.
    """
    for line in describe(plan):
        say(line)
    known = [know(name, plan.architecture) for name in plan.pretrained]
    missing: set[str] = set()
    for line in check_study(plan, output, known, missing):
        say(f"checked: {line}")
    for one in filter(None, known):
        for line in one.contradictions:
            say(f"note: {one.name}: {line}; the checkpoint's is used")
    first = known[0]
    if first is not None and not first.loadable:
        return _without_weights(plan, first, missing, say)
    lm, tokens, example = _measured(plan)
    speed = measure_speed(lm.model, computing=lm.computing)
    limit = longest_text(lm.model.config) or DEFAULT_SEQLEN
    work = count_work(plan, tokens, example, min(limit, DEFAULT_SEQLEN), _text_tokens(plan, lm))
    say("")
    say(_speed_line(speed))
    say(
        f"{work.runs} runs of {work.tokens_a_run:,} tokens; "
        + (f"{work.text_runs} on texts of {work.tokens_a_text_run:,}; " if work.text_runs else "")
        + f"{sum(work.calibrated.values())} calibrations of "
        f"{work.calibration_tokens:,}; {work.trainings} trainings of {work.training_tokens:,} in all"
        + ("; later rounds of the sweep are not counted" if plan.controls or plan.refine else "")
    )
    costs = [
        cost(work, shape, speed) for shape in (shape_of(lm.model, plan.pretrained[0]), LLAMA_7B, LLAMA_70B)
    ]
    say("")
    say(table(costs))
    say(
        f"A100: 80 GB at {UTILISATION:.0%} of 312 TFLOP/s; GPUs by memory. The formulas beside published figures:"
    )
    for check in checks():
        say(
            f"  {check.what}: ours {check.ours:,.3g} GPU hours, published {check.published:,.0f} ({check.source})"
        )
    return costs


def _speed_line(speed: Speed) -> str:
    return (
        f"measured on {speed.where}: {speed.forward * speed.parameters * 1e6:.3g} us per token forward, "
        f"{speed.training * speed.parameters * 1e6:.3g} us in training ({speed.parameters / 1e6:.3g} M weights: "
        f"{2 / speed.forward / 1e9:.3g} and {6 / speed.training / 1e9:.3g} GFLOP/s)"
    )


def _without_weights(
    plan: StudyPlan, known: Known, missing: Collection[str], say: Callable[[str], None]
) -> list[Cost]:
    """The costs of a model that is not loaded here: tokens of a part of the items, speed of a small model of its architecture."""
    shape = shape_of(skeleton(known.config), known.name)
    lm = asker(known)
    part, items = part_of(sweep_plan(plan), missing)
    tokens, example, asked = _tokens(plan, part, lm)
    limit = min(longest_text(known.config) or DEFAULT_SEQLEN, DEFAULT_SEQLEN)
    speed = measure_speed(lm.model)
    tokens = round(tokens * items / max(1, asked))
    text_tokens = _text_tokens(plan, lm)
    say("")
    say(
        f"architecture: {known.source}: {shape.parameters:,.0f} weights, of which {shape.targeted:,.0f} are targets, in {shape.blocks} blocks"
    )
    say(
        f"{items:,} items per run, {tokens:,} tokens by {asked:,} of them and the tokenizer of "
        + (known.name if known.read else "the embedded models, whose tokens are shorter")
    )
    say(f"a small model of this architecture, {_speed_line(speed)}")
    say("")
    width = 4 if str(plan.model_args.get(DTYPE)) in ("float32", AUTO_CPU) else 2
    for line in lines(
        plan, Asked(tokens, example, limit, text_tokens), shape, width, 2 / speed.forward, speed.where
    ):
        say(line)
    return [cost(count_work(plan, tokens, example, limit, text_tokens), shape, speed)]


def check_study(
    plan: StudyPlan,
    output: Path | None,
    known: Sequence[Known | None] = (),
    missing: set[str] | None = None,
) -> Iterator[str]:
    """What the study will read and was found to be there, and the room that it takes, in words. Of models that are `known` by the plan alone
    nothing is read. `missing` is given the tasks whose data are not there.

    Raises:
        UsageError: it would be refused.
    """
    grid = sweep_plan(plan)
    if output is not None:
        refuse_another(output, plan)
    check_tasks(grid)
    if plan.text:
        check_tasks(tokens_plan(plan))
    absent = {i for i, one in enumerate(known) if one is not None and not one.read}
    yield from check_models(grid, [i for i in range(len(grid.models)) if i not in absent])
    for i in sorted(absent):
        yield f"model {plan.pretrained[i]} is not here; its architecture is {NOT_READ}"
    yield from check_data(grid, missing)
    yield from check_trainings(plan, output)
    if all(
        one is None or one.loadable for one in known
    ):  # others are evaluated and trained on another machine
        yield from _check_room(plan, output)


def _check_room(plan: StudyPlan, output: Path | None) -> Iterator[str]:
    """Whether this machine has room for the study, in words.

    Raises:
        UsageError: it would be refused.
    """
    grid, jobs = sweep_plan(plan), len(plan.jobs())
    yield from check_machine(grid, len(grid.cells) + jobs, output)
    if (size := largest_model(grid)) is not None and jobs:
        whole = 4 * size.weights  # in float32: every result, and what one training needs meanwhile
        disk = jobs * whole + bytes_needed(plan.recover_spec(plan.jobs()[0]), whole, whole, 0)
        yield from check_room(None, disk, output)


def table(costs: list[Cost]) -> str:
    """The costs as text."""
    header = ("model", "PFLOP", "hours here", "A100 hours", "evaluate", "train all", "train LoRA")
    rows = []
    for one in costs:
        rows.append(
            (
                one.shape.name, f"{sum(one.flops.values()) / 1e15:,.3g}", f"{one.hours_here:,.3g}", f"{one.gpu_hours:,.3g}",
                _memory(one.evaluation_bytes), _memory(one.training_bytes), _memory(one.adapter_bytes),
            )
        )  # fmt: skip
    return number_table(header, rows)


def shape_of(model: Any, name: str) -> Shape:
    """The shape of a loaded model."""
    targets = find_targets(model)
    blocks = len(find_blocks(model)[1])
    first = tuple(target.shape for target in targets if target.block == 0)
    return Shape(name, float(sum(p.numel() for p in model.parameters())), blocks, first)


def padded_length(lengths: list[int], batch_size: int) -> float:
    """Mean tokens of an example that is padded to the longest of its batch, as training computes it."""
    batches = [lengths[i : i + batch_size] for i in range(0, len(lengths), batch_size)]
    return sum(max(batch) * len(batch) for batch in batches) / len(lengths)


def scored_tokens(batches: Iterable[Batch | Packed]) -> int:
    """Tokens that scoring computes: with padding, shared contexts and headers once."""
    total = 0
    headers: tuple[Tokens, ...] = ()
    for batch in map(prepare, batches):
        total += batch.rows.tokens.numel() + sum(part.tokens.numel() for part in batch.tails)
        if batch.headers and batch.headers != headers:
            headers = batch.headers
            total += len(headers) * max(map(len, headers))
    return total


def _memory(size: float) -> str:
    gpus = math.ceil(size / GPU_BYTES)
    return f"{size / 1e9:,.3g} GB" + (f" ({gpus} GPUs)" if gpus > 1 else "")


def _measured(plan: StudyPlan) -> tuple[Any, int, float]:
    """The loaded model, tokens that one evaluation computes, tokens of a training example."""
    grid = sweep_plan(plan)
    lm = load_model(grid.models[0], Machine())
    tokens, example, _ = _tokens(plan, grid, lm)
    return lm, tokens, example


def _suite(grid: Plan, lm: Any) -> Suite:
    manager, names = find_tasks(grid.settings.tasks, grid.settings.include_path, grid.metadata(0))
    return build_suite(lm, manager, names, grid.settings)


def _text_tokens(plan: StudyPlan, lm: Any) -> int:
    """Tokens that one evaluation of the plan's texts computes."""
    if not plan.text:
        return 0
    return tokens_seen(_suite(tokens_plan(plan), lm).requests.get(TOKEN_SCORES, []))


def _tokens(plan: StudyPlan, grid: Plan, lm: Any) -> tuple[int, float, int]:
    """Tokens that one evaluation of the grid computes, tokens of a training example, and items that were asked."""
    suite = _suite(grid, lm)
    tokens = scored_tokens(lm.plan_scoring(tokenize_requests(lm, suite.requests.get("loglikelihood", []))))
    example = 0.0
    if plan.arms:
        every = dict.fromkeys(map(plan.training_data, plan.jobs()))  # as many trainings on each
        longest_row = longest(lm.model, plan.max_length)
        for name in every:
            data = load_data(name, 1.0, 0, plan.include_path)
            rows, _ = tokenize(data.examples[:EXAMPLES], lm.tokenizer, longest_row)
            lengths = [len(row["input_ids"]) for row in rows]
            example += padded_length(lengths, plan.batch_size) / len(every)
    return tokens, example, sum(map(len, suite.documents.values()))
