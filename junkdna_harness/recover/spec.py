"""What is asked of a recovery: the arm, the data, the amount of training; checked, one sentence a mistake.

Reference: Yin et al., Junk DNA Hypothesis (2310.02277). With pre-trained weights w0 and the mask m of pruning:
dense transfer trains from w0; sparse transfer from m*w0, with m applied again after every step; sparse-to-dense
transfer from m*w0, where zeros may grow back; dense transfer with freezing from w0, where what m would remove keeps
its pre-trained value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from difficulty.errors import UsageError, did_you_mean
from difficulty.runs.identity import (
    ARMS,
    DENSE_FREEZING,
    DENSE_TRANSFER,
    KEPT,
    LOCAL_RECONSTRUCTION,
    SPARSE_TO_DENSE,
    SPARSE_TRANSFER,
    Recovery,
)

MERGES = ("masked", "dense", "keep")
FREEZES = ("removed", KEPT)
NAMED_BY = ("steps", "lr")

PAPER_LR = 2e-5  # the paper's GLUE scripts
ADAPTER_LR = 2e-4
EMBEDDED_LR = 1e-3  # 1.1 M parameters; half the rate at which they were trained
# Local reconstruction: of 2e-5, 1e-4, 3e-4, 1e-3 and 3e-3 the rate that brings the first two blocks of SmolLM2-135M, half pruned, closest to
# the dense ones in 60 steps; of 3e-4 to 3e-2 that for the embedded model at 80 %, in 100 steps. No score was looked at.
LOCAL_LR = 1e-3
EMBEDDED_LOCAL_LR = 1e-2
WARMUP = 0.06  # of the steps, as in the paper's scripts

# What local reconstruction does not take, and why.
_NOT_LOCAL = {
    "merge": "it has no adapter",
    "freeze": "it holds what pruning removed, at zero",
    "early_stop": "it trains each block for all its steps",
    "save_every": "each block is written when it is finished",
    "trainer": "it trains block by block, without transformers.Trainer",
}

# Options of TrainingArguments that have a name of our own.
OWN_NAMES = {
    "output_dir": "output",
    "max_steps": "steps",
    "num_train_epochs": "steps",
    "per_device_train_batch_size": "batch_size",
    "learning_rate": "lr",
    "seed": "seed",
    "data_seed": "seed",
    "save_steps": "save_every",
    "save_strategy": "save_every",
    "load_best_model_at_end": "early_stop",
    "resume_from_checkpoint": "output",
    "train_sampling_strategy": "seed",
    "push_to_hub": "output",
}


@dataclass(frozen=True, kw_only=True)
class RecoverSpec:
    """A recovery. Every arm with the same spec sees the same examples in the same order, so compute is equal.
    `arm` local_reconstruction takes `steps` for each block, and no adapter, merge, freeze, early_stop, save_every or trainer.

    `data` is 'graded', 'task:NAME' or a .txt/.jsonl file; `fraction` the share of it that may be seen (nested by
    `seed`); `batch_size` counts examples a step and device. `lr` None is the paper's 2e-5 (2e-4 for adapters, 1e-3 for
    the embedded model). `adapter` trains LoRA or DoRA instead of the weights, `merge` says what becomes of it: 'masked'
    (it learns and is merged under the mask), 'dense' (merged everywhere) or 'keep' (not merged). `freeze` is which
    weights dense_freezing holds: those that pruning would have 'removed' (the paper's) or those it would have 'kept'.
    `early_stop` ends training after so many evaluations without a better held-out loss, and gives up equal compute.
    `save_every` is the steps between checkpoints (None: by the clock, 2 % of the time, 2 to 30 minutes apart).
    `include_path` is a folder of task files for 'task:NAME'. `trainer` goes to `transformers.TrainingArguments`. `name_by`
    says which of steps and lr the run's name holds, for where trainings that differ in them are to be compared.

    Raises:
        UsageError: a value that cannot be used.

    Examples:
        >>> RecoverSpec(arm="sparse_to_dense", steps=100).suffix
        '+sparse_to_dense'
        >>> RecoverSpec(steps=100, name_by=("steps",)).suffix
        '+sparse_transfer~100steps'
    """

    arm: str = SPARSE_TRANSFER
    data: str = "graded"
    fraction: float = 1.0
    steps: int = 300
    batch_size: int = 32
    lr: float | None = None
    seed: int = 0
    max_length: int | None = None
    adapter: str | None = None
    rank: int = 16
    alpha: float | None = None
    merge: str | None = None
    freeze: str = "removed"
    early_stop: int | None = None
    save_every: int | None = None
    include_path: str | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    name_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _one_of("arm", self.arm, ARMS)
        for name in self.name_by:
            _one_of("name_by", name, NAMED_BY)
        _one_of("freeze", self.freeze, FREEZES)
        if self.adapter is not None:
            Recovery(self.arm, adapter=self.adapter)  # which says what is wrong with it
        if self.arm == LOCAL_RECONSTRUCTION:
            self._check_local()
        if self.merge is not None:
            _one_of("merge", self.merge, MERGES)
            if self.adapter is None:
                raise UsageError(
                    f"merge={self.merge!r} is about an adapter. Give adapter=lora or adapter=dora too."
                )
        if not 0 < self.fraction <= 1:
            raise UsageError(
                f"fraction={self.fraction} of the training data: give a number above 0 and at most 1."
            )
        for name in ("steps", "batch_size", "rank", "early_stop", "save_every", "max_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value} is too few. Give a whole number of at least 1.")
        if self.lr is not None and not 0 < self.lr < 1:
            raise UsageError(
                f"lr={self.lr} is no learning rate. Give a number above 0 and below 1, e.g. {PAPER_LR}."
            )
        if self.arm in (DENSE_TRANSFER, SPARSE_TO_DENSE) and self.merge == "masked":
            raise UsageError(
                f"arm={self.arm} trains without a mask, so merge='masked' has none. Use merge='dense'."
            )
        if self.arm in (SPARSE_TRANSFER, DENSE_FREEZING) and self.merge == "dense":
            raise UsageError(
                f"arm={self.arm} trains under a mask, which merge='dense' would break. Use merge='masked'."
            )
        if self.arm == DENSE_FREEZING and self.merge == "keep":
            raise UsageError(
                f"arm={self.arm} trains under a mask that neither the dense model nor an adapter holds, so merge='keep' would "
                "write another model than was trained. Use merge='masked'."
            )
        check_trainer_arguments(self.trainer)

    def _check_local(self) -> None:
        for name, why in _NOT_LOCAL.items():
            value = getattr(self, name)
            if value not in (None, "removed", {}):
                raise UsageError(f"{name}={value!r} has no meaning with arm={self.arm}: {why}. Leave it out.")

    @property
    def under_mask(self) -> bool:
        """True where some weights are held."""
        return self.arm in (SPARSE_TRANSFER, DENSE_FREEZING, LOCAL_RECONSTRUCTION)

    @property
    def needs_dense(self) -> bool:
        """True where the weights that pruning removes must still be there: they are held, or their outputs are the targets."""
        return self.arm in (DENSE_FREEZING, LOCAL_RECONSTRUCTION)

    @property
    def needs_mask(self) -> bool:
        """True for all arms but dense transfer."""
        return self.arm != DENSE_TRANSFER

    @property
    def recovery(self) -> Recovery:
        """What tables say of the training: arm, what it holds, adapter, share of the data, and what `name_by` asks for.

        Raises:
            UsageError: the name is to hold a rate that nobody gave.
        """
        if "lr" in self.name_by and self.lr is None:
            raise UsageError("name_by=lr, and the training has no lr yet. Give lr=.")
        kept = self.arm == DENSE_FREEZING and self.freeze == KEPT
        steps = self.steps if "steps" in self.name_by else None
        lr = self.lr if "lr" in self.name_by else None
        return Recovery(self.arm, kept, self.adapter, self.fraction, steps, lr)

    @property
    def suffix(self) -> str:
        """What the method string of a recovered run ends in, e.g. '+sparse_transfer@0.25'."""
        return f"+{self.recovery}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "trainer": dict(self.trainer)}


def check_trainer_arguments(given: Mapping[str, Any]) -> None:
    """Refuse names that `transformers.TrainingArguments` lacks or that we set ourselves.

    Raises:
        UsageError: says which option to use.
    """
    if not given:
        return
    from dataclasses import fields

    from transformers import TrainingArguments

    known = {f.name for f in fields(TrainingArguments)}
    for name in given:
        if name in OWN_NAMES:
            raise UsageError(f"trainer option {name!r} is set by us. Use {OWN_NAMES[name]!r} instead.")
        if name not in known:
            raise UsageError(
                f"transformers.TrainingArguments has no {name!r}.{did_you_mean(name, known)} Give its names, e.g. "
                "gradient_accumulation_steps=4 or bf16=true."
            )


def _one_of(name: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise UsageError(
            f"{name}={given!r} is unknown. Choose one of {', '.join(allowed)}.{did_you_mean(given, allowed)}"
        )
