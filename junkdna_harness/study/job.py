"""One training of a study, and which run it becomes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from difficulty.runs.identity import DENSE, DENSE_TRANSFER, LOCAL_RECONSTRUCTION, Method, Recovery


@dataclass(frozen=True)
class Job:
    """One training of the study's model number `model`.

    `recovery` is how tables name it: the number of steps and the rate are part of the name where the study has several of them.
    `lr` None is the arm's own. `task`: the one task whose training rows are seen and which is asked afterwards; None for all.
    """

    model: int
    recovery: Recovery
    level: float
    seed: int
    replicate: int
    steps: int
    lr: float | None = None
    task: str | None = None

    @property
    def arm(self) -> str:
        """The way of training, without adapter and share."""
        return self.recovery.arm

    @property
    def fraction(self) -> float:
        """The share of the data that may be seen."""
        return self.recovery.share

    @property
    def local(self) -> bool:
        """True where blocks are fitted one after another, so that `steps` counts those of each block."""
        return self.arm == LOCAL_RECONSTRUCTION

    def method(self, base: str) -> Method:
        """What was done: pruning by `base`, or nothing for dense transfer, then the training."""
        start = DENSE if self.arm == DENSE_TRANSFER else base
        return Method(start).then(self.recovery)

    def folder(self, base: str, models: int = 1) -> str:
        """The checkpoint's folder name, of a study of so many models."""
        level = "" if self.arm == DENSE_TRANSFER else f"-{self.level:.10g}"
        name = str(self.method(base)).replace("+", "-").replace("@", "-data").replace("~", "-")
        name = name.replace(":", "-") + level + (f"-seed{self.seed}" if self.seed else "")
        if self.task is not None:
            name = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', self.task)}-{name}"
        return f"{self.model}-{name}" if models > 1 else name

    def label(self, base: str) -> str:
        """The training in a line of text: method, level and seed."""
        level = f" at {self.level:g}" if self.level else ""
        task = f" on {self.task}" if self.task else ""
        return f"{self.method(base)}{level}{task}" + (f" seed {self.seed}" if self.seed else "")
