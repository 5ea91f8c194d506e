"""Which run it is: the model, what was done to it, and which draw of it. One value, written and read in one place.

>>> run = Run("llama", Method.parse("magnitude 2:4+sparse_transfer_lora@0.25~300steps"), level=0.5, replicate=1)
>>> str(run)
'llama magnitude 2:4+sparse_transfer_lora@0.25~300steps 0.5 #1'
>>> Run.parse(str(run)) == run
True
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal

from difficulty.errors import UsageError, did_you_mean

DENSE = "dense"
DENSE_TRANSFER, SPARSE_TRANSFER = "dense_transfer", "sparse_transfer"
SPARSE_TO_DENSE, DENSE_FREEZING = "sparse_to_dense", "dense_freezing"
LOCAL_RECONSTRUCTION = "local_reconstruction"
PAPER_ARMS = (DENSE_TRANSFER, SPARSE_TRANSFER, SPARSE_TO_DENSE, DENSE_FREEZING)
# The last one trains block by block, under the mask, towards the outputs of the dense model's block.
ARMS = (*PAPER_ARMS, LOCAL_RECONSTRUCTION)
ADAPTERS = ("lora", "dora")
# The last word of the name of a second evaluation of the dense weights (`Run.noise_floor`).
NOISE_FLOOR = "noise-floor"
KEPT = "kept"  # dense freezing that holds the weights which pruning would have kept, not those it would have removed

Kind = Literal["dense", "pruned", "quantized", "recovered"]
# How a run is known to be what it is said to be, from the surest to none at all.
KnownBy = Literal["label", "block", "store", "table", "checkpoint", "arguments", "guess"]
GUESS: KnownBy = "guess"

_PLAIN = r"(?:\d+\.?\d*|\.\d+)(?:[eE]-?\d+)?"  # no plus, which stands between trainings
_ARM = re.compile(
    rf"({'|'.join(ARMS)})(_{KEPT})?(?:_({'|'.join(ADAPTERS)}))?(?:@({_PLAIN}))?(?:~(\d+)steps)?(?:~lr({_PLAIN}))?"
)
_NM = re.compile(r"(\S.*?)\s+(\d+:\d+)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Recovery:
    """One training after pruning: the `arm`, what it holds (`kept`), its `adapter`, and its `share` of the data.

    `steps` and `lr` (the learning rate) are set where trainings that differ in them alone are to be told apart.
    """

    arm: str
    kept: bool = False
    adapter: str | None = None
    share: float = 1.0
    steps: int | None = None
    lr: float | None = None

    def __post_init__(self) -> None:
        _one_of("arm", self.arm, ARMS)
        if self.adapter is not None:
            _one_of("adapter", self.adapter, ADAPTERS)
        if self.kept and self.arm != DENSE_FREEZING:
            raise UsageError(
                f"arm {self.arm} holds no chosen weights, so freeze=kept is for {DENSE_FREEZING}."
            )
        if self.adapter is not None and self.arm == LOCAL_RECONSTRUCTION:
            raise UsageError(
                f"adapter={self.adapter}: arm {LOCAL_RECONSTRUCTION} fits the weights that pruning left, and has no adapter. "
                "Leave it out."
            )
        object.__setattr__(self, "share", _rounded(self.share))
        if not 0 < self.share <= 1:
            raise UsageError(f"share={self.share} of the training data is not above 0 and at most 1.")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"steps={self.steps} is no number of steps. Give a whole number of at least 1.")
        if self.lr is not None:
            object.__setattr__(self, "lr", _rounded(self.lr))
            if not 0 < self.lr < 1:
                raise UsageError(f"lr={self.lr} is no learning rate. Give a number above 0 and below 1.")

    def __str__(self) -> str:
        kept = f"_{KEPT}" if self.kept else ""
        adapter = f"_{self.adapter}" if self.adapter else ""
        share = f"@{self.share:.10g}" if self.share < 1 else ""
        steps = f"~{self.steps}steps" if self.steps is not None else ""
        rate = f"~lr{self.lr:.10g}" if self.lr is not None else ""
        return f"{self.arm}{kept}{adapter}{share}{steps}{rate}"

    @classmethod
    def parse(cls, text: str) -> Recovery:
        """The recovery that `str` wrote, e.g. `"sparse_transfer_lora@0.25~300steps~lr2e-05"`.

        Raises:
            UsageError: it is none.
        """
        match = _ARM.fullmatch(text)
        if match is None:
            raise UsageError(
                f"recovery {text!r} is unknown. Write one of {', '.join(ARMS)}, with _lora or _dora, @share, ~Nsteps and "
                f"~lrRATE where they are used.{did_you_mean(text, ARMS)}"
            )
        arm, kept, adapter, share, steps, lr = match.groups()
        return cls(
            arm,
            bool(kept),
            adapter,
            float(share) if share else 1.0,
            int(steps) if steps else None,
            float(lr) if lr else None,
        )


@dataclass(frozen=True)
class Method:
    """What was done to the weights: `base` (dense, magnitude, rtn, ...), an N:M `pattern` (N kept of M), then trainings.

    `str` gives the method's name in tables, e.g. `"wanda"`, `"magnitude 2:4"`, `"dense+dense_transfer@0.5"`.
    """

    base: str
    pattern: str | None = None
    recoveries: tuple[Recovery, ...] = ()

    def __post_init__(self) -> None:
        if not self.base or self.base != self.base.strip():
            raise UsageError(f"method {self.base!r} has no name. Name what was done, e.g. magnitude or rtn.")

    def __str__(self) -> str:
        name = self.base if self.pattern is None else f"{self.base} {self.pattern}"
        return "+".join([name, *map(str, self.recoveries)])

    @classmethod
    def parse(cls, text: str) -> Method:
        """The method that `str` wrote. Whatever else it holds is a name of somebody's own, kept as it is.

        Raises:
            UsageError: the text is empty.
        """
        name, *rest = text.strip().split("+")
        recoveries: list[Recovery] = []
        while rest and _ARM.fullmatch(rest[-1]):
            recoveries.insert(0, Recovery.parse(rest.pop()))
        name = "+".join([name, *rest])
        match = _NM.fullmatch(name)
        return cls(match[1], match[2], tuple(recoveries)) if match else cls(name, None, tuple(recoveries))

    @property
    def group(self) -> int | None:
        """M of N:M."""
        return None if self.pattern is None else int(self.pattern.partition(":")[2])

    @property
    def recovered(self) -> bool:
        """True where training followed."""
        return bool(self.recoveries)

    @property
    def before(self) -> Method:
        """The method without its trainings."""
        return replace(self, recoveries=())

    def then(self, recovery: Recovery) -> Method:
        """The method followed by one more training."""
        return replace(self, recoveries=(*self.recoveries, recovery))


@dataclass(frozen=True)
class Run:
    """One evaluated state of one model. Two runs are the same where all but `known_by` is.

    `level`: the fraction of the targeted weights that is zero, as measured; None for quantization alone. `bits`: nominal
    bits per weight; None without quantization. `replicate`: which draw (mask, calibration, training). `known_by`: how we know.
    `noise_floor`: a second evaluation of the dense weights in other batches, which is never judged as a run of its own
    (`difficulty.runs.noise`).
    """

    model: str
    method: Method
    level: float | None = None
    bits: float | None = None
    replicate: int = 0
    known_by: KnownBy = field(default="block", compare=False)
    noise_floor: bool = False

    def __post_init__(self) -> None:
        for name in ("level", "bits"):
            value = getattr(self, name)
            missing = value is None or math.isnan(value)
            object.__setattr__(self, name, None if missing else _rounded(float(value)))
        if self.is_dense:
            object.__setattr__(self, "level", 0.0)
        elif self.noise_floor:
            raise UsageError(
                f"a noise floor is a second evaluation of the dense model, and method {str(self.method)!r} is not dense."
            )

    @property
    def is_dense(self) -> bool:
        """True for the model as it was trained, with nothing done to it."""
        return self.method == Method(DENSE) and self.bits is None

    @property
    def kind(self) -> Kind:
        """Dense, pruned (quantized too or not), quantized alone, or recovered."""
        if self.method.recovered:
            return "recovered"
        if self.is_dense:
            return "dense"
        return "quantized" if self.level is None else "pruned"

    @property
    def series(self) -> str:
        """The name under which its levels are judged as one method: N:M by M, each width of pruned weights by itself."""
        method = str(self.method)
        if self.method.pattern is not None:
            method = str(replace(self.method, base=f"{self.method.base} N:{self.method.group}", pattern=None))
        return (
            f"{method} {self.bits:.10g} bits" if self.kind == "pruned" and self.bits is not None else method
        )

    def __str__(self) -> str:
        parts = [self.model, str(self.method)]
        if not self.is_dense:
            parts += [f"{self.level:.10g}"] if self.level is not None else []
            parts += [f"{self.bits:.10g} bits"] if self.bits is not None else []
        parts += [NOISE_FLOOR] if self.noise_floor else []
        return " ".join(parts) + (f" #{self.replicate}" if self.replicate else "")

    @classmethod
    def parse(cls, text: str) -> Run:
        """The run that `str` wrote. A method's own name is one word, so that it can be told from the model's.

        Raises:
            UsageError: it does not name a model and a method.
        """
        words = text.split(" ")
        replicate, level, bits = 0, None, None
        if re.fullmatch(r"#\d+", words[-1]):
            replicate = int(words.pop()[1:])
        again = len(words) > 2 and words[-2:] == [DENSE, NOISE_FLOOR]
        if again:
            words.pop()
        if len(words) > 3 and words[-1] == "bits" and _NUMBER.fullmatch(words[-2]):
            bits = float(words[-2])
            del words[-2:]
        if len(words) > 2 and _NUMBER.fullmatch(words[-1]):
            level = float(words.pop())
        if len(words) > 2 and re.fullmatch(r"\d+:\d+", words[-1].partition("+")[0]):
            words[-2:] = [" ".join(words[-2:])]
        if len(words) < 2 or not words[0]:
            raise UsageError(f"run {text!r} names no model and method. Write e.g. 'my-model magnitude 0.5'.")
        method = Method.parse(words[-1])
        return cls(" ".join(words[:-1]), method, level, bits, replicate, noise_floor=again)


def _rounded(value: float) -> float:
    """As it is written: ten digits, so that a run and its name are one."""
    return float(f"{value:.10g}")


def _one_of(name: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise UsageError(
            f"{name}={given!r} is unknown. Choose one of {', '.join(allowed)}.{did_you_mean(given, allowed)}"
        )
