"""What a study does: the sweep's grid, the texts, and the trainings, and how much of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.checkpoint import EMBEDDED
from difficulty.runs.identity import (
    ARMS,
    DENSE_TRANSFER,
    KEPT,
    LOCAL_RECONSTRUCTION,
    PAPER_ARMS,
    Recovery,
)
from junkdna_harness.embedded import is_embedded
from junkdna_harness.harness.tasks import find_tasks, leaves
from junkdna_harness.recover.data import TASK
from junkdna_harness.recover.spec import RecoverSpec
from junkdna_harness.study.job import Job
from junkdna_harness.study.running import check_run
from junkdna_harness.sweep.grid import parse_sparsities
from junkdna_harness.sweep.later import MOST_LEVELS

__all__ = ["Job", "StudyPlan", "quick"]

GRADED = "graded"
NOT_THE_STUDY = ("run", "architecture")  # options that change no result


@dataclass(frozen=True)
class StudyPlan:
    """Some models, the whole paper. Strings of levels are written as for `junkdna sweep`.

    `pretrained`: one model, or several, which are judged one by one and over them (trainings of one model as a sample of
    trainings). `controls` are methods whose levels are sought, so that they lose what magnitude does at its levels (P6); those that
    are in `methods` too are also at the given levels. `refine` adds levels between for a claim that asks for them (P3), at most
    `refine_levels` for each model. `replicates` are draws of masks and calibration samples in the sweep.

    `text`: texts whose tokens are asked too, in a sweep and with verdicts of their own; `text_limit` tokens per tier, and
    `text_methods`, `text_sparsity`, `text_quantize` where they are not those of the tasks.

    `arms` are ways of training as tables name them, e.g. `sparse_transfer` or `sparse_transfer_lora`. Every arm is trained at every one of
    `recovery_levels` (dense transfer once), with each of `seeds`, each of `fractions` of the data, each number of `steps` and each
    rate of `lr` (of adapters: `adapter_lr`; none: the arm's own). Trainings with the same seed have the same replicate number in all arms.
    Local reconstruction has a budget of its own, `local_steps` for each block. `trainer` goes to `transformers.TrainingArguments`.

    `per_task`: every training is done once for each single task of `tasks`, on the training rows of that task in place of `data`, and its
    result is asked that task alone. A run then holds what the checkpoints of all tasks answered.

    `run` says where and how (`study.running.OPTIONS`), and `architecture` what the model's config holds, for a dry run where the
    checkpoint is not; neither is part of what study it is.
    """

    pretrained: tuple[str, ...] = (EMBEDDED,)
    model_args: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("difficulty_tiers", "difficulty_tiers_memory")
    limit: float | None = None
    num_fewshot: int | None = None
    include_path: str | None = None
    methods: tuple[str, ...] = ("magnitude", "wanda", "sparsegpt", "random")
    sparsity: str = "0:0.9:0.1"
    patterns: str | None = "7:8,6:8,5:8,4:8,3:8,2:8,1:8"
    quantize: str | None = "rtn:8,6,4,3,2"
    controls: tuple[str, ...] = ("random", "largest")
    refine: str | None = None
    refine_levels: int = MOST_LEVELS
    replicates: int = 1
    calibration: str | None = None
    nsamples: int | None = None
    seqlen: int | None = None
    text: tuple[str, ...] = ()
    text_limit: float | None = None
    text_methods: tuple[str, ...] = ()
    text_sparsity: str | None = None
    text_quantize: str | None = None
    arms: tuple[str, ...] = PAPER_ARMS
    recovery_method: str = "magnitude"
    recovery_levels: tuple[float, ...] = (0.5,)
    data: str = "graded"
    per_task: bool = False
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    steps: tuple[int, ...] = (300,)
    lr: tuple[float, ...] = ()
    adapter_lr: tuple[float, ...] = ()
    local_steps: int = 100
    batch_size: int = 32
    max_length: int | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_run(self.run)
        if not self.pretrained:
            raise UsageError("a study needs a model. Name one, or several: pretrained: [MODEL, MODEL].")
        for level in self.recovery_levels:
            if not 0 < level < 1:
                raise UsageError(f"recovery level {level} is no sparsity between 0 and 1.")
        if self.arms and not (self.recovery_levels and self.fractions and self.seeds and self.steps):
            raise UsageError(
                "recovery needs at least one level, one fraction, one seed and one number of steps. Give them, or give no arms."
            )
        for name in (
            "pretrained",
            "arms",
            "recovery_levels",
            "fractions",
            "seeds",
            "steps",
            "lr",
            "adapter_lr",
        ):
            _distinct(name, getattr(self, name))
        self._check_arms()
        if self.arms:
            self._check_levels()
        self._check_text()
        if self.per_task and self.data != GRADED:
            raise UsageError(
                f"data {self.data!r} is what all trainings see, and with per_task each sees the training rows of one task. Leave one of "
                "the two out."
            )
        for job in self.jobs():
            self.recover_spec(job)

    def _check_arms(self) -> None:
        """Arms are names of trainings without a budget, and those that need it have their dense model beside them."""
        for arm in self.arms:
            recovery = _recovery(arm)
            control = f"{DENSE_TRANSFER}_{recovery.adapter}" if recovery.adapter else DENSE_TRANSFER
            if recovery.arm != LOCAL_RECONSTRUCTION and control not in self.arms:
                raise UsageError(
                    f"arms {','.join(self.arms)} lack {control}, the dense model trained as long as {arm}, without which nothing "
                    "can be said about recovery. Add it, or give no arms."
                )

    def _check_levels(self) -> None:
        """Before recovery and after must be at one level, so recovery's levels are levels of the sweep."""
        swept = parse_sparsities(self.sparsity)
        for level in self.recovery_levels:
            if self.recovery_method not in self.methods or not any(abs(level - s) < 1e-9 for s in swept):
                raise UsageError(
                    f"recovery from {self.recovery_method} at {level} has no run before recovery to compare with: methods are "
                    f"{','.join(self.methods)} at {self.sparsity}. Add the level, or recover at one of these."
                )

    def _check_text(self) -> None:
        for name in ("text_limit", "text_methods", "text_sparsity", "text_quantize"):
            if getattr(self, name) and not self.text:
                raise UsageError(
                    f"{name} is of a text's tokens, and the study has no text. Add text: [FILE]."
                )

    def jobs(self) -> list[Job]:
        """All trainings, model by model, dense transfer first, as it is what the others are compared with."""
        recoveries = sorted(
            map(_recovery, self.arms), key=lambda one: (ARMS.index(one.arm), one.adapter or "")
        )
        tasks = self.trained_tasks() or (None,)
        found = []
        for model in range(len(self.pretrained)):
            for replicate, seed in enumerate(self.seeds):
                for fraction in self.fractions:
                    for recovery in recoveries:
                        levels = (0.0,) if recovery.arm == DENSE_TRANSFER else self.recovery_levels
                        for steps, lr, named in self._budgets(recovery):
                            one = replace(named, share=fraction)
                            found += [
                                Job(model, one, level, seed, replicate, steps, lr, task)
                                for level in levels
                                for task in tasks
                            ]
        return found

    def trained_tasks(self) -> tuple[str, ...]:
        """The single tasks that are trained on one by one, groups opened; none where all trainings see the same data.

        Raises:
            UsageError: a task is unknown.
        """
        if not (self.per_task and self.arms):
            return ()
        return tuple(leaves(*find_tasks(self.tasks, self.include_path)))

    def training_data(self, job: Job) -> str:
        """What a training sees, as `recover` names it."""
        return self.data if job.task is None else f"{TASK}{job.task}"

    def _budgets(self, recovery: Recovery) -> list[tuple[int, float | None, Recovery]]:
        """Steps, rate and name of each training of an arm: what the study has several of is in the name."""
        if recovery.arm == LOCAL_RECONSTRUCTION:
            return [(self.local_steps, None, recovery)]
        rates: tuple[float | None, ...] = (self.adapter_lr if recovery.adapter else self.lr) or (None,)
        return [
            (steps, lr, replace(
                recovery, steps=steps if len(self.steps) > 1 else None, lr=lr if len(rates) > 1 else None,
            ))
            for steps in self.steps
            for lr in rates
        ]  # fmt: skip

    def recover_spec(self, job: Job) -> RecoverSpec:
        """What `recover` is asked for in one training."""
        one = job.recovery
        named = tuple(name for name in ("steps", "lr") if getattr(one, name) is not None)
        return RecoverSpec(
            arm=one.arm, adapter=one.adapter, freeze=KEPT if one.kept else "removed", data=self.training_data(job), fraction=one.share,
            steps=job.steps, batch_size=self.batch_size, lr=job.lr, seed=job.seed, max_length=self.max_length,
            include_path=self.include_path, name_by=named, trainer={} if job.local else dict(self.trainer),
        )  # fmt: skip

    def calibration_arguments(self) -> dict[str, Any]:
        """What Wanda and SparseGPT are told: the calibration text, by default what is trained on.

        The embedded models bring their own. All tasks that are trained on one by one start from the same masks, so that theirs are the
        training rows of all, where one name stands for them.
        """
        source = self.calibration
        if source is None and self.per_task:
            source = f"{TASK}{self.tasks[0]}" if len(self.tasks) == 1 else None
        elif source is None and not (self.data == GRADED and all(map(is_embedded, self.pretrained))):
            source = self.data
        given = {"calibration": source, "nsamples": self.nsamples, "seqlen": self.seqlen}
        return {name: value for name, value in given.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """What study it is, as plain values for JSON."""
        values = {name: value for name, value in asdict(self).items() if name not in NOT_THE_STUDY}
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """What its folder is called."""
        names = [Path(one).name for one in self.pretrained]
        also = "-per-task" if self.per_task else ""
        if len(names) > 1 and len(bases := {one.partition(":")[0] for one in names}) == 1:
            return bases.pop() + also
        return "+".join(names)[:80] + also


def quick(plan: StudyPlan) -> StudyPlan:
    """A small cut of the plan, to try everything out in a few minutes: fewer levels and items, one seed, few steps."""
    level = plan.recovery_levels[0] if plan.recovery_levels else 0.5
    sparsity = f"0,{level:g},0.8" if level != 0.8 else "0,0.4,0.6,0.8"
    arms = tuple(arm for arm in plan.arms if _recovery(arm).adapter is None)
    return replace(
        plan, limit=10, methods=tuple(dict.fromkeys(("magnitude", "random", plan.recovery_method))), sparsity=sparsity,
        patterns="4:8", quantize="rtn:4,2", controls=plan.controls, refine=None, replicates=1,
        text=plan.text[:1], text_limit=None if not plan.text else 50, text_methods=(), text_sparsity=None, text_quantize=None,
        recovery_levels=plan.recovery_levels[:1], arms=arms, seeds=plan.seeds[:1], fractions=plan.fractions[-1:],
        steps=tuple(sorted({min(steps, most) for steps, most in zip(sorted(plan.steps)[:2], (5, 20), strict=False)})),
        lr=plan.lr[:1], adapter_lr=(), local_steps=min(plan.local_steps, 5),
    )  # fmt: skip


def _recovery(arm: str) -> Recovery:
    """The training that an arm's name stands for.

    Raises:
        UsageError: it is none, or one with a budget in its name.
    """
    try:
        found = Recovery.parse(arm)
    except UsageError:
        raise UsageError(
            f"arm {arm!r} is unknown. Choose among {', '.join(ARMS)}, the first four also with _lora or _dora.{did_you_mean(arm, ARMS)}"
        ) from None
    if found != Recovery(found.arm, found.kept, found.adapter):
        raise UsageError(
            f"arm {arm!r} names a share, steps or a rate. Write {Recovery(found.arm, found.kept, found.adapter)}, and give the study's "
            "fractions, steps and lr."
        )
    return found


def _distinct(name: str, values: tuple[Any, ...]) -> None:
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise UsageError(
            f"{name} has {twice[0]} twice, and the same training twice is one run. Name each once."
        )
