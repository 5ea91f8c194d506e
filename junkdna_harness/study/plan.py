"""What a study does: the sweep's grid, the recovery arms, and how much of each; read from a preset or a YAML plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.checkpoint import EMBEDDED
from difficulty.runs.identity import ARMS, DENSE, DENSE_TRANSFER, PAPER_ARMS, Method, Recovery
from junkdna_harness.compress.notation import read_repeats
from junkdna_harness.embedded import is_embedded
from junkdna_harness.recover.spec import RecoverSpec
from junkdna_harness.sweep.grid import parse_sparsities
from junkdna_harness.sweep.options import check_kinds, joined, read_plan_file

SMOLLM2 = "smollm2-135m"
GRADED = "graded"


@dataclass(frozen=True)
class StudyPlan:
    """One model, the whole paper. Strings of levels are written as for `junkdna sweep`.

    Every arm is trained at every one of `recovery_levels` (dense transfer once), with each of `seeds` and each of
    `fractions` of the data, for the same number of `steps`. Trainings with the same seed have the same replicate number in
    all arms. `controls` are methods whose levels are sought, so that they lose what magnitude does at its levels (P6); those that
    are in `methods` too are also at the given levels. `refine` adds levels between for a claim that asks for them (P3).
    `replicates` are draws of masks and calibration samples in the sweep. `trainer` goes to
    `transformers.TrainingArguments`.
    """

    pretrained: str = EMBEDDED
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
    replicates: int = 1
    calibration: str | None = None
    nsamples: int | None = None
    seqlen: int | None = None
    arms: tuple[str, ...] = PAPER_ARMS
    recovery_method: str = "magnitude"
    recovery_levels: tuple[float, ...] = (0.5,)
    data: str = "graded"
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    steps: int = 300
    batch_size: int = 32
    lr: float | None = None
    max_length: int | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm not in ARMS:
                raise UsageError(
                    f"arm {arm!r} is unknown. Choose among {', '.join(ARMS)}.{did_you_mean(arm, ARMS)}"
                )
        if self.arms and DENSE_TRANSFER not in self.arms:
            raise UsageError(
                f"arms {','.join(self.arms)} lack {DENSE_TRANSFER}, the dense model trained as long, without which nothing "
                "can be said about recovery. Add it, or give no arms."
            )
        for level in self.recovery_levels:
            if not 0 < level < 1:
                raise UsageError(f"recovery level {level} is no sparsity between 0 and 1.")
        if self.arms and not (self.recovery_levels and self.fractions and self.seeds):
            raise UsageError(
                "recovery needs at least one level, one fraction and one seed. Give them, or give no arms."
            )
        for name in ("arms", "recovery_levels", "fractions", "seeds"):
            _distinct(name, getattr(self, name))
        if self.arms:
            self._check_levels()
        for fraction in self.fractions:
            RecoverSpec(
                data=self.data, fraction=fraction, steps=self.steps, batch_size=self.batch_size, lr=self.lr
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

    def jobs(self) -> list[Job]:
        """All trainings, dense transfer first, as it is what the others are compared with."""
        found = []
        for seed_number, seed in enumerate(self.seeds):
            for fraction in self.fractions:
                for arm in sorted(self.arms, key=ARMS.index):
                    levels: tuple[float, ...] = (0.0,) if arm == DENSE_TRANSFER else self.recovery_levels
                    found += [Job(arm, level, fraction, seed, seed_number) for level in levels]
        return found

    def recover_spec(self, job: Job) -> RecoverSpec:
        """What `recover` is asked for in one training."""
        return RecoverSpec(
            arm=job.arm, data=self.data, fraction=job.fraction, steps=self.steps, batch_size=self.batch_size, lr=self.lr,
            seed=job.seed, max_length=self.max_length, include_path=self.include_path, trainer=dict(self.trainer),
        )  # fmt: skip

    def calibration_arguments(self) -> dict[str, Any]:
        """What Wanda and SparseGPT are told: the calibration text, by default what is trained on.

        The embedded model brings its own.
        """
        source = self.calibration
        if source is None and not (self.data == GRADED and is_embedded(self.pretrained)):
            source = self.data
        given = {"calibration": source, "nsamples": self.nsamples, "seqlen": self.seqlen}
        return {name: value for name, value in given.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Job:
    """One training of the study."""

    arm: str
    level: float
    fraction: float
    seed: int
    replicate: int

    def method(self, base: str) -> Method:
        """What was done: pruning by `base`, or nothing for dense transfer, then the training."""
        start = DENSE if self.arm == DENSE_TRANSFER else base
        return Method(start).then(Recovery(self.arm, share=self.fraction))

    def folder(self, base: str) -> str:
        """The checkpoint's folder name."""
        level = "" if self.arm == DENSE_TRANSFER else f"-{self.level:.10g}"
        name = str(self.method(base)).replace("+", "-").replace("@", "-data").replace(":", "-")
        return name + level + (f"-seed{self.seed}" if self.seed else "")


# Sized for two CPU cores: the embedded study ends in a quarter of an hour, SmolLM2's in less than two hours.
PRESETS: dict[str, Mapping[str, Any]] = {
    # Recovery starts at the two levels at which magnitude pruning took about half of the dense score or more and left some:
    # fixed from the sweep alone, before any training was looked at.
    EMBEDDED: {"limit": 80, "nsamples": 64, "recovery_levels": (0.8, 0.9), "steps": 200},
    SMOLLM2: {
        "pretrained": SMOLLM2,
        "tasks": ("difficulty_tiers",),  # what difficulty_tiers_memory asks only the embedded models know
        "limit": 60,
        "methods": ("magnitude", "wanda"),
        "sparsity": "0,0.2,0.3,0.4,0.5",
        "patterns": "4:8",
        "quantize": "rtn:8,4,3,2",
        "nsamples": 16,
        "seqlen": 256,
        "recovery_levels": (0.5,),
        "steps": 100,
        "batch_size": 8,
        "max_length": 256,  # the longest of the suite's training items has 212 tokens
    },
}
TRAININGS = "trainings"  # how many; written as the seeds that it stands for
DTYPE = "dtype"  # of evaluation; written into the model's arguments
TUPLES = ("tasks", "methods", "controls", "arms", "recovery_levels", "fractions", "seeds")


def make_plan(pretrained: str | None = None, plan_file: Path | None = None, **given: Any) -> StudyPlan:
    """The plan: the preset of the model if it has one, then the plan file, then what is `given` (None = not given).

    `trainings` K, there or here, stands for K `seeds`: the one that is given (0 by default) and those that follow it. `dtype` is one
    of the `model_args`.

    Raises:
        UsageError: an unknown option, or a value that cannot be used.
    """
    from_file = _read(plan_file) if plan_file is not None else {}
    name = pretrained or str(from_file.get("pretrained") or EMBEDDED)
    name = name.removeprefix("pretrained=")  # as --model_args writes it
    values: dict[str, Any] = {"pretrained": name, **PRESETS.get(name, {}), **from_file}
    values |= {key: value for key, value in given.items() if value is not None}
    values["pretrained"] = name
    if given.get("seeds") is not None and given.get("trainings") is None:
        values.pop("trainings", None)  # of the plan file
    known = [*(f.name for f in fields(StudyPlan)), TRAININGS, DTYPE]
    for key in values:
        if key not in known:
            raise UsageError(
                f"a study has no option {key!r}.{did_you_mean(key, known)} Options: {', '.join(known)}."
            )
    for key in TUPLES:
        if key in values:
            values[key] = _tuple(key, values[key])
    if DTYPE in values:
        values["model_args"] = {**values.get("model_args", {}), DTYPE: values.pop(DTYPE)}
    if TRAININGS in values:
        values["seeds"] = _seeds(values.pop(TRAININGS), values.get("seeds", StudyPlan.seeds))
    for key in ("sparsity", "patterns", "quantize"):  # one level is a number in YAML, several are a list
        if isinstance(values.get(key), (int, float, list, tuple)):
            values[key] = joined(values[key])
    check_kinds(StudyPlan, values)
    try:
        return StudyPlan(**values)
    except TypeError as error:
        raise UsageError(f"the study's options cannot be used: {error}.") from error


def _seeds(trainings: object, seeds: tuple[int, ...]) -> tuple[int, ...]:
    """As many seeds as there are trainings."""
    try:
        number = read_repeats(TRAININGS, trainings)
    except UsageError as error:
        raise UsageError(
            f"{error} It is how often every arm is trained, each time with another seed."
        ) from None
    if len(seeds) == 1:
        return tuple(range(seeds[0], seeds[0] + number))
    if len(seeds) != number:
        raise UsageError(
            f"trainings {number} and seeds {','.join(map(str, seeds))}: every arm is trained once with each seed. Give one of the two, "
            "or the first seed alone."
        )
    return seeds


def quick(plan: StudyPlan) -> StudyPlan:
    """A small cut of the plan, to try everything out in a minute or two: two levels, 20 items per task, few steps."""
    level = plan.recovery_levels[0] if plan.recovery_levels else 0.5
    return replace(
        plan, limit=20, methods=("magnitude", "random"), sparsity=f"0,{level:g},0.8" if level != 0.8 else "0,0.4,0.8",
        patterns="4:8", quantize="rtn:4,2", controls=(), refine=None, recovery_levels=plan.recovery_levels[:1], steps=min(plan.steps, 20),
    )  # fmt: skip


def _distinct(name: str, values: tuple[Any, ...]) -> None:
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise UsageError(
            f"{name} has {twice[0]} twice, and the same training twice is one run. Name each once."
        )


def _read(path: Path) -> dict[str, Any]:
    return read_plan_file(path)


def _tuple(name: str, value: Any) -> tuple[Any, ...]:
    parts = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    )
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    if name in ("recovery_levels", "fractions", "seeds"):
        reader: Any = int if name == "seeds" else float
        try:
            return tuple(reader(part) for part in parts)
        except (TypeError, ValueError, OverflowError):
            raise UsageError(f"{name} {value!r} is no list of numbers. Write e.g. 0.5,0.7.") from None
    return tuple(str(part) for part in parts if part != "")
